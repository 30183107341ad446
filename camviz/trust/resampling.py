"""Intervals and tests over pictures, each with one value for each network; pictures are the independent samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from camviz.statistics import Interval

Array = NDArray[np.float64]

DRAWS = 2000
# No interval from fewer pictures than this, and no winner.
LEAST_FOR_INTERVAL, LEAST_FOR_WINNER = 12, 30
_FLIPS = 9999  # random assignments of signs


def interval(values: ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean over pictures with a percentile bootstrap interval (Efron, Annals of Statistics 1979).

    Pictures are drawn with replacement, for all networks together. Each network counts equally.

    Args:
        values: (N, n) for N networks and n pictures, or (n,) for one network; NaN where a network has no value.
        level: the interval's confidence.
        draws: the number of samples.
        seed: their seed; the same seed draws the same pictures for every metric.

    Returns:
        the mean; the interval's ends, NaN if a network has fewer than 12 pictures with a value; and how many pictures
        the network with the fewest has (networks without any are left out).
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    known = ~np.isnan(values)
    some, counts = known.any(0), known.sum(1)
    n = int(counts[counts > 0].min(initial=values.shape[1])) if some.any() else 0
    if n < LEAST_FOR_INTERVAL:
        return Interval(float(_mean(values[None, :, some])[0]) if n else np.nan, np.nan, np.nan, n)
    drawn = _drawn(values[:, some], draws, seed)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(_mean(values[None])[0]), float(low), float(high), n)


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """The two-sided p-value of a paired sign-flip test: is the mean difference 0?

    If neither of two metrics is better, each picture's difference is as likely to be negative. So its sign is drawn
    9,999 times, for all networks together, and the mean over networks of the means over pictures is compared.

    Source: Fisher, "The Design of Experiments", 1935, section 21; p-value with the observed value counted in, as in
    Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010.

    Args:
        differences: (N, n) for N networks and n pictures, or (n,) for one network; NaN where there is no value.
        seed: seed of the signs.

    Raises:
        ValueError: no picture has a value.
    """
    values = np.atleast_2d(np.asarray(differences, dtype=np.float64))
    values = values[:, ~np.isnan(values).all(0)]
    if not values.size:
        raise ValueError("no picture has a value for both")
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_FLIPS, 1, values.shape[1]))
    counts = (~np.isnan(values)).sum(1)
    means = (np.nan_to_num(values) * signs).sum(2) / np.maximum(counts, 1)
    flipped = np.abs(means[:, counts > 0].mean(1))
    observed = abs(float(_mean(values[None])[0]))
    # Sums in another order differ in their last digits.
    return float((1 + (flipped >= observed * (1 - 1e-9)).sum()) / (1 + _FLIPS))


def rank_intervals(
    values: ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> list[tuple[float, float]]:
    """The interval of each metric's rank by its mean, 1 for the highest, when pictures are drawn with replacement.

    Args:
        values: (K, N, n) for K metrics, N networks and n pictures; NaN where there is no value.
        level: the intervals' confidence.
        draws: the number of samples.
        seed: their seed.
    """
    values = np.asarray(values, dtype=np.float64)
    means = np.stack([_drawn(metric, draws, seed) for metric in values], 1)  # (draws, K): the same pictures for all
    above = (means[:, None, :] > means[:, :, None]).sum(2)
    ties = (means[:, None, :] == means[:, :, None]).sum(2) - 1
    ranks = 1 + above + ties / 2
    ends = np.quantile(ranks, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def _drawn(values: Array, draws: int, seed: int) -> Array:
    """The means of samples of the pictures, values (N, n) -> (draws,)."""
    n = values.shape[1]
    return _mean(values[:, np.random.default_rng(seed).integers(n, size=(draws, n))].transpose(1, 0, 2))


def _mean(values: Array) -> Array:
    """The mean over networks of the means over pictures: (draws, N, n) -> (draws,), NaN values left out."""
    return _known_mean(_known_mean(values))


def _known_mean(values: Array) -> Array:
    """The mean of the last axis without NaN values; NaN where there are no others."""
    known = ~np.isnan(values)
    counts = known.sum(-1)
    return np.divide(np.where(known, values, 0).sum(-1), counts, out=np.full(counts.shape, np.nan), where=counts > 0)
