from . import noise, shapes
from .heat_regions import HotRegion, Hotspots, hotspots
from .images import ImageError, load_image
from .merging import REFINE_READINGS, RULES, Rule, refine, refine_as
from .methods import METHODS, BlankMapWarning, Method, cam, cam_with_notes, raw_maps
from .metrics import SCORES, Evidence, Score
from .metrics.arcc import Arcc, arcc, arccs
from .metrics.coherency_readings import COHERENCY_READINGS, coherency_as
from .metrics.patch_agreement import PatchAgreement, patch_agreement
from .models import (
    DownloadError,
    ModelError,
    ModelInfo,
    Net,
    list_models,
    load_model,
)
from .network.capture import Capture, capture
from .noise.measure import Robustness
from .noise.rank_overlap import rbo
from .recipe import Recipe, explain
from .results import bundle
from .results.agreement import Agreement, check_agreement
from .results.finding import Finding, MapScores, Settings
from .trust.evaluation import Evaluation, evaluate
from .trust.layer_check import LayerCheck, layer_check
from .versions import __version__
from .workbench.findings import find
from .workbench.noisy_copies import robustness

__all__ = [
    "COHERENCY_READINGS",
    "METHODS",
    "REFINE_READINGS",
    "RULES",
    "SCORES",
    "Agreement",
    "Arcc",
    "BlankMapWarning",
    "Capture",
    "DownloadError",
    "Evaluation",
    "Evidence",
    "Finding",
    "HotRegion",
    "Hotspots",
    "ImageError",
    "LayerCheck",
    "MapScores",
    "Method",
    "ModelError",
    "ModelInfo",
    "Net",
    "PatchAgreement",
    "Recipe",
    "Robustness",
    "Rule",
    "Score",
    "Settings",
    "__version__",
    "arcc",
    "arccs",
    "bundle",
    "cam",
    "cam_with_notes",
    "capture",
    "check_agreement",
    "coherency_as",
    "evaluate",
    "explain",
    "find",
    "hotspots",
    "layer_check",
    "list_models",
    "load_image",
    "load_model",
    "noise",
    "patch_agreement",
    "raw_maps",
    "rbo",
    "refine",
    "refine_as",
    "robustness",
    "shapes",
]
