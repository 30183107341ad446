"""Maps of several layers -> one map."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from camviz.maps import normalise, require_unit_range


def _counts(maps: Tensor) -> Tensor:
    """How many maps are merged at each place of a running merge: 1, 2, ..., L."""
    return torch.arange(1, len(maps) + 1, device=maps.device, dtype=maps.dtype).view(-1, 1, 1, 1)


# name -> running merge over the first dimension
RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "product": lambda maps: maps.cumprod(0),
    "geometric mean": lambda maps: maps.cumprod(0) ** (1 / _counts(maps)),
    "minimum": lambda maps: maps.cummin(0).values,
    "mean": lambda maps: maps.cumsum(0) / _counts(maps),
}

# name -> what it is called in print
RULE_TITLES = {
    "product": "Product (RefineCAM)",
    "geometric mean": "Geometric mean",
    "minimum": "Minimum",
    "mean": "Mean",
}


def running(maps: Tensor, rule: str = "product") -> Tensor:
    """Merge from the deepest layer up: entry l holds all layers from the deepest to l, stretched to [0, 1].

    Args:
        maps: float (L, B, H, W) in [0, 1], ordered from the shallow layer to the deep one.
        rule: a name in `RULES`.

    Returns:
        float32 (L, B, H, W) in [0, 1]; the last entry is the deepest map itself, the first all layers.

    Raises:
        ValueError: an unknown rule, or maps that are not (L, B, H, W) or leave [0, 1].
    """
    return _stretched(_merge(maps, rule).flip(0))


def heights(maps: Tensor, rule: str = "product") -> tuple[Tensor, Tensor]:
    """The least and the largest value of each running merge before it is stretched: both float32 (L, B).

    Args:
        maps: as for `running`.
        rule: likewise.

    Raises:
        ValueError: likewise.
    """
    merged = _merge(maps, rule).flip(0)
    return merged.amin((-2, -1)), merged.amax((-2, -1))


def refine(maps: Tensor, rule: str = "product") -> Tensor:
    """Merge the maps of several layers into one: RefineCAM, the product of all, stretched to [0, 1].

    Source: "How to Evaluate and Refine your CAM", arXiv 2605.14641. The other rules are variants of its
    authors' research code or plain alternatives to compare with.

    Args:
        maps: float (L, B, H, W) in [0, 1], ordered from the shallow layer to the deep one.
        rule: a name in `RULES`.

    Returns:
        float32 (B, H, W) in [0, 1]; zeros where the layers have no region in common.

    Raises:
        ValueError: an unknown rule, or maps that are not (L, B, H, W) or leave [0, 1].
    """
    return _stretched(_merge(maps, rule)[-1])


def _merge(maps: Tensor, rule: str) -> Tensor:
    """The running merge as it is, from the deepest map alone to all of them."""
    if rule not in RULES:
        raise ValueError(f"unknown merging rule {rule!r}; choose from {', '.join(RULES)}")
    if maps.ndim != 4 or not len(maps):
        raise ValueError(f"maps must be (layers, B, H, W), got {tuple(maps.shape)}")
    require_unit_range(maps)
    return RULES[rule](maps.float().flip(0))


def _stretched(merged: Tensor) -> Tensor:
    """Normalise; but all ones everywhere is the uniform baseline, which stays as it is."""
    ones = (merged.amin((-2, -1), keepdim=True) == 1) & (merged.amax((-2, -1), keepdim=True) == 1)
    return torch.where(ones, 1.0, normalise(merged))
