"""What every map has in common: values from 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor

# Differences below this share of a map's largest value are rounding, not structure.
_FLAT = 1e-6


def normalise(maps: Tensor) -> Tensor:
    """Stretch each map to [0, 1]: (map - min) / (max - min) over its last two dimensions.

    A constant map, and one that holds NaN or an infinity, becomes zeros.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low  # NaN or infinite if any value is
    finite = torch.isfinite(span)
    shows = finite & (span > _FLAT * torch.maximum(high.abs(), low.abs()))
    stretched = (maps - low).div_(torch.where(shows, span, torch.inf))
    return stretched if bool(finite.all()) else torch.where(shows, stretched, 0.0)
