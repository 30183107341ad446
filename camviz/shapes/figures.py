"""Circles, squares and triangles, solid or as frames: their geometry, and how much of each pixel they cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from camviz.shapes.backgrounds import SIZE, Field, Pixels

CLASSES = ("circle", "square", "triangle", "circle frame", "square frame", "triangle frame")
# Diameter or side in pixels, (from, to).
BANDS = {"large": (80, 100), "medium": (40, 50), "small": (20, 25)}
BORDER = 2  # minimum distance in pixels of a figure from the picture's edge
LINE = 0.2  # line width of a frame, as a share of its size

CONTRAST = 60.0  # Euclidean, in RGB from 0 to 255
CONTRASTED = 0.9  # at least this share of the surrounding pixels differs by CONTRAST
_AROUND = 3.0  # width of the surroundings, in pixels

_SUBPIXELS = 16  # per side of a pixel, where an outline crosses it
_DIAGONAL = 0.7072  # half of a pixel's diagonal, rounded up
# At most 1 in 27 pixels can be close to the best of these: balls of radius CONTRAST around them do not touch.
_LAST_RESORT = np.stack(np.meshgrid(*[[0, 127, 255]] * 3, indexing="ij"), -1).reshape(-1, 3)

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, float(SIZE), float(SIZE))


@dataclass(frozen=True)
class Figure:
    """A figure's geometry, in pixels; a pixel's centre is at its index + 0.5.

    Attributes:
        label: its class, an index into CLASSES.
        size: diameter or side.
        x: centre, from the left.
        y: centre, from the top.
        normals: the normals of the sides, as unit vectors (x, y) in order around the centre; none for a circle.
    """

    label: int
    size: float
    x: float
    y: float
    normals: tuple[tuple[float, float], ...]

    @property
    def reach(self) -> float:
        """The distance of the outline from the centre: the radius, or that of the inscribed circle."""
        return self.size / (2 * float(np.sqrt(3.0))) if len(self.normals) == 3 else self.size / 2

    @property
    def line(self) -> float | None:
        """The width of a frame's line; None for a solid figure."""
        return LINE * self.size if self.label >= 3 else None

    def distance(self, x: Field, y: Field) -> Field:
        """The distance of points from the centre, measured towards the nearest side: `reach` on the outline."""
        x, y = x - self.x, y - self.y
        if not self.normals:
            return np.sqrt(x * x + y * y)
        distance = x * self.normals[0][0] + y * self.normals[0][1]
        for across, down in self.normals[1:]:
            distance = np.maximum(distance, x * across + y * down)
        return distance

    def holds(self, distance: Field) -> NDArray[np.bool_]:
        """Whether points at these distances belong to the figure."""
        inside = distance <= self.reach
        return inside if self.line is None else inside & (distance > self.reach - self.line)

    def near_outline(self, distance: Field, margin: float) -> NDArray[np.bool_]:
        """Whether points at these distances are within a margin of the outline, or of a frame's inner outline."""
        near = abs(distance - self.reach) <= margin
        return near if self.line is None else near | (abs(distance - self.reach + self.line) <= margin)


def draw_figure(rng: RandomState, label: int, band: str, box: Box = WHOLE) -> Figure:
    """Draw a figure's size, rotation and position, entirely inside a box (left, top, right, bottom)."""
    low, high = BANDS[band]
    size = low + (high - low) * rng.random_sample()
    turn = unit_vector(rng)
    normals = tuple((x * turn[0] - y * turn[1], x * turn[1] + y * turn[0]) for x, y in _NORMALS[label % 3])
    centred = Figure(label, size, 0.0, 0.0, normals)
    left, top, right, bottom = _extent(centred)
    x = box[0] + BORDER - left + rng.random_sample() * (box[2] - box[0] - 2 * BORDER - right + left)
    y = box[1] + BORDER - top + rng.random_sample() * (box[3] - box[1] - 2 * BORDER - bottom + top)
    return Figure(label, size, x, y, normals)


