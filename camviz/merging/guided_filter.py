"""The guided filter: smooths a map, but keeps to the edges of a picture."""

from __future__ import annotations

import torch
from torch import Tensor

from camviz.maps import as_float64


def guided_filter(maps: Tensor, guides: Tensor, radius: int, epsilon: float) -> Tensor:
    """Filter maps so that each is, in every window, the best linear function of the picture's colours.

    Windows are squares of 2 * radius + 1 pixels a side; at the border, only the part inside the picture counts.

    Source: He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, equations 14 to 16 and 19 to 21 (colour guide).

    Args:
        maps: float (N, H, W).
        guides: float (N, 3, H, W), the pictures, in [0, 1].
        radius: of a window, in pixels.
        epsilon: how much contrast counts as an edge: regularises the colours' covariance.

    Returns:
        (N, H, W), of the type of the maps, on their device.
    """
    like, maps, guides = maps, as_float64(maps)[:, None], as_float64(guides)
    pairs = guides[:, :, None] * guides[:, None]  # (N, 3, 3, H, W)
    mean_guide, mean_map = _box_mean(guides, radius), _box_mean(maps, radius)
    together = _box_mean(guides * maps, radius) - mean_guide * mean_map
    spread = _box_mean(pairs.flatten(1, 2), radius).view_as(pairs) - mean_guide[:, :, None] * mean_guide[:, None]
    regular = spread.permute(0, 3, 4, 1, 2) + epsilon * torch.eye(3, dtype=spread.dtype, device=spread.device)
    slope = torch.linalg.solve(regular, together.permute(0, 2, 3, 1)[..., None])[..., 0].permute(0, 3, 1, 2)
    offset = mean_map - (slope * mean_guide).sum(1, keepdim=True)
    filtered = (_box_mean(slope, radius) * guides).sum(1) + _box_mean(offset, radius)[:, 0]
    return filtered.to(like)


def _box_mean(values: Tensor, radius: int) -> Tensor:
    """The mean over the window around each pixel, cut at the border: float64 (N, C, H, W)."""
    for axis in (-2, -1):
        values = _means_along(values, radius, axis)
    return values


def _means_along(values: Tensor, radius: int, axis: int) -> Tensor:
    length = values.shape[axis]
    places = torch.arange(length, device=values.device)
    low, high = (places - radius).clamp(min=0), (places + radius + 1).clamp(max=length)
    first = torch.zeros_like(values.narrow(axis, 0, 1))
    sums = torch.cat([first, values.cumsum(axis)], axis)
    counts = (high - low).to(values)
    shape = (-1, 1) if axis == -2 else (-1,)
    return (sums.index_select(axis, high) - sums.index_select(axis, low)) / counts.view(shape)
