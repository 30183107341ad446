"""Networks whose predictions are known by construction; overlaps computed again the slow way; stops, memory, errors."""

import dataclasses
import importlib
import math
import random

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from watching_network import ALWAYS, HALFWAY, LAYERS, NEVER, PICTURE, same_tables, watching

import camviz
from camviz import noise
from camviz.noise.rank_overlap import chance, minimum
from camviz.noise.segments import segment
from camviz.workbench.noisy_copies import robustness

COUNTS = ["consistency", "responsiveness", "rm"]


def slow_overlap(a, b, p=0.9):
    """RBO^a of two lists of scores: depth by depth, an item's chance to be among the first d in each ranking."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if (a == a[0]).all() or (b == b[0]).all():
        return math.nan
    m, total = len(a), 0.0
    # For each item how many are ranked before it, and how many tie with it, itself among them.
    places = [[(int((s > own).sum()), int((s == own).sum())) for own in s] for s in (a, b)]
    for d in range(1, m + 1):
        first, second = ([min(1, max(0, (d - before) / tied)) for before, tied in ranking] for ranking in places)
        total += sum(x * y for x, y in zip(first, second, strict=True)) / d * p**d
    return p**m + (1 - p) / p * total


def map_by_hand(net, view, target, method, layers, rule="product"):
    """One image through the public functions: its fused map, and the capture."""
    cap = camviz.capture(net.module, net.inputs(view[None]), target, list(layers))
    return camviz.refine(camviz.cam_with_notes(cap, method)[0], rule)[0], cap


def means_by_hand(map_, labels):
    return [map_.numpy().astype(np.float64)[labels == label].mean() for label in range(labels.max() + 1)]


def check_by_hand(net, image, found, method, layers, rule="product", fit="crop", every=1):
    """Compute rows of a table again, one image at a time."""
    view = net.view(image, fit)
    labels = segment(view)
    clean, cap = map_by_hand(net, view, None, method, layers, rule)
    assert found.target == int(cap.target)
    reference = means_by_hand(clean, labels)
    for row in found.table.iloc[::every].itertuples():
        noisy = noise.apply(view, row.kind, row.level, row.seed, net, found.target)
        now, cap = map_by_hand(net, noisy, None, method, layers, rule)
        same, _ = map_by_hand(net, noisy, found.target, method, layers, rule)
        probabilities = cap.logits[0].softmax(0)
        assert (row.predicted, row.flipped) == (int(cap.target), int(cap.target) != found.target)
        close(row.probability, probabilities.max().item())
        close(row.kept, probabilities[found.target].item())
        close(row.overlap, slow_overlap(reference, means_by_hand(now, labels)))
        close(row.overlap_same, slow_overlap(reference, means_by_hand(same, labels)))
        if len(np.unique(now)) > 1 and len(np.unique(clean)) > 1:
            close(row.pearson, np.corrcoef(clean.flatten(), now.flatten())[0, 1])
            expected = stats.spearmanr(clean.flatten(), now.flatten()).statistic
            assert row.spearman == pytest.approx(expected, abs=1e-3)  # the last digit decides what ties
        else:
            assert math.isnan(row.pearson)


def close(value, expected):
    assert value == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_a_prediction_that_always_stays():
    found = robustness(watching(NEVER), PICTURE, ["gaussian", "jpeg"], (0, 0.5, 1.0), seeds=(0, 1))
    assert not found.table.flipped.any()
    assert (found.table.predicted == 0).all()
    close(found.consistency, sum(found.table.overlap) / 12)
    assert minimum(found.segments) < found.consistency < 1
    assert math.isnan(found.responsiveness)
    assert math.isnan(found.rm)
    assert found.table.overlap_same.tolist() == found.table.overlap.tolist()
    assert found.table.kept.tolist() == found.table.probability.tolist()


def test_a_prediction_that_never_stays():
    found = robustness(watching(ALWAYS), PICTURE, ["gaussian", "blur", "fgsm"], (0.3, 1.0))
    assert found.table.flipped.all()
    assert (found.table.predicted == 1).all()
    close(found.responsiveness, 1 - sum(found.table.overlap) / 6)
    assert 0 < found.responsiveness < 1
    assert math.isnan(found.consistency)
    assert math.isnan(found.rm)
    assert (found.table.kept < found.table.probability).all()
    assert (found.table.overlap_same != found.table.overlap).all()


def test_a_prediction_that_turns_on_the_way():
    levels = (0.1, 0.3, 0.9, 1.0)
    found = robustness(watching(HALFWAY), PICTURE, ["gaussian", "speckle"], levels, seeds=(0, 1, 2))
    table = found.table
    asked = [(kind, level, seed) for kind in ("gaussian", "speckle") for level in levels for seed in (0, 1, 2)]
    assert list(zip(table.kind, table.level, table.seed, strict=True)) == asked
    assert table.flipped.tolist() == (table.predicted == 1).tolist()
    assert table.flipped[table.kind == "gaussian"].tolist() == [False] * 6 + [True] * 6
    held = [overlap for overlap, flipped in zip(table.overlap, table.flipped, strict=True) if not flipped]
    turned = [overlap for overlap, flipped in zip(table.overlap, table.flipped, strict=True) if flipped]
    close(found.consistency, sum(held) / len(held))
    close(found.responsiveness, 1 - sum(turned) / len(turned))
    assert found.rm == found.consistency * found.responsiveness
    m = segment(PICTURE).max() + 1
    assert (found.segments, found.chance, found.minimum, found.target) == (m, chance(m), minimum(m), 0)


@pytest.mark.parametrize("layers", [None, "relu1", ["relu2"]], ids=str)
@pytest.mark.parametrize("method", camviz.METHODS)
def test_every_method_by_hand(method, layers):
    net = watching(HALFWAY)
    found = robustness(net, PICTURE, ["gaussian", "blur"], (0.2, 1.0), method, layers)
    assert set(found.table.flipped) == {False, True}
    assert found.table.overlap.isna().all() == (method == "uniform")
    check_by_hand(net, PICTURE, found, method, [layers] if isinstance(layers, str) else layers or LAYERS)


@pytest.mark.parametrize("kind", noise.KINDS)
def test_every_kind_by_hand(kind):
    """Given by its name alone."""
    net = watching(HALFWAY)
    found = robustness(net, PICTURE, kind, (0.01, 0.4, 1.0), layers="relu2", seeds=(0, 7))
    assert found.table.kind.tolist() == [kind] * 6
    check_by_hand(net, PICTURE, found, "gradcam++", ["relu2"])


@pytest.mark.parametrize(("rule", "fit"), [("minimum", "crop"), ("mean", "squeeze"), ("product", "pad")])
def test_rules_and_fits_by_hand(photos, rule, fit):
    net = watching(HALFWAY)
    found = robustness(net, photos["coffee"], levels=(0.3,), rule=rule, fit=fit)
    check_by_hand(net, photos["coffee"], found, "gradcam++", LAYERS, rule, fit)


def test_no_noise_is_compared_with_itself():
    """Regions that tie keep the overlap with itself below 1."""
    net = watching(HALFWAY)
    labels = segment(PICTURE)
    for method in ("gradcam++", "centre"):
        found = robustness(net, PICTURE, list(noise.KINDS), (0,), method, "relu2", seeds=(0, 1))
        scores = means_by_hand(map_by_hand(net, PICTURE, None, method, ["relu2"])[0], labels)
        rows = 2 * len(noise.KINDS)
        assert len(found.table) == rows
        assert found.table.overlap.tolist() == pytest.approx([slow_overlap(scores, scores)] * rows, abs=1e-9)
        assert found.table.ssim.tolist() == pytest.approx([1] * rows)
        assert (found.consistency, found.rm) == pytest.approx((slow_overlap(scores, scores), math.nan), nan_ok=True)


def test_a_real_network(lite0, photos):
    """By hand, and whatever the batch."""
    options = {"kinds": ["speckle", "impulse", "blur", "jpeg", "fgsm"], "levels": (0.15, 0.8)}
    alone, together = (robustness(lite0, photos["chelsea"], **options, batch=batch) for batch in (1, 32))
    same_tables(alone, together)
    assert together.table.flipped.tolist() == [False, True, True, True, False, True, True, True, True, True]
    assert together.segments == 60
    check_by_hand(lite0, photos["chelsea"], together, "gradcam++", lite0.layers, every=3)


def test_seeds():
    net, options = watching(HALFWAY), {"kinds": ["shot", "uniform"], "levels": (0.3, 1.0)}
    first, again, other, both = (robustness(net, PICTURE, **options, seeds=s) for s in ((0,), (0,), (5,), (0, 5)))
    pd.testing.assert_frame_equal(first.table, again.table)
    assert (first.table.overlap != other.table.overlap).all()
    assert other.table.seed.tolist() == [5] * 4
    for alone in (first, other):
        drawn = both.table[both.table.seed == alone.table.seed[0]].reset_index(drop=True)
        pd.testing.assert_frame_equal(drawn, alone.table, rtol=0, atol=1e-5)


def test_randomness_is_an_argument():
    """The global generators are neither read nor moved, and the picture is left alone."""
    picture, net = PICTURE.copy(), watching(HALFWAY)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = robustness(net, picture, list(noise.KINDS), (0.5,), "random")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = robustness(net, picture, list(noise.KINDS), (0.5,), "random")
    pd.testing.assert_frame_equal(again.table, first.table)
    assert np.array_equal(picture, PICTURE)


@pytest.mark.parametrize("turns", [NEVER, ALWAYS])
def test_a_blank_map(turns):
    """The logits do not depend on this layer."""
    found = robustness(watching(turns), PICTURE, ["gaussian"], (0.5, 1.0), layers="deaf")
    assert found.table[["overlap", "overlap_same", "pearson", "spearman"]].isna().all(axis=None)
    assert [math.isnan(getattr(found, name)) for name in COUNTS] == [True] * 3
    assert found.table.flipped.tolist() == [turns == ALWAYS] * 2


def test_results_are_plain():
    """Python's own numbers and NumPy's columns, ready to be stored."""
    found = robustness(watching(HALFWAY), PICTURE, levels=(0.1, 1.0))
    assert all(type(value) in (int, float) for name, value in vars(found).items() if name != "table")
    names = [each.name for each in dataclasses.fields(importlib.import_module("camviz.noise.measure").Outcome)]
    assert found.table.columns.tolist() == names
    assert found.table.dtypes[["predicted", "flipped", "overlap"]].tolist() == [np.int64, np.bool_, np.float64]
