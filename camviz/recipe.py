"""Recipes: every step from an image to one map, as a value that can be stored, compared and used as a key."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from camviz.merging import refine
from camviz.methods import Progress, cam_with_notes
from camviz.network.capture import Capture, capture, layer_names


@dataclass(frozen=True)
class Recipe:
    """How a map is made: a method, the layers (or the layer) it is merged from, the merging rule, and a seed."""

    method: str
    layers: tuple[str, ...]
    rule: str = "product"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", layer_names(self.layers))


def explain(module: nn.Module, x: Tensor, target: Tensor, recipe: Recipe, progress: Progress | None = None) -> Tensor:
    """Explain the class `target` (B,) of images x (B, 3, H, W): float32 (B, H, W) in [0, 1]."""
    return explain_capture(capture(module, x, target, recipe.layers), recipe, progress)


def explain_capture(cap: Capture, recipe: Recipe, progress: Progress | None = None) -> Tensor:
    """Like `explain`, from a capture that includes the recipe's layers, so the capture pass is not repeated."""
    chosen = cap.select(recipe.layers)
    maps, _ = cam_with_notes(chosen, recipe.method, recipe.seed, progress)
    return refine(maps, recipe.rule, chosen)
