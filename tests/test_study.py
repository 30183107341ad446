"""Sweeps that are stopped and resumed equal unbroken ones; one value a picture, by hand."""

import importlib
import math
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_networks import Plain, seeded

import camviz
from camviz import shapes
from camviz.models.registry import SHAPES, ModelInfo, Preprocessing, make_net
from camviz.noise.measure import Outcome, Perturbation, perturbations
from camviz.study import PART, Case, parts, per_image, rows, sweep
from camviz.workbench.noisy_copies import robustness

SIDE = 32
RECIPES = {"merged": camviz.Recipe("gradcam++", ("relu1", "relu2")), "blind": camviz.Recipe("eigencam", ("relu3",))}
POINTS = perturbations(["gaussian", "blur", "jpeg"], [0.2, 0.6, 1.0], [0, 1, 2])  # 27, two pieces a picture
VALUES = ["consistency", "responsiveness", "rm", "flips", "same_class"]


def small(index):
    return np.array(Image.fromarray(shapes.sample(index).image).resize((SIDE, SIDE)))


CASES = [Case("first", small(3)), Case("second", small(8))]
PIECES = [("first", 0), ("first", 1), ("second", 0), ("second", 1)]


@pytest.fixture(scope="module")
def net():
    info = ModelInfo("plain", "Plain", "Small", "checkpoint", SHAPES, 0.0, 0.0, 0.0)
    how = Preprocessing(SIDE, SIDE, (0.5, 0.5, 0.5), (0.05, 0.05, 0.05), Image.Resampling.BILINEAR)
    layers = ("relu1", "relu2", "relu3")
    return make_net(info, seeded(Plain, 1, torch.float32), tuple("abcde"), layers, how, torch.device("cpu"))


@pytest.fixture(scope="module")
def whole(net):
    """An unbroken sweep."""
    return dict(sweep(net, CASES, RECIPES, POINTS))


def same(first, second):
    assert list(first) == list(second)
    for piece in first:
        pd.testing.assert_frame_equal(first[piece], second[piece], check_exact=True)


def test_rows(net, whole):
    """Each explanation of each picture has the rows that it gets alone."""
    assert list(whole) == PIECES
    table = pd.concat(whole.values(), ignore_index=True)
    assert table.columns.tolist() == ["image", "method", *Outcome.__dataclass_fields__]
    assert len(table) == 2 * 2 * 27
    assert [len(piece) for piece in whole.values()] == [2 * PART, 2 * (27 - PART)] * 2
    assert 0.1 < table.flipped.mean() < 0.9
    for case in CASES:
        for name, recipe in RECIPES.items():
            mine = table[(table.image == case.name) & (table.method == name)].iloc[:, 2:].reset_index(drop=True)
            assert list(mine[["kind", "level", "seed"]].itertuples(index=False, name=None)) == [
                (point.kind, point.level, point.seed) for point in POINTS
            ]
            options = (["gaussian", "blur", "jpeg"], [0.2, 0.6, 1.0], recipe.method, recipe.layers, [0, 1, 2])
            pd.testing.assert_frame_equal(mine, robustness(net, case.image, *options).table, rtol=0, atol=1e-4)


@pytest.mark.parametrize("known", range(5))
def test_a_stopped_sweep_goes_on(net, whole, known):
    found = dict(islice(sweep(net, CASES, RECIPES, POINTS), known))
    assert list(found) == PIECES[:known]
    rest = dict(sweep(net, CASES, RECIPES, POINTS, done=found))
    assert list(rest) == PIECES[known:]
    same(found | rest, whole)


def test_pieces_may_be_known_in_any_order(net, whole):
    rest = dict(sweep(net, CASES, RECIPES, POINTS, done=[("second", 0), ("first", 1), ("elsewhere", 0)]))
    assert list(rest) == [("first", 0), ("second", 1)]
    same(rest, {piece: whole[piece] for piece in rest})


class StopError(Exception):
    """Raised by a progress that was told to stop."""


@pytest.mark.parametrize(("calls", "known"), [(1, 0), (3, 0), (4, 1), (5, 2), (8, 3)])
def test_stopped_by_the_progress(net, whole, calls, known):
    """Four copies a call, at most: a picture's pieces take three calls and one. The stopped piece is lost."""
    found, told = {}, []

    def stop(done, total):
        told.append((done, total))
        if len(told) == calls:
            raise StopError

    with pytest.raises(StopError):
        found.update(sweep(net, CASES, RECIPES, POINTS, progress=stop))  # which keeps what came before
    assert len(told) == calls
    assert list(found) == PIECES[:known]
    assert not any(part._forward_hooks for part in net.module.modules())
    rest = dict(sweep(net, CASES, RECIPES, POINTS, done=found))
    assert list(rest) == PIECES[known:]
    same(found | rest, whole)


def test_a_picture_is_explained_once_if_at_all(net, monkeypatch, whole):
    maps, explained = importlib.import_module("camviz.workbench.maps"), []
    real = maps.capture
    monkeypatch.setattr(maps, "capture", lambda *args, **options: explained.append(args[1]) or real(*args, **options))

    def pictures():
        return [torch.equal(x, net.preprocess(CASES[1].image, CASES[1].fit)) for x in explained]

    rest = dict(sweep(net, CASES, RECIPES, POINTS, done=PIECES[:3]))
    assert pictures() == [True]
    same(rest, {PIECES[3]: whole[PIECES[3]]})
    assert list(sweep(net, CASES, RECIPES, POINTS, done=PIECES)) == []
    assert len(explained) == 1
    same(dict(sweep(net, CASES, RECIPES, POINTS)), whole)
    assert pictures() == [True, False, True]


