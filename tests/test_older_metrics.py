"""The older metrics against captum, and against their definitions written here in float64, pixel by pixel."""

import math
from functools import partial

import captum.metrics
import numpy as np
import pytest
import torch
from scipy import stats
from small_networks import Plain, Pooled, noise_images, seeded
from torch import nn

import camviz
from camviz.metrics import SCORES, Evidence, available
from camviz.metrics import insertion_deletion as curves
from camviz.metrics.arcc import coherency
from camviz.metrics.max_sensitivity import DRAWS, RADIUS
from camviz.metrics.randomisation import SEEDS, STEPS, randomised
from camviz.metrics.road import roads
from camviz.recipe import Recipe, SharedCaptures

ON_REQUEST = [name for name, score in SCORES.items() if score.on_request]
LAYERS = ("relu2", "relu3")


class Certain(nn.Module):
    """Class 0 with a probability of 1, whatever the picture: its logit is 1,000 above the other one's."""

    def forward(self, x):
        zeros = 0 * x.mean((1, 2, 3))
        return torch.stack([zeros + 1000, zeros], 1)


class Broken(nn.Module):
    """It returns NaN for any picture."""

    def forward(self, x):
        return torch.full((len(x), 2), torch.nan) + 0 * x.mean((1, 2, 3))[:, None]


@pytest.fixture(scope="module")
def module():
    return seeded(Plain)


@pytest.fixture(scope="module")
def x():
    return noise_images(2, 28, 35)


@pytest.fixture(scope="module")
def maps(x):
    """Smooth ones, one with ties, one that is the same everywhere and a blank one: (4, 2, 28, 35)."""
    generator = torch.Generator().manual_seed(1)
    smooth = torch.rand(2, *x[:, 0].shape, generator=generator)
    smooth[1] = (smooth[1] * 4).round() / 4
    smooth = (smooth - smooth.amin((2, 3), keepdim=True)) / (smooth.amax((2, 3), keepdim=True))
    return torch.cat([smooth, torch.full_like(smooth[:1], 0.5), torch.zeros_like(smooth[:1])])


def recipes(count):
    return [Recipe("gradcam++" if index % 2 else "gradcam", LAYERS[-1 - index % 2 :]) for index in range(count)]


def evidence(module, x, maps, **more):
    """Evidence with a method for each map; only for the maps' shapes."""
    explains = [partial(camviz.explain, module, recipe=recipe) for recipe in recipes(len(maps))]
    on = [lambda net, x, target, recipe=recipe: camviz.explain(net, x, target, recipe) for recipe in recipes(len(maps))]
    return Evidence(module, x, maps, **{"explains": explains, "explains_on": on, **more})


def probability(module, x, target):
    with torch.no_grad():
        return module(x).double().softmax(1).gather(1, target[:, None])[:, 0]


def test_they_are_computed_only_when_asked_for(module, x, maps):
    assert set(ON_REQUEST) == {
        *("average_drop", "average_gain", "increase", "adcc", "insertion", "deletion", "morf", "lerf"),
        *("faithfulness", "fidelity", "infidelity", "max_sensitivity", "entropy", "gini"),
        *("randomisation", "randomisation_ssim"),
    }
    assert not set(available(mask=True)) & set(ON_REQUEST)
    assert set(available(mask=True, on_request=True)) == set(SCORES)
    assert not {"randomisation", "adcc"} & set(available(mask=True, explain=False, on_request=True))
    assert [name for name in ON_REQUEST if SCORES[name].in_chart] == ["faithfulness"]
    with pytest.raises(ValueError, match="'randomisation' needs the methods that made the maps, for any network"):
        Evidence(module, x, maps).scored("randomisation")


@pytest.mark.parametrize("name", ON_REQUEST)
def test_every_value_is_in_range_or_undefined_with_a_reason(name, module, x, maps):
    scored = evidence(module, x, maps).scored(name)
    low, high = SCORES[name].range
    assert scored.values.shape == (4, 2)
    for value, note in zip(scored.values.flatten().tolist(), np.array(scored.notes).flatten(), strict=True):
        assert math.isnan(value) == bool(note)
        assert math.isnan(value) or low - 1e-9 <= value <= high + 1e-9


