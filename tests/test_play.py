"""A map changed by hand: where its heat goes, and the scores of both maps."""

import math

import pytest
import torch

import camviz
from camviz import shapes
from camviz.metrics import Evidence
from camviz.recipe import Recipe
from camviz.trust.play import (
    SLOW,
    TRUTHS,
    WATCHED,
    Change,
    are_slow_scores_known,
    changed_map,
    scores_of_both,
    slow_scores_of_both,
)
from camviz.ui.play.view import in_words, preferred, scores_html
from camviz.workbench.host import PlainHost
from camviz.workbench.pictures import SeenPicture, draw_picture

SPOT = torch.zeros(1, 40, 60)
SPOT[0, 16:24, 25:35] = 1


def centre(maps):
    rows, columns = (torch.arange(side) + 0.5 for side in maps.shape[-2:])
    heat = maps.sum()
    return ((maps.sum(2) @ rows) / heat).item(), ((maps.sum(1) @ columns) / heat).item()


def test_nothing_changed_is_the_same_map():
    assert Change().of(SPOT) is SPOT


def test_moved_by_whole_pixels():
    moved = Change(right=0.1, down=-0.25).of(SPOT)  # 6 pixels, and 10 up
    assert torch.allclose(moved, SPOT.roll((-10, 6), (1, 2)), atol=1e-4)
    assert Change(right=0.9).of(SPOT).sum() == 0  # what leaves the picture is lost


def test_shrunk_around_the_centre_of_its_heat():
    rng = torch.Generator().manual_seed(0)
    maps = torch.zeros(1, 60, 60)
    maps[0, 30:50, 10:30] = torch.rand(20, 20, generator=rng)
    small = Change(shrink=2).of(maps)
    assert centre(small) == pytest.approx(centre(maps), abs=0.3)
    assert small.sum() / maps.sum() == pytest.approx(1 / 4, rel=0.15)
    assert small.amax() == 1


def test_sharpened_and_blurred():
    ramp = torch.linspace(0, 1, 101).expand(1, 50, 101).contiguous()
    assert torch.allclose(Change(sharpen=3).of(ramp), ramp**3, atol=1e-6)
    soft = Change(blur=3).of(SPOT)
    assert soft.amax() == 1
    assert soft[0, 20, 20] > 0 == SPOT[0, 20, 20]
    assert centre(soft) == pytest.approx(centre(SPOT), abs=1e-3)


def test_a_blank_map_stays_blank():
    change = Change(blur=2, shrink=1.5, sharpen=2, right=0.1)
    assert change.of(torch.zeros(2, 30, 30)).tolist() == torch.zeros(2, 30, 30).tolist()


def test_each_map_of_a_batch_is_changed_as_if_alone():
    maps = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))
    change = Change(blur=1.5, shrink=1.3, sharpen=2, right=0.1, down=0.2)
    assert torch.allclose(change.of(maps), torch.cat([change.of(map_[None]) for map_ in maps]), atol=1e-6)


RECIPE = Recipe("gradcam++", ("layer3", "layer4"))
MOVED = Change(right=0.3)


@pytest.fixture(scope="module")
def of():
    net, sample = camviz.load_model("shapes-textured", "cpu"), shapes.sample(6)
    picture = draw_picture(PlainHost(), "a circle", "one shape 6", lambda: sample)
    return SeenPicture(PlainHost(), picture, net, "squeeze").explaining(sample.label)


@pytest.fixture(scope="module")
def scores(of):
    return scores_of_both(of, RECIPE, MOVED)


def test_both_maps_scores_are_those_of_camviz(of, scores):
    assert list(scores)[:14] == [*TRUTHS, *WATCHED]
    assert set(scores) | set(SLOW) == set(camviz.SCORES)
    assert not set(scores) & set(SLOW)
    module, x = of.net.module, of.net.preprocess(shapes.sample(6).image)
    target = torch.tensor([of.target])

    def changed(module, x, target):
        return MOVED.of(camviz.explain(module, x, target, RECIPE))

    own = camviz.explain(module, x, target, RECIPE)
    maps = torch.stack([own, MOVED.of(own)])
    makers = [lambda module, x, target: camviz.explain(module, x, target, RECIPE), changed]
    evidence = Evidence(
        module,
        x,
        maps,
        target,
        [lambda x, target, maker=maker: maker(module, x, target) for maker in makers],
        mask=torch.from_numpy(shapes.sample(6).mask)[None],
    )
    for name, both in scores.items():
        assert both == pytest.approx(evidence.values(name)[:, 0].tolist(), abs=1e-5, nan_ok=True), name
    assert torch.allclose(changed_map(of, RECIPE, MOVED), maps[1])


