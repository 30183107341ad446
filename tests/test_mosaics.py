"""Mosaics: four pictures in one, and the explained one's quarter as the truth."""

from collections import Counter

import numpy as np
import pytest

from camviz.trust.mosaics import groups_of_four, mosaic

VIEWS = [np.full((224, 224, 3), 50 * number, np.uint8) for number in range(1, 5)]


@pytest.mark.parametrize("place", range(4))
def test_each_picture_has_its_quarter(place):
    made = mosaic(VIEWS, [7, 5, 3, 1], place)
    assert made.target == [7, 5, 3, 1][place]
    assert made.mask.sum() == 112 * 112
    assert np.unique(made.image[made.mask]).tolist() == [50 * (place + 1)]
    corners = [made.image[row, column, 0] for row in (0, 223) for column in (0, 223)]
    assert corners == [50, 100, 150, 200]


def test_pictures_are_shrunk_by_their_mean():
    rows = np.arange(224, dtype=np.uint8)
    view = np.broadcast_to(rows[:, None, None], (224, 224, 3)).copy()
    made = mosaic([view, *VIEWS[:3]], [0, 1, 2, 3], 0)
    expected = (rows[::2].astype(float) + rows[1::2]) / 2
    assert np.abs(made.image[:112, 0, 0] - expected).max() <= 0.5


def test_sides_that_are_odd():
    views = [np.full((225, 227, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    masks = [mosaic(views, [0, 1, 2, 3], place).mask for place in range(4)]
    assert np.array_equal(sum(mask.astype(int) for mask in masks), np.ones((225, 227)))


def test_what_is_no_mosaic():
    with pytest.raises(ValueError, match="four pictures of one size"):
        mosaic([*VIEWS[:3], np.zeros((200, 224, 3), np.uint8)], [0, 1, 2, 3], 0)
    with pytest.raises(ValueError, match="four different classes"):
        mosaic(VIEWS, [0, 1, 1, 2], 0)


def test_groups_have_four_classes():
    items, labels = list("aabbbbbbbbbbbcde"), [0, 0, *[1] * 11, 2, 3, 4]
    of = dict(zip(items, labels, strict=True))
    groups = groups_of_four(items, labels, 500)
    assert all(len({of[item] for item in group}) == 4 for group in groups)
    counts = Counter(item for group in groups for item in group)
    assert max(counts.values()) / min(counts.values()) < 1.2  # a class with many items is drawn no more often
    assert groups == groups_of_four(items, labels, 500)
    assert groups != groups_of_four(items, labels, 500, seed=1)


def test_three_classes_are_too_few():
    with pytest.raises(ValueError, match="at least four classes, got 3"):
        groups_of_four("abcc", [0, 1, 2, 2], 1)
