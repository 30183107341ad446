"""camviz: class activation maps, refined, scored and tested for robustness."""

from camviz import bundle, noise, shapes
from camviz.agreement import Agreement, compare
from camviz.capture import Capture, capture
from camviz.explain import Recipe, explain
from camviz.finding import Finding, MapScores, Settings
from camviz.heat_regions import HotRegion, Hotspots, hotspots
from camviz.images import ImageError, load_image
from camviz.methods import METHODS, BlankMapWarning, Method, cam, cam_with_notes
from camviz.metrics import SCORES, Evidence, Score
from camviz.metrics.arcc import Arcc, arcc, arccs
from camviz.models import (
    DownloadError,
    ModelError,
    ModelInfo,
    Net,
    list_models,
    load_model,
)
from camviz.ranks import rbo
from camviz.refine import RULES, Rule, refine
from camviz.robustness import Robustness
from camviz.versions import __version__
from camviz.workbench.findings import find
from camviz.workbench.noisy_copies import robustness

__all__ = [
    "METHODS",
    "RULES",
    "SCORES",
    "Agreement",
    "Arcc",
    "BlankMapWarning",
    "Capture",
    "DownloadError",
    "Evidence",
    "Finding",
    "HotRegion",
    "Hotspots",
    "ImageError",
    "MapScores",
    "Method",
    "ModelError",
    "ModelInfo",
    "Net",
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
    "compare",
    "explain",
    "find",
    "hotspots",
    "list_models",
    "load_image",
    "load_model",
    "noise",
    "rbo",
    "refine",
    "robustness",
    "shapes",
]
