"""RefineCAM as each public implementation computes it, from the layers' raw maps.

All multiply the layers' maps. They differ in where a map is stretched to [0, 1], at which size the maps are multiplied,
and in what becomes of a map that is the same everywhere. `docs/methods-and-scores.md` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from camviz.maps import normalise, upsample
from camviz.merging.running_merge import refine

Size = tuple[int, int]
# Layers' maps after ReLU, each (B, h, w) on its own grid, and the input's size (H, W) -> the merged map (B, H, W).
Merge = Callable[[Sequence[Tensor], Size], Tensor]


F = TypeVar("F", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Reading(Generic[F]):
    """One way in which a published formula is computed.

    Attributes:
        name: its key in its registry.
        sentence: what it does, in one plain sentence.
        reference: the code that computes it so.
        function: computes it.
    """

    name: str
    sentence: str
    reference: str
    function: F = field(repr=False)


def reading(registry: dict[str, Reading[F]], name: str, sentence: str, reference: str) -> Callable[[F], F]:
    """Register a function as a reading."""

    def register(function: F) -> F:
        registry[name] = Reading(name, sentence, reference, function)
        return function

    return register


REFINE_READINGS: dict[str, Reading[Merge]] = {}


def refine_as(raw: Sequence[Tensor], size: Sequence[int], reading: str = "research") -> Tensor:
    """Merge layers' raw maps with RefineCAM as another implementation computes it.

    `camviz.refine` is the reading "camviz"; the app uses no other.

    Args:
        raw: for each layer, in any order, its map (B, h, w) on its own grid, as `camviz.raw_maps` returns them; values
            below 0 count as 0.
        size: (H, W) of the network's input.
        reading: a name in `REFINE_READINGS`.

    Returns:
        float32 (B, H, W) in [0, 1], up to rounding.

    Raises:
        ValueError: an unknown reading; maps that are not (B, h, w) for one B; NaN or infinite values; for "research",
            a map that is the same everywhere, since that code leaves the picture out.
    """
    if reading not in REFINE_READINGS:
        raise ValueError(f"unknown reading of RefineCAM {reading!r}; choose from {', '.join(REFINE_READINGS)}")
    if not raw or any(maps.ndim != 3 or len(maps) != len(raw[0]) for maps in raw):
        raise ValueError(f"raw maps must be (B, h, w), one for each layer, got {[tuple(maps.shape) for maps in raw]}")
    finite = torch.stack([torch.isfinite(maps).all() for maps in raw]).tolist()
    if not all(finite):
        raise ValueError(f"the raw map of layer {finite.index(False)} has NaN or infinite values")
    height, width = size
    return REFINE_READINGS[reading].function([maps.float().relu() for maps in raw], (height, width))


@reading(
    REFINE_READINGS,
    "camviz",
    "Maps are upsampled to the input, stretched, multiplied there, and the product is stretched.",
    "camviz.refine",
)
def _camviz(raw: Sequence[Tensor], size: Size) -> Tensor:
    return refine(torch.stack([normalise(upsample(maps, size)) for maps in raw]))


@reading(
    REFINE_READINGS,
    "research",
    "As camviz, with another stretch before upsampling; a picture with a map that is the same everywhere is left out.",
    "https://github.com/liuktc/RefineCAM, commit 40c2603, run_experiments.py",
)
def _research(raw: Sequence[Tensor], size: Size) -> Tensor:
    layers = [upsample(_stretched_or_blank(_stretched(maps, 1e-7)), size) for maps in raw]
    for number, maps in enumerate(layers):
        flat = (maps.amax((1, 2)) - maps.amin((1, 2)) < 1e-6).tolist()
        if any(flat):
            raise ValueError(
                f"the map of layer {number} is the same everywhere in image {flat.index(True)}: the research code "
                "leaves such a picture out"
            )
    return _stretched_or_blank(torch.stack([_stretched_or_blank(maps) for maps in layers]).prod(0))


@reading(
    REFINE_READINGS,
    "grad-cam",
    "As camviz, with another stretch before upsampling; each adds 1e-7 to the maximum, so a faint product stays dim.",
    "grad-cam 1.5.7, refine_cam.py",
)
def _grad_cam(raw: Sequence[Tensor], size: Size) -> Tensor:
    layers = [_stretched(upsample(_stretched(maps, 1e-7), size), 1e-7) for maps in raw]
    return _stretched(torch.stack(layers).prod(0), 1e-7)


@reading(
    REFINE_READINGS,
    "torch-cam",
    "Maps are stretched, upsampled to the largest of the layers' grids and multiplied there; the product is stretched.",
    "torchcam 0.5.0, methods/gradient.py; resized to the input as in its metrics.py",
)
def _torch_cam(raw: Sequence[Tensor], size: Size) -> Tensor:
    grid = [max(maps.shape[side] for maps in raw) for side in (1, 2)]
    layers = [upsample(_stretched(_stretched(maps, 1e-8), 1e-8), grid) for maps in raw]
    return upsample(_stretched(torch.stack(layers).prod(0), 1e-8), size)


def _stretched(maps: Tensor, epsilon: float) -> Tensor:
    """(map - min) / (max - min + epsilon) of each map (B, h, w)."""
    above = maps - maps.amin((1, 2), keepdim=True)
    return above / (above.amax((1, 2), keepdim=True) + epsilon)


def _stretched_or_blank(maps: Tensor) -> Tensor:
    """The research code's stretch: (map - min) / (max - min + 1e-12), zeros where max - min < 1e-12."""
    low = maps.amin((1, 2), keepdim=True)
    span = maps.amax((1, 2), keepdim=True) - low
    return torch.where(span < 1e-12, 0.0, (maps - low) / (span + 1e-12)).clamp(0, 1)
