"""What cannot be judged is refused: maps outside [0, 1], and networks in training mode, before a pass changes them."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import Functional, noise_images, seeded

import camviz
from camviz import noise, study
from camviz.maps import require_unit_range
from camviz.merging import heights, refine, running
from camviz.methods import METHODS
from camviz.metrics.arcc import coherency, complexity
from camviz.metrics.gaussian_infidelity import gaussian_infidelity
from camviz.metrics.insertion_deletion import deletion, insertion
from camviz.metrics.mask_scores import against_mask, mask_scores
from camviz.metrics.randomisation import randomised
from camviz.metrics.road import road, roads
from camviz.metrics.similarity import likeness
from camviz.models.layers import find_layers
from camviz.models.registry import ModelInfo, Preprocessing, make_net
from camviz.network.batching import forward, multiply_adds, run_network
from camviz.network.capture import captures
from camviz.network.layouts import channels_last
from camviz.network.logits import network_logits
from camviz.noise.measure import measure, perturbations
from camviz.recipe import Recipe
from camviz.results.finding import as_png
from camviz.workbench.host import PlainHost
from camviz.workbench.maps import likeliest
from camviz.workbench.noisy_copies import get_subject, robustness
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

SIDE = 48


def ramps():
    """Maps (2, 12, 16) that reach from 0 to 1."""
    ramp = torch.linspace(0, 1, 12 * 16).view(12, 16)
    return torch.stack([ramp, ramp.flip(1)])


def judged(maps):
    """Everything that judges or merges maps (2, 12, 16) in [0, 1], by name."""
    module, x = seeded(Functional, dtype=torch.float32), noise_images(2, dtype=torch.float32)
    target = torch.tensor([0, 1])
    mask = torch.zeros(maps.shape, dtype=torch.bool)
    mask[:, 3:6, 3:9] = True

    def explain(x, _target):
        return x.abs().mean(1)

    return {
        "arcc": lambda: camviz.arcc(module, x, maps, target, explain=explain),
        "arccs": lambda: camviz.arccs(module, x, maps[None], target, explains=[explain]),
        "coherency": lambda: coherency(x, maps, target, explain),
        "complexity": lambda: complexity(maps),
        "road": lambda: road(module, x, maps, target),
        "roads": lambda: roads(module, x, torch.stack([ramps().to(maps), maps]), target),
        "refine": lambda: refine(torch.stack([maps, ramps().to(maps)])),
        "running": lambda: running(torch.stack([maps, ramps().to(maps)])),
        "heights": lambda: heights(torch.stack([maps, ramps().to(maps)])),
        "likeness, maps": lambda: likeness(ramps()[0], maps),
        "likeness, reference": lambda: likeness(maps[1], ramps()),
        **{f"mask score {name}": partial(against_mask, name, maps, mask) for name in mask_scores()},
    }


NAMES = list(judged(ramps()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda maps: 255 * maps, "from 0 to 255: this looks like a 0-255 heat map: divide it by 255"),
        (lambda maps: (255 * maps).to(torch.uint8), "this looks like a 0-255 heat map: divide it by 255"),
        (lambda maps: maps - 0.5, "from -0.5 to (0.5|1): some values are negative, so apply ReLU and normalise"),
        (lambda maps: 255 * (maps - 0.5), "some values are negative, so apply ReLU and normalise"),
        (lambda maps: 1.5 * maps, "from 0 to 1\\.5: normalise each map"),
        (lambda maps: 1e4 * maps, "from 0 to 1e\\+04: normalise each map"),
        (lambda maps: maps + torch.tensor([0, 2e-6]).view(2, 1, 1), "normalise each map"),
        (lambda maps: maps - torch.tensor([0, 2e-6]).view(2, 1, 1), "apply ReLU"),
    ],
)
def test_maps_outside_0_to_1_are_refused(name, spoil, words):
    with pytest.raises(ValueError, match=f"^maps must lie in \\[0, 1\\], got values .*{words}"):
        judged(spoil(ramps()))[name]()


@pytest.mark.parametrize("name", NAMES)
def test_rounding_beyond_0_and_1_is_not_refused(name):
    judged(1.0000005 * ramps() - 2e-7)[name]()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["arcc", "arccs", "coherency", "road", "roads", "refine", "running"])
def test_what_is_not_finite_is_still_blanked_and_not_refused(name, bad):
    maps = ramps()
    maps[0, 0, 0] = bad
    found = judged(maps)[name]()
    if name in ("refine", "running"):
        assert torch.isfinite(found).all()
        assert not found.reshape(-1, 2, 12, 16)[0, 0].any()
    if name in ("arcc", "arccs"):
        (found,) = [found] if name == "arcc" else found
        assert found.arcc[0] == 0
        assert "blank" in found.notes[0]


def test_a_map_that_is_not_finite_hides_no_other():
    maps = ramps()
    maps[0, 0, 0], maps[1, 0, 0] = math.inf, 2
    with pytest.raises(ValueError, match="from 0 to 2"):
        require_unit_range(maps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool])
def test_maps_of_every_type_are_checked(dtype):
    require_unit_range((ramps() > 0.5).to(dtype))
    if dtype != torch.bool:
        with pytest.raises(ValueError, match="from 0 to 3"):
            require_unit_range((3 * ramps()).round().to(dtype))


def test_huge_finite_values_are_refused():
    maps = ramps()
    maps[0, 0, :2] = torch.tensor([3e38, -3e38])  # their difference is no float32
    with pytest.raises(ValueError, match="values are negative"):
        require_unit_range(maps)


def test_no_maps_at_all_pass():
    require_unit_range(torch.zeros(0, 12, 16), torch.zeros(2, 0, 16))


class Reads(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts what makes the host wait for a device: each value read from a tensor."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten._to_copy.default)
        return function(*args, **(kwargs or {}))


def test_one_read_checks_all_groups(monkeypatch):
    reads = []
    original = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: reads.append(self.shape) or original(self))
    with Reads() as scalars:
        require_unit_range(ramps(), torch.rand(3, 2, 8, 8), torch.rand(5, 5))
    assert reads == [(6,)]  # the lowest and the highest value of each group
    assert scalars.count == 0


@pytest.fixture
def net():
    """A small network with batch normalisation, its statistics not those of its first batch."""
    info = ModelInfo("small", "Small", "small", "checkpoint", "none", 0, 0, 0)
    how = Preprocessing(SIDE, SIDE, (0.5,) * 3, (0.25,) * 3, Image.Resampling.BILINEAR)
    module = seeded(Functional, dtype=torch.float32)
    return make_net(info, module, tuple("abcde"), ("conv",), how, torch.device("cpu"))


@pytest.fixture
def picture(photos):
    return np.asarray(Image.fromarray(photos["chelsea"]).resize((SIDE, SIDE)))


def subject(net, picture, recipes):
    """The picture with its clean explanations, computed anew."""
    seen = SeenPicture(PlainHost(), pixels_as_picture(picture, ""), net)
    return get_subject(seen.explaining(likeliest(seen)), recipes)


def passes(net, picture):
    """Everything that runs a network, by name; what it needs first is made while the network is in eval mode."""
    module, x, recipe = net.module, net.preprocess(picture), Recipe("gradcam", ("conv",))
    maps = torch.linspace(0, 1, SIDE * SIDE).view(1, SIDE, SIDE)
    cap, of = camviz.capture(module, x, None, ["conv"]), subject(net, picture, {"one": recipe})
    settings = camviz.Settings("small", recipe, target=1)
    noisy = camviz.Settings("small", recipe, noise=perturbations(["fgsm"], [0.5], [0])[0])
    explain = partial(camviz.explain, module, recipe=recipe)
    case = SimpleNamespace(image=picture, mask=np.eye(SIDE, dtype=bool), label=None)
    found = {
        "capture": lambda: camviz.capture(module, x, None, ["conv"]),
        "captures": lambda: captures(module, x, [0, 1], ["conv"]),
        "explain": lambda: explain(x, torch.tensor([0])),
        "arcc": lambda: camviz.arcc(module, x, maps, explain=explain),
        "arccs": lambda: camviz.arccs(module, x, maps[None], explains=[explain], logits=cap.logits),
        "coherency": lambda: coherency(x, maps, torch.tensor([0]), explain),
        "road": lambda: road(module, x, maps, None),
        "roads": lambda: roads(module, x, maps[None], 1, logits=cap.logits),
        "find": lambda: camviz.find(net, as_png(picture), "cat", settings),
        "find, fgsm": lambda: camviz.find(net, as_png(picture), "cat", noisy),
        "fgsm": lambda: noise.apply(picture, "fgsm", 0.5, net=net, target=0),
        "subject": lambda: subject(net, picture, {"one": recipe}),
        "measure": lambda: measure(of, perturbations(["gaussian", "fgsm"], [0.5], [0])),
        "robustness": lambda: robustness(net, picture, "gaussian", [0.5], "gradcam"),
        "sweep": lambda: list(
            study.sweep(net, [study.Case("cat", picture)], {"one": recipe}, perturbations(["gaussian"], [0.5], [0]))
        ),
        "find_layers": lambda: find_layers(module, x),
        "forward": lambda: forward(module, x),
        "run_network": lambda: run_network(module, x),
        "multiply_adds": lambda: multiply_adds(module, x),
        "network_logits": lambda: network_logits(module, x),
        "channels_last": lambda: channels_last(module, x, ["conv"]),
        "evaluate": lambda: camviz.evaluate(net, [case], {"one": recipe}, ["complexity"]),
        "patch_agreement": lambda: camviz.patch_agreement(module, x, maps[None]),
        "insertion": lambda: insertion(module, x, maps[None]),
        "deletion": lambda: deletion(module, x, maps[None]),
        "gaussian_infidelity": lambda: gaussian_infidelity(module, x, maps[None]),
        "randomised": lambda: list(randomised(module, x, 0)),
    }
    slow = [name for name, method in METHODS.items() if method.is_slow]
    return found | {name: partial(camviz.cam, cap, name) for name in slow}


PASSES = [
    *("capture", "captures", "explain", "arcc", "arccs", "coherency", "road", "roads", "find", "find, fgsm", "fgsm"),
    *("subject", "measure", "robustness", "sweep", "find_layers", "forward", "run_network", "multiply_adds"),
    *("network_logits", "channels_last", "evaluate", "patch_agreement", "insertion", "deletion", "gaussian_infidelity"),
    "randomised",
    *(name for name, method in METHODS.items() if method.is_slow),
]


def test_the_list_of_passes_is_whole(net, picture):
    assert list(passes(net, picture)) == PASSES


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize(
    ("part", "words"), [("", "Functional is in training mode"), ("norm", "its layer 'norm' is in training mode")]
)
def test_a_network_in_training_mode_is_refused_and_stays_as_it_was(net, picture, name, part, words):
    run = passes(net, picture)[name]
    net.module.get_submodule(part).train()
    before = {key: value.clone() for key, value in net.module.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        run()
    after = net.module.state_dict()
    assert {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"} < before.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", PASSES)
def test_the_same_calls_work_in_eval_mode(net, picture, name):
    passes(net, picture)[name]()


def test_a_pass_in_training_mode_would_change_the_network(net, picture):
    net.module.train()
    before = net.module.norm.running_mean.clone()
    net.module(net.preprocess(picture))
    assert not torch.equal(before, net.module.norm.running_mean)