def test_a_map_moved_off_the_shape_is_worse(scores):
    assert preferred("best_iou", scores["best_iou"]) == "the map"
    assert preferred("faithfulness", scores["faithfulness"]) == "the map"


def test_squares_are_removed_once_for_all_changes(of, monkeypatch):
    calls = []
    run = of.net.module.forward
    monkeypatch.setattr(of.net.module, "forward", lambda x: calls.append(len(x)) or run(x))
    scores_of_both(of, RECIPE, Change(blur=2))
    assert sum(calls) < 60  # 85 for the squares alone


def test_nobody_is_judged_by_the_mask_of_another_class(of):
    other = of.explaining((of.target + 1) % 6)
    scores = scores_of_both(other, RECIPE, MOVED)
    assert "arcc" in scores
    assert not [name for name in scores if camviz.SCORES[name].needs_mask]
    assert "No mask of this class is known" in in_words(scores)
    assert "Right?" not in scores_html(scores, list(scores))


def test_slow_scores_are_computed_once_and_only_on_request(of):
    """Those of the changed map are what a method that makes it gets on its own."""
    change = Change(blur=4)
    assert not are_slow_scores_known(of, RECIPE, change)
    steps = []
    slow = slow_scores_of_both(of, RECIPE, change, lambda done, total: steps.append(done / total))
    assert steps.count(1) == 4  # each part ends
    assert are_slow_scores_known(of, RECIPE, change)
    assert slow_scores_of_both(of, RECIPE, change) is slow
    assert not are_slow_scores_known(of, RECIPE, MOVED)

    def blurred(module, x, target):
        return change.of(camviz.explain(module, x, target, RECIPE))

    x, target = of.net.preprocess(shapes.sample(6).image), torch.tensor([of.target])
    alone = Evidence(
        of.net.module,
        x,
        blurred(of.net.module, x, target)[None],
        target,
        [lambda x, target: blurred(of.net.module, x, target)],
        [blurred],
    )
    for name in SLOW:
        assert slow[name][1] == pytest.approx(alone.values(name).item(), abs=1e-5), name


@pytest.mark.parametrize(
    ("name", "both", "expected"),
    [
        ("best_iou", (0.5, 0.4), "the map"),
        ("best_iou", (0.4, 0.5), "changed"),
        ("complexity", (0.5, 0.4), "changed"),  # low is good
        ("best_iou", (0.5, 0.504), "neither"),
        ("faithfulness", (math.nan, 0.5), "neither"),
    ],
)
def test_which_map_is_preferred(name, both, expected):
    assert preferred(name, both) == expected


def test_who_is_fooled():
    scores = {"best_iou": (0.6, 0.2), "arcc": (0.5, 0.7), "coherency": (0.9, 0.8), "complexity": (0.3, 0.3)}
    assert in_words(scores) == "The map as it is fits the true mask better. Fooled: ARCC."
    html = scores_html(scores, list(scores))
    assert html.count("fooled") == 1
    assert html.count("the truth") == 1
    assert in_words({"best_iou": (0.2, 0.6), "arcc": (0.1, 0.2)}).endswith("none of these scores is fooled.")
    assert "equally well" in in_words({"best_iou": (0.2, 0.2), "arcc": (0.1, 0.2)})
    assert "nobody can say" in in_words({"arcc": (0.1, 0.2)})
    assert "Right?" not in scores_html({"arcc": (0.1, math.nan)}, ["arcc"])
    assert scores_html(scores, ["complexity", "gini"]).count("<tr") == 2  # the head, and what is known


def test_scores_that_are_folded_away_are_not_in_the_sentence():
    scores = {"best_iou": (0.6, 0.2), "arcc": (0.7, 0.5), "cosine": (0.1, 0.9), "fidelity": (0.1, 0.9)}
    assert in_words(scores).endswith("none of these scores is fooled.")
    rest = scores_html(scores, ["cosine", "fidelity"])
    assert (rest.count("the truth"), rest.count("fooled")) == (1, 1)
