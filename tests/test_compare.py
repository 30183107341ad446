"""What may be compared with what: the best of a row, the order, differences; by hand-made numbers."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from camviz.html.comparison import (
    LEAST,
    MODES,
    MOST,
    best,
    difference,
    needed_spread,
    order,
    question,
    reach,
    rivals,
    ruler,
    same_class,
    too_many,
    value,
)
from camviz.html.comparison_grid import (
    Head,
    Panel,
    head_html,
    numbers,
    numbers_html,
    pin_html,
    reach_html,
    row_html,
    width,
)
from camviz.html.score_chart import ScoreRow
from camviz.results.finding import MapScores


def scored(arcc, truth=(), skipped="", note=""):
    """A row with ARCC and its parts, and with scores against a mask: mass, best IoU, ROC AUC."""
    parts = {"arcc": arcc, "coherency": 0.9, "complexity": 0.2, "road": 0.7}
    against_mask = dict(zip(("mass", "best_iou", "auc"), truth, strict=False))
    return ScoreRow("", "", "layer", MapScores(parts | against_mask, note), skipped)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0.1, 0.7, 0.3], (1, 2)),
        ([0.3, 0.1, 0.7], (2, 0)),
        ([0.7, 0.7, 0.3], None),
        ([0.7, None], None),
        ([0.7], None),
        ([0.0, 0.0], None),
        ([], None),
    ],
)
def test_the_two_highest_of_a_row(numbers, expected):
    assert rivals([scored(number) for number in numbers]) == expected


def test_what_has_no_score_neither_wins_nor_holds_up_the_rest():
    row = [None, scored(0.2), scored(None, skipped="slow"), scored(0.5)]
    assert rivals(row) == (3, 1)
    assert best(row, {1: 0.01, 3: 0.02}) == 3


@pytest.mark.parametrize(
    ("spreads", "expected"),
    [
        ({0: 0.04, 1: 0.04}, 0),
        ({0: 0.06, 1: 0.01}, None),
        ({0: 0.01, 1: 0.06}, None),
        ({0: 0.01, 1: 0.01, 2: 0.5}, 0),
        ({0: 0.01}, None),
        ({}, None),
    ],
    ids=repr,
)
def test_the_best_leads_by_more_than_twice_the_larger_spread_of_the_two_highest(spreads, expected):
    assert best([scored(0.6), scored(0.5), scored(0.1)], spreads) == expected


@pytest.mark.parametrize(
    ("spreads", "expected"),
    [({}, 0), ({0: 0.04}, 1), ({1: 0.04}, 0), ({0: 0.06}, None), ({1: 0.06}, None), ({0: 0.04, 1: 0.04}, None)],
    ids=repr,
)
def test_no_spread_is_computed_that_cannot_change_the_answer(spreads, expected):
    assert needed_spread([scored(0.6), scored(0.5), scored(0.1)], spreads) == expected
    assert needed_spread([scored(0.5), scored(0.5)], spreads) is None


def test_where_the_true_mask_is_known_it_says_which_map_is_best():
    """ARCC would prefer the first; the overlap has no spread to wait for."""
    row = [scored(0.9, (0.9, 0.30, 0.5)), scored(0.1, (0.2, 0.45, 0.5)), scored(0.5, (0.5, 0.31, 0.9))]
    assert rivals(row) == (1, 2)
    assert best(row, {}) == 1
    assert needed_spread(row, {}) is None
    close = [scored(0.9, (0.9, 0.300, 0.5)), scored(0.1, (0.2, 0.304, 0.5))]
    assert best(close, {0: 0.0, 1: 0.0}) is None
    drawn = numbers_html(row, [None] * 3, 100)
    assert drawn.count(">best</b>") == 1
    assert drawn.index("IoU 0.45") < drawn.index(">best</b>") < drawn.index("IoU 0.31")
    assert "cv-bar cv-main cv-best" not in drawn


def test_without_a_lead_there_is_no_best():
    assert best([scored(0.5), scored(0.5)], {0: 0.0, 1: 0.0}) is None
    assert best([scored(0.5), scored(None)], {0: 0.0, 1: 0.0}) is None


def test_rows_go_by_their_best_map_and_columns_stay():
    rows = [[scored(0.2), scored(0.3)], [scored(0.9), scored(0.1)], [scored(0.3), scored(0.3)]]
    assert order(rows, "arcc", across=True) == ([1, 0, 2], [0, 1])
    assert order(rows, "chosen", across=True) == ([0, 1, 2], [0, 1])


def test_where_rows_cannot_be_compared_columns_go_by_their_mean():
    rows = [[scored(0.9), scored(0.1), None], [scored(0.1), scored(0.95), None]]
    assert order(rows, "arcc", across=False) == ([0, 1], [1, 0, 2])


def test_the_order_by_the_true_mask_and_of_nothing():
    rows = [[scored(0.9, (0.7, 0.1, 0.5))], [scored(0.1, (0.6, 0.2, 0.5))], [scored(0.5)]]
    assert order(rows, "best_iou", across=True)[0] == [1, 0, 2]
    assert order([], "arcc", across=False) == ([], [])
    assert value(None, "arcc") is None


def test_every_order_keeps_all():
    rng = np.random.default_rng(0)
    for _ in range(50):
        shape = rng.integers(1, 6, 2)
        rows = [
            [scored(None if rng.random() < 0.2 else float(rng.random())) for _ in range(shape[1])]
            for _ in range(shape[0])
        ]
        for across in (False, True):
            found = order(rows, "arcc", across)
            assert [sorted(each) for each in found] == [list(range(n)) for n in shape]
            tops = [max((value(s, "arcc") or -math.inf for s in rows[row]), default=-math.inf) for row in found[0]]
            assert not across or tops == sorted(tops, reverse=True)


def test_a_difference_is_stretched_about_its_middle():
    this, that = np.array([[1, 0.2, 0.5]], np.float32), np.array([[0.6, 0.4, 0.5]], np.float32)
    assert reach(this, that) == pytest.approx(0.4)
    np.testing.assert_allclose(difference(this, that), [[1, 0.25, 0.5]], atol=1e-6)
    np.testing.assert_allclose(difference(that, this), 1 - difference(this, that), atol=1e-6)
    assert difference(this, that).dtype == np.float32


def test_maps_that_are_alike_have_no_difference():
    this = np.random.default_rng(0).random((5, 5), np.float32)
    assert (difference(this, this) == 0.5).all()
    assert np.abs(difference(this, this + LEAST / 2) - 0.5).max() < LEAST
    assert "no difference" in reach_html(0.0)
    assert "0.40" in reach_html(0.4)


def test_a_class_in_another_network():
    assert same_class("crane", 1, ["dog", "crane", "crane"]) == 1
    assert same_class("crane", 2, ["dog", "crane", "crane"]) == 2
    assert same_class("crane", 9, ["dog", "crane"]) == 1
    assert same_class("cup", 0, ["dog"]) is None


def test_a_grid_that_is_too_large_says_so():
    assert too_many(4, MOST // 4, MODES["layers"]) == ""
    said = too_many(9, 4, MODES["classes"])
    assert "36 maps (9 rows of 4)" in said
    assert "fewer classes or methods" in said
    assert "fewer copies" in too_many(9, 4, MODES["noise"])


def test_a_mask_of_another_class_names_no_best_map():
    """Then ARCC says which is best, as if no mask were known."""
    rows = [scored(0.2, (0.9, 0.9, 0.9)), scored(0.8, (0.1, 0.1, 0.1))]
    assert ruler(rows) == "best_iou"
    assert best(rows, {0: 0.01, 1: 0.01}) == 0
    others = [replace(row, explained=False) for row in rows]
    assert ruler(others) == "arcc"
    assert best(others, {0: 0.01, 1: 0.01}) == 1


def test_the_question():
    assert question("cup") == "Where is <b>cup</b>?"
    assert question("cup", "pot") == "Why <b>cup</b> rather than pot?"
    assert question("cup", "pot", "mug", "jar") == "Why <b>cup</b> rather than pot, mug or jar?"


def test_numbers_say_what_is_known():
    assert "cv-wait" in numbers(scored(None))
    assert "–" in numbers(scored(None, skipped="it is slow"))
    words = re.sub("<[^>]*>", " ", numbers(scored(0.5, (0.25, 0.5, 0.9))))
    assert " ".join(words.split()).endswith("ARCC 0.50 IoU 0.50 mass inside 0.25")
    assert "ARCC 0.50, Coherency 0.90, 1 − complexity 0.80, ROAD 0.70" in numbers(scored(0.5))
    row = numbers_html([scored(0.5), scored(0.6), None], [None, None, 0.3], 9, {0: 0.01, 1: 0.01})
    assert row.count("cv-best") == 1
    assert row.index("0.50") < row.index("cv-best") < row.index("largest difference 0.30")


def test_markup_of_strangers_is_only_text():
    bad = '<img src=x onerror="alert(1)">'
    made = [
        row_html(Head(bad, bad, picture=True, signed=True), [Panel(bad, bad)], 9),
        head_html([(bad, bad)], "look", "", 9, picture=True),
        pin_html([bad], Panel(bad), signed=True),
        numbers(scored(0.5, note=bad)),
    ]
    assert not any("<img src=x" in html or 'onerror="' in html for html in made)


def test_panels_are_smaller_where_there_are_more_rows():
    widths = [width(rows) for rows in range(8)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > 5
