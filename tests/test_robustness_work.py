"""How robustness is computed: batches and captures, what is computed once, progress and stops, memory, errors."""

import importlib
import math

import numpy as np
import pandas as pd
import pytest
import torch
from watching_network import ALWAYS, HALFWAY, LAYERS, NEVER, PICTURE, SIDE, same_tables, watching

import camviz
from camviz import noise
from camviz.noise.measure import perturbations
from camviz.workbench.host import PlainHost
from camviz.workbench.maps import extra_layers, likeliest
from camviz.workbench.noisy_copies import get_subject, robustness
from camviz.workbench.pictures import SeenPicture, pixels_as_picture


@pytest.mark.parametrize("method", ["gradcam++", "scorecam", "random", "eigencam"])
def test_the_batch_does_not_matter(method):
    net, options = watching(HALFWAY), {"kinds": list(noise.KINDS), "levels": (0.2, 0.7), "seeds": (0, 1)}
    first = robustness(net, PICTURE, method=method, batch=1, **options)
    for batch in (3, 32, None):
        same_tables(robustness(net, PICTURE, method=method, batch=batch, **options), first)


def test_kinds_that_draw_nothing_are_computed_once():
    net = watching(NEVER)
    found = robustness(net, PICTURE, ["blur", "jpeg", "fgsm"], (0.5, 1.0), seeds=(3, 4, 5), batch=99)
    assert net.module.seen == [1, 1, 6]  # the clean picture, the attack's gradient, each copy once
    assert len(found.table) == 18
    assert found.table.seed.tolist() == [3, 4, 5] * 6
    once = robustness(net, PICTURE, ["blur", "jpeg", "fgsm"], (0.5, 1.0), seeds=(3,), batch=99)
    for seed in (3, 4, 5):
        rows = found.table[found.table.seed == seed].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows.drop(columns="seed"), once.table.drop(columns="seed"))


def subject(net, recipes):
    """The picture with its clean explanations."""
    more = extra_layers(net, recipes.values())
    seen = SeenPicture(PlainHost(), pixels_as_picture(PICTURE, ""), net, more_layers=more)
    return get_subject(seen.explaining(likeliest(seen)), recipes)


@pytest.fixture
def captured(monkeypatch):
    """What is captured of noisy copies: how many images, for which classes, and in which layers."""
    module, seen = importlib.import_module("camviz.noise.measure"), []
    real = module.captures

    def counted(network, x, targets, layers):
        seen.append((len(x), targets, tuple(layers)))
        return real(network, x, targets, layers)

    monkeypatch.setattr(module, "captures", counted)
    return seen


@pytest.mark.parametrize("turns", [NEVER, ALWAYS, HALFWAY])
@pytest.mark.parametrize(("method", "targets"), [("gradcam", [None, 0]), ("eigencam", [None]), ("random", [None])])
def test_one_forward_pass_a_batch(captured, turns, method, targets):
    net = watching(turns)
    robustness(net, PICTURE, ["gaussian", "uniform"], (0.1, 0.2, 0.9, 1.0), method, batch=4)
    assert captured == [(4, targets, LAYERS), (4, targets, LAYERS)]
    assert net.module.seen == [1, 4, 4], "the clean view, and each batch once"


def test_several_recipes_share_their_captures(captured):
    core, net = importlib.import_module("camviz.noise.measure"), watching(HALFWAY)
    recipes = {
        "merged": camviz.Recipe("gradcam++", LAYERS),
        "one": camviz.Recipe("layercam", ("conv2",)),
        "blind": camviz.Recipe("eigencam", ("conv1",), seed=3),
    }
    points = perturbations(["gaussian"], [0.1, 1.0], [0, 1])
    found = core.measure(subject(net, recipes), points)
    union = ("relu1", "relu2", "conv2", "conv1")
    assert captured == [(4, [None, 0], union)]
    assert list(found) == list(recipes)
    for name, recipe in recipes.items():
        alone = robustness(net, PICTURE, ["gaussian"], (0.1, 1.0), recipe.method, recipe.layers, (0, 1))
        pd.testing.assert_frame_equal(core.as_table(found[name]), alone.table, rtol=0, atol=1e-5)


class StopError(Exception):
    """Raised by a progress that was told to stop."""


@pytest.mark.parametrize("method", ["gradcam++", "scorecam", "ablationcam-fast"])
def test_stopping(method):
    """At any call: the network does not run again, and nothing is left on it."""
    net = watching(HALFWAY)
    options = {"kinds": ["gaussian", "blur"], "levels": (0.2, 1.0), "method": method, "batch": 2}
    calls, module = [], net.module
    whole = robustness(net, PICTURE, **options, progress=lambda *told: calls.append(told))
    runs, kept = len(module.seen), {name: value.clone() for name, value in module.state_dict().items()}
    steps = range(len(calls)) if len(calls) < 9 else (0, 1, 5, len(calls) // 2, len(calls) - 2)
    for step in steps:
        told, error = [], StopError()
        module.seen = []

        def stop(done, total, step=step, told=told, error=error):
            told.append((done, total, len(module.seen)))
            if len(told) > step:
                raise error

        with pytest.raises(StopError) as raised:
            robustness(net, PICTURE, **options, progress=stop)
        assert raised.value is error
        assert [each[:2] for each in told] == calls[: step + 1]
        assert len(module.seen) == told[-1][2]
        assert step or len(module.seen) < runs
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
        assert not any(part.training for part in module.modules())
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())
    assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())
    pd.testing.assert_frame_equal(robustness(net, PICTURE, **options).table, whole.table)


