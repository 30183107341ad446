"""The outlines of masks, drawn over maps: SVG data URIs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from camviz.results.finding import KnownShape, shape_to_show


def shapes_uri(shapes: Sequence[KnownShape], label: str) -> str:
    """The outlines of all shapes in a picture, dashed except for the one that a map of this class should show.

    "" if no shape is known, or the shape is out of view.
    """
    shown = shape_to_show(shapes, label)
    if shown is None or not shown.mask.any():
        return ""
    outlines = "".join(outline_path(shape.mask, dashed=shape is not shown) for shape in shapes)
    return svg_uri(outlines, shown.mask.shape)


def outline_path(mask: NDArray[np.bool_], dashed: bool = False) -> str:
    """The outline of a mask (h, w) as SVG paths, light on dark so that it is visible on every map."""
    d = _traced(mask.tobytes(), mask.shape)
    dash = " stroke-dasharray='4 3'" if dashed else ""
    return "".join(
        f"<path d='{d}' fill='none' stroke='{colour}' stroke-width='{width}' vector-effect='non-scaling-stroke'{dash}/>"
        for colour, width in (("#000", 3), ("#fff", 1.4))
    )


@lru_cache(maxsize=64)
def _traced(pixels: bytes, shape: tuple[int, int]) -> str:
    """The outline of a mask as an SVG path; a page needs the same one many times."""
    from skimage.measure import approximate_polygon, find_contours  # slow to import

    mask = np.frombuffer(pixels, np.bool_).reshape(shape)
    rings = find_contours(np.pad(mask, 1).astype(float), 0.5)
    # Contours run through pixel centres of the padded mask, (row, column): half a pixel from its corner.
    smooth: list[NDArray[np.float64]] = [approximate_polygon(ring - 0.5, 0.4) for ring in rings]
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in ring) + "Z" for ring in smooth)


def svg_uri(body: str, size: tuple[int, ...]) -> str:
    """An SVG as a data URI, in the coordinates of a picture (h, w)."""
    text = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {size[1]} {size[0]}'>{body}</svg>"
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
