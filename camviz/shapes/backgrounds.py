"""Cluttered backgrounds without circles, squares or triangles.

Every edge is a level line of a rough random field, a warped stripe, or a wandering stroke: ragged and mostly open.
Uses only integers and + - * / in float64 on a `numpy.random.RandomState`, so that every machine draws the same
pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

SIZE = 224

Pixels = NDArray[np.uint8]
Field = NDArray[np.float64]


def background(rng: RandomState) -> Pixels:
    """Draw a background, uint8 (224, 224, 3): a base texture, patches of other textures, and strokes."""
    fields = [fractal(rng, 0.55 + 0.25 * rng.random_sample()) for _ in range(3)]
    fields += [np.ascontiguousarray(field.T) for field in fields]
    base = (_clouds, _flats, _stripes)[rng.randint(3)]
    image = base(rng, fields)
    for _ in range(rng.randint(2, 6)):
        inside = _moved(rng, fields) > 0.5 + 0.25 * rng.random_sample()
        patch = (_clouds, _flats, _stripes, _flat)[rng.randint(4)]
        # Repeated for the three channels: numpy takes twice as long to broadcast the mask itself.
        np.copyto(image, patch(rng, fields), where=np.repeat(inside, 3, 1).reshape(image.shape))
    _draw_strokes(rng, image)
    return image


def fractal(rng: RandomState, roughness: float) -> Field:
    """Draw a periodic random field (224, 224) in [0, 1]: noise on several scales, from 32 pixels down to 2.

    Args:
        rng: source of random numbers.
        roughness: the amplitude of each scale relative to the next coarser one; near 0.7 the spectrum falls as in
            photographs, as one over the frequency.
    """
    field = rng.randint(0, 256, (7, 7)) / 255.0
    amplitude = 1.0
    while len(field) < SIZE:
        field = _doubled(_doubled(field).T).T
        amplitude *= roughness
        field = field + amplitude * (rng.randint(0, 256, field.shape, np.uint8) / 255.0)
    low, high = field.min(), field.max()
    return (field - low) / (high - low)


def _doubled(field: Field) -> Field:
    """Double the number of rows by linear interpolation; the last row's neighbour is the first."""
    out = np.empty((2 * field.shape[0], field.shape[1]))
    near = 0.75 * field
    far = 0.25 * field
    out[0::2] = near + np.roll(far, 1, 0)
    out[1::2] = near + np.roll(far, -1, 0)
    return out


def _moved(rng: RandomState, fields: list[Field]) -> Field:
    """One of the fields, shifted: a cheap substitute for a new one."""
    return np.roll(fields[rng.randint(len(fields))], rng.randint(0, SIZE, 2), (0, 1))


def _colours(rng: RandomState, count: int) -> Pixels:
    """Random colours (count, 3), from the whole RGB cube or all near one of them."""
    colours = rng.randint(0, 256, (count, 3))
    if rng.randint(2):
        colours = colours[0] + (colours - colours[0]) // 3
    return colours.astype(np.uint8)


def _flat(rng: RandomState, fields: list[Field]) -> Pixels:  # noqa: ARG001
    return np.broadcast_to(_colours(rng, 1)[0], (SIZE, SIZE, 3))


def _blend(share: Field, first: Pixels, second: Pixels) -> Pixels:
    """Mix two colours in 256 steps: a share of 0 gives the first, 1 the second."""
    steps = np.arange(256)[:, None]
    table = ((255 - steps) * first.astype(np.int64) + steps * second.astype(np.int64)) // 255
    return table.astype(np.uint8).take((share * 255).astype(np.uint8), 0)


def _clouds(rng: RandomState, fields: list[Field]) -> Pixels:
    """Soft colours with the spectrum of photographs, darkened by a second field."""
    colours = _colours(rng, 2)
    shade = 128 + (127 * _moved(rng, fields)).astype(np.uint16)
    return (_blend(_moved(rng, fields), *colours) * shade[..., None] >> 8).astype(np.uint8)


def _flats(rng: RandomState, fields: list[Field]) -> Pixels:
    """Patches of a few flat colours with ragged edges, like torn and pasted paper."""
    colours = _colours(rng, rng.randint(3, 9))
    return colours.take((_moved(rng, fields) * (len(colours) - 1e-9)).astype(np.uint8), 0)


def _stripes(rng: RandomState, fields: list[Field]) -> Pixels:
    """Warped stripes, soft or hard."""
    across, down = rng.randint(-32, 33, 2) / SIZE
    place = np.arange(SIZE, dtype=np.float64)
    wave = across * place[None, :] + down * place[:, None] + (1 + 4 * rng.random_sample()) * _moved(rng, fields)
    wave = 2 * (wave - np.floor(wave))
    wave = np.where(wave > 1, 2 - wave, wave)
    if rng.randint(2):
        wave = (wave > 0.5) * 1.0
    return _blend(wave, *_colours(rng, 2))


def _draw_strokes(rng: RandomState, image: Pixels) -> None:
    """Draw wandering strokes onto the image, 1 to 5 pixels wide, each in a random colour."""
    count, joints, steps = rng.randint(6, 25), 12, 10
    # Each step turns only slightly from the previous one, so that a stroke rarely closes and has no corners.
    turns = rng.randint(-3, 4, (count, joints, 2))
    turns[:, 0] = rng.randint(-8, 9, (count, 2))
    moves = np.cumsum(turns, 1).clip(-9, 9).astype(np.float64)
    starts = np.cumsum(moves, 1) - moves + rng.randint(0, SIZE, (count, 1, 2))
    share = np.arange(steps)[:, None] / steps
    paths = starts[:, :, None] + moves[:, :, None] * share
    colours = rng.randint(0, 256, (count, 3), np.uint8)
    for path, colour, radius in zip(paths, colours, rng.randint(0, 3, count), strict=True):
        dots = np.floor(path.reshape(-1, 1, 2)).astype(np.intp) + _BRUSHES[radius]
        rows, columns = dots[..., 0].ravel(), dots[..., 1].ravel()
        inside = (rows >= 0) & (rows < SIZE) & (columns >= 0) & (columns < SIZE)
        image[rows[inside], columns[inside]] = colour


def _brush(radius: int) -> NDArray[np.intp]:
    """The pixels (n, 2) of a round brush around its centre."""
    reach = range(-radius, radius + 1)
    return np.array([(y, x) for y in reach for x in reach if y * y + x * x <= radius * radius])


_BRUSHES = [_brush(radius) for radius in range(3)]
