"""How much two rankings of the same items agree, with the most weight on the top: rank-biased overlap."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Start and end of each item's tie group, which takes ranks start + 1 to end; integers (..., m).
_Span = tuple[Tensor, Tensor]


def rbo(a: Sequence[object], b: Sequence[object], p: float = 0.9) -> float:
    """Rank-biased overlap of two rankings of the same m items, ties averaged over their orders (RBO^a).

    RBO = (X_m / m) p^m + ((1 - p) / p) sum_d (X_d / d) p^d, d = 1..m, X_d the expected size of the overlap of the
    first d: an item tied over the ranks t..b is among them with probability (d - t + 1) / (b - t + 1), clipped to
    [0, 1], independently in each ranking. So a ranking with ties does not even overlap fully with itself.

    Sources: Webber, Moffat, Zobel, ACM TOIS 2010, doi 10.1145/1852102.1852106, whose extrapolated RBO (eq. 23) equals
    this for complete rankings; RBO^a from Corsi and Urbano, SIGIR 2024, arXiv 2406.07121.

    Args:
        a: distinct hashable items, best first; an element that is a list or a set is a group of tied items.
        b: the same items in another order.
        p: persistence, in (0, 1): the larger, the more lower ranks count.

    Returns:
        From `minimum(m, p)`, above 0, to 1 for identical rankings without ties; a random order has `chance(m, p)` on
        average. NaN if all of several items tie, which is not a ranking.

    Raises:
        ValueError: no items, a repeated item, different items, or p outside (0, 1).
    """
    _check(p)
    spans, others = _positions(a), _positions(b)
    if not spans:
        raise ValueError(f"a ranking must contain at least one item, got {a!r}")
    if spans.keys() != others.keys():
        only_a, only_b = ([item for item in x if item not in y] for x, y in ((spans, others), (others, spans)))
        raise ValueError(f"both rankings must contain the same items; only a has {only_a}, only b has {only_b}")
    if len(spans) > 1 and (0, len(spans)) in (*spans.values(), *others.values()):
        return math.nan
    first = torch.tensor([spans[item] for item in spans]).T
    second = torch.tensor([others[item] for item in spans]).T
    return _averaged((first[0], first[1]), (second[0], second[1]), p).item()


def overlaps(reference: Tensor, scores: Tensor, p: float = 0.9) -> Tensor:
    """Rank-biased overlap of many rankings with a reference: `rbo` of rankings given by scores.

    Args:
        reference: float (m,), or (B, m) with one reference per row; higher is better, equal values tie.
        scores: float (B, m), on the same device.
        p: persistence, in (0, 1).

    Returns:
        float64 (B,), float32 on devices without float64 (MPS); NaN where either side is all tied or contains
        NaN. A row's result is bit-identical whatever else is in the batch.

    Raises:
        ValueError: wrong shapes, no items, or p outside (0, 1).
    """
    _check(p)
    if scores.ndim != 2 or not scores.shape[1] or reference.shape not in (scores.shape, scores.shape[1:]):
        raise ValueError(
            "scores must be (B, m) with m >= 1 and the reference (m,) or (B, m), "
            f"got {(*scores.shape,)} and {(*reference.shape,)}"
        )
    overlap = _averaged(_spans(reference), _spans(scores), p)
    return torch.where(_ranks_something(reference) & _ranks_something(scores), overlap, math.nan)


def chance(m: int, p: float = 0.9) -> float:
    """The expected RBO of a random order of m items: X_d = d^2 / m.

    Raises:
        ValueError: m below 1, or p outside (0, 1).
    """
    return _of_overlaps([d * d / m for d in range(1, m + 1)], p)


def minimum(m: int, p: float = 0.9) -> float:
    """The smallest RBO of two rankings of m items, when one reverses the other: X_d = max(0, 2 d - m).

    Raises:
        ValueError: m below 1, or p outside (0, 1).
    """
    return _of_overlaps([max(0, 2 * d - m) for d in range(1, m + 1)], p)


def _check(p: float) -> None:
    """Raise a ValueError unless p is in (0, 1)."""
    if not 0 < p < 1:
        raise ValueError(f"p must lie between 0 and 1, both excluded, got {p}")


def _of_overlaps(sizes: Sequence[float], p: float) -> float:
    """RBO by definition, from the overlaps X_1..X_m; X_m = m."""
    _check(p)
    if not sizes:
        raise ValueError("m must be at least 1: a ranking contains at least one item")
    return p ** len(sizes) + (1 - p) * math.fsum(size / d * p ** (d - 1) for d, size in enumerate(sizes, 1))


def _positions(ranking: Sequence[object]) -> dict[Hashable, tuple[int, int]]:
    """Item -> (start, end) of its tie group.

    Raises:
        ValueError: a repeated item.
    """
    groups = [list(element) if isinstance(element, list | set) else [element] for element in ranking]
    repeated = [item for item, count in Counter(item for group in groups for item in group).items() if count > 1]
    if repeated:
        raise ValueError(f"a ranking must contain each item only once; repeated: {repeated}")
    positions: dict[Hashable, tuple[int, int]] = {}
    for group in groups:
        start = len(positions)
        positions.update((item, (start, start + len(group))) for item in group)
    return positions


def _spans(scores: Tensor) -> _Span:
    """Start and end of each item's tie group, highest score first: (..., m) -> two of (..., m)."""
    scores = scores.contiguous()
    ordered, m = scores.sort(-1).values, scores.shape[-1]
    return m - torch.searchsorted(ordered, scores, right=True), m - torch.searchsorted(ordered, scores)


def _ranks_something(scores: Tensor) -> Tensor:
    """Whether scores (..., m) contain two different values and no NaN: bool (...)."""
    return (scores != scores[..., :1]).any(-1) & ~scores.isnan().any(-1)


def _averaged(a: _Span, b: _Span, p: float) -> Tensor:
    """RBO^a of broadcast spans (..., m) -> (...).

    An item at rank k in one ranking and l in the other is in the overlap from depth max(k, l) on, so it adds
    U(max(k, l)), the weight of all those depths; averaged over tie orders, it adds the mean of U over the rectangle of
    ranks of its two tie groups. A table of U's cumulative sums gives that mean with four look-ups.
    """
    (start, end), (first, last) = a, b
    table = _corner_sums(start.shape[-1], p).to(start.device, _precision(start.device))
    total = table[end, last] - table[start, last] - table[end, first] + table[start, first]
    gains = total / ((end - start) * (last - first))
    # Rounded where rounding errors begin, so that identical orders give exactly 1.
    return (p ** start.shape[-1] + _sum(gains)).round(decimals=12).clamp(0, 1)


def _corner_sums(m: int, p: float) -> Tensor:
    """Entry (i, j): the sum of U(max(k, l)) over k = 1..i and l = 1..j: float64 (m + 1, m + 1) on the CPU."""
    depth = torch.arange(1, m + 1, dtype=torch.float64, device="cpu")
    weights = (1 - p) * p ** (depth - 1) / depth
    from_depth = weights.flip(0).cumsum(0).flip(0)
    rank = torch.arange(m, device="cpu")
    gains = from_depth[torch.maximum(rank[:, None], rank)]
    return F.pad(gains.cumsum(0).cumsum(1), (1, 0, 1, 0))


def _precision(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _sum(values: Tensor) -> Tensor:
    """Sum over the last dimension, neighbours first: unlike Tensor.sum, in an order independent of the batch."""
    while values.shape[-1] > 1:
        values = F.pad(values, (0, values.shape[-1] % 2))
        values = values[..., ::2] + values[..., 1::2]
    return values[..., 0]
