"""Tagged shapes: plain samples and a tag in a free corner, which tells the shape's class or another one."""

import hashlib
import itertools

import numpy as np
import pytest
from numpy.random import RandomState
from scipy import ndimage

from camviz import shapes
from camviz.shapes import figures, tags

SIZE = 224
# The first 16 hex digits of the SHA-256 of the first six samples of each split.
DIGESTS = {
    "train": """
        f2811144fa97e9cc 811ccf60bb43f897 a76f95cb0b84a9e1
        cab88c0acbf40abf 4be5b351b6663a82 3079c94b35d3deb1
    """,
    "val": """
        c5fe57c093266195 b21d6352095b8226 cbcff2f48bde3cfb
        1e5251f7ccb36303 3660cb6394446f92 b49558cdf02fd7b5
    """,
    "test": """
        52995166b5616c9f aa5bd838cdce5ed9 eb679bf16ec70e89
        5c7bab20e2d5493c 4c35b9b56ff16a70 1fc10b835629433a
    """,
}
CORNERS = {(top, left) for top in (4, 196) for left in (4, 196)}


@pytest.fixture(scope="module")
def drawn():
    """Two samples of every class in every band."""
    return [shapes.tagged(index) for index in range(36)]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_samples_are_the_same_bit_for_bit(split):
    images = [shapes.tagged(index, split).image for index in range(6)]
    assert [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images] == DIGESTS[split].split()


def test_a_plain_sample_and_a_tag_of_its_class(drawn):
    for index, sample in enumerate(drawn):
        plain = shapes.sample(index)
        assert sample.tag.label == sample.label == plain.label == index % 6
        assert np.array_equal(sample.mask, plain.mask)
        assert np.array_equal(sample.background, plain.background)
        assert np.array_equal(sample.untagged, plain.image)
        assert np.array_equal(sample.on(sample.background), sample.image)
        changed = (sample.image != plain.image).any(-1)
        assert not changed[~sample.tag.mask].any()
        assert changed[sample.tag.mask].mean() > 0.9


def test_a_tag_fills_24_pixels_of_a_corner_and_keeps_clear_of_the_shape(drawn):
    seen = set()
    for sample in drawn:
        rows, columns = np.nonzero(sample.tag.mask)
        corner = int(rows.min()), int(columns.min())
        assert corner in CORNERS
        assert (rows.max() - corner[0], columns.max() - corner[1], len(rows)) == (23, 23, 24 * 24)
        distance = ndimage.distance_transform_edt(sample.shapes[0].coverage == 0)
        assert distance[sample.tag.mask].min() > 2
        seen.add(corner)
    assert seen == CORNERS


def test_every_shape_leaves_a_corner_free_and_every_free_corner_is_used():
    """Large shapes, in the places where they fill most corners."""
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    for number in range(60):
        figure = figures.draw_figure(RandomState(number), number % 6, "large")
        cover = figures.coverage(figure)
        shape = shapes.Shape(figure.label, "large", figure.size, black[0, 0], cover)
        near = ndimage.distance_transform_cdt(cover == 0, "chessboard") <= 2
        free = {(top, left) for top, left in CORNERS if not near[top : top + 24, left : left + 24].any()}
        chosen = [tags.add_tag(RandomState(seed), shapes.Sample(black, black, (shape,))).tag for seed in range(24)]
        assert {(tag.top, tag.left) for tag in chosen} == free != set()


def test_each_class_has_a_tag_that_looks_different():
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    looks = [shapes.Tag(label, 4, 4).on(black)[4:28, 4:28].astype(int) for label in range(6)]
    assert not black.any()
    for one, other in itertools.combinations(looks, 2):
        assert abs(one - other).mean() > 40
        colours = [set(map(tuple, look.reshape(-1, 3).tolist())) for look in (one, other)]
        assert colours[0] & colours[1] <= {(0, 0, 0), (255, 255, 255)}
    for sample in map(shapes.tagged, range(12)):
        assert np.array_equal(sample.image[sample.tag.mask].reshape(24, 24, 3), looks[sample.label])


def test_a_swapped_tag_changes_nothing_else(drawn):
    sample = drawn[8]
    for label in range(6):
        other = sample.swapped(label)
        assert (other.tag.label, other.label) == (label, sample.label)
        assert np.array_equal(other.tag.mask, sample.tag.mask)
        assert np.array_equal(other.image[~sample.tag.mask], sample.image[~sample.tag.mask])
        assert np.array_equal(other.image, sample.image) == (label == sample.label)
        assert np.array_equal(other.untagged, sample.untagged)
        assert np.array_equal(other.on(other.background), other.image)
        assert np.array_equal(other.swapped(sample.label).image, sample.image)
    for label in (-1, 6):
        with pytest.raises(ValueError, match=f"a tag's class must be from 0 to 5, got {label}"):
            sample.swapped(label)
