"""Agreement with grad-cam 1.5.7 on real photographs: maps, RefineCAM, coherency, complexity, ROAD and ARCC.

The reading "torch-cam" of RefineCAM is compared with torchcam 0.5.0.

grad-cam adds 1e-7 where it divides by a map's maximum. On the untrained networks many raw maps are below 1e-4,
where that alone costs 1e-3, so their logits are multiplied by 1000 for both sides: then one tolerance serves
all networks, and it need not be loosened.
"""

import functools
import sys

import numpy as np
import pytest
import torch
import torchvision
from pytorch_grad_cam import (
    EigenCAM,
    EigenGradCAM,
    GradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    XGradCAM,
)
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.metrics import arcc as their_arcc
from pytorch_grad_cam.metrics import road as their_road
from pytorch_grad_cam.refine_cam import RefineCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from small_networks import seeded
from torch import nn
from torchcam import methods

import camviz
from camviz.methods import cam_with_notes
from camviz.metrics import road as our_road
from camviz.metrics.arcc import coherency, complexity
from camviz.metrics.imputation import impute

TOLERANCE = 1e-3
# grad-cam's ROAD hands a tensor to NumPy's percentile
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")

PERCENTILES = [20, 40, 60, 80]
GRADIENT_METHODS = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "xgradcam": XGradCAM,
    "hirescam": HiResCAM,
    "gradcam-elementwise": GradCAMElementWise,
    "layercam": LayerCAM,
}
LITE_LAYERS = ["_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15"]
# An untrained torchvision network: layers that are called once and not changed in place, one target an image, the side
# of its inputs.
UNTRAINED = {
    "resnet18": (["layer1", "layer2", "layer3", "layer4"], [3, 238], 128),
    "vgg11": (["features.5", "features.10", "features.15", "features.20"], [3, 7], 64),
    "densenet121": ([f"features.transition{n}.relu" for n in (1, 2, 3)] + ["features.denseblock4"], [150, 7], 128),
}


class Louder(nn.Module):
    """A network with its logits multiplied by 1000."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return 1000 * self.net(x)


@pytest.fixture(scope="module", params=["efficientnet-lite0", *UNTRAINED])
def subject(request, lite0):
    """A network, its layers, two targets and the side of its inputs."""
    if request.param == "efficientnet-lite0":
        return lite0.module, LITE_LAYERS, [285, 967], 224
    make = functools.partial(torchvision.models.get_model, request.param, weights=None)
    layers, targets, side = UNTRAINED[request.param]
    return Louder(seeded(make, dtype=torch.float32)).eval(), [f"net.{layer}" for layer in layers], targets, side


def their_maps(method, module, layers, x, targets):
    """Return grad-cam's map of each layer by itself: (L, B, H, W)."""
    with method(module, [module.get_submodule(layer) for layer in layers]) as cam:
        cam.aggregate_multi_layers = lambda maps: [BaseCAM.aggregate_multi_layers(cam, [m]) for m in maps]
        # The input carries a gradient: grad-cam finds none where every parameter is frozen.
        return torch.tensor(np.array(cam(x.clone().requires_grad_(), targets)))


def logit(targets):
    return [ClassifierOutputTarget(target) for target in targets]


def probability(targets):
    return [ClassifierOutputSoftmaxTarget(target) for target in targets]


def test_gradient_methods(subject, inputs):
    module, layers, targets, side = subject
    x = inputs("chelsea", "coffee", side=side)
    cap = camviz.capture(module, x, targets, layers)
    assert cap.calls == (1, 1, 1, 1)
    blank = 0
    for name, theirs in GRADIENT_METHODS.items():
        ours = cam_with_notes(cap, name)[0]
        assert (ours - their_maps(theirs, module, layers, x, logit(targets))).abs().max() < TOLERANCE, name
        blank += int((ours.amax((2, 3)) == 0).sum())
    assert blank <= 0.15 * len(GRADIENT_METHODS) * len(layers) * len(x)


@pytest.mark.parametrize(("name", "theirs"), [("eigencam", EigenCAM), ("eigengradcam", EigenGradCAM)])
def test_eigen_methods_up_to_sign(subject, inputs, monkeypatch, name, theirs):
    module, layers, targets, _ = subject
    x = inputs("chelsea", "coffee", side=96)
    ours = camviz.cam(camviz.capture(module, x, targets, layers), name)
    distances = []
    for sign in (1, -1):
        flipped = functools.partial(lambda values, sign: sign * get_2d_projection(values), sign=sign)
        monkeypatch.setattr(sys.modules[theirs.__module__], "get_2d_projection", flipped)
        distances.append((ours - their_maps(theirs, module, layers, x, logit(targets))).abs().amax((2, 3)))
    assert bool((torch.minimum(*distances) < TOLERANCE).all())
    assert bool((torch.maximum(*distances) > 0.1).all())  # the two signs do differ


