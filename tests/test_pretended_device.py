"""All of the core on a pretended device: no mixed devices, the CPU's results, and few moments at which the CPU waits.

"At most n syncs" is a promise to GPUs: each one lets the device run dry.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from pretended_device import CPU, DEVICE, Pretended, pretended_device
from small_networks import Plain, noise_images, seeded

import camviz
from camviz import noise, shapes
from camviz.merging import RULES, refine
from camviz.methods import METHODS, cam_with_notes, twins
from camviz.metrics import SCORES, Evidence
from camviz.metrics.arcc import arccs
from camviz.metrics.imputation import TOLERANCE, impute
from camviz.metrics.road import PERCENTILES, removal_masks, road
from camviz.network.capture import captures
from camviz.network.layouts import channels_last
from camviz.noise.measure import Perturbation
from camviz.results.finding import RESULT, Settings, as_png
from camviz.trust.play import Change, scores_of_both
from camviz.trust.run import Case, EvaluationRun
from camviz.workbench.findings import find
from camviz.workbench.host import PlainHost
from camviz.workbench.noisy_copies import robustness
from camviz.workbench.pictures import SeenPicture, draw_picture

LAYERS = ("layer1", "layer2", "layer3", "layer4")
RECIPE = camviz.Recipe("gradcam++", LAYERS)
SLOW = [name for name, method in METHODS.items() if method.is_slow]


@pytest.fixture
def device():
    with pretended_device() as found:
        yield found


@pytest.fixture(scope="module")
def net():
    """With a small input: the counts are the same, and the pretended device is slow."""
    loaded = camviz.load_model("shapes-resnet18", "cpu")
    return replace(loaded, preprocessing=replace(loaded.preprocessing, size=80, resize=80))


def small():
    """A network, two images for it, and four of its layers."""
    x = noise_images(2, 24, 20, dtype=torch.float32)
    return seeded(Plain, dtype=torch.float32), x, ("relu1", "conv2", "relu2", "relu3")


def several(net):
    """A capture of a small sample, and RefineCAM and its four layers' maps (5, 1, H, W)."""
    cap = camviz.capture(net.module, net.preprocess(shapes.sample(5).image), None, LAYERS)
    maps = cam_with_notes(cap, "gradcam++")[0]
    return cap, torch.cat([refine(maps)[None], maps])


# The pretended device itself


def test_results_are_the_cpus_and_stay_on_the_device(device):
    x = torch.arange(6.0).view(2, 3)
    there = device.put(x)
    found = (there @ there.mT + 1).relu_()
    assert isinstance(found, Pretended)
    assert found.device == DEVICE
    assert not found.is_cpu
    assert device.syncs == []
    assert torch.equal(found.cpu(), (x @ x.mT + 1).relu())
    made = [torch.zeros(2, device=DEVICE), torch.tensor([1.0], device=DEVICE), torch.as_tensor([1], device=DEVICE)]
    made += [torch.zeros_like(there), there.new_tensor([1.0]), x.to(DEVICE), x.to(there), torch.ones(1).to("mps:1")]
    assert all(isinstance(each, Pretended) for each in made)
    assert there.to(DEVICE) is there
    out = device.put(torch.zeros(2, 2))
    assert torch.mm(there, there.mT, out=out) is out
    assert out.add_(1) is out
    assert torch.equal(out.cpu(), x @ x.mT + 1)


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: here * there,
        lambda there, here: here * there.sum(),  # a device tensor without dimensions is no scalar
        lambda there, here: there @ here.mT,
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.where(there > 0, there, here),
        lambda there, here: there.gather(1, torch.zeros(2, 1, dtype=torch.long)),
        lambda there, here: torch.stack([there.sum(), here.sum()]),  # not element by element
        lambda there, here: here[there > 0],
        lambda there, here: there.add_(here),
        lambda there, here: torch.nn.functional.conv2d(there[None, None], here[None, None]),
    ],
)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_mixed_devices_raise(device, mix, mode):
    with mode(), pytest.raises(RuntimeError, match="on one device"):
        mix(device.put(torch.rand(2, 3)), torch.rand(2, 3))


