"""Merging rules: what a merged map takes from each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor

from camviz.network.capture import Capture

# What a rule reads: only the layers' maps, or also the maps of a second method, another pass through the network, or
# the picture. Everything but the layers' maps comes from a capture.
Need = Literal["maps", "second method", "another pass", "picture"]
# Maps (L, B, H, W) from the deepest layer to the finest -> the merge down to each of them (L, B, H, W).
MapsMerge = Callable[[Tensor], Tensor]
# Like `MapsMerge`, for a rule that also reads the capture the maps came from.
CaptureMerge = Callable[[Tensor, Capture], Tensor]
F = TypeVar("F", bound=MapsMerge | CaptureMerge)


@dataclass(frozen=True)
class Rule:
    """One way to merge maps.

    Attributes:
        name: its key in `RULES`.
        title: its display name.
        sentence: what it does, in one plain sentence.
        reference: its source.
        needs: what it reads.
        merge: the function; takes the maps, or the maps and their capture.
    """

    name: str
    title: str
    sentence: str
    reference: str
    needs: Need
    merge: MapsMerge | CaptureMerge = field(repr=False)


RULES: dict[str, Rule] = {}


def rule(name: str, title: str, sentence: str, reference: str, *, needs: Need = "maps") -> Callable[[F], F]:
    """Register a function of maps, and of their capture if it needs more than the maps, as a merging rule."""

    def register(merge: F) -> F:
        RULES[name] = Rule(name, title, sentence, reference, needs, merge)
        return merge

    return register


@rule(
    "product",
    "Product (RefineCAM)",
    "Bright only where every layer is bright: each layer can veto.",
    "How to Evaluate and Refine your CAM, arXiv 2605.14641",
)
def product(maps: Tensor) -> Tensor:
    """The product of the maps so far."""
    return maps.cumprod(0)


@rule(
    "geometric mean",
    "Geometric mean",
    "The root of the product: same places, same order, less contrast.",
    "research code of arXiv 2605.14641",
)
def geometric_mean(maps: Tensor) -> Tensor:
    """The l-th root of the product of l maps."""
    return maps.cumprod(0) ** (1 / _counts(maps))


@rule(
    "minimum",
    "Minimum",
    "The darkest layer decides at each place.",
    "a simple alternative for comparison",
)
def minimum(maps: Tensor) -> Tensor:
    """The smallest of the maps so far."""
    return maps.cummin(0).values


@rule(
    "mean",
    "Mean",
    "Bright wherever any layer is bright: no layer can veto.",
    "a simple alternative for comparison",
)
def mean(maps: Tensor) -> Tensor:
    """The mean of the maps so far."""
    return maps.cumsum(0) / _counts(maps)


def _counts(maps: Tensor) -> Tensor:
    """How many maps are merged at each place of a running merge: 1, 2, ..., L."""
    return torch.arange(1, len(maps) + 1, device=maps.device, dtype=maps.dtype).view(-1, 1, 1, 1)
