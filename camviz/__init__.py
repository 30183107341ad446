"""camviz: class activation maps, refined, scored and tested for robustness."""

from camviz import shapes
from camviz.capture import Capture, capture
from camviz.explain import Recipe, explain
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
from camviz.refine import refine

__all__ = [
    "METHODS",
    "Arcc",
    "BlankMapWarning",
    "Capture",
    "DownloadError",
    "ImageError",
    "Method",
    "ModelError",
    "ModelInfo",
    "Net",
    "Recipe",
    "arcc",
    "arccs",
    "cam",
    "cam_with_notes",
    "capture",
    "explain",
    "list_models",
    "load_image",
    "load_model",
    "refine",
    "shapes",
]
