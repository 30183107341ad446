"""Textured shapes: the same bits always, one mean colour, an outline that is no stronger than what is around it."""

import hashlib

import numpy as np
import pytest
from numpy.random import RandomState
from scipy import ndimage

from camviz import shapes
from camviz.shapes import textures

SIZE = 224
SPLITS = ("train", "val", "test")
INDICES = (0, 1, 8, 15, 16, 23, 2**31 - 1)
# The first 16 hex digits of each sample's SHA-256, in the order of INDICES.
DIGESTS = {
    "train": """
        8c9f1970fae6821b 142f17223a50a7c8 44304ce7f690c917 69119edc7a6402ad 9335680f73dd2a64
        8a0e90bc2bc4d427 158f2e679bf5490e
    """,
    "val": """
        e734d7d1f7377eb0 36a33e3303559a4c d97775c52d9abcbc 1eb0256e8f79d7d1 f06bbba0d70fef1a
        32c4ce1526f0db45 fe0c8bb396c000eb
    """,
    "test": """
        2684d17f41cb0f35 567b28f174b65066 0b14317890293caf d76d9989c52fe1fa 125933c12024a6a3
        2a9a3780539f34d0 aae4cea6213507ee
    """,
}


def digest(drawn):
    mask = drawn.mask.astype(np.uint8)
    return hashlib.sha256(drawn.image.tobytes() + mask.tobytes() + bytes([drawn.label])).hexdigest()[:16]


@pytest.fixture(scope="module")
def drawn():
    """Four samples of every class in every band."""
    return [shapes.textured(index) for index in range(72)]


@pytest.mark.parametrize("split", SPLITS)
def test_samples_are_the_same_bit_for_bit(split):
    assert [digest(shapes.textured(index, split)) for index in INDICES] == DIGESTS[split].split()


def test_splits_and_kinds_share_no_background(drawn):
    others = [shapes.textured(index, split) for split in ("train", "val") for index in range(18)]
    pixels = [sample.background for sample in (*drawn[:18], *others, *map(shapes.sample, range(6)))]
    assert len({hashlib.sha256(each.tobytes()).digest() for each in pixels}) == 60


def test_classes_bands_and_sizes_are_those_of_plain_samples(drawn):
    """The area that a shape covers follows from its class and size."""
    sizes = {"large": (80, 100), "medium": (40, 50), "small": (20, 25)}
    for index, sample in enumerate(drawn):
        (shape,) = sample.shapes
        assert sample.label == shape.label == index % 6
        assert shape.band == ("large", "medium", "small")[index // 6 % 3]
        assert sizes[shape.band][0] <= shape.size <= sizes[shape.band][1]
        unit = (np.pi / 4, 1, 3**0.5 / 4)[shape.label % 3]
        hole = (0.6, 0.6, 1 - 0.4 * 3**0.5)[shape.label % 3] if shape.label >= 3 else 0  # of the side or diameter
        assert shape.coverage.sum() == pytest.approx(unit * shape.size**2 * (1 - hole**2), rel=0.01)
        assert np.array_equal(sample.mask, shape.coverage >= 0.5)
        assert shape.coverage[2:-2, 2:-2].sum() == pytest.approx(shape.coverage.sum())


def test_one_mean_colour_inside_and_outside(drawn):
    """Within a few grey levels, which the outline's mixed pixels make; plain shapes differ by 60 and more."""
    for sample in drawn:
        inside, outside = (sample.image[where].mean(0) for where in (sample.mask, ~sample.mask))
        assert abs(inside - outside).max() < 4
        assert abs(inside - sample.shapes[0].colour).max() < 4


def edges(sample):
    """The root mean square of the colour differences between neighbours: at the outline, inside and outside."""
    across, down = (np.square(np.diff(sample.image.astype(float), axis=axis)).sum(-1) for axis in (1, 0))
    energy = across[:-1] + across[1:] + down[:, :-1] + down[:, 1:]  # between four pixels
    cover = sample.shapes[0].coverage
    corners = np.stack([cover[:-1, :-1], cover[:-1, 1:], cover[1:, :-1], cover[1:, 1:]])
    inside, outside = corners.min(0) == 1, corners.max(0) == 0
    return [energy[where].mean() ** 0.5 for where in (~inside & ~outside, inside, outside)]


def test_the_outline_is_no_stronger_than_edges_elsewhere(drawn):
    strengths = np.array([edges(sample) for sample in drawn])
    ratios = strengths[:, 0] / strengths[:, 1:].mean(1)
    assert 0.85 < ratios.mean() < 1.1
    assert ratios.max() < 1.4
    plain = np.array([edges(shapes.sample(index)) for index in range(18)])
    assert (plain[:, 0] / plain[:, 1:].mean(1)).mean() > 1.7


def main_axis(pixels):
    """The direction in colour space along which pixels vary most."""
    return np.linalg.eigh(np.cov(pixels.astype(float).T))[1][:, -1]


def test_shape_and_background_vary_along_different_colours(drawn):
    """One in brightness, the other in hue, so that a shape can be recognised: a pixel's colour tells where it is."""
    grey = np.full(3, 3**-0.5)
    for sample in drawn:
        full, clear = sample.shapes[0].coverage == 1, sample.shapes[0].coverage == 0
        inner, outer = main_axis(sample.image[full]), main_axis(sample.image[clear])
        assert abs(inner @ outer) < 0.2
        assert sorted([abs(inner @ grey) > 0.97, abs(outer @ grey) > 0.97]) == [False, True]
        apart = sample.image - sample.image[clear].mean(0)
        said = abs(apart @ inner) > abs(apart @ outer)
        assert said[full].mean() > 0.8
        assert said[clear].mean() < 0.2


def direction(levels):
    """Twice the angle of the strongest changes, as a unit vector, from the structure tensor."""
    down, across = np.gradient(ndimage.gaussian_filter(levels.astype(float), 1))
    tensor = np.array([(across**2 - down**2).sum(), 2 * (across * down).sum()])
    return tensor / np.linalg.norm(tensor)


def test_stripes_differ_in_direction():
    for seed in range(20):
        inside, outside = textures._stripes(RandomState(seed), 3.0)
        assert direction(inside) @ direction(outside) < 0.2  # 0 at 45 degrees, -1 at 90; the stripes are bent


def test_another_background_gets_exactly_the_same_shape(drawn):
    for sample in drawn[:18:5]:
        assert np.array_equal(sample.on(sample.background), sample.image)
        other = shapes.sample(3, "val").background
        moved, (shape,) = sample.on(other), sample.shapes
        cover = shape.coverage[..., None]
        assert abs(moved - ((1 - cover) * other + cover * shape.texture)).max() <= 0.5 + 1e-9
        assert np.array_equal(moved[shape.coverage == 1], sample.image[shape.coverage == 1])