def coverage(figure: Figure) -> Field:
    """The share of each pixel (224, 224) that a figure covers, counted on 16 x 16 subpixels."""
    rows, columns, x, y, distance = _surroundings(figure, 1)
    local = figure.holds(distance).astype(np.float64)
    crossed = np.nonzero(figure.near_outline(distance, _DIAGONAL))
    offsets = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    fine = figure.distance(
        x[crossed[1]][:, None, None] + offsets[None, None, :], y[crossed[0]][:, None, None] + offsets[None, :, None]
    )
    local[crossed] = np.count_nonzero(figure.holds(fine), axis=(1, 2)) / _SUBPIXELS**2
    full = np.zeros((SIZE, SIZE))
    full[rows, columns] = local
    return full


def draw_colour(rng: RandomState, figure: Figure, image: Pixels) -> Pixels:
    """Draw a colour (3,) that stands out from the pixels around a figure, outside it and in a frame's hole.

    At least a share CONTRASTED of the pixels within 3 pixels of its outline differ by CONTRAST or more.
    """
    rows, columns, _, _, distance = _surroundings(figure, int(_AROUND) + 1)
    around = figure.near_outline(distance, _DIAGONAL + _AROUND) & ~figure.holds(distance)
    around &= ~figure.near_outline(distance, _DIAGONAL)
    pixels = image[rows, columns][around].astype(np.int64)
    candidates = rng.randint(0, 256, (16, 3))
    share = _contrasting(candidates, pixels)
    if share.max() < CONTRASTED:
        candidates, share = _LAST_RESORT, _contrasting(_LAST_RESORT, pixels)
        return candidates[share.argmax()].astype(np.uint8)
    return candidates[(share >= CONTRASTED).argmax()].astype(np.uint8)


def paste(image: Pixels, cover: Field, fill: Pixels) -> Pixels:
    """Paste a colour (3,) or a texture (224, 224, 3) onto an image (224, 224, 3) in proportion to the coverage."""
    rows, columns = np.nonzero(cover)
    under = image[rows, columns].astype(np.float64)
    fill = fill if fill.ndim == 1 else fill[rows, columns]
    over = under + cover[rows, columns][:, None] * (fill.astype(np.float64) - under)
    out = image.copy()
    out[rows, columns] = np.floor(over + 0.5).astype(np.uint8)
    return out


def _contrasting(colours: NDArray[np.int64], pixels: NDArray[np.int64]) -> Field:
    """The share of pixels (n, 3) that differ from each colour (m, 3) by CONTRAST or more."""
    apart = colours[:, None] - pixels[None]
    far = (apart * apart).sum(-1) >= CONTRAST * CONTRAST
    return np.count_nonzero(far, axis=1) / len(pixels)


def _surroundings(figure: Figure, margin: int) -> tuple[slice, slice, Field, Field, Field]:
    """The rows and columns that a figure can touch, plus a margin; their centres x and y, and the distances there."""
    left, top, right, bottom = _extent(figure)
    rows = slice(max(0, int(top) - margin), min(SIZE, int(bottom) + 1 + margin))
    columns = slice(max(0, int(left) - margin), min(SIZE, int(right) + 1 + margin))
    x, y = (np.arange(part.start, part.stop, dtype=np.float64) + 0.5 for part in (columns, rows))
    return rows, columns, x, y, figure.distance(x[None, :], y[:, None])


def _extent(figure: Figure) -> Box:
    """The smallest box (left, top, right, bottom) around a figure."""
    reach = figure.reach
    if not figure.normals:
        return figure.x - reach, figure.y - reach, figure.x + reach, figure.y + reach
    following = (*figure.normals[1:], figure.normals[0])
    corners = []
    for (ax, ay), (bx, by) in zip(figure.normals, following, strict=True):
        stretch = reach / (1 + ax * bx + ay * by)  # where two sides meet
        corners.append(((ax + bx) * stretch, (ay + by) * stretch))
    x, y = zip(*corners, strict=True)
    return figure.x + min(x), figure.y + min(y), figure.x + max(x), figure.y + max(y)


def unit_vector(rng: RandomState) -> tuple[float, float]:
    """A random direction, computed with square roots only: a point in a disc, projected onto its edge."""
    while True:
        x, y = 2 * rng.random_sample(2) - 1
        square = x * x + y * y
        if 0.01 < square <= 1:
            length = np.sqrt(square)
            return float(x / length), float(y / length)


_HALF_ROOT_3 = float(np.sqrt(3.0)) / 2
_NORMALS: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)),
    ((0.0, 1.0), (-_HALF_ROOT_3, -0.5), (_HALF_ROOT_3, -0.5)),
)
