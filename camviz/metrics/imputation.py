"""Noisy linear imputation: fill removed pixels from the remaining ones around them (Rong et al., 2202.00449).

All planes (a channel of a picture under a mask) are solved together on the images' device, by conjugate gradients
preconditioned with a multigrid cycle. A plane is one channel of a channels-last tensor (1, planes, H, W): of all
layouts tried, the one with fast stencils on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from camviz.network.batching import in_chunks

# Standard deviation of the noise added to imputed pixels, in normalised units.
NOISE = 0.01
# Root mean square error over the removed pixels, in the images' units.
TOLERANCE = 1e-3

_STENCIL = ((1.0, 2.0, 1.0), (2.0, 0.0, 2.0), (1.0, 2.0, 1.0))  # twelfths; whole numbers keep sums exact
_BUMP = tuple(tuple(a * b for b in (0.25, 0.75, 0.75, 0.25)) for a in (0.25, 0.75, 0.75, 0.25))
# Maximum length of the solver's last step, in tolerances: on all masks tried, the error after a step was at most 0.4 of
# the step's length.
_LAST_STEP = 1.0
_PAUSE = 5.0  # once steps are shorter than this, the residual is recomputed, against rounding errors
_ROUNDS = 50  # at most, between two pauses
_REPEATS = 10  # at most, of pauses
_PLANES = {"cpu": 24, "mps": 512, "cuda": 4096}  # at once: on a CPU, as many as fit its cache
# Rounds between two checks of the step length: on a GPU, a check makes the CPU wait for all its work.
_ROUNDS_PER_CHECK = {"cpu": 1}
_ROUNDS_PER_CHECK_ELSEWHERE = 4


def impute(
    images: Tensor, removed: Tensor, tolerance: float = TOLERANCE, on_step: Callable[[], object] = lambda: None
) -> Tensor:
    """Replace each removed pixel by the weighted mean of its eight neighbours, all solved at once.

    Straight neighbours weigh 1/6, diagonal ones 1/12, renormalised at the border. A picture with every pixel removed
    becomes 0.

    Args:
        images: float (N, C, H, W).
        removed: bool (N, H, W).
        tolerance: how far the result may be from the exact solution, as the root mean square over a picture's removed
            pixels. Values far below 1e-4 need float64 images.
        on_step: called after each step of the solver; an exception from it stops the work.

    Returns:
        (N, C, H, W), of the images' type (half precision is computed in float32) and on their device, without the
        noise that ROAD adds (`NOISE`).

    Raises:
        ValueError: wrong shapes, or a tolerance that is not positive.
    """
    if images.ndim != 4 or removed.shape != (len(images), *images.shape[2:]) or removed.dtype != torch.bool:
        raise ValueError(
            f"images must be (N, C, H, W) and removed bool (N, H, W), got {(*images.shape,)} and {(*removed.shape,)}, "
            f"{removed.dtype}"
        )
    if not tolerance > 0:
        raise ValueError(f"the tolerance must be positive, got {tolerance}")
    known = images.detach().to(torch.promote_types(images.dtype, torch.float32))
    nothing_left = removed.flatten(1).all(1)[:, None, None]
    known = torch.where((removed | nothing_left)[:, None], 0, known)
    planes = known.flatten(0, 1)[None]
    masks = (removed & ~nothing_left)[:, None].expand(known.shape).flatten(0, 1)[None]
    parts = in_chunks(
        lambda part: _solve(planes[:, part], masks[:, part], tolerance, on_step),
        planes.shape[1],
        _PLANES[images.device.type],
    )
    return torch.cat([solved for _, solved in parts], 1)[0].unflatten(0, images.shape[:2]).to(images.dtype)


@dataclass(frozen=True)
class _Grid:
    """A grid of cells; each tensor (1, planes, h, w), channels last.

    Attributes:
        unknown: 1 where a cell's value is unknown, else 0.
        pull: 0 where the value is known, else the sum of the neighbours' weights, which is less at the border.
        mean: 0 where the value is known, else 1 / (pull + own).
        own: the weight of a cell's own value in smoothing: positive along a line, where even and odd cells would
            otherwise swap values forever; 0 in a plane, where diagonal neighbours prevent that.
    """

    unknown: Tensor
    pull: Tensor
    mean: Tensor
    own: float

    @classmethod
    def of(cls, unknown: Tensor) -> _Grid:
        """Compute the weights of a grid's cells."""
        weights = _neighbours(_last(torch.ones_like(unknown[:, :1])))
        own = 2.0 if min(unknown.shape[-2:]) == 1 else 0.0
        return cls(unknown, unknown * weights, unknown / (weights + own).clamp_min(1), own)

    def pulled(self, values: Tensor) -> Tensor:
        """The pull of the neighbours on each unknown cell: the weighted sum of their differences to it; 0 elsewhere."""
        return _neighbours(values).mul_(self.unknown).addcmul_(self.pull, values, value=-1)

    def smoothed(self, values: Tensor, right: Tensor) -> Tensor:
        """Set each unknown cell from its neighbours' old values (Jacobi); values are 0 where known."""
        return _neighbours(values).add_(right).add_(values, alpha=self.own).mul_(self.mean)