def test_refinecam(subject, inputs):
    module, layers, targets, side = subject
    x = inputs("chelsea", "coffee", side=side)
    cap = camviz.capture(module, x, targets, layers)
    ours = camviz.refine(camviz.cam(cap))
    theirs = RefineCAM(module, [module.get_submodule(layer) for layer in layers])(
        x.clone().requires_grad_(), logit(targets)
    )
    assert np.abs(ours.numpy() - theirs).max() < TOLERANCE
    assert bool((ours.amax((1, 2)) == 1).all())
    reading = camviz.refine_as(camviz.raw_maps(cap), x.shape[-2:], "grad-cam")
    assert np.abs(reading.numpy() - theirs).max() < TOLERANCE


@pytest.mark.parametrize("kind", ["ordinary", "faint", "the same everywhere", "zeros", "one layer"])
def test_merging_as_grad_cam_does(kind):
    """Its own merge of raw maps on grids of their own, each first made what its base method returns."""
    generator = torch.Generator().manual_seed(0)
    raw = [torch.rand(2, *grid, generator=generator) - 0.3 for grid in ((28, 20), (14, 10), (7, 5))]
    if kind == "faint":
        raw = [(maps.relu() / 0.7) ** 200 for maps in raw]
    elif kind == "one layer":
        raw = raw[:1]
    elif kind != "ordinary":
        raw[1][1] = 0.7 if kind == "the same everywhere" else 0
    theirs, of_layers = RefineCAM(None, []), [np.maximum(maps.numpy(), 0) for maps in raw]
    maps = [scale_cam_image(scale_cam_image(each, (40, 56))) for each in of_layers]
    theirs.base_cam_per_layer = [lambda *_, each=each: each for each in maps]
    expected = theirs(None)
    assert np.abs(camviz.refine_as(raw, (56, 40), "grad-cam").numpy() - expected).max() < 1e-5
    bright = expected.max((1, 2))
    assert bright[0] < 0.9 if kind == "faint" else bright[0] > 0.999
    assert (bright[1] == 0) == (kind in ("the same everywhere", "zeros"))


def test_refinecam_of_torch_cam(subject, inputs):
    """With LayerCAM, whose weights are the same there; its Grad-CAM++ divides by another sum."""
    module, layers, targets, side = subject
    x = inputs("chelsea", "coffee", side=side)
    raw = camviz.raw_maps(camviz.capture(module, x, targets, layers), "layercam")
    with methods.RefineCAM(module, layers, base_method=methods.LayerCAM) as refinecam:
        (theirs,) = refinecam(targets, module(x.clone().requires_grad_()))
    assert theirs.shape[1:] == raw[0].shape[1:]
    ours = camviz.refine_as(raw, x.shape[-2:], "torch-cam")
    resized = nn.functional.interpolate(theirs[None], x.shape[-2:], mode="bilinear")[0]
    assert (ours - resized).abs().max() < 1e-5


def refined(module, x, targets):
    """RefineCAM of LayerCAM: Grad-CAM++ is blank on these layers, whose activations are negative in part."""
    return camviz.refine(camviz.cam(camviz.capture(module, x, targets, LITE_LAYERS), "layercam"))


def their_refined(module):
    layers = [module.get_submodule(layer) for layer in LITE_LAYERS]
    return RefineCAM(module, layers, base_method=LayerCAM)


def test_coherency_and_complexity(lite0, inputs):
    x, targets = inputs("chelsea", "coffee"), [285, 967]
    maps = refined(lite0.module, x, targets)
    theirs = their_refined(lite0.module)

    def base_method(input_tensor, targets):
        return theirs(input_tensor.requires_grad_(), targets)

    expected = their_arcc.Coherency()(x, maps.numpy(), logit(targets), lite0.module, base_method)
    score, notes = coherency(x, maps, torch.tensor(targets), functools.partial(refined, lite0.module))
    assert np.abs(score.numpy() - expected).max() < 1e-4
    assert np.all((expected > 0.5) & (expected < 0.999))
    assert notes == ("", "")
    recipe = camviz.Recipe("layercam", tuple(LITE_LAYERS))
    reading = camviz.coherency_as(lite0.module, x, targets, recipe, "grad-cam")
    assert np.abs(reading.numpy() - expected).max() < 1e-4
    assert np.abs(complexity(maps).numpy() - their_arcc.Complexity()(maps.numpy())).max() < 1e-6


