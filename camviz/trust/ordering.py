"""How well a metric orders the maps of one picture, compared with the truth: NumPy arrays (..., M) of M maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Of two maps whose truths differ by at most this, neither counts as the better one.
MARGIN = 0.1


def pair_accuracy(
    truth: ArrayLike, scores: ArrayLike, margin: float = MARGIN, pairs: NDArray[np.bool_] | None = None
) -> Array:
    """Of two maps, how often does the better one score higher? A coin gets 0.5.

    All pairs of a picture's maps whose truths differ by more than the margin count equally. Equal scores count half,
    and so does a pair in which a score is undefined: it gives no answer.

    Args:
        truth: (..., M), higher is better; NaN leaves a map out.
        scores: (..., M), higher is better; NaN where undefined.
        margin: how much the truths of two maps have to differ.
        pairs: (M, M), symmetric: which two maps are compared; None for all.

    Returns:
        (...), in [0, 1]; NaN for a picture without such a pair.
    """
    better, higher = _differences(truth), _differences(scores)
    counts = np.abs(better) > margin  # NaN is not
    if pairs is not None:
        counts &= pairs[np.triu_indices(len(pairs), 1)]
    right = np.where(np.isnan(higher), 0.5, (np.sign(better) * np.sign(higher) + 1) / 2)
    return _ratio(np.where(counts, right, 0).sum(-1), counts.sum(-1))


def kendall(truth: ArrayLike, scores: ArrayLike) -> Array:
    """Kendall's tau-b of the order of a picture's maps: 1 = the same, 0 = unrelated, -1 = reversed.

    Source: Kendall, "The Treatment of Ties in Ranking Problems", Biometrika 1945.

    Args:
        truth: (..., M), higher is better.
        scores: (..., M), higher is better. A map with NaN in either is left out.

    Returns:
        (...), in [-1, 1]; NaN where all truths or all scores are equal.
    """
    known = np.isfinite(truth) & np.isfinite(scores)
    first, second = (np.sign(_differences(np.where(known, values, np.nan))) for values in (truth, scores))
    untied = np.sqrt(np.nansum(np.abs(first), -1) * np.nansum(np.abs(second), -1))
    return _ratio(np.nansum(first * second, -1), untied)


def _differences(values: ArrayLike) -> Array:
    """The differences of all pairs of the last axis: (..., M) -> (..., M (M - 1) / 2)."""
    values = np.asarray(values, dtype=np.float64)
    first, second = np.triu_indices(values.shape[-1], 1)
    return values[..., first] - values[..., second]


def _ratio(above: Array, below: Array) -> Array:
    """The ratio of two arrays, NaN where the lower one is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
