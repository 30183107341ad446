"""The hottest pixels of a map: by hand, against a slow search, and where there is nothing to find."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.draw import polygon

import camviz
from camviz import hotspots


def painted(found, shape):
    """The mask (H, W) that the contours stand for: inside the outer ones, without what lies within the holes."""
    mask = np.zeros(shape, bool)
    for region in found.regions:
        own = np.zeros(shape, np.uint8)
        cv2.fillPoly(own, [region.contour], 1)
        for hole in region.holes:
            gap, edge = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
            cv2.fillPoly(gap, [hole], 1)
            cv2.polylines(edge, [hole], isClosed=True, color=1)
            own[(gap == 1) & (edge == 0)] = 0
        mask |= own == 1
    return mask


def smooth(seed, shape=(60, 80), sigma=5):
    """A map of some bumps, without ties."""
    map_ = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return (map_ - map_.min()) / (map_.max() - map_.min())


def test_two_regions_by_hand():
    map_ = np.zeros((6, 10), np.float32)
    map_[1:3, 1:4] = [[0.5, 0.5, 0.5], [0.5, 1.0, 0.5]]
    map_[4, 8] = 0.6
    found = hotspots(map_, 7 / 60)
    assert (found.share, found.area, found.pixels, found.threshold, found.note) == (7 / 60, 7 / 60, 7, 0.5, "")
    assert found.boxes == ((1, 1, 3, 2), (8, 4, 1, 1))
    large, small = found.regions
    assert (large.pixels, large.area, small.pixels, small.area) == (6, 6 / 60, 1, 1 / 60)
    assert large.centre == pytest.approx((2, (1.5 * 1 + 2 * 2.0) / 3.5))
    assert small.centre == (8, 4)
    heat = 3.5 + 0.6
    assert found.centre == pytest.approx(((3.5 * 2 + 0.6 * 8) / heat, (5.5 + 0.6 * 4) / heat))
    assert sorted(map(tuple, large.contour.tolist())) == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert small.contour.tolist() == [[8, 4]]
    assert found.contours == (large.contour, small.contour)
    assert large.holes == ()


def test_pixels_that_touch_by_a_corner_are_one_region():
    map_ = np.eye(5)
    found = hotspots(map_, 0.2)
    assert found.boxes == ((0, 0, 5, 5),)
    assert np.array_equal(painted(found, (5, 5)), map_ > 0)


def test_a_ring_has_a_hole_and_an_island_in_it_is_a_region_of_its_own():
    map_ = np.zeros((12, 12))
    map_[1:10, 1:10] = 0.5
    map_[3:8, 3:8] = 0
    map_[5, 5] = 1
    found = hotspots(map_, (81 - 25 + 1) / 144)
    ring, island = found.regions
    assert (ring.box, ring.pixels, len(ring.holes)) == ((1, 1, 9, 9), 56, 1)
    assert (island.box, island.pixels, island.holes) == ((5, 5, 1, 1), 1, ())
    assert ring.centre == pytest.approx((5, 5))
    assert np.array_equal(painted(found, map_.shape), map_ > 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.001, 0.05, 0.1, 0.2, 0.5, 0.999, 1.0])
def test_against_a_slow_search(seed, share):
    map_ = smooth(seed)
    found = hotspots(map_, share)
    order = sorted(((value, place) for place, value in np.ndenumerate(map_)), reverse=True)
    wanted = max(1, round(share * map_.size))
    expected = np.zeros(map_.shape, bool)
    for value, place in order[:wanted]:
        expected[place] = value > 0
    assert np.array_equal(painted(found, map_.shape), expected)
    assert found.pixels == expected.sum()
    assert found.area == expected.sum() / map_.size
    assert found.threshold == order[found.pixels - 1][0]
    labels, count = ndimage.label(expected, np.ones((3, 3)))
    assert len(found.regions) == count
    slices = ndimage.find_objects(labels)
    boxes = {(s[1].start, s[0].start, s[1].stop - s[1].start, s[0].stop - s[0].start) for s in slices}
    assert set(found.boxes) == boxes
    centres = {tuple(np.round(c[::-1], 6)) for c in ndimage.center_of_mass(map_, labels, range(1, count + 1))}
    assert {tuple(np.round(region.centre, 6)) for region in found.regions} == centres
    assert found.centre == pytest.approx(ndimage.center_of_mass(map_ * expected)[::-1])
    assert [r.pixels for r in found.regions] == sorted((r.pixels for r in found.regions), reverse=True)


def test_a_contour_encloses_its_region_by_another_library_too():
    map_ = smooth(3)
    for region in hotspots(map_, 0.05).regions:
        inside = np.zeros(map_.shape, bool)
        inside[polygon(region.contour[:, 1], region.contour[:, 0], map_.shape)] = True
        x, y, width, height = region.box
        assert not inside[:y].any()
        assert not inside[y + height :].any()
        assert not inside[:, :x].any()
        assert not inside[:, x + width :].any()
        inside[region.contour[:, 1], region.contour[:, 0]] = True
        assert inside.sum() == pytest.approx(region.pixels, rel=0.15, abs=3)  # its edge counts only in part


def test_ties_are_included_and_the_true_share_is_told():
    map_ = np.zeros((10, 10))
    map_[:4] = 0.5
    map_[0, 0] = 1
    found = hotspots(map_, 0.05)
    assert (found.share, found.pixels, found.area, found.threshold) == (0.05, 40, 0.4, 0.5)
    assert found.note == "pixels of equal value stay together: 40 % are covered"


def test_zeros_are_never_hot():
    map_ = np.zeros((10, 10))
    map_[5, 5:8] = [0.2, 0.9, 0.4]
    found = hotspots(map_, 0.2)
    assert (found.pixels, found.area, found.threshold) == (3, 0.03, 0.2)
    assert found.note == "only 3 % of the pixels are above 0"


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_a_blank_map_has_no_hotspots(make):
    found = hotspots(make((8, 9)), 0.05)
    assert (found.area, found.pixels, found.regions, found.contours, found.boxes) == (0, 0, (), (), ())
    assert found.note == "the map is blank: no pixel is above 0"
    assert math.isnan(found.threshold)
    assert all(map(math.isnan, found.centre))


@pytest.mark.parametrize("value", [1.0, 0.3])
def test_a_constant_map_is_hot_all_over_and_says_so(value):
    found = hotspots(torch.full((8, 10), value), 0.05)
    assert (found.area, found.boxes, found.centre) == (1, ((0, 0, 10, 8),), pytest.approx((4.5, 3.5)))
    assert found.note == "the map is the same everywhere, so no part is hotter than the rest"
    assert hotspots(torch.full((8, 10), value), 1).note == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 3)])
def test_small_and_narrow_maps(shape):
    map_ = np.linspace(0.1, 1, math.prod(shape)).reshape(shape)
    found = hotspots(map_, 0.05)
    wanted = max(1, math.floor(0.05 * map_.size + 0.5))
    assert found.pixels == wanted
    assert np.array_equal(painted(found, shape), map_ >= np.sort(map_, axis=None)[-wanted])


def test_tensors_arrays_and_lists_alike():
    map_ = smooth(1).astype(np.float32)
    for same in (
        torch.from_numpy(map_),
        torch.from_numpy(map_).requires_grad_(),
        map_.tolist(),
        map_.T.copy().T,
        map_[::-1, ::-1][::-1, ::-1],
    ):
        found = hotspots(same, 0.1)
        assert found.boxes == hotspots(map_, 0.1).boxes
        assert found.centre == pytest.approx(hotspots(map_, 0.1).centre)
    assert hotspots(torch.tensor([[0.0, 1]], dtype=torch.bfloat16), 0.5).boxes == ((1, 0, 1, 1),)
    assert hotspots(np.array([[False, True]]), 0.5).boxes == ((1, 0, 1, 1),)


@pytest.mark.parametrize("share", [0, -0.1, 1.0001, 5, math.nan, "0.05", None, True])
def test_shares_that_are_none(share):
    with pytest.raises(ValueError, match=r"share must be above 0 and at most 1, got .*: 0.05 is the hottest 5 %"):
        hotspots(smooth(0), share)


@pytest.mark.parametrize(
    ("map_", "words"),
    [
        (np.zeros((1, 4, 4)), r"must be \(H, W\) and real, got torch.float64 \(1, 4, 4\)"),
        (np.zeros(4), r"must be \(H, W\)"),
        (np.zeros((0, 4)), r"must be \(H, W\)"),
        (np.zeros((2, 2), complex), "and real"),
        ([[0, math.nan]], "NaN or infinite"),
        ([[0, math.inf]], "NaN or infinite"),
        (255 * smooth(0), "0-255 heat map: divide it by 255"),
        (smooth(0) - 0.5, "values are negative, so apply ReLU"),
    ],
)
def test_maps_that_are_none(map_, words):
    with pytest.raises(ValueError, match=words):
        hotspots(map_, 0.05)


def test_no_module_hides_the_function():
    assert callable(camviz.hotspots)
    assert not hasattr(camviz.hotspots, "__path__")
