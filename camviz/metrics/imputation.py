"""Noisy linear imputation: fill removed pixels from what is left around them (Rong et al., 2202.00449)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

# Standard deviation of the noise added to imputed pixels, in normalised units.
NOISE = 0.01

# (row offset, column offset, weight) of a pixel's eight neighbours
_NEIGHBOURS = [
    (dr, dc, 1 / 6 if dr == 0 or dc == 0 else 1 / 12) for dr in (-1, 0, 1) for dc in (-1, 0, 1) if (dr, dc) != (0, 0)
]


def impute(image: Tensor, removed: Tensor) -> Tensor:
    """Replace each removed pixel by the weighted mean of its eight neighbours, all solved at once.

    Straight neighbours weigh 1/6, diagonal ones 1/12, renormalised at the border. Solved exactly, on the CPU
    and in float64, by a sparse LU decomposition with a symmetric ordering. Where nothing is left, all is 0.

    Args:
        image: float (C, H, W).
        removed: bool (H, W).

    Returns:
        float (C, H, W) on the image's device, without the noise that `NOISE` speaks of.
    """
    if not bool(removed.any()):
        return image
    if bool(removed.all()):
        return torch.zeros_like(image)
    mask = removed.cpu().numpy()
    values = image.detach().cpu().double().numpy()
    matrix, right = _system(values, mask)
    solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    filled = values.copy()
    filled[:, mask] = solver.solve(right).T
    return torch.from_numpy(filled).to(image.dtype).to(image.device)


def _system(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> tuple[sparse.csc_array, NDArray[np.float64]]:
    """The linear system over the n removed pixels: matrix (n, n), right side (n, C)."""
    height, width = mask.shape
    count = int(mask.sum())
    number = np.full((height + 2, width + 2), -1)  # -1 where a pixel is known or outside
    number[1:-1, 1:-1][mask] = np.arange(count)
    inside = np.pad(np.ones_like(mask), 1)
    padded = np.pad(values * ~mask, ((0, 0), (1, 1), (1, 1)))  # 0 where removed or outside
    diagonal = np.zeros(count)
    right = np.zeros((count, len(values)))
    rows, columns, entries = [], [], []
    for dr, dc, weight in _NEIGHBOURS:
        window = (slice(1 + dr, 1 + dr + height), slice(1 + dc, 1 + dc + width))
        neighbour = number[window][mask]
        unknown = neighbour >= 0
        rows.append(np.flatnonzero(unknown))
        columns.append(neighbour[unknown])
        entries.append(np.full(int(unknown.sum()), -weight))
        diagonal += weight * inside[window][mask]
        right += weight * padded[(slice(None), *window)][:, mask].T
    rows.append(np.arange(count))
    columns.append(np.arange(count))
    entries.append(diagonal)
    indices = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csc_array((np.concatenate(entries), indices), shape=(count, count)), right
