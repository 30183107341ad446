"""Merge the maps of several layers into one map."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from camviz.maps import require_unit_range, stretched
from camviz.merging.rules import RULES, CaptureMerge, MapsMerge
from camviz.network.capture import Capture

_MISSING = {
    "second method": "maps of a second method",
    "picture": "the picture",
}


def running(maps: Tensor, rule: str = "product", cap: Capture | None = None) -> Tensor:
    """Merge from the deepest layer up: entry l merges every layer from the deepest to l, stretched to [0, 1].

    Args:
        maps: float (L, B, H, W) in [0, 1], ordered from the finest layer to the deepest.
        rule: a name in `RULES`.
        cap: the capture the maps came from, for rules that need more than the maps.

    Returns:
        float32 (L, B, H, W) in [0, 1]; the last entry is made of the deepest map alone, the first of all layers.

    Raises:
        ValueError: an unknown rule, a missing capture, or maps that are not (L, B, H, W) or not within [0, 1].
    """
    return stretched(_merge(maps, rule, cap).flip(0))


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
    return stretched(_merge(maps, rule, cap)[-1])


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