def test_pearson_of_real_maps(lite0, inputs):
    """Coherency of unrelated maps: grad-cam's correlation of every pair, shallow against deep."""
    x = inputs("chelsea", "coffee")
    maps = camviz.cam(camviz.capture(lite0.module, x, [285, 967], LITE_LAYERS))
    for first in maps:
        for second in maps:
            expected = their_arcc.batch_pearson_coherency(first.numpy(), second.numpy())
            score, _ = coherency(x, first, torch.tensor([285, 967]), lambda _x, _t, again=second: again)
            assert np.abs(2 * score.numpy() - 1 - expected).max() < 1e-4


def road_case(kind, module, x):
    """Maps of such photographs: a RefineCAM, one that ties at zero, and such that leave no pixel at any percentile."""
    maps = refined(module, x, [285, 967][: len(x)])
    if kind == "sparse":
        return torch.where(maps > maps.flatten(1).quantile(0.7, dim=1)[:, None, None], maps, 0.0)
    if kind in ("one patch", "one pixel"):
        side = 40 if kind == "one patch" else 1
        maps = torch.zeros_like(maps)
        maps[:, 18 : 18 + side, 18 : 18 + side] = 1
    return maps


@pytest.mark.parametrize("kind", ["refined", "sparse", "one patch", "one pixel"])
def test_road_without_noise(lite0, inputs, monkeypatch, kind):
    class Silent(their_road.NoisyLinearImputer):
        def __init__(self):
            super().__init__(noise=0)

    monkeypatch.setattr(their_road, "NoisyLinearImputer", Silent)
    monkeypatch.setattr(our_road, "NOISE", 0)
    monkeypatch.setattr(our_road, "impute", functools.partial(impute, tolerance=1e-5))
    x, targets = inputs("chelsea", "coffee", side=80), [285, 967]
    maps = road_case(kind, lite0.module, x)
    expected = their_road.ROADCombined(PERCENTILES)(x, maps.numpy(), probability(targets), lite0.module)
    ours = our_road.road(lite0.module, x, maps, targets)
    assert np.abs(ours.score.numpy() - expected).max() < 1e-4
    assert kind == "one pixel" or np.abs(expected).max() > 0.02  # there is something to compare
    assert kind == "refined" or bool((ours.removed == 1).any())


@pytest.mark.parametrize("kind", ["refined", "sparse", "one patch"])
def test_road_within_its_noise(lite0, inputs, kind):
    x, targets = inputs("chelsea", side=80), [285]
    maps = road_case(kind, lite0.module, x)
    theirs = []
    for seed in range(4):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            metric = their_road.ROADCombined(PERCENTILES)
            theirs.append(metric(x, maps.numpy(), probability(targets), lite0.module))
    mean, deviation = np.mean(theirs, axis=0), np.std(theirs, axis=0, ddof=1)
    ours = our_road.road(lite0.module, x, maps, targets).score.numpy()
    assert np.all(np.abs(ours - mean) < 4 * deviation + 1e-3)
    assert np.all(deviation < 0.05)


def test_arcc_as_a_whole(lite0, inputs, monkeypatch):
    monkeypatch.setattr(their_road.NoisyLinearImputer.__init__, "__defaults__", (0, their_road.neighbors_weights))
    monkeypatch.setattr(our_road, "NOISE", 0)
    x, targets = inputs("chelsea", "coffee", side=112), [285, 967]
    maps = refined(lite0.module, x, targets)
    refinecam = their_refined(lite0.module)

    def base_method(input_tensor, targets):  # grad-cam hands the probabilities on; maps explain logits
        return refinecam(input_tensor.requires_grad_(), logit([target.category for target in targets]))

    theirs = their_arcc.ARCC(base_method)
    expected = theirs(x, maps.numpy(), probability(targets), lite0.module)
    ours = camviz.arcc(lite0.module, x, maps, targets, explain=functools.partial(refined, lite0.module))
    assert np.abs(ours.arcc.numpy() - expected).max() < 1e-3
    assert np.all(expected > 0.1)