def _solve(planes: Tensor, removed: Tensor, tolerance: float, on_step: Callable[[], object]) -> Tensor:
    """Fill planes (1, planes, H, W) where `removed`, bool (1, planes, H, W), is true."""
    grids = _hierarchy(_last(removed.to(planes.dtype)))
    if not grids:
        return planes
    known = 1 - grids[0].unknown
    # Relative to their mean, so that rounding stays small where one pixel determines thousands.
    mean = (planes * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
    filled = _filled(_last(planes - mean), grids)
    for _ in range(_REPEATS):
        residual = _pulled_finely(filled).mul_(grids[0].unknown)
        correction, first_step = _correct(residual, grids, _PAUSE * tolerance, on_step)
        filled += correction
        if first_step <= _LAST_STEP * tolerance:
            break
    return torch.where(removed, filled + mean, planes)


def _correct(right: Tensor, grids: list[_Grid], enough: float, on_step: Callable[[], object]) -> tuple[Tensor, float]:
    """Solve for the correction that removes a residual, by conjugate gradients, until steps are short enough.

    Returns:
        the correction, and the longest first step of any plane, as root mean square.
    """
    grid = grids[0]
    correction = torch.zeros_like(right)
    count = grid.unknown.sum((2, 3), keepdim=True).clamp_min(1)
    direction, slope = right, None
    per_check = _ROUNDS_PER_CHECK.get(right.device.type, _ROUNDS_PER_CHECK_ELSEWHERE)
    steps: list[Tensor] = []
    first = last = math.inf
    while len(steps) < _ROUNDS and last > enough:
        guess = _cycle(right, grids)
        now = (right * guess).sum((2, 3), keepdim=True)
        direction = guess if slope is None else torch.addcmul(guess, direction, _ratio(now, slope))
        slope = now
        pull = grid.pulled(direction)
        length = _ratio(now, -(direction * pull).sum((2, 3), keepdim=True))
        correction.addcmul_(direction, length)
        right.addcmul_(pull, length)
        step = length.abs() * torch.linalg.vector_norm(direction, dim=(2, 3), keepdim=True) / count.sqrt()
        steps.append(step.max())
        if len(steps) % per_check == 0 or len(steps) == _ROUNDS:
            first, last = torch.stack([steps[0], steps[-1]]).tolist()
        on_step()
    return correction, first


def _hierarchy(unknown: Tensor) -> list[_Grid]:
    """The grid and ever coarser ones with unknown cells; a coarse cell is unknown if all the cells it covers are."""
    levels = [unknown]
    while unknown.numel() and max(levels[-1].shape[-2:]) > 1:
        levels.append(_last(-F.max_pool2d(-levels[-1], 2, ceil_mode=True)))
    depth = sum(torch.stack([level.any() for level in levels]).tolist())
    return [_Grid.of(level) for level in levels[:depth]]


def _filled(planes: Tensor, grids: list[_Grid]) -> Tensor:
    """Fill roughly: average known cells onto coarser grids until all cells are known, then interpolate back."""
    pyramid = [planes]
    for grid in grids:
        known = 1 - grid.unknown
        share = F.avg_pool2d(known, 2, ceil_mode=True)
        pyramid.append(F.avg_pool2d(pyramid[-1] * known, 2, ceil_mode=True) / share.clamp_min(0.25))
    filled = pyramid.pop()
    for grid, values in zip(grids[::-1], pyramid[::-1], strict=True):
        filled = torch.lerp(values, _finer(filled, values.shape), grid.unknown)
    return filled


def _cycle(right: Tensor, grids: list[_Grid]) -> Tensor:
    """Solve roughly, by a multigrid cycle: smooth, correct on the next coarser grid, smooth."""
    grid, *coarser = grids
    values = grid.smoothed(right * grid.mean, right)
    if coarser:
        residual = _coarser(grid.pulled(values).add_(right)).mul_(coarser[0].unknown)
        if min(values.shape[-2:]) == 1:  # along a line, half as many neighbours pull as in a plane
            residual.mul_(2)
        values.addcmul_(_finer(_cycle(residual, coarser), values.shape), grid.unknown)
    return grid.smoothed(grid.smoothed(values, right), right)


def _neighbours(values: Tensor) -> Tensor:
    """The weighted sum of each cell's neighbours, up to eight."""
    kernel = _kernel(_STENCIL, values.dtype, values.device).expand(values.shape[1], 1, 3, 3)
    return F.conv2d(values, kernel, padding=1, groups=values.shape[1])


@lru_cache(maxsize=16)
def _kernel(rows: tuple[tuple[float, ...], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A small matrix on a device; cached, as copying it there takes longer than using it."""
    with torch.inference_mode(False):
        return torch.tensor(rows, dtype=dtype, device=device)


def _pulled_finely(values: Tensor) -> Tensor:
    """`_Grid.pulled` for every cell, computed from differences, which round less where values are similar.

    This matters in large holes, where a residual's error is multiplied by up to 1e4.
    """
    pulled = torch.zeros_like(values)
    height, width = values.shape[-2:]
    for down, right, weight in ((0, 1, 2.0), (1, 0, 2.0), (1, 1, 1.0), (1, -1, 1.0)):
        near = (..., slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        far = (..., slice(down, height), slice(max(0, right), width - max(0, -right)))
        difference = values[far] - values[near]
        pulled[near].add_(difference, alpha=weight)
        pulled[far].sub_(difference, alpha=weight)
    return pulled


def _finer(values: Tensor, shape: torch.Size) -> Tensor:
    """Double the grid, bilinearly, and cut it to a shape."""
    height, width = shape[-2:]
    sides = 2 * values.shape[-2], 2 * values.shape[-1]
    return F.interpolate(values, size=sides, mode="bilinear")[..., :height, :width]


def _coarser(values: Tensor) -> Tensor:
    """Halve the grid by the adjoint of `_finer`, as conjugate gradients require."""
    height, width = values.shape[-2:]
    even = F.pad(values, (0, width % 2, 0, height % 2))
    kernel = _kernel(_BUMP, values.dtype, values.device).expand(values.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(even, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=values.shape[1])


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, with 0 / 0 = 0."""
    return torch.where(denominator == 0, 0.0, numerator / denominator)


def _last(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last)
