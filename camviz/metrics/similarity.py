"""How similar two maps are, pixel by pixel: simple comparisons alongside the overlap of rankings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from camviz.maps import require_unit_range


@dataclass(frozen=True)
class Likeness:
    """Three simple comparisons of two maps; the correlations are NaN if a map is constant.

    Attributes:
        ssim: structural similarity (Wang et al., IEEE TIP 2004) over windows of 7 x 7 pixels, in [-1, 1].
        pearson: correlation of the values, in [-1, 1].
        spearman: correlation of their ranks, ties averaged, in [-1, 1].
    """

    ssim: float
    pearson: float
    spearman: float


def likeness(reference: Tensor, maps: Tensor) -> list[Likeness]:
    """Compare maps (B, H, W) in [0, 1] with one of them (H, W).

    Raises:
        ValueError: a map is not within [0, 1].
    """
    reference, maps = reference.cpu().double(), maps.cpu().double()  # some devices have no float64
    require_unit_range(reference, maps)
    first = reference.numpy()
    ranks = _ranks(first)
    return [
        Likeness(_ssim(first, second), _correlation(first, second), _correlation(ranks, _ranks(second)))
        for second in maps.numpy()
    ]


def _ssim(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Structural similarity; NaN for a map smaller than its window."""
    from skimage.metrics import structural_similarity  # slow to import, as is scipy.stats

    if min(first.shape) < 7:
        return np.nan
    return float(structural_similarity(first, second, data_range=1.0))


def _ranks(map_: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return rankdata(map_.ravel())


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Pearson's correlation; NaN if either map is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    a, b = first - first.mean(), second - second.mean()
    return float(np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b)))