def test_what_may_be_mixed(device):
    """A CPU tensor without dimensions among those that are computed element by element, and indices."""
    x = torch.rand(2, 3)
    there, half = device.put(x), torch.tensor(0.5)
    assert torch.equal((there * half).cpu(), x * 0.5)
    assert torch.equal(torch.where(there > 0.5, there, half).cpu(), x.clamp_min(0.5))
    assert torch.equal(there[:, torch.tensor([2, 0])].cpu(), x[:, [2, 0]])
    there.copy_(x + 1)
    assert torch.equal(there.cpu(), x + 1)


def test_float64_is_refused(device):
    with pytest.raises(TypeError, match="float64"):
        device.put(torch.rand(2)).double()
    assert device.put(torch.rand(2)).cpu().double().dtype == torch.float64


SYNCS = {
    "item": lambda t: t.sum().item(),
    "float": lambda t: float(t[0]),
    "int": lambda t: int(t[0]),
    "bool": lambda t: bool(t.any()),
    "if": lambda t: 1 if t.sum() > 0 else 0,
    "cpu": lambda t: t.cpu(),
    "to cpu": lambda t: t.to("cpu"),
    "tolist": lambda t: t.tolist(),
    "numpy": lambda t: t.cpu().numpy(),
    "copy": lambda t: torch.empty(3).copy_(t),
    "nonzero": lambda t: t.nonzero(),
    "masked": lambda t: t[t > 0],
    "masked_select": lambda t: t.masked_select(t > 0),
    "set where masked": lambda t: t.__setitem__(t > 0, torch.zeros(2, device=DEVICE)),
    "an index that is a tensor": lambda t: torch.rand(3, device=CPU)[t.argmin()],
    "equal": lambda t: torch.equal(t, t),
    "allclose": lambda t: torch.allclose(t, t),
    "unique": lambda t: t.unique(),
    "format": lambda t: f"{t[0]:.2f}",
    "eigenvalues": lambda t: torch.linalg.eigh(torch.eye(3, device=DEVICE)),
    "segments": lambda t: torch.segment_reduce(t, "sum", lengths=torch.tensor([3], device=DEVICE)),
}


@pytest.mark.parametrize("name", SYNCS)
def test_each_wait_is_recorded(device, name):
    there = device.put(torch.tensor([0.0, 1.0, 2.0]))
    SYNCS[name](there)
    assert len(device.syncs) == 1
    assert device.syncs[0].place == "outside of camviz"
    device.forget()
    assert device.syncs == []


@pytest.mark.parametrize(
    "free",
    [
        lambda t: t.sort().values.cumsum(0),
        lambda t: torch.where(t > 0, t, 0.0),
        lambda t: t[torch.tensor([1, 0], device=DEVICE)],
        lambda t: t.__setitem__(t > 0, 0.0),
        lambda t: t.shape[0] * t.numel(),
        lambda t: [row + 1 for row in t],
    ],
)
def test_what_needs_no_waiting_is_not(device, free):
    free(device.put(torch.tensor([0.0, 1.0, 2.0])))
    assert device.syncs == []


def test_an_array_of_it_is_refused(device):
    there = device.put(torch.rand(3))
    for ask in (lambda: there.numpy(), lambda: np.asarray(there)):
        with pytest.raises(TypeError, match=r"call \.cpu\(\) first"):
            ask()


def test_the_place_is_the_line_in_camviz(device):
    module, x = device.moved(seeded(Plain, dtype=torch.float32)), device.put(noise_images(1).float())
    channels_last(module, x, ["relu1"])
    device.forget()
    camviz.capture(module, x, device.put(torch.tensor([1])), ["relu1"])
    assert [sync.place.split(":")[0] for sync in device.syncs] == ["network/capture.py"]
    assert device.places().startswith("1 x item at network/capture.py:")


