"""Mosaics: four pictures in one, and the explained one's quarter as the truth."""

import re
from collections import Counter
from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import with_colour_layers

import camviz
from camviz import shapes
from camviz.recipe import Recipe
from camviz.trust.evaluation import trust
from camviz.trust.mosaics import SURE, groups_of_four, mosaic, mosaic_cases, recognised
from camviz.workbench.host import PlainHost
from camviz.workbench.maps import predict
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

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


SIDE = 32
# The target's picture is green, and its upper half yellow; of the others one is blue.
SMALL, WIDE, WRONG = ([1.0, 0.0, 0.0], 0.0), ([0.0, 1.0, 0.5], 0.0), ([0.0, 0.0, 1.0], 0.0)


@pytest.fixture(scope="module")
def textured():
    return camviz.load_model("shapes-textured", "cpu")


@pytest.fixture(scope="module")
def net(textured):
    """Whatever it is shown, it predicts class 0."""
    labels = ("sky", "leaf", "sea", "night")
    return with_colour_layers(textured, SIDE, labels, (10.0, 0.0, 0.0), small=SMALL, wide=WIDE, wrong=WRONG)


@pytest.fixture(scope="module")
def mosaics():
    target = np.zeros((SIDE, SIDE, 3), np.uint8)
    target[:, :, 1] = target[: SIDE // 2, :, 0] = 255
    blue, black = np.full_like(target, (0, 0, 255)), np.zeros_like(target)
    return [
        mosaic([target, blue, black, black], [1, 0, 2, 3], 0),
        mosaic([black, black, blue, target], [0, 2, 3, 1], 3),
    ]


RECIPES = {name: Recipe("gradcam", (name,)) for name in ("small", "wide", "wrong")}


def test_the_share_of_heat_says_which_map_is_better(net, mosaics):
    """By hand: `small` is half of the quarter, `wide` all of it and half as hot in another, `wrong` another one."""
    found = camviz.evaluate(net, mosaics, RECIPES, ["complexity"])
    assert (found.truth, found.left_out) == ("mass", [])
    assert found.table["mass"].tolist() == pytest.approx([1, 2 / 3, 0] * 2)
    assert found.table["best_iou"].tolist() == pytest.approx([0.5, 1, 0] * 2)
    assert found.table["complexity"].tolist() == pytest.approx([1 / 8, 3 / 8, 1 / 4] * 2)
    # Lower is better: right about small and wide, small and wrong, but not about wide and wrong.
    assert found.trust.loc["complexity", ["pair_accuracy", "pictures"]].tolist() == [pytest.approx(2 / 3), 2]
    # By best IoU, it would be right about small and wrong only.
    assert trust(found.table, ["complexity"]).loc["complexity", "pair_accuracy"] == pytest.approx(1 / 3)


def test_the_probability_is_that_of_the_class_explained(net, mosaics):
    found = camviz.evaluate(net, mosaics, RECIPES, ["complexity"])
    logit = 1 / 8 + 3 / 8 + 1 / 4
    expected = exp(logit) / (exp(10) + exp(logit) + 2)
    assert found.table["probability"].tolist() == pytest.approx([expected] * 6)


@dataclass
class Aimed:
    """A picture with a mask, a class to explain and one to predict."""

    image: np.ndarray
    mask: np.ndarray
    target: int | None
    label: int | None = None


def test_a_case_can_name_the_class_to_explain(net, mosaics):
    image, mask = mosaics[0].image, mosaics[0].mask
    cases = [Aimed(image, mask, 1), Aimed(image, mask, 1, 0), Aimed(image, mask, 1, 1), Aimed(image, mask, None)]
    found = camviz.evaluate(net, cases, RECIPES, ["complexity"])
    assert found.left_out == [(2, "the network sees sky, not leaf")]
    by_picture = found.table.groupby("picture")["best_iou"].apply(list)
    assert by_picture[0] == by_picture[1] == pytest.approx([0.5, 1, 0])
    assert by_picture[3] == [0, 0, 0]  # nothing speaks for the predicted class
    assert found.truth == "best_iou"
    by_mass = camviz.evaluate(net, [*mosaics, *cases], RECIPES, ["complexity"], truth="mass")
    assert by_mass.table["mass"].tolist()[:9] == pytest.approx([1, 2 / 3, 0] * 3)


def test_what_is_refused(net, mosaics):
    own = Aimed(mosaics[0].image, mosaics[0].mask, 1)
    with pytest.raises(ValueError, match="should not fill a mosaic's quarter: its truth is 'mass', the share of heat"):
        camviz.evaluate(net, mosaics, truth="best_iou")
    with pytest.raises(ValueError, match=r"only some of the cases are mosaics: .* all with truth='mass'"):
        camviz.evaluate(net, [*mosaics, own])
    with pytest.raises(ValueError, match="unknown truth 'l2'; choose from best_iou, mass"):
        camviz.evaluate(net, [own], truth="l2")
    with pytest.raises(ValueError, match=r"case 0: .* has 4 classes, so no class 4"):
        camviz.evaluate(net, [Aimed(own.image, own.mask, 4)])


def seen_shapes(net, count):
    host = PlainHost()
    samples = [shapes.sample(index) for index in range(count)]
    seen = [
        SeenPicture(host, pixels_as_picture(sample.image, str(n)), net, "squeeze") for n, sample in enumerate(samples)
    ]
    return seen, [sample.label for sample in samples]


def test_recognised_pictures(textured):
    seen, labels = seen_shapes(textured, 24)
    found = np.array([predict(each) for each in seen])
    wrong = [(label + 1) % 6 for label in labels[:5]]
    given = [*wrong, *labels[5:15], *[None] * 9]
    mistaken = [label is not None and label != row.argmax() for label, row in zip(given, found, strict=True)]
    unsure = (found.max(1) < SURE) & ~np.array(mistaken)
    result = recognised(list(zip(seen, given, strict=True)))
    assert (result.mistaken, result.unsure) == (sum(mistaken), unsure.sum())
    assert result.mistaken >= 5
    expected = [n for n in range(24) if not mistaken[n] and not unsure[n]]
    assert result.sure == [(seen[n], found[n].argmax()) for n in expected]


def test_who_is_not_sure_is_not_mistaken(monkeypatch):
    """By hand: predicted as its class or another, with 0.9 or less."""
    rows = {"right": [0.9, 0.1], "other": [0.05, 0.95], "unsure": [0.89, 0.11], "unsure and other": [0.4, 0.6]}
    monkeypatch.setattr("camviz.trust.mosaics.predict", lambda name: np.array(rows[name]))
    found = recognised([(name, 0) for name in rows])
    assert (found.sure, found.mistaken, found.unsure) == ([("right", 0)], 2, 1)
    found = recognised([(name, None) for name in rows])
    assert (found.sure, found.mistaken, found.unsure) == ([("right", 0), ("other", 1)], 0, 2)


def test_the_pages_cases_are_those_of_the_library(textured):
    seen, labels = seen_shapes(textured, 12)
    cases = mosaic_cases(list(zip(seen, labels, strict=True)), 3)
    groups = groups_of_four(range(12), labels, 3)
    for place, (case, group) in enumerate(zip(cases, groups, strict=True)):
        made = mosaic([shapes.sample(n).image for n in group], [labels[n] for n in group], place)
        assert np.array_equal(case.seen.picture.content, made.image)
        assert np.array_equal(case.mask, made.mask)
        assert (case.target, case.label) == (made.target, made.label)


def test_what_the_documentation_shows():
    text = (Path(__file__).parent.parent / "docs" / "library.md").read_text(encoding="utf-8")
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "groups_of_four" in code]
    names = {"camviz": camviz, "torch": torch}
    exec(block, names)  # noqa: S102
    cases, net = names["cases"], names["net"]
    assert len(cases) == 30
    assert all(case.mask.sum() == 112 * 112 for case in cases)
    assert Counter(tuple(np.argwhere(case.mask)[0]) for case in cases).most_common()[0][1] == 8  # places go round
    recipes = {"layer4": Recipe("gradcam++", ("layer4",)), "centre": Recipe("centre", ("layer4",))}
    found = camviz.evaluate(net, cases[:4], recipes, ["complexity"])
    assert (found.truth, found.left_out) == ("mass", [])
    mass = found.table.groupby("map")["mass"].mean()
    assert mass["layer4"] > mass["centre"] == pytest.approx(0.25, abs=0.01)
