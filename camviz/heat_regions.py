"""Where a map is hottest: outlines, boxes and centres of the regions that its hottest pixels form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from camviz.maps import require_unit_range

# The shares that the viewer, the report and the CSV file offer.
SHARES = (0.05, 0.1, 0.2)

Box = tuple[int, int, int, int]
Place = tuple[float, float]
Outline = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class HotRegion:
    """A connected region of the hottest pixels, which touch by a side or a corner.

    Coordinates are pixel indices, x to the right and y down; (0, 0) is the centre of the top left pixel.

    Attributes:
        contour: int (n, 2), the corners (x, y) of a polygon along the region's outermost pixels, which it includes.
        holes: a contour for each hole in the region, along the region's pixels around the hole.
        box: x, y, width and height of the smallest box around the region, in pixels.
        pixels: the number of pixels.
        area: their share of the map.
        centre: (x, y), the mean position of the pixels, weighted by heat.
    """

    contour: Outline = field(repr=False)
    holes: tuple[Outline, ...] = field(repr=False)
    box: Box
    pixels: int
    area: float
    centre: Place


@dataclass(frozen=True, eq=False)
class Hotspots:
    """The hottest share of a map's pixels.

    Attributes:
        share: the requested share.
        area: the share covered: larger if pixels tie at the threshold, smaller if too few are above 0.
        pixels: the number of pixels covered.
        threshold: the lowest value among them; NaN for a blank map.
        centre: (x, y) of all of them, weighted by heat; NaN for a blank map.
        regions: the regions they form, largest first.
        note: "", or why `area` differs from `share`.
    """

    share: float
    area: float
    pixels: int
    threshold: float
    centre: Place
    regions: tuple[HotRegion, ...]
    note: str

    @property
    def contours(self) -> tuple[Outline, ...]:
        """Each region's outer contour, int (n, 2)."""
        return tuple(region.contour for region in self.regions)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Each region's x, y, width and height."""
        return tuple(region.box for region in self.regions)


def hotspots(map_: Tensor | ArrayLike, share: float) -> Hotspots:
    """Find the hottest share of a map's pixels and the regions that they form.

    With n = share * H * W, rounded to a whole number and at least 1, these are the pixels at least as hot as the n-th
    hottest. Pixels that tie with it are included; pixels at 0 never are.

    Args:
        map_: (H, W) in [0, 1], a tensor on any device or an array.
        share: above 0 and at most 1: 0.05 is the hottest 5 %.

    Returns:
        the regions. A blank map has none, and a constant map above 0 is a single region; a note says so.

    Raises:
        ValueError: a map that is not (H, W), not finite or not within [0, 1], or a share outside (0, 1].
    """
    values, share = _checked_map(map_), _checked_share(share)
    if not (values > 0).any():
        return Hotspots(share, 0.0, 0, math.nan, (math.nan, math.nan), (), "the map is blank: no pixel is above 0")
    count = max(1, math.floor(share * values.size + 0.5))
    threshold = np.partition(values, values.size - count, axis=None)[values.size - count]
    hot = (values >= threshold) & (values > 0)
    pixels = int(hot.sum())
    regions, centre = _regions(hot, values)
    return Hotspots(
        share, pixels / values.size, pixels, float(values[hot].min()), centre, regions, _note(values, pixels, count)
    )


def _checked_map(map_: Tensor | ArrayLike) -> NDArray[Any]:
    tensor = map_.detach().cpu() if isinstance(map_, Tensor) else torch.from_numpy(np.array(map_))
    if tensor.ndim != 2 or not tensor.numel() or tensor.is_complex():
        raise ValueError(f"the map must be (H, W) and real, got {tensor.dtype} {tuple(tensor.shape)}")
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError("the map has NaN or infinite values, so its hottest pixels are undefined")
    require_unit_range(tensor)
    return tensor.numpy() if tensor.dtype in (torch.float32, torch.float64) else tensor.float().numpy()


def _checked_share(share: Any) -> float:  # noqa: ANN401
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < float(share) <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share!r}: 0.05 is the hottest 5 %")
    return float(share)


def _regions(hot: NDArray[np.bool_], values: NDArray[Any]) -> tuple[tuple[HotRegion, ...], Place]:
    """The connected regions of the hot pixels (H, W), largest first, and the centre of all of them."""
    import cv2  # takes about 0.1 s, which `import camviz` should not

    mask = hot.astype(np.uint8)
    count, labelled, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    labels = np.asarray(labelled, np.int32)
    outlines, holes = _outlines(mask, labels, count)
    rows, columns = np.nonzero(hot)
    heat, pixel_labels = values[hot].astype(np.float64), labels[hot]
    totals, x, y = (np.bincount(pixel_labels, heat * weight, count) for weight in (1, columns, rows))
    regions = [
        HotRegion(
            outlines[label],
            tuple(holes[label]),
            (int(left), int(top), int(width), int(height)),
            int(pixels),
            int(pixels) / hot.size,
            (float(x[label] / totals[label]), float(y[label] / totals[label])),
        )
        for label, (left, top, width, height, pixels) in enumerate(stats)
        if label > 0  # 0 is the rest of the map
    ]
    regions.sort(key=lambda region: -region.pixels)
    return tuple(regions), (float(x.sum() / totals.sum()), float(y.sum() / totals.sum()))


def _outlines(
    mask: NDArray[np.uint8], labels: NDArray[np.int32], count: int
) -> tuple[dict[int, Outline], list[list[Outline]]]:
    """Each label's outer contour and those of its holes; a contour runs along the region's own pixels."""
    import cv2

    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer: dict[int, Outline] = {}
    holes: list[list[Outline]] = [[] for _ in range(count)]
    for contour, (*_, parent) in zip(contours, hierarchy[0], strict=True):
        points = np.asarray(contour, np.int32).reshape(-1, 2)
        label = int(labels[points[0, 1], points[0, 0]])
        if parent < 0:
            outer[label] = points
        else:
            holes[label].append(points)
    return outer, holes


def _note(values: NDArray[Any], pixels: int, wanted: int) -> str:
    """Say why more or fewer pixels are covered than wanted."""
    if pixels == wanted:
        return ""
    if pixels < wanted:
        return f"only {_percent(pixels / values.size)} of the pixels are above 0"
    if pixels == values.size and values.min() == values.max():
        return "the map is the same everywhere, so no part is hotter than the rest"
    return f"pixels of equal value stay together: {_percent(pixels / values.size)} are covered"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