def test_nothing_is_left_behind():
    names = ("to", "cpu", "numpy", "tolist", "item", "__array__", "new_tensor")
    before = [getattr(torch.Tensor, name) for name in names], torch.tensor, torch.as_tensor
    with pretended_device() as device:
        there = device.put(torch.rand(2))
    assert ([getattr(torch.Tensor, name) for name in names], torch.tensor, torch.as_tensor) == before
    with pytest.raises(RuntimeError, match="outside of its block"):
        there + 1
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.zeros(1, device=DEVICE)


def test_gradients_are_the_cpus(device):
    module, x, _ = small()
    there = device.put(x).requires_grad_()
    (found,) = torch.autograd.grad(device.moved(module)(there)[:, 1].sum(), there)
    here = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(here)[:, 1].sum(), here)
    assert torch.equal(found.cpu(), expected)
    assert device.syncs[:-1] == []


# camviz on it


@pytest.mark.parametrize(("target", "syncs"), [(None, 0), (2, 0), ([1, 3], 0), ("there", 1)])
def test_capture(device, target, syncs):
    module, x, layers = small()
    expected = camviz.capture(module, x, [1, 3] if target == "there" else target, layers)
    asked = device.put(torch.tensor([1, 3])) if target == "there" else target
    there = device.moved(module)
    channels_last(there, device.put(x), layers)
    assert len(device.syncs) == 1, "to find out where the channels are, once for a network"
    device.forget()
    cap = camviz.capture(there, device.put(x), asked, layers)
    assert len(device.syncs) <= syncs, device.places()
    for name in ("logits", "target"):
        assert torch.equal(getattr(cap, name).cpu(), getattr(expected, name))
    for name in ("activations", "gradients"):
        pairs = zip(getattr(cap, name), getattr(expected, name), strict=True)
        assert all(torch.equal(found.cpu(), value) for found, value in pairs)
    device.forget()
    assert cap.checksums == expected.checksums
    assert len(device.syncs) == 1


def test_captures_of_several_targets(device):
    module, x, layers = small()
    found = captures(device.moved(module), device.put(x), [None, 1, 1], layers)
    expected = captures(module, x, [None, 1, 1], layers)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.gradients[0].cpu(), other.gradients[0])
    assert found[1].gradients is found[2].gradients


# Over four layers; a second look where a map is blank. Of slow methods: to stack channels that are alike, once a layer,
# and in Ablation-CAM to compare an unchanged copy, once a layer and picture and once a run.
# Principal components come from an eigen-solver, for which a real GPU waits once more a layer (benchmarks/gpu.md).
BOUNDS = dict.fromkeys(METHODS, 2) | {"eigencam": 3, "eigengradcam": 3, "random": 3, "scorecam": 6,
          "scorecam-fast": 6, "ablationcam": 22, "ablationcam-fast": 22}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods(device, name):
    module, x, layers = small()
    expected, notes = cam_with_notes(camviz.capture(module, x, [1, 3], layers), name, seed=4)
    cap = camviz.capture(device.moved(module), device.put(x), [1, 3], layers)
    device.forget()
    maps, told = cam_with_notes(cap, name, seed=4)
    assert len(device.syncs) <= BOUNDS[name], device.places()
    # Slow ones run in other batches there; all others do the very same.
    assert torch.allclose(maps.cpu(), expected, rtol=0, atol=1e-5 if name in SLOW else 0)
    assert told == notes


@pytest.mark.parametrize("name", ["gradcam", "gradcam++", "xgradcam", "hirescam", "gradcam-elementwise", "layercam"])
@pytest.mark.parametrize("why", ["NaN", "no gradient", "negative", "constant"])
def test_blank_maps_are_told_in_one_look(device, name, why):
    """All maps of four layers and two pictures blank: one look to see that, one to see why."""
    module, x, layers = small()
    cap = camviz.capture(module, x, [1, 3], layers)
    change = {
        "NaN": lambda a, g: (a * torch.nan, g),
        "no gradient": lambda a, g: (a, g * 0),
        "negative": lambda a, g: (a.abs() + 0.1, -g.abs() - 0.1),
        "constant": lambda a, g: (torch.ones_like(a), torch.ones_like(g)),
    }[why]
    pairs = [change(a, g) for a, g in zip(cap.activations, cap.gradients, strict=True)]
    fields = {"activations": [a for a, _ in pairs], "gradients": [g for _, g in pairs]}

    def of(place):
        values = {key: tuple(map(place, tensors)) for key, tensors in fields.items()}
        return cam_with_notes(replace(cap, x=place(x), **values), name)

    expected, notes = of(lambda tensor: tensor)
    maps, told = of(device.put)
    assert len(device.syncs) <= 2, device.places()
    assert torch.equal(maps.cpu(), expected)
    assert told == notes
    assert any(map(all, notes))


