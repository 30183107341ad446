"""What all maps have in common: the input's resolution, and values from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

# Differences below this share of a map's largest value are rounding, not structure.
_FLAT = 1e-6
# How far outside [0, 1] a value can lie and still count as rounding.
_ROUNDING = 1e-6
# A maximum between this and 255 suggests 8-bit grey levels.
_BYTES_FROM = 10


def require_unit_range(*groups: Tensor) -> None:
    """Raise a ValueError unless all maps lie in [0, 1].

    Maps with NaN or infinite values pass; callers handle those themselves. All groups are checked with one device
    synchronisation, and a second one if a value is outside.

    Args:
        groups: real tensors (..., H, W) on one device.

    Raises:
        ValueError: a map leaves [0, 1] by more than 1e-6; the message says how to fix it.
    """
    groups = tuple(maps.detach() for maps in groups if maps.numel())
    if not groups:
        return
    # The ends of all values are found far sooner than those of each map, which only NaN and infinities need.
    ends_of_all = torch.stack([end for maps in groups for end in torch.aminmax(maps)]).tolist()
    if all(-_ROUNDING <= end <= 1 + _ROUNDING for end in ends_of_all):
        return
    ends = [torch.aminmax(maps.flatten(-2), dim=-1) for maps in groups]
    lows, highs = (torch.cat([end.flatten() for end in side]) for side in zip(*ends, strict=True))
    finite = torch.isfinite(lows) & torch.isfinite(highs)
    low, high = torch.stack([lows.where(finite, 0).amin(), highs.where(finite, 0).amax()]).tolist()
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(f"maps must lie in [0, 1], got values from {low:.4g} to {high:.4g}: {_remedy(low, high)}")


def _remedy(low: float, high: float) -> str:
    """Say how to bring maps with values from `low` to `high` into [0, 1]."""
    if low < -_ROUNDING:
        return "some values are negative, so apply ReLU and normalise"
    if _BYTES_FROM < high <= 255:
        return "this looks like a 0-255 heat map: divide it by 255"
    return "normalise each map, for instance with (map - min) / (max - min)"


def as_float64(values: Tensor) -> Tensor:
    """Values as float64; on the CPU if their device has no such numbers (MPS)."""
    return values.cpu().double() if values.device.type == "mps" else values.double()


def normalise(maps: Tensor) -> Tensor:
    """Stretch each map to [0, 1]: (map - min) / (max - min) over its last two dimensions.

    A map that is constant, or has NaN or infinite values, becomes zeros.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low  # NaN or infinite if any value is
    shows = (span < torch.inf) & (span > _FLAT * torch.maximum(high, -low))
    scaled = (maps - low).div_(torch.where(shows, span, torch.inf))
    # On a CPU, checking the flags saves a pass over the maps; on a GPU it would force a synchronisation.
    if scaled.device.type == "cpu" and bool(shows.all()):
        return scaled
    return torch.where(shows, scaled, 0.0)


def stretched(maps: Tensor) -> Tensor:
    """`normalise` maps, except those of all ones: that is the uniform baseline."""
    ones = (maps.amin((-2, -1), keepdim=True) == 1) & (maps.amax((-2, -1), keepdim=True) == 1)
    return torch.where(ones, 1.0, normalise(maps))


def gaussian(reach: int, sigma: float) -> Tensor:
    """The weights of a Gaussian of `sigma` pixels, cut off at `reach` on either side: float64, their sum is 1."""
    weights = (-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2).exp()
    return weights / weights.sum()


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps (..., h, w) bilinearly, with half-pixel centres: (..., H, W) for a `size` of (H, W).

    Uses two matrix products, which take two thirds of the time of PyTorch's function. NaN and infinities spread.
    """
    (height, width), (h, w) = size, maps.shape[-2:]
    return _weights(h, height, maps.device).mT @ maps @ _weights(w, width, maps.device)


@lru_cache(maxsize=64)
def _weights(count: int, wanted: int, device: torch.device) -> Tensor:
    """The weight of each of `count` input places in each of `wanted` output places: (count, wanted)."""
    with torch.inference_mode(False):  # cached, and gradients may use them next
        impulses = torch.eye(count, device=device)[None]
        return F.interpolate(impulses, size=wanted, mode="linear", align_corners=False)[0]
