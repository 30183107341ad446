"""Merge the maps of several layers into one map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor

from camviz.maps import normalise, require_unit_range
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
_MISSING = {
    "second method": "maps of a second method",
    "another pass": "another pass through the network",
    "picture": "the picture",
}


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


def running(maps: Tensor, rule: str = "product", cap: Capture | None = None) -> Tensor:
    """Merge from the deepest layer up: entry l merges every layer from the deepest to l, stretched to [0, 1].

    Args:
        maps: float (L, B, H, W) in [0, 1], ordered from the finest layer to the deepest.
        rule: a name in `RULES`.
        cap: the capture the maps came from, for rules that need more than the maps.

    Returns:
        float32 (L, B, H, W) in [0, 1]; the last entry is the deepest map itself, the first merges all layers.

    Raises:
        ValueError: an unknown rule, a missing capture, or maps that are not (L, B, H, W) or not within [0, 1].
    """
    return _stretched(_merge(maps, rule, cap).flip(0))


def heights(maps: Tensor, rule: str = "product", cap: Capture | None = None) -> tuple[Tensor, Tensor]:
    """The lowest and highest value of each running merge before stretching: both float32 (L, B).

    Args:
        maps: as for `running`.
        rule: as for `running`.
        cap: as for `running`.

    Raises:
        ValueError: as for `running`.
    """
    merged = _merge(maps, rule, cap).flip(0)
    return merged.amin((-2, -1)), merged.amax((-2, -1))


def refine(maps: Tensor, rule: str = "product", cap: Capture | None = None) -> Tensor:
    """Merge the maps of several layers into one, by default with RefineCAM: their product, stretched to [0, 1].

    Source: "How to Evaluate and Refine your CAM", arXiv 2605.14641. The other rules are variants from its
    authors' research code, or simple alternatives for comparison.

    Args:
        maps: float (L, B, H, W) in [0, 1], ordered from the finest layer to the deepest.
        rule: a name in `RULES`.
        cap: the capture the maps came from, for rules that need more than the maps.

    Returns:
        float32 (B, H, W) in [0, 1]; zeros where the layers have no region in common.

    Raises:
        ValueError: an unknown rule, a missing capture, or maps that are not (L, B, H, W) or not within [0, 1].
    """
    return _stretched(_merge(maps, rule, cap)[-1])


def _merge(maps: Tensor, rule: str, cap: Capture | None) -> Tensor:
    """The running merge before stretching, from the deepest map alone to all of them."""
    if rule not in RULES:
        raise ValueError(f"unknown merging rule {rule!r}; choose from {', '.join(RULES)}")
    if maps.ndim != 4 or not len(maps):
        raise ValueError(f"maps must be (layers, B, H, W), got {tuple(maps.shape)}")
    require_unit_range(maps)
    chosen, ordered = RULES[rule], maps.float().flip(0)
    if chosen.needs == "maps":
        return cast(MapsMerge, chosen.merge)(ordered)
    if cap is None:
        raise ValueError(
            f"the merging rule {rule!r} also needs {_MISSING[chosen.needs]}: pass the capture, or use "
            "camviz.explain with a Recipe"
        )
    return cast(CaptureMerge, chosen.merge)(ordered, cap)


def _stretched(merged: Tensor) -> Tensor:
    """Normalise, except maps of all ones: that is the uniform baseline."""
    ones = (merged.amin((-2, -1), keepdim=True) == 1) & (merged.amax((-2, -1), keepdim=True) == 1)
    return torch.where(ones, 1.0, normalise(merged))
