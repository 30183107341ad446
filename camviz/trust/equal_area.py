"""Maps with equal areas: the order of their pixels stays, their values are replaced by one fixed profile."""

from __future__ import annotations

import torch
from torch import Tensor

from camviz.metrics.road import drawn_orders

# The profile: at rank r of n, counted from the coldest, ((r + 1/2) / n) ** POWER; its mean is 1 / (POWER + 1).
POWER = 4


def equal_area(maps: Tensor, seed: int = 0) -> Tensor:
    """Replace each map's values by a fixed profile of quantiles, so that no map is smaller than another.

    What depends on the order of the pixels alone (best IoU, AUC, which pixels ROAD removes) does not change but for
    pixels of equal value, whose order is drawn, in the same way for every map.

    Args:
        maps: (..., H, W).
        seed: seed of the order of pixels of equal value.

    Returns:
        float32 (..., H, W) in [0, 1], with a mean of 1/5.
    """
    values = maps.float().flatten(-2)
    count = values.shape[-1]
    drawn = drawn_orders(seed, 1, count)[0].to(values.device)
    places = drawn[values[..., drawn].sort(dim=-1, stable=True).indices]
    profile = ((torch.arange(count, device=values.device) + 0.5) / count) ** POWER
    profile = profile / profile[-1]
    return torch.empty_like(values).scatter_(-1, places, profile.expand_as(values)).view(maps.shape)
