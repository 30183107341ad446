"""Recipes: every step from an image to one map, as a value that can be stored, compared and used as a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from camviz.merging import refine
from camviz.methods import Progress, cam_with_notes
from camviz.network.capture import Capture, capture, layer_names


@dataclass(frozen=True)
class Recipe:
    """How a map is made.

    Attributes:
        method: a name in `camviz.METHODS`.
        layers: the layers it is merged from, from finest to deepest; or the one layer, also as a name.
        rule: the merging rule, a name in `camviz.RULES`.
        seed: for the methods that draw random numbers.
        mirror_averaged: whether each layer's map is averaged with that of the mirrored picture, which takes twice the
            passes.
    """

    method: str
    layers: tuple[str, ...]
    rule: str = "product"
    seed: int = 0
    mirror_averaged: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", layer_names(self.layers))
        if not isinstance(self.mirror_averaged, bool):
            raise ValueError(f"mirror_averaged must be True or False, got {self.mirror_averaged!r}")


def explain(module: nn.Module, x: Tensor, target: Tensor, recipe: Recipe, progress: Progress | None = None) -> Tensor:
    """Explain the class `target` (B,) of images x (B, 3, H, W): float32 (B, H, W) in [0, 1]."""
    return explain_capture(capture(module, x, target, recipe.layers), recipe, progress)


class SharedCaptures:
    """Explains with several recipes: those that explain the same picture one after the other share its capture.

    Args:
        layers: all the recipes' layers.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = tuple(dict.fromkeys(layers))
        self._last: tuple[nn.Module, Tensor, Tensor, Capture] | None = None

    def explain(self, recipe: Recipe, module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """Explain as `camviz.explain` does; if x and target are the same objects as last time, so is the capture."""
        last = self._last
        if last is None or any(now is not then for now, then in zip((module, x, target), last, strict=False)):
            self._last = last = None  # its memory is needed
            last = (module, x, target, capture(module, x, target, self._layers))
        self._last = (module, x, target, ready_for(last[3], [recipe]))
        return explain_capture(self._last[3], recipe)


def ready_for(cap: Capture, recipes: Iterable[Recipe]) -> Capture:
    """The capture, with its mirror if one of the recipes needs it."""
    return cap.with_mirror() if any(recipe.mirror_averaged for recipe in recipes) else cap


def explain_capture(cap: Capture, recipe: Recipe, progress: Progress | None = None) -> Tensor:
    """Like `explain`, from a capture that includes the recipe's layers, so the capture pass is not repeated.

    A mirror that the recipe needs is added for this call; before several such recipes, add it with `ready_for`.
    """
    chosen = ready_for(cap.select(recipe.layers), [recipe])
    if not recipe.mirror_averaged:
        chosen = replace(chosen, mirror=None)
    maps, _ = cam_with_notes(chosen, recipe.method, recipe.seed, progress)
    return refine(maps, recipe.rule, chosen)