def test_twins(device):
    module, x, layers = small()
    expected = twins(camviz.capture(module, x, 1, layers), "gradcam-elementwise")
    assert twins(camviz.capture(device.moved(module), device.put(x), 1, layers), "gradcam-elementwise") == expected


def test_merging_with_a_second_method(device):
    module, x, layers = small()
    cap = camviz.capture(module, x, 1, layers)
    there = camviz.capture(device.moved(module), device.put(x), 1, layers)
    expected, maps = refine(camviz.cam(cap), "mixed", cap), camviz.cam(there)
    device.syncs.clear()
    found = refine(maps, "mixed", there)
    assert len(device.syncs) <= 3, device.places()
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.needs == "maps"])
def test_merging(device, rule):
    maps = torch.rand(4, 2, 24, 20, generator=torch.Generator().manual_seed(0))
    maps[:, 1] = 0.5
    found = refine(device.put(maps), rule)
    assert len(device.syncs) <= 1, device.places()
    assert torch.equal(found.cpu(), refine(maps, rule))


def test_explaining_one_picture(device, net):
    x = net.preprocess(shapes.sample(5).image)
    target = torch.tensor([2])
    expected = camviz.explain(net.module, x, target, RECIPE)
    module, x, target = device.moved(net.module), device.put(x), device.put(target)
    found = camviz.explain(module, x, target, RECIPE)
    assert len(device.syncs) <= 4, device.places()
    assert torch.equal(found.cpu(), expected)


def hard_maps():
    """Maps (6, 40, 33): many values, ties, constant ones, NaN."""
    drawn = torch.rand(6, 40, 33, generator=torch.Generator().manual_seed(0))
    drawn[1] = (drawn[1] * 5).round() / 5
    drawn[2], drawn[3] = 0, 0.4
    drawn[4][drawn[4] > 0.8] = torch.nan
    drawn[5] = (drawn[5] > 0.9).float()
    return drawn


@pytest.mark.parametrize("ties", ["all", "random"])
def test_removal_masks(device, ties):
    maps = hard_maps()
    found = removal_masks(device.put(maps), PERCENTILES, ties, 3)
    assert device.syncs == []
    assert torch.equal(found.cpu(), removal_masks(maps, PERCENTILES, ties, 3))


@pytest.mark.parametrize("size", [(30, 41), (64, 64), (1, 50)], ids=str)
def test_imputation(device, size):
    """In other batches and with rarer looks than on the CPU, each within the tolerance."""
    images = noise_images(4, *size, dtype=torch.float32)
    drawn = torch.rand(4, *size, generator=torch.Generator().manual_seed(0))
    removed = drawn < torch.tensor([0, 0.4, 0.95, 2]).view(4, 1, 1)
    found = impute(device.put(images), device.put(removed)).cpu()
    assert len(device.syncs) - 1 <= 6, device.places()
    assert (found - impute(images, removed)).abs().max() < 5 * TOLERANCE
    assert len(device.uploads) <= 2


@pytest.mark.parametrize("percentiles", [PERCENTILES, (0, 1, 10, 33, 50, 99, 100)])
def test_percentiles_are_numpys_to_the_bit(percentiles):
    """Of sizes whose percentiles fall on values and between them, halfway too, and of neighbours one rounding apart."""
    drawn = np.random.default_rng(0)
    one = np.float32(1)
    near = np.where(drawn.random((7, 9)) < 0.5, one, np.nextafter(one, np.float32(0)))
    cases = [*hard_maps().numpy(), near, 1 - near, near * np.float32(1e-30)]
    cases += [drawn.random((1, n), np.float32) for n in (1, 2, 3, 5, 6, 11, 26, 51, 101, 102)]
    cases += [drawn.random((224, 224), np.float32) ** 3, np.float32([[0, np.inf, 1], [2, 3, 4]])]
    for case in cases:
        found = removal_masks(torch.from_numpy(case), percentiles, "all", 0).numpy()
        for order, masks in zip((case, 1 - case), found, strict=True):
            for p, mask in zip(percentiles, masks, strict=True):
                assert np.array_equal(mask, order >= np.percentile(order, p)), (case.shape, p)


