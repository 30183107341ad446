"""Split a picture into coherent regions, so that a map can rank them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import quickshift
from torch import Tensor

# The target and maximum number of segments: rankings of similar length can be compared between pictures.
AIM, MOST = 60, 80
# Quickshift's work grows with the fourth power of the side, so a large picture is reduced to about this side length.
_SIDE = 112
# Quickshift's kernel width at that size, its weight of colour against position, and the factor for the width if a
# picture has too many segments.
_WIDTH, _COLOUR, _WIDER = 2.0, 0.2, 1.5


def segment(view: NDArray[np.uint8], aim: int = AIM, most: int = MOST) -> NDArray[np.int64]:
    """Split a picture into segments of similar colour and position, by Quickshift (Vedaldi and Soatto, ECCV 2008).

    Quickshift links each pixel to the nearest one of higher density; cutting the longest links gives the wanted number
    of segments. It works on a picture reduced to about 112 pixels per side.

    Args:
        view: uint8 (h, w, 3), what a network sees.
        aim: the wanted number of segments; a plain picture may have somewhat more.
        most: the maximum number of segments.

    Returns:
        int (h, w), each pixel's segment, counted from 0.

    Raises:
        ValueError: a picture with only one colour, or with too few pixels to split.
    """
    if (view == view[0, 0]).all():
        raise ValueError(
            "The picture has a single colour, so it cannot be split into regions to rank. Choose another picture."
        )
    factor = max(1, round(min(view.shape[:2]) / _SIDE))
    reduced = np.asarray(Image.fromarray(view).reduce(factor))
    width = max(1.0, _WIDTH * min(reduced.shape[:2]) / _SIDE)
    labels = _cut(reduced, width, aim)
    while labels.max() >= most:
        width *= _WIDER
        labels = _cut(reduced, width, aim)
    if labels.max() == 0:
        raise ValueError(
            f"The picture of {view.shape[1]} x {view.shape[0]} pixels is a single region, so there is nothing "
            "to rank. Choose a larger or more varied picture."
        )
    enlarged = labels.repeat(factor, 0).repeat(factor, 1)
    return enlarged[: view.shape[0], : view.shape[1]]


def _cut(view: NDArray[np.uint8], width: float, aim: int) -> NDArray[np.int64]:
    """Link the pixels once, and cut the longest links."""
    _, tree, length = quickshift(view, kernel_size=width, max_dist=np.inf, ratio=_COLOUR, return_tree=True, rng=0)
    parents, lengths = np.asarray(tree, dtype=np.int64).ravel(), np.asarray(length).ravel()
    if lengths.size > aim:
        longest = np.argsort(-lengths, kind="stable")[:aim]  # ties in a fixed order
        parents[longest] = longest
    while True:  # each pixel points at its parent's parent, until all point at their root
        roots = parents[parents]
        if np.array_equal(roots, parents):
            return np.unique(roots, return_inverse=True)[1].reshape(view.shape[:2])
        parents = roots


def segment_means(maps: Tensor, labels: NDArray[np.int64]) -> Tensor:
    """The mean of each map in each segment: maps (B, H, W), labels (H, W) with values 0 to m - 1 -> float32 (B, m)."""
    short = labels.astype(np.min_scalar_type(labels.max()))  # small integers get a radix sort
    order = torch.from_numpy(np.argsort(short, axis=None, kind="stable")).to(maps.device)
    sizes = torch.from_numpy(np.bincount(labels.ravel())).to(maps.device)
    sorted_ = maps.float().flatten(1)[:, order]
    return torch.segment_reduce(sorted_, "mean", lengths=sizes.expand(len(maps), -1).contiguous(), axis=1, unsafe=True)
