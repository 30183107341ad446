"""The regions of a picture in the order of a map, and how they are drawn."""

import base64
import re

import numpy as np
import pytest

from camviz.html.ranked_regions import Moved, Ranked, panel_html

# Three regions: a column, and beside it two rows.
LABELS = np.array([[0, 1, 1], [0, 1, 1], [0, 2, 2], [0, 2, 2]])


def ranked(*scores: float) -> Ranked:
    return Ranked(LABELS, np.array(scores))


def test_the_first_is_1_and_the_last_is_0():
    of = ranked(0.2, 0.9, 0.5)
    assert of.ranks.tolist() == [3, 1, 2]
    assert of.tooltips == ["3 of 3", "1 of 3", "2 of 3"]
    np.testing.assert_allclose(of.map, np.array([0, 1, 0.5])[LABELS])
    assert of.map.dtype == np.float32


def test_ties_share_a_rank():
    of = ranked(0.5, 0.5, 0.1)
    assert of.ranks.tolist() == [1.5, 1.5, 3]
    assert of.tooltips[0] == "1.5 of 3"
    np.testing.assert_allclose(of.map, np.array([0.75, 0.75, 0])[LABELS])


def test_a_single_region_is_the_first():
    np.testing.assert_array_equal(Ranked(np.zeros((2, 2), int), np.array([0.3])).map, np.ones((2, 2)))


def test_what_rises_is_above_a_half_and_what_falls_below():
    moved = Moved(ranked(0.9, 0.5, 0.1), ranked(0.1, 0.5, 0.9))
    assert moved.rise.tolist() == [-2, 0, 2]
    np.testing.assert_allclose(moved.map, np.array([0, 0.5, 1])[LABELS])
    assert moved.tooltips == ["1→3", "2→2", "3→1"]
    assert moved.most == {2: "▲3→1", 0: "▼1→3"}


def test_nothing_moves():
    moved = Moved(ranked(0.9, 0.5, 0.1), ranked(0.8, 0.4, 0.2))
    np.testing.assert_array_equal(moved.map, np.full(LABELS.shape, 0.5))
    assert moved.most == {}


def over(html: str) -> str:
    """The SVG over a panel."""
    found = re.search(r"svg\+xml;base64,([^\"]+)", html)
    assert found
    return base64.b64decode(found[1]).decode()


def test_borders_run_along_the_edges_of_pixels():
    svg = over(panel_html(LABELS, 0, "Clean", {}, picked=0))
    assert "d='M1 0V4M1 2H3'" in svg
    assert "viewBox='0 0 3 4'" in svg


def test_a_region_of_two_parts_has_a_border_around_each():
    labels = np.zeros((3, 5), int)
    labels[1, [1, 3]] = 1
    svg = over(panel_html(labels, 0, "Clean", {}, picked=1))
    upright = re.findall(r"M(\d) 1V2", svg)
    assert upright == ["1", "2", "3", "4"]
    assert re.findall(r"M(\d) (\d)H(\d)", svg) == [("1", "1", "2"), ("3", "1", "4"), ("1", "2", "2"), ("3", "2", "4")]


@pytest.mark.parametrize("word", ["1", "<b>"])
def test_words_stand_at_the_centre_and_are_escaped(word):
    svg = over(panel_html(np.repeat(np.repeat(LABELS, 40, 0), 40, 1), 0, "Clean", {1: word}, picked=0))
    assert "<text x='80'" in svg
    assert word.replace("<", "&lt;").replace(">", "&gt;") + "</text>" in svg


def test_a_title_is_escaped():
    assert "<i>" not in panel_html(LABELS, 0, "<i>x", {}, picked=0)
