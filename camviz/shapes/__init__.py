"""Synthetic samples with a known correct explanation: a shape on a cluttered background, and its mask.

Based on "How to Evaluate and Refine your CAM", arXiv 2605.14641, with our own shapes, backgrounds and splits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.random import RandomState

from camviz.shapes.backgrounds import SIZE, Pixels, background, fractal
from camviz.shapes.drawn import Sample, Shape, Split, generator
from camviz.shapes.figures import (
    BANDS,
    CLASSES,
    CONTRAST,
    CONTRASTED,
    Figure,
    coverage,
    draw_colour,
    draw_figure,
    paste,
)
from camviz.shapes.tags import Tag, Tagged, add_tag
from camviz.shapes.textures import texture_pair

__all__ = [
    "BANDS",
    "CLASSES",
    "COMPOSED",
    "CONTRAST",
    "CONTRASTED",
    "KINDS",
    "ONE_SHAPE",
    "SIZE",
    "Composed",
    "Sample",
    "Shape",
    "Split",
    "Tag",
    "Tagged",
]

Composed = Literal["two shapes", "distractor", "half hidden"]
COMPOSED: tuple[Composed, ...] = get_args(Composed)

_SINGLE = 0  # 1, 2 and 3 are the composed kinds
_TEXTURED, _TAG = 4, 5


def sample(index: int, split: Split = "test") -> Sample:
    """Draw the sample with this index, reproducible bit for bit.

    Classes and size bands alternate: `index % 6` is the class, `index // 6 % 3` the band (large, medium, small).

    Args:
        index: from 0 to 2**31 - 1.
        split: "train", "val" or "test", which share no samples.

    Raises:
        ValueError: an invalid index or split.
    """
    index = operator.index(index)
    rng = generator(index, split, _SINGLE)
    label, band = class_and_band(index)
    under = background(rng)
    shape = _draw_shape(rng, draw_figure(rng, label, band), band, under)
    return _composed(under, under, shape)


def textured(index: int, split: Split = "test") -> Sample:
    """Draw a textured sample: a shape that differs from its background in texture, not in mean colour.

    Inside and outside there are edges as strong as the outline. Classes, size bands, arguments and errors are those of
    `sample`; the shape's `colour` is the mean colour of both textures.
    """
    index = operator.index(index)
    rng = generator(index, split, _TEXTURED)
    label, band = class_and_band(index)
    figure = draw_figure(rng, label, band)
    cover = coverage(figure)
    under, texture, mean = texture_pair(rng, band, cover)
    return _composed(under, under, Shape(label, band, figure.size, mean, cover, texture))


def tagged(index: int, split: Split = "test") -> Tagged:
    """Draw `sample(index, split)` with a tag in a corner that tells the shape's class.

    `Tagged.swapped` gives it the tag of another class. Arguments and errors are those of `sample`.
    """
    index = operator.index(index)
    return add_tag(generator(index, split, _TAG), sample(index, split))


def mistagged(index: int, split: Split = "test") -> Tagged:
    """Draw `tagged(index, split)` with the tag of another class: is it the shape that a network sees, or the tag?

    Each of the five other classes has its turn. Arguments and errors are those of `sample`.
    """
    own = tagged(index, split)
    return own.swapped((own.label + 1 + index // len(CLASSES) % (len(CLASSES) - 1)) % len(CLASSES))


def class_and_band(index: int) -> tuple[int, str]:
    """The class and the size band of a single shape."""
    return index % len(CLASSES), tuple(BANDS)[index // len(CLASSES) % len(BANDS)]


def composed(kind: Composed, index: int, split: Split = "test") -> Sample:
    """Draw a teaching sample, with something next to the shape or in front of it.

    Args:
        kind: "two shapes" of different classes; a shape and a "distractor", a ragged patch of the same colour; or a
            shape "half hidden" behind something.
        index: from 0 to 2**31 - 1; `index % 6` is the class of the first shape.
        split: "train", "val" or "test".

    Raises:
        ValueError: an invalid kind, index or split.
    """
    if kind not in COMPOSED:
        raise ValueError(f"unknown kind {kind!r}; choose from {', '.join(map(repr, COMPOSED))}")
    index = operator.index(index)
    return _COMPOSE[kind](generator(index, split, 1 + COMPOSED.index(kind)), index % len(CLASSES))


def _draw_shape(rng: RandomState, figure: Figure, band: str, image: Pixels) -> Shape:
    return Shape(figure.label, band, figure.size, draw_colour(rng, figure, image), coverage(figure))


def _composed(image: Pixels, under: Pixels, *shapes: Shape) -> Sample:
    return Sample(Sample(image, under, shapes).on(image), under, shapes)


def _halves(rng: RandomState) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """Two halves of the picture, left and right or top and bottom, in random order."""
    middle, end = SIZE / 2, float(SIZE)
    halves = [(0.0, 0.0, middle, end), (middle, 0.0, end, end)]
    if rng.randint(2):
        halves = [(0.0, 0.0, end, middle), (0.0, middle, end, end)]
    first = rng.randint(2)
    return halves[first], halves[1 - first]


def _two_shapes(rng: RandomState, label: int) -> Sample:
    under = background(rng)
    other = (label + rng.randint(1, len(CLASSES))) % len(CLASSES)
    figures = [draw_figure(rng, kind, "medium", half) for kind, half in zip((label, other), _halves(rng), strict=True)]
    return _composed(under, under, *(_draw_shape(rng, figure, "medium", under) for figure in figures))


def _distractor(rng: RandomState, label: int) -> Sample:
    under = background(rng)
    own, others = _halves(rng)
    shape = _draw_shape(rng, draw_figure(rng, label, "medium", own), "medium", under)
    place = draw_figure(rng, 1, "medium", others)  # a square, only for the patch's position and rotation
    x, y = np.arange(SIZE)[None, :] + 0.5 - place.x, np.arange(SIZE)[:, None] + 0.5 - place.y
    (ax, ay), (bx, by) = place.normals[:2]
    along, across = (ax * x + ay * y) / place.size, 2.5 * (bx * x + by * y) / place.size
    smear = np.sqrt(along * along + across * across) < 0.2 + 0.8 * fractal(rng, 0.7)
    rows, columns = slice(int(others[1]) + 4, int(others[3]) - 4), slice(int(others[0]) + 4, int(others[2]) - 4)
    patch = np.zeros((SIZE, SIZE))
    patch[rows, columns] = smear[rows, columns]  # it does not touch the shape
    under = paste(under, patch, shape.colour)
    return _composed(under, under, shape)


def _half_hidden(rng: RandomState, label: int) -> Sample:
    under = background(rng)
    band = ("large", "medium")[rng.randint(2)]
    figure = draw_figure(rng, label, band)
    whole = _draw_shape(rng, figure, band, under)
    x, y = np.arange(SIZE)[None, :] + 0.5 - figure.x, np.arange(SIZE)[:, None] + 0.5 - figure.y
    ragged = fractal(rng, 0.7)
    across, down = 2 * rng.random_sample(2) - 1
    depth = (across * x + down * y) / figure.size + 0.3 * ragged
    front = depth >= np.sort(depth[whole.mask])[np.count_nonzero(whole.mask) // 2]
    front &= np.sqrt(x * x + y * y) < figure.size * (0.6 + 0.4 * ragged)
    curtain = np.where(front[..., None], background(rng), under)
    seen = Shape(label, band, figure.size, whole.colour, np.where(front, 0.0, whole.coverage))
    return _composed(curtain, curtain, seen)


_COMPOSE: dict[Composed, Callable[[RandomState, int], Sample]] = {
    "two shapes": _two_shapes,
    "distractor": _distractor,
    "half hidden": _half_hidden,
}
# Every kind of sample: a function of (index, split). Those of one shape alternate between classes and size bands.
ONE_SHAPE: dict[str, Callable[..., Sample]] = {
    "one shape": sample,
    "textured": textured,
    "with a tag": tagged,
    "with a wrong tag": mistagged,
}
KINDS: dict[str, Callable[..., Sample]] = {**ONE_SHAPE, **{kind: partial(composed, kind) for kind in COMPOSED}}
