"""Segments against Quickshift itself, on pictures of all kinds; means in segments against NumPy."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.segmentation import quickshift

from camviz import shapes
from camviz.noise.segments import segment, segment_means

OF_SCIKIT_LEARN = [pytest.param(name, marks=pytest.mark.slow) for name in ("china", "flower")]
NAMES = ["chelsea", "coffee", "astronaut", "rocket", *OF_SCIKIT_LEARN]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(image, side):
    return np.array(Image.fromarray(image).resize((side, side)))


def halves(side):
    """Black on the left, white on the right."""
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:, side // 2 :] = 255
    return picture


def without_gaps(labels):
    """How many segments there are, once it is sure that each number up to the last one is used."""
    counts = np.bincount(labels.ravel())
    assert counts.all()
    return len(counts)


def same_partition(first, second):
    """Whether two labellings differ in the numbers only."""
    pairs = {*zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)}
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))


def links(view, width):
    """The lengths of all links, none of them cut, and how many pixels have none."""
    _, parents, lengths = quickshift(view, 0.2, width, np.inf, return_tree=True, rng=0)
    linked = np.ravel(parents) != np.arange(np.size(parents))
    return np.ravel(lengths)[linked], (~linked).sum()


def longest_link(view, width, segments):
    """What Quickshift must cut at to leave so many segments: the longest of the links that stay."""
    lengths, roots = links(view, width)
    return np.sort(lengths)[len(lengths) - (segments - roots) - 1]  # each link that is cut makes one more segment


@pytest.mark.parametrize("name", NAMES)
def test_photographs(lite0, photos, name):
    view = lite0.view(photos[name])
    labels = segment(view)
    m = without_gaps(labels)
    assert 40 <= m <= 80
    assert m == 60  # no two links of a photograph are of one length
    assert np.array_equal(labels, segment(view))
    assert np.bincount(labels.ravel()).max() < labels.size / 4
    half = np.asarray(Image.fromarray(view).reduce(2))
    expected = quickshift(half, 0.2, 2, longest_link(half, 2, m), rng=0)
    assert same_partition(labels, expected.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("index", [0, 1, 2, 3, 40, 2**31 - 1])
def test_synthetic_samples(index):
    assert 40 <= without_gaps(segment(shapes.sample(index).image)) <= 80


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (48, 80), (112, 112)], ids=str)
def test_other_sizes_against_quickshift(size):
    """Windows shrink with the picture; where more pixels than aimed at have no link, none is cut."""
    view = noise(*size)
    labels = segment(view)
    m, width = without_gaps(labels), max(1, 2 * min(size) / 112)
    assert m == max(60, links(view, width)[1])
    assert same_partition(labels, quickshift(view, 0.2, width, longest_link(view, width, m), rng=0))


def test_segments_follow_the_picture(lite0, photos):
    """Colours differ less within segments than in a grid of as many tiles."""
    view = lite0.view(photos["coffee"])
    rows, columns = np.mgrid[:224, :224]
    tiles = rows * 8 // 224 * 8 + columns * 8 // 224

    def spread(labels):
        colours = [view[labels == label].astype(float) for label in range(labels.max() + 1)]
        return sum(((part - part.mean(0)) ** 2).sum() for part in colours)

    assert spread(segment(view)) < 0.6 * spread(tiles)


def test_noise_and_larger_views_stay_within_bounds(photos):
    for view in (noise(224, 224), resized(photos["astronaut"], 384)):
        assert 40 <= without_gaps(segment(view)) <= 80


@pytest.mark.parametrize("most", [30, 15, 2])
def test_too_many_segments_are_made_fewer(most):
    """More pixels than wanted have no link: the window grows until they are few."""
    view = noise(64, 64)
    roots = links(view, 64 * 4 / 224)[1]
    assert roots > 30
    assert 2 <= without_gaps(segment(view, aim=most, most=most)) <= most
    assert without_gaps(segment(view, aim=most, most=roots)) == roots  # not one too many
    assert without_gaps(segment(view, aim=most, most=roots - 1)) < roots


@pytest.mark.slow  # a photograph of scikit-learn
def test_the_number_aimed_at(lite0, photos):
    view = lite0.view(photos["china"])
    finer = segment(view, 70)
    assert without_gaps(finer) == 70
    coarser = segment(view, 45)
    assert without_gaps(coarser) == 45
    assert len({*zip(coarser.ravel().tolist(), finer.ravel().tolist(), strict=True)}) == 70  # cuts are added


@pytest.mark.parametrize("side", [16, 64, 224])
def test_two_colours(side):
    """Ties of length leave a few segments less; none holds both colours."""
    view = halves(side)
    labels = segment(view)
    assert 2 <= without_gaps(labels) <= 80
    assert not set(labels[view[..., 0] == 0].tolist()) & set(labels[view[..., 0] == 255].tolist())


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 7)], ids=str)
@pytest.mark.parametrize("side", [1, 8, 64])
def test_a_single_colour(colour, side):
    with pytest.raises(ValueError, match=r"single colour, so it cannot be split .*Choose another picture"):
        segment(np.full((side, side, 3), colour, np.uint8))


@pytest.mark.parametrize(("height", "width"), [(1, 2), (2, 1), (3, 5), (6, 6)])
def test_a_single_region(height, width):
    with pytest.raises(ValueError, match=rf"of {width} x {height} pixels is a single region.*more varied"):
        segment(noise(height, width))


def test_the_picture_is_left_alone():
    view = noise(32, 32)
    before = view.copy()
    view.setflags(write=False)
    segment(view)
    assert np.array_equal(view, before)


def by_numpy(maps, labels):
    """Mean in double precision, label by label."""
    return np.array([[map_[labels == label].mean() for label in range(labels.max() + 1)] for map_ in maps])


def scattered(height, width, m, seed=0):
    """Labels in no order, their pixels apart, every one used."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.arange(height * width) % m).reshape(height, width)


@pytest.mark.parametrize(("height", "width", "m"), [(9, 11, 7), (1, 5, 5), (224, 224, 60), (3, 4, 1)])
def test_means_in_segments(height, width, m):
    labels = scattered(height, width, m)
    maps = np.random.default_rng(1).random((4, height, width))
    found = segment_means(torch.from_numpy(maps).float(), labels)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), by_numpy(maps, labels), rtol=0, atol=2e-6)


def test_means_by_hand():
    labels = np.array([[2, 0, 0], [1, 2, 2]])
    maps = torch.tensor([[[3.0, 1, 2], [7, 6, 0]], [[0, 0, 0], [1, 0, 0]]])
    assert segment_means(maps, labels).tolist() == [[1.5, 7, 3], [0, 1, 0]]


def test_means_whatever_the_strides():
    labels, maps = scattered(6, 5, 4), torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = by_numpy(maps.mT.double().numpy(), labels)
    np.testing.assert_allclose(segment_means(maps.mT, labels).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(segment_means(maps.mT, np.asfortranarray(labels)).numpy(), expected, rtol=1e-6)
    whole = torch.from_numpy(expected).float()
    torch.testing.assert_close(segment_means(maps.mT[1:2], labels)[0], whole[1])
