"""camviz: class activation maps, refined, scored and tested for robustness."""

from camviz import bundle, noise, shapes
from camviz.agreement import Agreement, compare
from camviz.capture import Capture, capture
from camviz.explain import Recipe, explain
from camviz.finding import Finding, Settings, find
from camviz.heat_regions import HotRegion, Hotspots, hotspots
from camviz.images import ImageError, load_image
from camviz.methods import METHODS, BlankMapWarning, Method, cam, cam_with_notes
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
from camviz.refine import refine
from camviz.robustness import Robustness, robustness
from camviz.versions import __version__

__all__ = [
    "METHODS",
    "Agreement",
    "Arcc",
    "BlankMapWarning",
    "Capture",
    "DownloadError",
    "Finding",
    "HotRegion",
    "Hotspots",
    "ImageError",
    "Method",
    "ModelError",
    "ModelInfo",
    "Net",
    "Recipe",
    "Robustness",
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
