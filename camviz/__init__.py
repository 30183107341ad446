"""camviz: class activation maps, refined, scored and tested for robustness."""

import warnings
from typing import Any

from camviz import noise, shapes
from camviz.heat_regions import HotRegion, Hotspots, hotspots
from camviz.images import ImageError, load_image
from camviz.merging import RULES, Rule, refine
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
from camviz.network.capture import Capture, capture
from camviz.noise.measure import Robustness
from camviz.noise.rank_overlap import rbo
from camviz.recipe import Recipe, explain
from camviz.results import bundle
from camviz.results.agreement import Agreement, check_agreement
from camviz.results.finding import Finding, MapScores, Settings
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
    "check_agreement",
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


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Resolve deprecated names."""
    if name == "compare":
        warnings.warn("camviz.compare is now camviz.check_agreement", DeprecationWarning, stacklevel=2)
        return check_agreement
    raise AttributeError(f"module 'camviz' has no attribute {name!r}")