def test_the_clean_map_of_a_slow_method_can_be_stopped():
    net, told = watching(NEVER), []

    def stop(done, total):
        told.append((done, total))
        raise StopError

    with pytest.raises(StopError):
        robustness(net, PICTURE, ["blur"], (0.2, 1.0), "scorecam", "relu2", seeds=(0, 1), progress=stop)
    assert told == [(0, 2)]
    assert sum(net.module.seen) < 1 + 8 + 1  # capture, passes, and one to count its work


@pytest.mark.parametrize("method", ["gradcam++", "scorecam"])
@pytest.mark.parametrize("batch", [1, 3, None])
def test_progress(method, batch):
    told = []
    options = {"levels": (0.5, 1.0), "seeds": (0, 1), "method": method, "batch": batch}
    robustness(watching(HALFWAY), PICTURE, ["jpeg", "shot"], **options, progress=lambda *each: told.append(each))
    assert {total for _, total in told} == {6}  # JPEG draws nothing
    done = [each for each, _ in told]
    assert done == sorted(done)
    assert set(done) - {0} == set(range(batch or 4, 6, batch or 4)) | {6}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": "fog"}, r"unknown noise 'fog'; choose from gaussian, shot"),
        ({"levels": (0.5, 1.5)}, r"level must be a number from 0 to 1, got 1.5"),
        ({"levels": (math.nan,)}, r"from 0 to 1, got nan"),
        ({"levels": ()}, r"nothing to measure: .*one kind of noise, one level and one seed"),
        ({"kinds": ()}, r"nothing to measure"),
        ({"seeds": ()}, r"nothing to measure"),
        ({"seeds": (-1,)}, r"seed must be a whole number of at least 0, got -1"),
        ({"method": "gradcan"}, r"unknown method 'gradcan'; choose from .*gradcam"),
        ({"layers": "conv3"}, r"Watching has no layer 'conv3'; did you mean conv"),
        ({"layers": ["relu1", "fc"]}, r"'fc' must return a tensor \(B, K, h, w\)"),
        ({"rule": "sum"}, r"unknown merging rule 'sum'; choose from product"),
        ({"image": np.full((SIDE, SIDE, 3), 7, np.uint8)}, r"single colour.*Choose another picture"),
        ({"image": np.full((SIDE, SIDE), 7, np.uint8)}, r"image"),
    ],
    ids=str,
)
def test_refused_with_a_reason(options, message):
    net = watching(HALFWAY)
    with pytest.raises(ValueError, match=message):
        robustness(**{"net": net, "image": PICTURE, **options})
    assert not any(part._forward_hooks for part in net.module.modules())


@pytest.mark.parametrize(("method", "room"), [("gradcam++", 1), ("gradcam++", 2), ("scorecam", 1), ("ablationcam", 2)])
def test_little_memory(method, room):
    net, told = watching(HALFWAY), []
    options = {"kinds": ["gaussian", "blur", "fgsm"], "levels": (0.2, 0.6, 1.0), "method": method, "batch": 9}
    expected = robustness(net, PICTURE, **options)
    net.module.room, net.module.seen = room, []
    found = robustness(net, PICTURE, **options, progress=lambda done, total: told.append(done))
    assert max(net.module.seen) > room
    same_tables(found, expected)
    assert told == sorted(told)
    assert told[-1] == 9


def test_nothing_and_the_same_twice():
    core, net = importlib.import_module("camviz.noise.measure"), watching(NEVER)
    of = subject(net, {"one": camviz.Recipe("gradcam++", LAYERS), "two": camviz.Recipe("eigencam", LAYERS)})
    net.module.seen = []
    assert core.measure(of, []) == {"one": [], "two": []}
    assert net.module.seen == []
    first, other = core.Perturbation("shot", 0.5), core.Perturbation("shot", 0.5, 1)
    found = core.measure(of, [first, other, first], batch=9)["one"]
    assert net.module.seen == [2]
    assert found[0] == found[2] != found[1]


def test_plain_comparisons_can_be_left_out():
    net = watching(HALFWAY)
    whole = robustness(net, PICTURE, ["gaussian"], (0.1, 1.0)).table
    bare = robustness(net, PICTURE, ["gaussian"], (0.1, 1.0), comparisons=False).table
    plain = ["ssim", "pearson", "spearman"]
    assert whole[plain].notna().all(axis=None)
    assert bare[plain].isna().all(axis=None)
    pd.testing.assert_frame_equal(whole.drop(columns=plain), bare.drop(columns=plain))
