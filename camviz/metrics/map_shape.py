"""Scores of a map alone: how its heat is spread, whatever the picture and the network."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from camviz.metrics.evidence import Evidence
from camviz.metrics.registry import Notes, score

_BLANK = "the map is blank, so its heat has no distribution"


@score(
    "entropy",
    "Entropy",
    "is it focused?",
    "How evenly the map spreads its heat: 0 = on a single pixel, 1 = the same everywhere.",
    better="lower",
    formula="-sum(p log p) / log n, p = map / sum(map), n pixels",
    reference="Bhatt et al., arXiv 2005.00631",
    on_request=True,
)
def _entropy(evidence: Evidence) -> tuple[Tensor, Notes]:
    return _of_heat(evidence, entropy)


@score(
    "gini",
    "Gini index",
    "is it unequal?",
    "How unequally the map spreads its heat: 0 = the same everywhere, 1 = on a single pixel.",
    formula="1 - 2 sum_k v_k (n - k + 1/2) / (n sum(v)), v the map's n values in ascending order",
    reference="Chalasani et al., arXiv 1810.06583",
    on_request=True,
)
def _gini(evidence: Evidence) -> tuple[Tensor, Notes]:
    return _of_heat(evidence, gini)


def entropy(values: Tensor) -> Tensor:
    """Shannon's entropy of the shares p of flat maps (..., n), in [0, 1]: -sum(p log p) / log n; NaN if blank."""
    shares = values / values.sum(-1, keepdim=True)
    return -torch.special.xlogy(shares, shares).sum(-1) / math.log(values.shape[-1])


def gini(values: Tensor) -> Tensor:
    """Gini's index of flat maps (..., n), in [0, 1]; NaN if blank."""
    ordered, n = values.sort(-1).values, values.shape[-1]
    weights = torch.arange(n, 0, -1, device=values.device) - 0.5  # n - k + 1/2 for k = 1 ... n
    return 1 - 2 * (ordered * weights).sum(-1) / (n * ordered.sum(-1))


def _of_heat(evidence: Evidence, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Notes]:
    """A function of flat float64 maps, with a note where it is undefined."""
    maps = evidence.maps.cpu().double()  # some devices have no float64
    values = function(maps.flatten(-2))
    return values, [[_BLANK if blank else "" for blank in row] for row in values.isnan().tolist()]