@pytest.mark.parametrize("name", ON_REQUEST)
def test_an_image_scores_the_same_alone_and_in_a_batch(name, module, x, maps):
    together = evidence(module, x, maps).values(name)
    for image in range(2):
        alone = evidence(module, x[image : image + 1], maps[:, image : image + 1]).values(name)
        assert torch.allclose(alone[:, 0], together[:, image].to(alone), atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", ON_REQUEST)
def test_same_seed_same_score_and_the_global_generator_is_left_alone(name, module, x, maps):
    state = torch.random.get_rng_state()
    first, again = (evidence(module, x, maps[:2], seed=5).values(name) for _ in range(2))
    assert torch.equal(first.nan_to_num(), again.nan_to_num())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", [name for name in ON_REQUEST if not SCORES[name].runs_method])
def test_a_network_that_returns_nan_has_undefined_scores(name, x, maps):
    values = Evidence(Broken().eval(), x, maps, target=0).values(name)
    of_the_map_alone = name in ("entropy", "gini")
    assert bool(values[:3].isnan().all()) != of_the_map_alone


def test_drop_gain_and_increase_by_hand(module, x, maps):
    given = evidence(module, x, maps)
    for number, map_ in enumerate(maps):
        before = probability(module, x, given.classes)
        after = probability(module, x * map_[:, None], given.classes)
        for image, (p, pm) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
            values = [given.values(name)[number, image].item() for name in ("average_drop", "average_gain", "increase")]
            assert values == pytest.approx([max(0, p - pm) / p, max(0, pm - p) / (1 - p), float(pm > p)], abs=1e-6)


def test_what_cannot_be_gained_or_lost_is_undefined(x, maps):
    sure, hopeless = (Evidence(Certain().eval(), x, maps, target=target) for target in (0, 1))
    assert sure.values("average_drop").eq(0).all()
    assert sure.values("average_gain").isnan().all()
    assert "already certain" in sure.scored("average_gain").notes[0][0]
    assert hopeless.values("average_drop").isnan().all()
    assert "no chance" in hopeless.scored("average_drop").notes[0][0]


def test_adcc_by_hand(module, x, maps):
    """The inverse of the mean of inverses: one public implementation lacks the inverse."""
    given = evidence(module, x, maps)
    drop = given.values("average_drop")
    for number, recipe in enumerate(recipes(2)):
        explain = partial(camviz.explain, module, recipe=recipe)
        alike, _ = coherency(x, maps[number], given.classes, explain)
        for image in range(2):
            parts = [alike[image].item(), 1 - maps[number, image].mean().item(), 1 - drop[number, image].item()]
            expected = 3 / sum(1 / part for part in parts) if min(parts) > 0 else 0
            assert given.values("adcc")[number, image].item() == pytest.approx(expected, abs=1e-6)
    assert given.values("adcc")[3].eq(0).all()  # a blank map: coherency is 0


def test_morf_and_lerf_are_the_two_halves_of_road(module, x, maps):
    given = evidence(module, x, maps)
    morf, lerf, raw = (given.values(name) for name in ("morf", "lerf", "road_raw"))
    assert torch.allclose((lerf - morf) / 2, raw, atol=1e-7)
    for number, road in enumerate(roads(module, x, maps, None)):
        assert torch.allclose(morf[number], (road.after[:, 0] - road.probability[:, None]).mean(1), atol=1e-7)


def test_entropy_and_gini_by_hand():
    peak, flat, half = (torch.zeros(1, 1, 4, 5) for _ in range(3))
    peak[..., 2, 3], half[..., :2, :] = 1, 1
    uneven = torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    maps = torch.cat([peak, flat + 0.3, half, uneven, flat])
    given = Evidence(seeded(Pooled), torch.zeros(1, 3, 4, 5, dtype=torch.float64), maps)
    v = np.sort(uneven.double().numpy().ravel())
    entropies = [0, 1, math.log(10) / math.log(20), stats.entropy(v) / math.log(20), math.nan]
    pairs = np.abs(v[:, None] - v).sum() / (2 * len(v) ** 2 * v.mean())  # Gini's mean difference
    ginis = [0.95, 0, 0.5, pairs, math.nan]
    assert given.values("entropy")[:, 0].tolist() == pytest.approx(entropies, abs=1e-7, nan_ok=True)
    assert given.values("gini")[:, 0].tolist() == pytest.approx(ginis, abs=1e-7, nan_ok=True)
    assert given.scored("gini").notes[4][0] == "the map is blank, so its heat has no distribution"


def exchanged(module, start, end, order, target):
    """The class probability while pixels go from start to end (3, H, W) in an order, and the area under it."""
    n, now, points = len(order), start.clone(), []
    counts = [round(n * index / 29) for index in range(30)]
    for index, count in enumerate(counts):
        for place in order[counts[index - 1] if index else 0 : count]:
            row, column = divmod(int(place), start.shape[-1])
            now[:, row, column] = end[:, row, column]
        points.append(probability(module, now[None], target[None]).item())
    widths = np.diff(counts) / n
    return points, sum(w * (a + b) / 2 for w, a, b in zip(widths, points[:-1], points[1:], strict=True))


@pytest.mark.parametrize("kind", ["insertion", "deletion"])
def test_insertion_and_deletion_pixel_by_pixel(kind, module, x, maps):
    given = evidence(module, x, maps)
    start, end = (curves.blurred(x), x) if kind == "insertion" else (x, torch.zeros_like(x))
    for image in range(2):  # the first map has no ties, so there is one order
        order = np.argsort(-maps[0, image].numpy().ravel(), kind="stable")
        points, area = exchanged(module, start[image], end[image], order, given.classes[image])
        assert given.values(kind)[0, image].item() == pytest.approx(area, abs=1e-9)
        found = getattr(curves, kind)(module, x, maps[:1])
        assert found.probability[0, image].tolist() == pytest.approx(points, abs=1e-9)
    assert found.share[[0, 1, -1]].tolist() == pytest.approx([0, round(28 * 35 / 29) / (28 * 35), 1])


def test_equal_pixels_are_taken_in_three_random_orders(module, x, maps):
    found = curves.deletion(module, x[:1], maps[1:, :1])
    for number, map_ in enumerate(maps[1:, 0]):
        areas = []
        for order in curves.drawn_orders(0, 3, map_.numel()).numpy():
            values = map_.numpy().ravel()
            by_heat = order[np.argsort(-values[order], kind="stable")]
            assert (np.diff(values[by_heat]) <= 0).all()
            target = module(x[:1]).argmax(1)[0]
            areas.append(exchanged(module, x[0], torch.zeros_like(x[0]), by_heat, target)[1])
        assert found.area[number, 0].item() == pytest.approx(np.mean(areas), abs=1e-9)
        assert np.ptp(areas) > 1e-6


def test_deletion_to_black(module, x, maps):
    black = torch.tensor([-2.0, -1.5, -1.0])[:, None, None]
    found = curves.deletion(module, x, maps[:1], fill=black)
    ends = probability(module, torch.zeros_like(x) + black, module(x).argmax(1))
    assert torch.allclose(found.probability[0, :, -1], ends)


def test_the_blur_is_a_gaussian_of_eleven_pixels():
    x = torch.zeros(1, 3, 21, 25, dtype=torch.float64)
    x[..., 10, 12] = 1
    weights = np.exp(-(np.arange(-5, 6) ** 2) / 50)
    expected = np.zeros((21, 25))
    expected[5:16, 7:18] = np.outer(weights, weights) / weights.sum() ** 2
    assert np.abs(curves.blurred(x)[0, 1].numpy() - expected).max() < 1e-12
    assert torch.allclose(curves.blurred(torch.ones(1, 3, 4, 4)), torch.ones(1, 3, 4, 4))


def test_max_sensitivity_as_captum_has_it(module, x):
    """The same ten pictures, given to captum one after the other."""
    recipe = Recipe("gradcam++", LAYERS)
    target = module(x).argmax(1)
    explain = partial(camviz.explain, module, recipe=recipe)
    generator = torch.Generator().manual_seed(3)
    draws = [(2 * torch.rand(x.shape[1:], generator=generator) - 1) * RADIUS for _ in range(DRAWS)]
    assert all(draw.abs().max() <= RADIUS for draw in draws)
    waiting = iter(draws)
    expected = captum.metrics.sensitivity_max(
        lambda inputs: (explain(inputs[0] if isinstance(inputs, tuple) else inputs, target)[:, None],),
        (x,),
        perturb_func=lambda inputs, _: inputs + next(waiting).to(x),
        n_perturb_samples=DRAWS,
        max_examples_per_batch=len(x),
    )
    given = Evidence(module, x, explain(x, target)[None], target, explains=[explain], seed=3)
    assert torch.allclose(given.values("max_sensitivity")[0], expected.float(), rtol=1e-5)
    assert bool((expected > 0.001).all())


def test_a_method_that_ignores_the_picture_is_not_sensitive(module, x, maps):
    given = Evidence(module, x, maps[:1], explains=[lambda *_: maps[0]])
    assert given.values("max_sensitivity").eq(0).all()


def test_all_methods_share_the_capture_of_a_changed_picture(module, x, monkeypatch):
    shared, passes = SharedCaptures(LAYERS), []
    monkeypatch.setattr("camviz.recipe.capture", lambda *args: passes.append(args) or camviz.capture(*args))
    chosen = recipes(6)
    target = module(x).argmax(1)
    maps = torch.stack([shared.explain(recipe, module, x, target) for recipe in chosen])
    assert len(passes) == 1
    for recipe, map_ in zip(chosen, maps, strict=True):
        assert torch.equal(map_, camviz.explain(module, x, target, recipe))
    passes.clear()
    on = [partial(shared.explain, recipe) for recipe in chosen]
    explains = [partial(explain, module) for explain in on]
    Evidence(module, x, maps, target, explains, on).values("max_sensitivity")
    assert len(passes) == DRAWS
    passes.clear()
    Evidence(module, x, maps, target, explains, on).values("randomisation")
    assert len(passes) == SEEDS * STEPS


def test_random_weights_replace_learnt_ones_from_head_to_stem(module, x):
    before = {name: values.clone() for name, values in module.named_parameters()}
    changed = []
    for twin in randomised(module, x, seed=0):
        names = [name for name, values in twin.named_parameters() if not torch.equal(values, before[name])]
        changed.append({name.rpartition(".")[0] for name in names})
    assert changed == [
        {"head.4"},
        {"head.4", "head.2"},
        {"head.4", "head.2", "conv3"},
        {"head.4", "head.2", "conv3", "conv2"},
        {"head.4", "head.2", "conv3", "conv2", "conv1"},
    ]
    assert all(torch.equal(values, before[name]) for name, values in module.named_parameters())
    weights = twin.conv2.weight
    assert weights.std().item() == pytest.approx((2 / weights[0].numel()) ** 0.5, rel=0.1)
    assert twin.conv2.bias.eq(0).all()
    other = list(randomised(module, x, seed=1))[-1]
    assert not torch.equal(other.conv2.weight, weights)


def test_a_new_norm_is_one_that_changes_nothing():
    norm = nn.BatchNorm2d(3)
    norm.weight.data.fill_(3), norm.bias.data.fill_(2), norm.running_mean.fill_(1), norm.running_var.fill_(4)
    network = nn.Sequential(norm, nn.Flatten(), nn.Linear(12, 2)).eval()
    twin = list(randomised(network, torch.zeros(1, 3, 2, 2), seed=0))[-1]
    values = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(twin[0](values), values, atol=1e-4)


def test_randomisation_by_hand(module, x):
    recipe = Recipe("gradcam", LAYERS[:1])
    target = module(x).argmax(1)
    map_ = camviz.explain(module, x, target, recipe)
    found = [
        stats.spearmanr(map_[0].ravel(), camviz.explain(twin, x, target, recipe)[0].ravel()).statistic
        for seed in range(SEEDS)
        for twin in randomised(module, x, seed)
    ]
    given = Evidence(module, x, map_[None], target, explains_on=[lambda *args: camviz.explain(*args, recipe)])
    assert given.values("randomisation")[0, 0].item() == pytest.approx(np.nanmean(found), abs=1e-6)
    assert -1 <= given.values("randomisation_ssim")[0, 0].item() < 0.9


def test_a_map_that_needs_no_weights_fails_the_check(module, x, maps):
    given = Evidence(module, x, maps[:1], explains_on=[lambda *_: maps[0]])
    assert given.values("randomisation")[0].tolist() == pytest.approx([1, 1])
    assert given.values("randomisation_ssim")[0].tolist() == pytest.approx([1, 1])
