"""Textured shapes: a shape and its background differ in texture, not in mean colour.

Edges inside and outside are as strong as the outline, so edges alone do not show where the shape is. As in
`backgrounds`, only operations that give the same bits on every machine. For the same reason there are no photographs:
their files and decoders change, and the splits would share them. `_marble` has details of every size instead.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from camviz.shapes.backgrounds import SIZE, Field, Pixels, fractal
from camviz.shapes.figures import unit_vector

# Widths in pixels of a texture's details, (from, to): a small frame's line, 4 pixels wide, must show some of them.
GRAINS = {"large": (2, 3.5), "medium": (2, 3), "small": (2, 2.5)}
STRENGTH = (80, 105)  # how far a texture's colours lie from their mean, in RGB from 0 to 255
OFF_GREY = 32  # how far the mean colour lies from the middle grey, at most, in each channel
_BRIGHTNESS = np.ones(3) / np.sqrt(3.0)
# From green to red and from blue to yellow, both of them and brightness at right angles.
_HUES = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2.0], [6.0]])

Levels = NDArray[np.uint8]  # (224, 224), from one end of a colour axis to the other
Colours = NDArray[np.int64]


def texture_pair(rng: RandomState, band: str, cover: Field) -> tuple[Pixels, Pixels, Pixels]:
    """Draw a texture for the background and another one for a shape.

    Both are of the same kind (noise, stripes or marble) and vary around the same mean colour, one in brightness and the
    other in hue. Stripes also differ in direction.

    Args:
        rng: source of random numbers.
        band: the shape's size band.
        cover: the share of each pixel (224, 224) that the shape covers.

    Returns:
        Background and shape, uint8 (224, 224, 3), and their mean colour, uint8 (3,).
    """
    low, high = GRAINS[band]
    grain = low + (high - low) * rng.random_sample()
    outside, inside = (_noise, _stripes, _marble)[rng.randint(3)](rng, grain)
    first, second = _axes(rng)
    mean = rng.randint(128 - OFF_GREY, 128 + OFF_GREY, 3)
    mask = cover >= 0.5
    return (
        _coloured(outside, ~mask, mean, first),
        _coloured(inside, mask, mean, second),
        mean.astype(np.uint8),
    )


def _axes(rng: RandomState) -> Colours:
    """Two directions in colour space (2, 3) at right angles, in random order: brightness, and a random hue."""
    red, yellow = unit_vector(rng)
    hue = red * _HUES[0] + yellow * _HUES[1]
    axes = np.array([_BRIGHTNESS, hue]) * rng.randint(*STRENGTH, (2, 1))
    return np.floor(axes + 0.5).astype(np.int64)[rng.permutation(2)]


def _coloured(levels: Levels, where: NDArray[np.bool_], mean: Colours, axis: Colours) -> Pixels:
    """Colour levels (224, 224) so that their mean over some pixels is the mean colour."""
    count = int(np.count_nonzero(where))
    total = int(levels[where].sum(dtype=np.int64))  # of integers: a sum of floats depends on their order
    centred = np.arange(256)[:, None] * count - total
    return (mean + centred * axis // (128 * count)).clip(0, 255).astype(np.uint8).take(levels, 0)


def _noise(rng: RandomState, grain: float) -> tuple[Levels, Levels]:
    """Grains without direction: white noise, averaged twice over a few pixels."""
    width = int(grain / 2 + 1.5)
    return _grains(rng, width), _grains(rng, width)


def _grains(rng: RandomState, width: int) -> Levels:
    noise = rng.randint(0, 256, (SIZE, SIZE))
    for axis in (0, 1, 0, 1):
        noise = np.sum([np.roll(noise, shift, axis) for shift in range(width)], 0)
    total = width**4
    stronger = 4 * width * (noise - 255 * total // 2) // total  # about three times the contrast of white noise
    return (128 + stronger).clip(0, 255).astype(np.uint8)


def _stripes(rng: RandomState, grain: float) -> tuple[Levels, Levels]:
    """Bent stripes, soft or hard, in directions at least 45 degrees apart."""
    first = unit_vector(rng)
    second = unit_vector(rng)
    while abs(first[0] * second[0] + first[1] * second[1]) > 0.7:
        second = unit_vector(rng)
    place = np.arange(SIZE, dtype=np.float64)
    bend = 1.5 * rng.random_sample() * fractal(rng, 0.55)
    hard = bool(rng.randint(2))
    waves = [
        (across * place[None, :] + down * place[:, None]) / (2 * grain) + bend + rng.random_sample()
        for across, down in (first, second)
    ]
    return _folded(waves[0], hard), _folded(waves[1], hard)


def _marble(rng: RandomState, grain: float) -> tuple[Levels, Levels]:
    """Bands along the level lines of a fractal field: details of every size, as in photographs."""
    field, hard = (26 / grain) * fractal(rng, 0.5), bool(rng.randint(2))
    moved = np.roll(field, rng.randint(SIZE // 4, 3 * SIZE // 4, 2), (0, 1))
    return _folded(field, hard), _folded(moved.T, hard)


def _folded(wave: Field, hard: bool) -> Levels:
    """Levels from 0 to 255 that rise and fall once in every unit of a wave, steeply if hard."""
    wave = 2 * (wave - np.floor(wave))
    wave = np.where(wave > 1, 2 - wave, wave)
    wave = ((4 if hard else 1.5) * (wave - 0.5) + 0.5).clip(0, 1)
    return (255 * wave + 0.5).astype(np.uint8)
