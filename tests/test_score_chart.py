"""The score chart as HTML: what waits, what is left out, what is undefined."""

import re
from dataclasses import replace

import pytest

from camviz.html.score_chart import ScoreRow, chart_scores, scores_html
from camviz.metrics import SCORES
from camviz.metrics.arcc import PARTS
from camviz.results.finding import MapScores


def cells(row, names=PARTS):
    """The cells of a row, without its head."""
    html = scores_html([row], names)
    return re.findall(r'<div role="cell".*?</div>', html)


def test_a_score_to_come_waits_and_an_undefined_one_says_so():
    waiting, undefined = (
        cells(ScoreRow("a", "", "result", MapScores(values)))[1] for values in ({}, {"coherency": None})
    )
    assert "cv-wait" in waiting
    assert "undefined" in undefined
    assert "cv-wait" not in undefined


def test_what_runs_a_slow_method_again_is_left_out_with_its_reason():
    row = ScoreRow("a", "", "result", MapScores({"complexity": 0.25}), skipped="too slow")
    arcc, coherency, compact, road = cells(row)
    assert "too slow" in arcc
    assert "too slow" in coherency
    assert ">0.75<" in compact  # what is left of 1
    assert "cv-wait" in road


def test_values_before_are_marked_and_signs_are_shown(monkeypatch):
    monkeypatch.setitem(SCORES, "road_raw", replace(SCORES["road_raw"], in_chart=True))
    row = ScoreRow("a", "", "result", MapScores({"arcc": 0.5, "road_raw": -0.123}), before=MapScores({"arcc": 0.25}))
    arcc, *_, raw = cells(row)
    assert "--v:0.5000" in arcc
    assert "--b:0.2500" in arcc
    assert "\u22120.12" in raw
    assert "cv-negative" in raw


def test_an_unknown_score_has_a_column_as_it_is_stored():
    row = ScoreRow("a", "", "result", MapScores({"later": -7.5}))
    assert chart_scores(["arcc", "later", "l2"]) == ["arcc", "later"]
    assert "\u22127.50" in cells(row, ["later"])[0]


@pytest.mark.parametrize("name", SCORES)
def test_every_score_says_what_it_asks(name):
    score = SCORES[name]
    assert score.name == name
    assert 1 <= len(score.question.split()) <= 8
    assert score.title
    assert score.sentence
    assert score.formula
    assert score.reference
    low, high = score.range
    assert low < high
