"""An evaluation of one's own, in pieces: the same numbers as `camviz.evaluate`, stopped or not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import camviz
from camviz import shapes
from camviz.metrics.patch_agreement import PASSES
from camviz.recipe import Recipe
from camviz.trust.evaluation import trust
from camviz.trust.ranked_maps import default_recipes
from camviz.trust.run import STEPS, Case, EvaluationRun, too_many_maps
from camviz.trust.study_file import pack, unpack
from camviz.trust.study_results import trust_of_metrics, win_intervals
from camviz.workbench.cache_keys import Kind
from camviz.workbench.host import PlainHost
from camviz.workbench.pictures import SeenPicture, draw_picture, pixels_as_picture

RECIPES = {
    "gradcam++, layer4": Recipe("gradcam++", ("layer4",)),
    "gradcam++, merged": Recipe("gradcam++", ("layer1", "layer2", "layer3", "layer4")),
    "centre": Recipe("centre", ("layer4",)),
}


@pytest.fixture(scope="module")
def net():
    return camviz.load_model("shapes-textured", "cpu")


def case_of(net, number, host, label=None):
    sample = shapes.sample(number)
    picture = draw_picture(host, "shape", f"one shape {number}", lambda: sample)
    return Case(SeenPicture(host, picture, net, "squeeze"), sample.mask, label=sample.label if label is None else label)


def run_of(net, host, steps=("ordinary", "road"), wrong=()):
    cases = [case_of(net, number, host) for number in (6, 7)]
    return EvaluationRun(net, (*cases, *(case_of(net, 8, host, label) for label in wrong)), RECIPES, steps)


@pytest.fixture(scope="module")
def finished(net):
    run = run_of(net, PlainHost(), wrong=[3])
    assert run.total == 6
    assert run.go_on(1e9) is False
    return run


def test_its_numbers_are_those_of_evaluate(net, finished):
    rows = (
        finished.results()
        .of("ordinary", equal_area=True, kind="own")
        .merge(
            finished.results().of("road", equal_area=True, kind="own")[["picture", "map", "arcc", "road_raw"]],
            on=["picture", "map"],
        )
    )
    names = ["coherency", "faithfulness", "infidelity", "average_drop", "adcc", "road_raw", "arcc"]
    cases = [shapes.sample(number) for number in (6, 7)]
    found = camviz.evaluate(net, cases, RECIPES, names, same_area=True)
    both = rows.merge(found.table, on=["picture", "map"], suffixes=("", "_again"))
    assert len(both) == 6
    assert both[names].notna().all(axis=None)
    for name in (*names, "best_iou", "mass", "auc", "cosine"):
        assert both[name].tolist() == pytest.approx(both[f"{name}_again"].tolist(), abs=1e-4, nan_ok=True), name
    table = trust_of_metrics(finished.results(), equal_area=True, kind="own")
    for name in names:
        assert table.loc[name, "pair_accuracy"] == pytest.approx(found.trust.loc[name, "pair_accuracy"])
    assert trust(both, ["arcc"]).loc["arcc", "pair_accuracy"] == table.loc["arcc", "pair_accuracy"]


def test_what_the_network_does_not_see_is_left_out(finished):
    samples = finished.results().samples
    assert samples["left_out"].tolist() == ["", "", "the network sees triangle, not circle frame"]
    assert set(finished.results().rows["ordinary"]["picture"]) == {0, 1}
    assert finished.done == finished.total


def test_seventeen_maps_share_the_passes_of_a_picture(net):
    """At most 1.3 times the shared passes of one map, besides what each map needs for itself."""
    recipes = default_recipes(net)
    first, *others = "gradcam++, layer4", "layercam, layer3", "eigencam, merged", "random"

    def passes(names):
        host, seen = PlainHost(), []
        run = EvaluationRun(net, (case_of(net, 6, host),), {name: recipes[name] for name in names}, ("ordinary",))
        handle = net.module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        run.go_on(1e9)
        handle.remove()
        return sum(seen)

    passes([first])  # the first run of a network also looks at how it lays out its maps
    one = passes([first])
    alone = max(passes([first, name]) - one for name in others)
    assert one - alone >= PASSES
    assert len(recipes) == 17
    assert passes(recipes) <= 1.3 * (one - alone) + 17 * alone


def test_a_host_that_keeps_little_measures_everything_once(net, finished):
    """Here nothing at all: what one piece needs is computed again, and what it found is not."""
    host, done = PlainHost(), []
    run = run_of(net, host, wrong=[3])
    for _ in range(run.total):
        more = run.go_on(0.0)
        host.results.forget(lambda key: True)
        done.append(run.done)
        if not more:
            break
    assert done == sorted(done)
    assert run.done == run.total
    for step in ("ordinary", "road"):
        found, expected = (each.results().rows[step] for each in (run, finished))
        pd.testing.assert_frame_equal(found, expected, check_exact=False, atol=1e-4)
    assert run.go_on(1e9) is False


def test_shapes_have_their_sizes(net):
    host = PlainHost()
    cases = [replace(case_of(net, number, host), shape=number) for number in (6, 13)]
    run = EvaluationRun(net, tuple(cases), {"centre": RECIPES["centre"]}, ("ordinary",))
    run.go_on(1e9)
    assert run.results().samples["band"].tolist() == [shapes.sample(n).shapes[0].band for n in (6, 13)]


def test_first_scores_come_before_road(net):
    run = run_of(net, PlainHost())
    assert run.results().rows == {}
    assert (run.go_on(0), run.done) == (True, 1)
    assert set(run.results().rows) == {"ordinary"}
    run.go_on(0)
    assert (run.done, set(run.results().rows)) == (2, {"ordinary"})  # the second picture, not the first one's ROAD
    run.go_on(0)
    assert set(run.results().rows) == {"ordinary", "road"}
    table = trust_of_metrics(run.results(), equal_area=True, kind="own")
    assert (table.loc["arcc", "pictures"], table.loc["faithfulness", "pictures"]) == (1, 2)


def test_stopped_and_resumed_is_the_same_as_unbroken(net, finished):
    run = run_of(net, PlainHost())
    while run.go_on(0):
        run = EvaluationRun(net, run.cases, RECIPES, run.steps)
    for step, rows in run.results().rows.items():
        pd.testing.assert_frame_equal(rows, finished.results().rows[step])


def test_slow_metrics_are_those_of_the_study(net):
    host = PlainHost()
    run = EvaluationRun(net, (case_of(net, 0, host),), {"gradcam++, layer4": RECIPES["gradcam++, layer4"]}, ("slow",))
    assert list(STEPS["slow"]) == ["insertion", "deletion", "max_sensitivity"]
    run.go_on(1e9)
    rows = run._rows("slow")
    assert rows["insertion"].nunique() == 1  # by the order alone, for both areas
    assert rows[["insertion", "deletion", "max_sensitivity"]].notna().all(axis=None)


def test_a_mosaics_class_is_explained_though_another_is_predicted(net):
    host = PlainHost()
    picture = pixels_as_picture(shapes.sample(0).image, "a circle")
    mask = np.zeros((224, 224), bool)
    mask[:112, :112] = True
    case = Case(SeenPicture(host, picture, net, "squeeze"), mask, target=4)
    assert (case.explained.target, case.left_out) == (4, "")
    run = EvaluationRun(net, (case,), {"gradcam++, layer4": RECIPES["gradcam++, layer4"]}, ("ordinary",), ("mass",))
    run.go_on(1e9)
    (row,) = run.results().of("ordinary", equal_area=False, kind="own").to_dict("records")
    map_ = camviz.explain(net.module, net.preprocess(shapes.sample(0).image), [4], run.recipes["gradcam++, layer4"])
    assert row["mass"] == pytest.approx((map_[0, :112, :112].sum() / map_.sum()).item(), abs=1e-4)
    assert run.results().truths == ("mass",)


def test_a_run_is_another_if_anything_differs(net):
    host = PlainHost()
    case = case_of(net, 0, host)
    other = Case(case.seen, ~case.mask, label=case.label)
    runs = [
        EvaluationRun(net, (case,), RECIPES, ("ordinary",)),
        EvaluationRun(net, (other,), RECIPES, ("ordinary",)),
        EvaluationRun(net, (case,), RECIPES, ("ordinary", "road")),
        EvaluationRun(net, (case,), {"centre": RECIPES["centre"]}, ("ordinary",)),
    ]
    assert len({run.key for run in runs}) == 4
    assert EvaluationRun(net, (case,), dict(RECIPES), ("ordinary",)).key == runs[0].key


def test_longer_work_is_expected_to_take_longer(net):
    host = PlainHost()
    expected = [run_of(net, host, steps).expected_seconds() for steps in (("ordinary",), ("ordinary", "road"))]
    assert 0 < expected[0] < expected[1]


def test_at_most_17_maps(net):
    assert too_many_maps(list(default_recipes(net))) == ""
    assert "22 maps of each picture" in too_many_maps(
        list(default_recipes(net, ("gradcam++", "layercam", "eigencam", "hirescam")))
    )


def test_nothing_is_lost_if_the_cache_is_small(net):
    """Rows that made room for others are computed again by the next run, not left out in silence."""
    host = PlainHost()
    run_of(net, host, ("ordinary",)).go_on(1e9)
    assert run_of(net, host, ("ordinary",)).done == 2
    host.results.forget(lambda key: True)
    run = run_of(net, host, ("ordinary",))
    assert run.done == 0
    assert run.results().rows == {}
    assert torch.is_grad_enabled()


def test_without_the_truths_there_are_no_results(net):
    """The cache drops first what was used first: the step that holds the truths."""
    host = PlainHost()

    def begun():
        return EvaluationRun(net, (case_of(net, 6, host),), {"centre": RECIPES["centre"]}, ("ordinary", "road"))

    begun().go_on(1e9)
    run = begun()
    (ordinary,) = [key for key in host.results.holdings() if key.kind == Kind.EVALUATED and "ordinary" in key.settings]
    host.results.forget(lambda key: key == ordinary)
    assert run.results().rows == {}
    run.go_on(1e9)
    assert set(run.results().rows) == {"ordinary", "road"}


def test_wrong_maps_are_those_of_the_study(net):
    host = PlainHost()
    run = EvaluationRun(net, (case_of(net, 6, host),), {"centre": RECIPES["centre"]}, ("ordinary", "deliberate"))
    run.go_on(1e9)
    wins = win_intervals(run.results(), "best_iou", equal_area=False, kind="own")
    assert (wins["the mask"].value, wins["inverted"].value) == (1, 0)
    assert set(run.results().metrics) == {"ordinary"}
    assert run.results().rows["deliberate"]["arcc"].notna().all()


def test_the_randomisation_check_is_that_of_evaluate(net):
    """Measured on the maps as they are, and shown at equal area, too."""
    run = EvaluationRun(net, (case_of(net, 6, PlainHost()),), RECIPES, ("ordinary", "randomisation"))
    run.go_on(1e9)
    rows = run.results().rows["randomisation"]
    assert not rows["equal_area"].any()
    scores = ["randomisation", "randomisation_ssim"]
    alone = camviz.evaluate(net, [shapes.sample(6)], RECIPES, scores).table
    for score in scores:
        assert rows[score].tolist() == pytest.approx(alone[score].tolist(), abs=1e-4)
        for equal_area in (False, True):
            assert score in trust_of_metrics(run.results(), equal_area=equal_area, kind="own").index
    opened = unpack(pack(run.results()))
    assert opened.rows["randomisation"]["randomisation"].tolist() == pytest.approx(rows["randomisation"].tolist())