@pytest.mark.parametrize("done", [0, 1, 3])
@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
def test_progress(net, method, done):
    """Copies that need not be computed, as blur draws nothing, count as well; so do pieces that are known."""
    told, recipes = [], {"one": camviz.Recipe(method, ("relu3",))}
    for piece, _ in sweep(net, CASES, recipes, POINTS, PIECES[:done], lambda *each: told.append(each)):
        number, index = PIECES.index(piece) // 2, piece[1]
        assert told[-1] == (27 * number + min(27, PART * (index + 1)), 54)
    assert [each for each, _ in told] == sorted(each for each, _ in told)
    assert {total for _, total in told} == {54}
    assert told[0][0] >= {0: 0, 1: 16, 3: 43}[done]
    assert told[-1] == (54, 54)


def test_the_clean_map_of_a_slow_method_can_be_stopped(net):
    told = []

    def stop(done, total):
        told.append((done, total))
        raise StopError

    recipes = {"one": camviz.Recipe("scorecam", ("relu3",))}
    with pytest.raises(StopError):
        next(sweep(net, CASES, recipes, POINTS, PIECES[:2], stop))
    assert told == [(27, 54)]


def test_names_must_differ(net):
    cases = [Case("b", small(1)), Case("a", small(2)), Case("b", small(3)), Case("c", small(4)), Case("a", small(5))]
    with pytest.raises(ValueError, match=r"several pictures are called a, b; give each a unique name"):
        next(sweep(net, cases, RECIPES, POINTS))


def test_what_cannot_be_measured(net):
    flat = Case("flat", np.full((SIDE, SIDE, 3), 9, np.uint8))
    pieces = sweep(net, [CASES[0], flat], RECIPES, POINTS[:2])
    assert next(pieces)[0] == ("first", 0)
    with pytest.raises(ValueError, match="single colour"):
        next(pieces)
    with pytest.raises(ValueError, match="unknown noise 'fog'"):
        next(sweep(net, CASES, RECIPES, [Perturbation("fog", 0.5)]))
    assert list(sweep(net, CASES, RECIPES, [])) == list(sweep(net, [], RECIPES, POINTS)) == []


def test_fit_is_each_pictures_own(net, photos):
    cases = [Case("crop", photos["chelsea"]), Case("pad", photos["chelsea"], "pad")]
    crop, pad = (table.iloc[:, 2:] for _, table in sweep(net, cases, {"one": RECIPES["merged"]}, POINTS[:2]))
    for table, fit in ((crop, "crop"), (pad, "pad")):
        alone = robustness(net, photos["chelsea"], "gaussian", [0.2], layers=("relu1", "relu2"), seeds=[0, 1], fit=fit)
        pd.testing.assert_frame_equal(table, alone.table, rtol=0, atol=1e-4)
    assert (crop.overlap != pad.overlap).all()


def test_parts():
    assert [len(part) for part in parts(POINTS)] == [16, 11]
    assert sum(parts(POINTS), ()) == tuple(POINTS)
    assert [len(part) for part in parts(POINTS[:16])] == [16]
    assert [len(part) for part in parts(POINTS, 9)] == [9, 9, 9]
    assert parts([]) == []


def outcome(overlap, flipped=False, same_class=None, level=0.5, seed=0):
    """What matters of an outcome."""
    other = overlap if same_class is None else same_class
    return Outcome("blur", level, seed, int(flipped), 0.9, 0.9, flipped, overlap, other, 1.0, 1.0, 1.0)


def test_one_value_a_picture_by_hand():
    """Levels and seeds are averaged, kept and flipped apart; blank maps are left out."""
    mixed = [outcome(0.9), outcome(0.7, level=1), outcome(0.2, True, 0.6), outcome(0.4, True, 0.7, seed=1)]
    stays = [outcome(0.8), outcome(0.4), outcome(math.nan)]
    turns = [outcome(0.3, True, 0.5)]
    blank = [outcome(math.nan), outcome(math.nan, True, math.nan)]
    table = pd.concat([rows("z", {"m": mixed, "a": stays}), rows("b", {"m": turns, "a": blank})])
    expected = {
        ("m", "z"): [0.8, 0.7, 0.56, 0.5, 0.65],
        ("a", "z"): [0.6, math.nan, math.nan, 0, math.nan],
        ("m", "b"): [math.nan, 0.7, math.nan, 1, 0.5],
        ("a", "b"): [math.nan, math.nan, math.nan, 0.5, math.nan],
    }
    found = per_image(table)
    assert found.columns.tolist() == VALUES
    assert found.index.names == ["method", "image"]
    assert sorted(found.index) == sorted(expected)
    for key, values in expected.items():
        assert found.loc[key].tolist() == pytest.approx(values, nan_ok=True, abs=1e-12)


def test_one_value_a_picture_of_a_sweep(net, whole):
    """What `robustness` tells of each picture alone, whatever the order of the rows."""
    table = pd.concat(whole.values())
    found = per_image(table)
    assert len(found) == 4
    for case in CASES:
        alone = robustness(
            net,
            case.image,
            ["gaussian", "blur", "jpeg"],
            [0.2, 0.6, 1.0],
            layers=RECIPES["merged"].layers,
            seeds=range(3),
        )
        expected = [alone.consistency, alone.responsiveness, alone.rm, alone.table.flipped.mean()]
        assert found.loc[("merged", case.name)].tolist()[:4] == pytest.approx(expected, abs=1e-4, nan_ok=True)
    shuffled = per_image(table.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled.sort_index(), found.sort_index())
