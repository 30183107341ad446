"""What the page says about numbers: each sentence where it applies, and no other."""

import numpy as np
import pytest

from camviz.html.score_chart import ScoreRow
from camviz.html.words import on_border, on_noise, on_truth, title_html, verdict
from camviz.methods import METHODS
from camviz.noise.measure import Outcome
from camviz.results.finding import MapScores

SIZES = ("7 × 7 · d", "14 × 14 · c", "28 × 28 · b", "56 × 56 · a")


def row(kind, label, **scores):
    note = scores.pop("note", "")
    return ScoreRow(label, "", kind, MapScores(scores, note))


def words(arcc, layers=(), centre=0.3, probability=0.9, floor=None, **scores):
    """The verdict on a result with this ARCC, on layers from the deepest to the finest, and on the blind guesses."""
    rows = [row("layer", size, arcc=value) for size, value in zip(SIZES, layers, strict=False)]
    baselines = [row("baseline", METHODS[name].title, arcc=v) for name, v in (("centre", centre), ("random", 0.0))]
    return " ".join(verdict(row("result", "RefineCAM", arcc=arcc, **scores), rows, baselines, probability, floor))


def test_against_the_best_blind_guess():
    assert "**RefineCAM scores 0.78**; a blind blob in the middle gets 0.66." in words(0.78, centre=0.66)
    assert "**RefineCAM scores 0.68**, no better than a blind blob in the middle (0.66)." in words(0.68, centre=0.66)
    assert "**RefineCAM scores 0.10**, and a blind blob in the middle gets 0.66: do not trust" in words(
        0.1, centre=0.66
    )
    assert "a random map gets" not in words(0.78)


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ((0.79, 0.1, 0.1, 0.1), "The deepest layer alone does as well: 0.79. The model"),
        ((0.1, 0.1, 0.1, 0.79), "Merging helped: the deepest layer alone scores 0.10. The model"),
        ((0.5, 0.4, 0.3, 0.2), "Merging helped: the deepest layer alone scores 0.50. The model"),
        ((0.0, 0.001, 0.0, 0.0), "No single layer scores above 0."),
        ((0.9, 0.3, 0.4, 0.2), "Merging made it worse here: the deepest layer alone scores 0.90. The model"),
        (
            (0.2, 0.9, 0.4, 0.1),
            "Merging helped: the deepest layer alone scores 0.20. In hindsight, 14 × 14 · c alone would have scored",
        ),
    ],
)
def test_against_the_deepest_layer(layers, sentence):
    assert sentence in words(0.78, layers)


def test_a_layer_whose_score_is_not_known_yet_is_not_compared():
    assert "layer" not in words(0.78, (0.5, None))
    assert "layer" not in words(0.78, (0.5,))


def test_confidence():
    assert "The model is 90.0% sure, so there is enough to test." in words(0.5)
    assert "only 7.0% sure, which leaves little to test" in words(0.5, probability=0.07)
    left = "90.0% sure (1.0% with nothing left of the picture), so there is enough to test"
    assert left in words(0.5, floor=0.01)
    whatever = "90.0% sure (85.0% with nothing left of the picture), which leaves little to test: it prefers this class"
    assert whatever in words(0.5, floor=0.85)
    nothing = words(0.0, (0.0, 0.004), centre=0.001, probability=0.07)  # all shown as 0.00
    assert "**No map can be scored here**: the model is only 7.0% sure." in nothing
    assert "blind" not in nothing
    assert "layer" not in nothing
    sure = words(0.0, (0.0, 0.0), centre=0.0)  # a sure model, and still no map has a score
    assert "**Every map scores 0 here, the blind guesses too**" in sure
    assert "no better than" not in sure
    assert "as well" not in sure


def test_negative_road_notes_and_missing_scores():
    assert "before clipping is negative (-0.12)" in words(0.5, road_raw=-0.12)
    assert "negative" not in words(0.5, road_raw=-0.004)
    assert ":gray[Note: half of it.]" in words(0.5, note="half of it")
    assert "No ARCC yet: it is undefined here." in words(None)


def test_the_known_shape():
    result = row("result", "RefineCAM", mass=0.5, best_iou=0.62)
    layers = [row("layer", size, best_iou=iou) for size, iou in zip(SIZES, (0.4, 0.7), strict=False)]
    sentence = on_truth(result, layers, "star", True, 0.1)
    assert "50.0% of its heat lies on the star**, which covers 10.0% of the picture: 5.0 times as much" in sentence
    assert sentence.endswith("It overlaps the star by up to 0.62 (best IoU), the deepest layer alone by 0.40.")
    assert on_truth(result, layers[:1], "star", True, 0.1).endswith("by up to 0.62 (best IoU).")
    assert on_truth(row("result", "", mass=0.0), [], "star", True, 0.1) == "**None of its heat lies on the star.**"
    assert "another class is being explained" in on_truth(result, [], "star", False, 0.1)


def outcome(flipped, overlap):
    return Outcome("gaussian", 0.2, 0, 1, 0.5, 0.4, flipped, overlap, 0.5, 0.5, 0.5, 0.5)


def test_noise():
    stays, changes = outcome(False, 0.8), outcome(True, 0.3)
    said = on_noise(stays, [stays], "cup", "cup", 0.2)
    assert "**The prediction stays** cup" in said
    assert "overlap **0.80** (chance 0.20)" in said
    assert "the prediction never changed" in said
    said = on_noise(changes, [stays, changes], "cup", "pot", 0.2)
    assert "**The prediction changed** from cup to pot" in said
    assert "For cup, as before: 0.50." in said
    assert "responsiveness 0.70 (1 changed it)" in said
    assert "cannot be ranked" in on_noise(outcome(False, float("nan")), [], "cup", "cup", 0.2)


def test_a_network_that_does_not_know_says_so_in_the_title():
    sure, unsure = (title_html("Net", "cup", "a.png", 0.2, "Grad-CAM", most) for most in (0.3, 0.29))
    assert "Where does Net see <b>cup</b>?" in sure
    assert "Net is not sure what this is. Where would it see <b>cup</b>?" in unsure
    assert "a.png · 20.0% sure · Grad-CAM" in unsure


def test_heat_at_the_border_is_named():
    """Of a map of 40 x 20 pixels, the border is 2 rows and 1 column wide."""
    heat = np.zeros((40, 20), np.float32)
    assert on_border(heat) == []
    heat[10, 10] = 1
    heat[1, 5] = heat[20, 19] = 0.5
    assert on_border(heat) == []  # exactly a half
    heat[39, 0] = 0.5
    (sentence,) = on_border(heat)
    assert sentence.startswith("**60.0% of its heat lies at the border**, in the outer 5% of the picture.")
    heat[39, 0], heat[2, 1] = 0, 0.5  # just inside
    assert on_border(heat) == []
    assert on_border(np.ones((224, 224), np.float32)) == []
