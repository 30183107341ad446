"""ROAD, coherency and ARCC against their definitions, written here pixel by pixel."""

import functools
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from imputation_by_hand import imputed_by_hand
from small_networks import Plain, Pooled, noise_images, seeded
from torch import nn

import camviz
from camviz.metrics import road as road_module
from camviz.metrics.arcc import coherency, complexity, harmonic_mean, joined
from camviz.metrics.evidence import Evidence
from camviz.metrics.road import PERCENTILES, removal_masks, road, road_over_seeds, roads
from camviz.network.hooks import layer_hooks


class Average(nn.Module):
    """Class 1's logit is 4 times the mean of the first channel's left half, class 0's is 0."""

    def forward(self, x):
        left = x[:, 0, :, : x.shape[3] // 2].mean((1, 2))
        return torch.stack([torch.zeros_like(left), 4 * left], 1)


def toy():
    """An image 4 x 10, bright on the left, and its map: columns in order, the left one the most relevant."""
    x = torch.zeros(1, 3, 4, 10)
    x[:, 0] = torch.linspace(1, 0, 10)
    return x, torch.linspace(1, 0, 10).expand(1, 4, 10).clone()


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_road_by_hand(monkeypatch):
    """Distinct columns: p removes 100 - p percent of them, most relevant from the left, least from the right."""
    monkeypatch.setattr(road_module, "NOISE", 0)
    x, maps = toy()
    result = road(Average().eval(), x, maps, 1)
    after = np.zeros((2, 4))
    for row, p in enumerate((20, 40, 60, 80)):
        count = 10 - p // 10
        for order, columns in enumerate((range(count), range(10 - count, 10))):
            removed = np.zeros((4, 10), dtype=bool)
            removed[:, list(columns)] = True
            filled = imputed_by_hand(x[0].double().numpy(), removed)
            after[order, row] = sigmoid(4 * filled[0, :, :5].mean())
    assert np.abs(result.after[0].numpy() - after).max() < 1e-6
    assert np.abs(result.removed[0].numpy() - np.array([[0.8, 0.6, 0.4, 0.2]] * 2)).max() < 1e-6
    assert abs(result.probability.item() - sigmoid(4 * x[0, 0, :, :5].mean().item())) < 1e-6
    expected = np.mean((after[1] - after[0]) / 2)
    assert abs(result.score.item() - expected) < 1e-6
    assert expected > 0.05
    assert result.notes == ("",)
    # The change against the clean image, as the definition has it, is the same: the clean term cancels.
    clean = sigmoid(4 * x[0, 0, :, :5].mean().item())
    assert abs(expected - np.mean(((after[1] - clean) - (after[0] - clean)) / 2)) < 1e-12


def test_the_reversed_map_scores_the_opposite(monkeypatch):
    monkeypatch.setattr(road_module, "NOISE", 0)
    x, maps = toy()
    forward, backward = (road(Average().eval(), x, m, 1).score.item() for m in (maps, 1 - maps))
    assert abs(forward + backward) < 1e-6


def test_noise_falls_on_removed_pixels_only_and_is_a_hundredth(monkeypatch):
    seen = []

    class Watching(Average):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    x = noise_images(1, 60, 50, dtype=torch.float32)
    maps = torch.rand(1, 60, 50, generator=torch.Generator().manual_seed(0))
    road(Watching().eval(), x, maps, 1)
    noisy = torch.cat(seen[-2:])  # four at a time
    monkeypatch.setattr(road_module, "NOISE", 0)
    road(Watching().eval(), x, maps, 1)
    added = noisy - torch.cat(seen[-2:])
    gone = removal_masks(maps[0], (20, 40, 60, 80), "all", 0).flatten(0, 1)[:, None].expand_as(added)
    assert not bool(added[~gone].any())
    assert abs(added[gone].std().item() - 0.01) < 2e-4
    assert abs(added[gone].mean().item()) < 2e-4
    assert (added[0] - added[1]).abs().max() > 0.01  # drawn anew for each removal


def test_percentiles_are_numpys():
    values = torch.rand(13, 11, generator=torch.Generator().manual_seed(4))
    chosen = removal_masks(values, (10, 35, 90), "all", 0)
    for column, p in enumerate((10, 35, 90)):
        for row, order in enumerate((values, 1 - values)):
            threshold = sorted(order.flatten().tolist())
            place = p / 100 * (len(threshold) - 1)
            low = threshold[int(place)]
            cut = low + (threshold[min(int(place) + 1, len(threshold) - 1)] - low) * (place % 1)
            assert torch.equal(chosen[row, column], order.double() >= cut - 1e-9)


def test_ties_go_together_and_it_is_said():
    """A map of 10 percent ones: all other pixels tie at 0, so most relevant first removes all of them."""
    x, maps = noise_images(2, 10, 10, dtype=torch.float32), torch.zeros(2, 10, 10)
    maps[0, 0] = 1
    maps[1] = torch.linspace(0, 1, 100).view(10, 10)
    result = road(Average().eval(), x, maps, 1)
    assert result.removed[0].tolist() == [[1] * 4, [pytest.approx(0.9)] * 4]
    assert "most relevant first 100, 100, 100, 100 % and least relevant first 90, 90, 90, 90 %" in result.notes[0]
    assert "instead of 80, 60, 40, 20 %" in result.notes[0]
    assert result.notes[1] == ""
    assert (result.removed[1] - torch.tensor([0.8, 0.6, 0.4, 0.2])).abs().max() < 0.011


def test_what_is_all_gone_is_noise_around_zero():
    seen = []

    class Watching(Average):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    maps = torch.zeros(1, 30, 30)
    maps[0, 3, 4] = 1
    road(Watching().eval(), 5 + noise_images(1, 30, 30, dtype=torch.float32), maps, 1)
    most = seen[1][:4]
    assert most.abs().max() < 0.06
    assert abs(most.std().item() - 0.01) < 1e-3


def test_random_ties_remove_exact_counts():
    maps = torch.zeros(20, 20)
    maps[:2] = 1
    maps[2] = torch.linspace(0.1, 0.9, 20)
    chosen = removal_masks(maps, (20, 40, 60, 80), "random", 0)
    for row in chosen:
        assert row.sum((1, 2)).tolist() == [320, 240, 160, 80]
    assert bool(chosen[0, :, :3].all())  # the 60 that are not 0 go first
    assert not bool(chosen[1, :, :3].any())
    assert torch.equal(chosen, removal_masks(maps, (20, 40, 60, 80), "random", 0))
    assert not torch.equal(chosen, removal_masks(maps, (20, 40, 60, 80), "random", 1))
    rest = chosen[0, 0, 3:].float()
    assert rest.mean(1).min() > 0.3  # drawn from everywhere
    x = noise_images(1, 20, 20, dtype=torch.float32)
    result = road(Average().eval(), x, maps[None], 1, ties="random")
    assert (result.removed[0] - torch.tensor([0.8, 0.6, 0.4, 0.2])).abs().max() < 1e-6
    assert result.notes == ("",)


def test_unknown_ties():
    with pytest.raises(ValueError, match="'all' or 'random', got 'none'"):
        road(Average().eval(), *toy(), 1, ties="none")


@pytest.mark.parametrize("ties", ["all", "random"])
def test_seeds(ties):
    """The same score for the same seed, whatever the batch; another for another."""
    module, x = seeded(Plain, dtype=torch.float32), noise_images(3, 24, 20, dtype=torch.float32)
    maps = camviz.refine(camviz.cam(camviz.capture(module, x, [1, 2, 3], ["relu1"]), "layercam"))
    maps = torch.where(maps > 0.3, maps, 0.0)
    three = road(module, x, maps, [1, 2, 3], seed=7, ties=ties)
    assert torch.equal(three.after, road(module, x, maps, [1, 2, 3], seed=7, ties=ties).after)
    for image in range(3):
        alone = road(module, x[image : image + 1], maps[image : image + 1], image + 1, seed=7, ties=ties)
        assert abs(alone.score.item() - three.score[image].item()) < 1e-5
        assert torch.equal(alone.removed[0], three.removed[image])
    other = road(module, x, maps, [1, 2, 3], seed=8, ties=ties)
    assert bool((other.score != three.score).all())
    assert (other.score - three.score).abs().max() < 0.1


def test_predicted_class_is_the_default():
    module, x = seeded(Plain, dtype=torch.float32), noise_images(2, dtype=torch.float32)
    maps = torch.rand(2, 12, 16, generator=torch.Generator().manual_seed(0))
    predicted = module(x).argmax(1)
    result = road(module, x, maps, None)
    assert torch.equal(result.target, predicted)
    assert torch.equal(result.score, road(module, x, maps, predicted).score)
    assert torch.allclose(result.probability, module(x).softmax(1).amax(1))


@pytest.mark.parametrize("shape", [(2, 12, 15), (1, 12, 16), (2, 1, 12, 16)])
def test_maps_of_another_shape(shape):
    module, x = seeded(Plain, dtype=torch.float32), noise_images(2, dtype=torch.float32)
    for score in (road, functools.partial(camviz.arcc, explain=lambda x, _: x[:, 0])):
        with pytest.raises(ValueError, match=r"maps \(B, H, W\) must match x"):
            score(module, x, torch.rand(shape), None)


def ramp(batch=2):
    return torch.linspace(0, 1, 48).view(1, 6, 8).expand(batch, 6, 8).clone()


def scored(maps, again):
    x = noise_images(len(maps), 6, 8, dtype=torch.float32)
    return coherency(x, maps, torch.zeros(len(maps), dtype=torch.long), lambda _x, _t: again)


def test_coherency_of_identical_reversed_and_unrelated_maps():
    maps = ramp()
    assert scored(maps, 0.3 * maps + 0.1)[0].tolist() == [pytest.approx(1)] * 2
    assert scored(maps, 1 - maps)[0].tolist() == [pytest.approx(0, abs=1e-6)] * 2
    stripes = torch.zeros_like(maps)
    stripes[:, 1::2] = 1
    expected = (np.corrcoef(maps[0].flatten(), stripes[0].flatten())[0, 1] + 1) / 2
    assert scored(maps, stripes)[0].tolist() == [pytest.approx(expected, abs=1e-6)] * 2
    assert scored(maps, stripes)[1] == ("", "")


def test_coherency_explains_the_masked_image_and_the_same_target():
    x, maps, target = noise_images(2, 6, 8, dtype=torch.float32), ramp(), torch.tensor([3, 1])
    seen = []

    def explain(*args):
        seen.append(args)
        return maps

    coherency(x, maps, target, explain)
    assert torch.equal(seen[0][0], x * maps[:, None])
    assert torch.equal(seen[0][1], target)


@pytest.mark.parametrize("value", [0, 0.4, 1])
def test_coherency_of_a_constant_map_is_zero_with_a_reason(value):
    maps, flat = ramp(), torch.cat([torch.full((1, 6, 8), float(value)), ramp(1)])
    score, notes = scored(flat, maps)
    assert score.tolist() == [0, pytest.approx(1)]
    assert notes == ("the map is blank or the same everywhere, so coherency is undefined", "")
    score, notes = scored(maps, flat)
    assert score.tolist() == [0, pytest.approx(1)]
    assert notes == ("the map of the masked image is blank or the same everywhere, so coherency is undefined", "")


@pytest.mark.parametrize("spot", [math.nan, math.inf])
def test_coherency_is_never_nan(spot):
    """An explanation that is not one: a foreign `explain` may return anything."""
    broken = ramp()
    broken[0, 2, 2] = spot
    score, notes = scored(ramp(), broken)
    assert score.tolist() == [0, pytest.approx(1)]
    assert notes[0] != ""


def test_complexity_by_hand():
    maps = torch.tensor([[[0.0, 0.5], [1.0, 0.1]], [[1.0, 1.0], [1.0, 1.0]]])
    assert complexity(maps).tolist() == [pytest.approx(0.4), 1]


def test_harmonic_mean_by_hand():
    """Coherency 0.8, 1 - complexity 0.5, road 0.4; then each part 0 in turn, and one below 0; then one of 1."""
    parts = [[0.8, 0, 0.8, 0.8, 0.8, 0.5], [0.5, 0.5, 0, 0.5, 0.5, 0.5], [0.4, 0.4, 0.4, 0, -0.3, 1]]
    expected = [3 / (1 / 0.8 + 1 / 0.5 + 1 / 0.4), 0, 0, 0, 0, 3 / (2 + 2 + 1)]
    assert harmonic_mean(torch.tensor(parts)).tolist() == [pytest.approx(value) for value in expected]


def test_notes_are_put_together_each_once():
    assert joined(["", "blank", "ties", "blank"]) == "blank; ties"
    assert joined([]) == ""


def explained(module, layer="relu2"):
    def explain(x, target):
        return camviz.refine(camviz.methods.cam_with_notes(camviz.capture(module, x, target, [layer]), "layercam")[0])

    return explain


def test_arcc_is_its_parts():
    module, x = seeded(Plain, dtype=torch.float32), noise_images(3, 24, 20, dtype=torch.float32)
    target = torch.tensor([1, 2, 3])
    explain = explained(module)
    maps = explain(x, target)
    score = camviz.arcc(module, x, maps, target, explain=explain, seed=3)
    again = explain(x * maps[:, None], target).double().numpy()
    for image in range(3):
        pearson = np.corrcoef(maps[image].double().flatten(), again[image].flatten())[0, 1]
        r = road(module, x[image : image + 1], maps[image : image + 1], target[image], seed=3).score.item()
        values = [(pearson + 1) / 2, 1 - maps[image].double().mean().item(), min(max(2 * r, 0), 1)]
        expected = 0 if min(values) <= 0 else 3 / sum(1 / value for value in values)
        assert score.arcc[image].item() == pytest.approx(expected, abs=1e-5)
        assert score.coherency[image].item() == pytest.approx(values[0], abs=1e-5)
        assert score.complexity[image].item() == pytest.approx(1 - values[1], abs=1e-6)
    assert bool((score.arcc > 0).any())


def never_nan(score):
    fields = ("arcc", "road", "coherency", "complexity", "road_raw", "probability", "removed")
    return all(bool(torch.isfinite(getattr(score, name)).all()) for name in fields)


def several():
    """A network, two images, three maps of each, and what made them."""
    module, x = seeded(Plain, dtype=torch.float32), noise_images(2, 24, 20, dtype=torch.float32)
    recipes = [camviz.Recipe("layercam", ("relu1", "relu2")), camviz.Recipe("gradcam", ("relu2",)),
               camviz.Recipe("centre", ("relu1",))]  # fmt: skip
    explains = [functools.partial(camviz.explain, module, recipe=recipe) for recipe in recipes]
    target = torch.tensor([1, 2])
    return module, x, torch.stack([explain(x, target) for explain in explains]), target, explains


@pytest.mark.parametrize("ties", ["all", "random"])
def test_several_maps_together_score_as_each_alone(ties):
    module, x, maps, target, explains = several()
    together = camviz.arccs(module, x, maps, target, explains=explains, seed=3, ties=ties)
    assert len(together) == 3
    for found, each, explain in zip(together, maps, explains, strict=True):
        alone = camviz.arcc(module, x, each, target, explain=explain, seed=3, ties=ties)
        assert found.notes == alone.notes
        for name in ("arcc", "road", "coherency", "complexity", "road_raw", "probability", "removed"):
            assert torch.allclose(getattr(found, name), getattr(alone, name), rtol=0, atol=2e-5)


@pytest.mark.parametrize("known", [False, True])
def test_several_maps_share_the_clean_pass(known):
    module, x, _, target, _ = several()
    maps = torch.rand(3, *x[:, 0].shape, generator=torch.Generator().manual_seed(0))
    seen = []
    with torch.no_grad():
        logits = module(x)
    with layer_hooks(module, {}, {"": lambda inputs: seen.append(len(inputs[0][0])) or inputs}):
        found = roads(module, x, maps, target, logits=logits if known else None)
    # Of each image three maps in two orders at four percentiles, four at a time.
    assert seen == ([] if known else [2]) + [4] * 12
    assert torch.allclose(found[0].probability, logits.softmax(1).gather(1, target[:, None])[:, 0])


def test_maps_share_the_passes_of_equal_holes():
    """Equal masks in one order at one percentile are seen once; the scores are those of each map alone."""
    module, x, maps, target, _ = several()
    squared = torch.cat([maps, maps**2, maps.round()])  # squares are in the same order; rounded, few masks are
    different = {
        (image, *place, masks[number][place].numpy().tobytes())
        for image in range(2)
        for masks in [removal_masks(squared[:, image], PERCENTILES, "all", 0)]
        for number in range(len(squared))
        for place in np.ndindex(2, len(PERCENTILES))
    }
    seen = []
    with layer_hooks(module, {}, {"": lambda inputs: seen.append(len(inputs[0][0])) or inputs}):
        together = roads(module, x, squared, target, seed=3)
    assert sum(seen) == 2 + len(different)
    assert len(different) < 2 / 3 * squared[..., 0, 0].numel() * 2 * len(PERCENTILES)
    for found, each in zip(together, squared, strict=True):
        alone = road(module, x, each, target, seed=3)
        assert torch.allclose(found.after, alone.after, rtol=0, atol=1e-5)
        assert (found.notes, found.removed.tolist()) == (alone.notes, alone.removed.tolist())


def test_maps_without_the_method_that_made_them():
    module, x, maps, target, explains = several()
    with pytest.raises(ValueError, match="each of the 3 maps needs the method that made it, got 2"):
        camviz.arccs(module, x, maps, target, explains=explains[:2])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_arcc_of_a_constant_map_is_zero_and_says_why(value):
    module, x = seeded(Plain, dtype=torch.float32), noise_images(2, 24, 20, dtype=torch.float32)
    score = camviz.arcc(module, x, torch.full((2, 24, 20), value), None, explain=explained(module))
    assert score.arcc.tolist() == [0, 0]
    assert all("the map is blank" in note for note in score.notes)
    assert never_nan(score)


@pytest.mark.parametrize("spot", [math.nan, math.inf])
def test_arcc_of_a_broken_map_is_zero_and_says_why(spot):
    module, x = seeded(Plain, dtype=torch.float32), noise_images(2, 24, 20, dtype=torch.float32)
    maps = torch.rand(2, 24, 20, generator=torch.Generator().manual_seed(0))
    fine = maps.clone()
    maps[0, 3, 3] = spot
    score = camviz.arcc(module, x, maps, [1, 1], explain=lambda *_: fine)
    assert score.arcc[0].item() == 0
    assert score.notes[0] != ""
    assert never_nan(score)


def test_arcc_of_a_network_that_returns_nan_is_zero_and_says_why():
    module, x = seeded(Pooled, dtype=torch.float32), noise_images(1, 24, 20, dtype=torch.float32)
    module.fc.bias.data.fill_(math.nan)
    maps = torch.rand(1, 24, 20, generator=torch.Generator().manual_seed(0))
    score = camviz.arcc(module, x, maps, [1], explain=lambda *_: maps)
    assert score.arcc.item() == 0
    assert score.notes[0] != ""


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("target", [None, [1, 2]])
def test_arcc_inside_no_grad_and_inference_mode(mode, target):
    module = seeded(Plain, dtype=torch.float32)
    explain = explained(module)

    def score():
        x = noise_images(2, 24, 20, dtype=torch.float32)
        return camviz.arcc(module, x, explain(x, target), target, explain=explain)

    expected = score()
    with mode():
        inside = score()
    for name in ("arcc", "road", "coherency", "complexity"):
        assert torch.equal(getattr(inside, name), getattr(expected, name))


class Normalising(Plain):
    """A network that normalises its input in place, unless told not to."""

    def forward(self, x):
        x = x.sub_(0.5).div_(0.3) if self.relu1.inplace else (x - 0.5) / 0.3
        return super().forward(x)


def test_a_network_that_changes_its_input_in_place():
    x, target = noise_images(2, 24, 20, dtype=torch.float32), torch.tensor([1, 2])
    before, scores = x.clone(), []
    for inplace in (True, False):
        module = seeded(lambda inplace=inplace: Normalising(inplace), dtype=torch.float32)
        explain = explained(module)
        scores.append(camviz.arcc(module, x, explain(x, target), target, explain=explain).arcc)
        assert torch.equal(x, before)
    assert torch.allclose(*scores)
    assert bool(scores[1].any())


def test_global_generators_are_not_touched():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  (the global generator is what is watched)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    module, x = seeded(Plain, dtype=torch.float32), noise_images(1, 24, 20, dtype=torch.float32)
    cap = camviz.capture(module, x, 1, ["relu2"])
    for name in camviz.METHODS:
        maps = camviz.methods.cam_with_notes(cap, name)[0]
    for ties in ("all", "random"):
        camviz.arcc(module, x, camviz.refine(maps), 1, explain=explained(module), ties=ties)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_arcc_of_a_photograph(lite0, inputs):
    """What the parts are for: RefineCAM of the cat beats noise, and a class not believed in scores near 0."""
    recipe = camviz.Recipe("gradcam++", lite0.layers)
    x = inputs("coffee")
    explain = functools.partial(camviz.explain, lite0.module, recipe=recipe)
    cup = camviz.arcc(lite0.module, x, explain(x, [967]), [967], explain=explain)
    drawn = torch.rand(1, 224, 224, generator=torch.Generator().manual_seed(0))
    noise = camviz.arcc(lite0.module, x, drawn, [967], explain=lambda *_: drawn)
    dog = camviz.arcc(lite0.module, x, explain(x, [207]), [207], explain=explain)
    assert cup.arcc.item() > noise.arcc.item() + 0.2
    assert cup.probability.item() > 0.9
    assert dog.probability.item() < 0.01
    assert dog.arcc.item() < 0.05


def test_roads_tell_how_far_they_are_and_can_be_stopped():
    module, x = Plain().eval(), noise_images(2, 30, 30, dtype=torch.float32)
    maps = torch.rand(3, 2, 30, 30, generator=torch.Generator().manual_seed(0))
    told = []
    silent = roads(module, x, maps, 1)
    assert all(
        torch.equal(a.after, b.after)
        for a, b in zip(roads(module, x, maps, 1, progress=lambda *at: told.append(at)), silent, strict=True)
    )
    passes = 2 * 3 * 2 * len(PERCENTILES)  # images, maps, orders, percentiles
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[0] == (0, passes)
    assert told.count((0, passes)) > 3  # while the holes of the first image are filled
    assert told[-1] == (passes, passes)

    def stop(*at):
        raise KeyboardInterrupt(at)

    with pytest.raises(KeyboardInterrupt):
        roads(module, x, maps, 1, progress=stop)


def test_road_with_several_seeds_is_that_of_each():
    module, x = Plain().eval(), noise_images(2, 30, 30, dtype=torch.float32)
    maps = torch.rand(2, 30, 30, generator=torch.Generator().manual_seed(0))
    maps[1, 5:] = 0  # many ties
    target, told = torch.tensor([1, 0]), []
    found = road_over_seeds(module, x, maps, target, module(x), (3, 4), lambda *at: told.append(at))
    for result, seed in zip(found, (3, 4), strict=True):
        alone = road(module, x, maps, target, seed)
        assert torch.allclose(result.after, alone.after, atol=1e-6)
        assert torch.allclose(result.score, alone.score, atol=1e-6)
        assert torch.equal(result.removed, alone.removed)
        assert result.notes == alone.notes
    assert found[0].notes[1]
    assert not torch.equal(found[0].after, found[1].after)
    passes = 2 * 2 * 2 * len(PERCENTILES)  # images, seeds, orders, percentiles
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (passes, passes)


def test_scores_let_others_compute_theirs_in_between():
    """On a server, work that gives way waits for somebody else's: that must not wait for it in turn."""
    module, x = Plain().eval(), noise_images(1, 30, 30, dtype=torch.float32)
    maps = torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0))
    begun, others_are_done = threading.Event(), threading.Event()

    def give_way(*_):
        begun.set()
        if not others_are_done.wait(20):
            raise TimeoutError

    with ThreadPoolExecutor() as pool:
        first = pool.submit(Evidence(module, x, maps, 1, progress=give_way).scored, "road")
        assert begun.wait(20)
        Evidence(module, x, maps, 1).scored("road")
        others_are_done.set()
        first.result()