@pytest.mark.parametrize("seed", [0, 5])
def test_exact_shares_are_drawn_as_a_sort_by_value_and_chance_does(seed):
    for case in hard_maps().numpy():
        rng = np.random.default_rng(seed)
        found = removal_masks(torch.from_numpy(case), PERCENTILES, "random", seed).flatten(-2).numpy()
        for order, masks in zip((case, 1 - case), found, strict=True):
            for p, mask in zip(PERCENTILES, masks, strict=True):
                first = np.lexsort((rng.random(case.size), -order.ravel()))[: round(case.size * (100 - p) / 100)]
                assert np.array_equal(np.flatnonzero(mask), np.sort(first))


def test_masks_of_many_maps_are_those_of_each():
    maps = hard_maps()
    for ties in ("all", "random"):
        together = removal_masks(maps.view(2, 3, 40, 33), PERCENTILES, ties, 1)
        assert together.shape == (2, 3, 2, 4, 40, 33)
        alone = torch.stack([removal_masks(each, PERCENTILES, ties, 1) for each in maps])
        assert torch.equal(together.flatten(0, 1), alone)


def same_arcc(found, expected):
    """Removed pixels are the same; how they are filled differs within the solver's tolerance, and so do the scores."""
    assert torch.equal(found.removed.cpu(), expected.removed)
    assert found.notes == expected.notes
    for name in ("arcc", "road", "coherency", "complexity", "road_raw", "probability"):
        assert torch.allclose(getattr(found, name).cpu(), getattr(expected, name), rtol=0, atol=2e-3), name


@pytest.mark.parametrize("ties", ["all", "random"])
def test_arcc_of_five_maps_of_one_picture(device, net, ties):
    """At most 12 syncs, the method's own runs not counted."""
    cap, maps = several(net)
    again = maps.clone()
    explains = [lambda *_, number=number: again[number] for number in range(5)]
    expected = arccs(net.module, cap.x, maps, cap.target, explains=explains, ties=ties)
    again = device.put(again)
    module, x, there, target = device.moved(net.module), *map(device.put, (cap.x, maps, cap.target))
    device.forget()
    found = arccs(module, x, there, target, explains=explains, ties=ties)
    assert len(device.syncs) <= 12, device.places()
    for one, other in zip(found, expected, strict=True):
        same_arcc(one, other)


def test_arcc_with_the_method_run_again(device):
    module, x, layers = small()
    recipe = camviz.Recipe("layercam", layers)
    target = torch.tensor([1, 3])
    maps = camviz.explain(module, x, target, recipe)
    expected = camviz.arcc(module, x, maps, target, explain=functools.partial(camviz.explain, module, recipe=recipe))
    module = device.moved(module)
    explain = functools.partial(camviz.explain, module, recipe=recipe)
    same_arcc(camviz.arcc(module, device.put(x), device.put(maps), device.put(target), explain=explain), expected)


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if score.on_request])
def test_scores_on_request(device, name):
    """Values may come back on the CPU, which has float64; what is filled is so within the solver's tolerance."""
    module, x, layers = small()
    recipe = camviz.Recipe("layercam", layers)
    target = torch.tensor([1, 3])
    maps = camviz.explain(module, x, target, recipe)[None]

    def scored(module, x, maps, target):
        explain = functools.partial(camviz.explain, recipe=recipe)
        explains_on = [lambda module, x, target: explain(module, x, target)]
        return Evidence(module, x, maps, target, [functools.partial(explain, module)], explains_on).scored(name)

    expected = scored(module, x, maps, target)
    found = scored(device.moved(module), device.put(x), device.put(maps), device.put(target))
    assert found.notes == expected.notes
    assert torch.allclose(found.values.cpu(), expected.values, rtol=0, atol=2e-3, equal_nan=True)


def test_road_of_maps_from_the_cpu(device):
    module, x, _ = small()
    maps = torch.rand(2, 24, 20, generator=torch.Generator().manual_seed(0))
    expected = road(module, x, maps, None)
    found = road(device.moved(module), device.put(x), maps, None)
    assert (found.score.cpu() - expected.score).abs().max() < 2e-3
    assert torch.equal(found.removed.cpu(), expected.removed)


def test_adversarial_noise(device, net):
    view = net.view(shapes.sample(3).image)
    expected = noise.apply(view, "fgsm", 0.5, 0, net, 0)
    found = noise.apply(view, "fgsm", 0.5, 0, device.net(net), 0)
    assert len(device.syncs) <= 1, device.places()
    assert np.array_equal(found, expected)


def test_robustness(device, net):
    """Overlaps are float32 there: MPS has no float64."""
    asked = {"kinds": ("gaussian", "fgsm"), "levels": (0.1, 0.9), "layers": LAYERS[2:]}
    image = shapes.sample(5).image
    expected = robustness(net, image, **asked)
    there = device.net(net)
    device.forget()
    found = robustness(there, image, **asked)
    assert expected.table.flipped.any()
    assert len(device.syncs) <= 24, device.places()
    text = ["kind", "level", "seed", "predicted", "flipped"]
    assert found.table[text].equals(expected.table[text])
    numbers = [name for name in found.table if name not in text]
    np.testing.assert_allclose(found.table[numbers], expected.table[numbers], atol=1e-4)


def test_find(device, net):
    data = as_png(shapes.sample(5).image)
    settings = Settings("shapes-resnet18", RECIPE, noise=Perturbation("fgsm", 0.2))
    expected = find(net, data, "a", settings)
    there = device.net(net)
    device.forget()
    found = find(there, data, "a", settings)
    # Seven maps are scored one by one, so that whoever waits sees each: some 16 for each, and the maps themselves.
    assert len(device.syncs) <= 125, device.places()
    for name in ("view", "maps", "merged"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert [label for label, _ in found.top] == [label for label, _ in expected.top]
    assert [share for _, share in found.top] == pytest.approx([share for _, share in expected.top], abs=1e-6)
    assert set(found.scores) == {RESULT, *LAYERS}
    for key, score in found.scores.items():
        assert score["arcc"] == pytest.approx(expected.scores[key]["arcc"], abs=2e-3)
        assert score.note == expected.scores[key].note


# Evaluating and playing


def test_an_evaluation_of_ones_own(device, net):
    """A step of a picture, and a changed map: nothing is mixed, and the CPU's numbers."""
    (rows, scores), (rows_there, scores_there) = (_evaluated(each) for each in (net, device.net(net)))
    for name, column in rows.items():
        if column.dtype.kind == "f":
            np.testing.assert_allclose(column, rows_there[name], atol=1e-4, err_msg=name)
    for name, both in scores.items():
        np.testing.assert_allclose(both, scores_there[name], atol=1e-4, err_msg=name)


def _evaluated(net):
    host, sample = PlainHost(), shapes.sample(6)
    picture = draw_picture(host, "a circle", "one shape 6", lambda: sample)
    seen = SeenPicture(host, picture, net, "squeeze")
    case = Case(seen, net.view(sample.mask, "squeeze"))
    run = EvaluationRun(net, (case,), {"RefineCAM": RECIPE}, ("ordinary", "road"))
    run.go_on(1e9)
    rows = run.results().of("road", equal_area=True, kind="own")
    sharp = replace(RECIPE, rule="sharpened")
    assert np.isfinite(scores_of_both(case.explained, sharp, Change(right=0.1))["best_iou"]).all()
    return rows, scores_of_both(case.explained, RECIPE, Change(blur=2, shrink=1.5, sharpen=2, right=0.2))
