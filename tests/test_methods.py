"""Every CAM method against a second derivation, written here in float64 from the design's table."""

import collections
import math
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from small_networks import Dense, Functional, Normalising, Plain, Pooled, Residual, Shared, Sized, noise_images, seeded

import camviz
from camviz.methods import cam_with_notes, twins
from camviz.methods.principal_components import first_components
from camviz.network.capture import Capture

TARGETS = [3, 0, 4]


def fake(activations, gradients=None, x=None):
    """A capture of one layer "layer" with given activations and gradients (B, K, h, w), and no network."""
    a = torch.as_tensor(activations, dtype=torch.float64)
    g = torch.ones_like(a) if gradients is None else torch.as_tensor(gradients, dtype=torch.float64)
    x = noise_images(len(a), 8, 8) if x is None else x
    target = torch.zeros(len(a), dtype=torch.long)
    logits = torch.ones(len(a), 2, dtype=torch.float64)
    return Capture(torch.nn.Identity(), x, logits, target, ("layer",), (a,), (g,), (False,), ("",), (1,), (0.0,), 1.0)


def upsample(grid, height, width):
    """Bilinear resizing with half-pixel centres, pixel by pixel."""
    h, w = grid.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = int(y), int(x)
            down, right = min(top + 1, h - 1), min(left + 1, w - 1)
            fy, fx = y - top, x - left
            out[i, j] = (1 - fy) * ((1 - fx) * grid[top, left] + fx * grid[top, right])
            out[i, j] += fy * ((1 - fx) * grid[down, left] + fx * grid[down, right])
    return out


def stretched(values):
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def finished(raw, size):
    return stretched(upsample(np.maximum(raw, 0), *size))


def by_channel(weight):
    """A derivation of a method that gives one weight for each channel of A and G (h, w)."""

    def raw(a, g):
        total = np.zeros(a.shape[1:])
        for ak, gk in zip(a, g, strict=True):
            total += weight(ak, gk) * ak
        return total

    return raw


def plus_plus_weight(ak, gk):
    total = 0.0
    for g in gk.flat:
        if g != 0:
            total += g**2 / (2 * g**2 + ak.sum() * g**3 + 1e-6) * max(g, 0)
    return total


def component(values):
    """The first principal component over pixels by an SVD; of its two signs the one with the larger peak."""
    pixels = values.reshape(len(values), -1).T
    pixels = pixels - pixels.mean(0)
    left, size, _ = np.linalg.svd(pixels, full_matrices=False)
    first = (left[:, 0] * size[0]).reshape(values.shape[1:])
    return first if abs(first.max()) >= abs(first.min()) else -first


DERIVED = {
    "gradcam": by_channel(lambda _, gk: sum(gk.flat) / gk.size),
    "gradcam++": by_channel(plus_plus_weight),
    "xgradcam": by_channel(lambda ak, gk: (gk * ak).sum() / (ak.sum() + 1e-7)),
    "hirescam": lambda a, g: sum(gk * ak for ak, gk in zip(a, g, strict=True)),
    "gradcam-elementwise": lambda a, g: sum(np.maximum(gk * ak, 0) for ak, gk in zip(a, g, strict=True)),
    "layercam": lambda a, g: sum(np.maximum(gk, 0) * ak for ak, gk in zip(a, g, strict=True)),
    "eigencam": lambda a, _: component(a),
    "eigengradcam": lambda a, g: component(g * a),
}
NETWORKS = {
    Plain: ["conv1", "relu2", "conv3", "relu3"],
    Shared: ["conv1", "relu"],
    Functional: ["conv", "norm"],
    Residual: ["relu", "conv1", "conv2"],
    Dense: ["conv1", "conv2", "conv3"],
    Sized: ["conv1", "conv2"],
}


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.__name__)
def cap(request):
    """A capture of three images with three different targets."""
    return camviz.capture(seeded(request.param), noise_images(3), TARGETS, NETWORKS[request.param])


@pytest.mark.parametrize("name", DERIVED)
def test_gradient_methods(cap, name):
    maps = cam_with_notes(cap, name)[0]
    for index in range(len(cap.layers)):
        for image in range(len(TARGETS)):
            a, g = (t[index][image].numpy() for t in (cap.activations, cap.gradients))
            expected = finished(DERIVED[name](a, g), cap.x.shape[-2:])
            assert np.abs(maps[index, image].numpy() - expected).max() < 2e-4, (cap.layers[index], image)
    assert bool(maps.any())


def call_logits(module, x, layer, last, change):
    """The logits, in a full pass, with the layer's last call changed by a hook of our own."""
    seen = []

    def hook(_module, _args, output):
        seen.append(1)
        return change(output) if len(seen) == last else None

    handle = module.get_submodule(layer).register_forward_hook(hook)
    try:
        with torch.no_grad():
            return module(x.clone())
    finally:
        handle.remove()


def without_channel(channel):
    def change(output):
        output = output.clone()
        output[:, channel] = 0
        return output

    return change


def ablation_weights(cap, index, image):
    x, target = cap.x[image : image + 1], cap.target[image]
    clean = cap.module(x.clone())[0, target].item()
    weights = []
    for channel in range(cap.activations[index].shape[1]):
        logits = call_logits(cap.module, x, cap.layers[index], cap.calls[index], without_channel(channel))
        weights.append((clean - logits[0, target].item()) / abs(clean))
    return weights


@pytest.mark.parametrize("small_batches", [False, True])
def test_ablationcam(cap, monkeypatch, small_batches):
    if small_batches:  # three copies at a time, so that the last batch of the channels is a short one
        monkeypatch.setattr("camviz.methods.channel_sweeps.copies", lambda _activation: 3)
    maps = cam_with_notes(cap, "ablationcam")[0]
    for index in range(len(cap.layers)):
        for image in range(len(TARGETS)):
            weights = ablation_weights(cap, index, image)
            raw = np.tensordot(weights, cap.activations[index][image].numpy(), 1)
            expected = finished(raw, cap.x.shape[-2:])
            assert np.abs(maps[index, image].numpy() - expected).max() < 2e-4, (cap.layers[index], image)
    assert bool(maps.any())


def test_ablationcam_is_not_turned_over_by_a_negative_score():
    """The design divides by |y|: with y < 0 a channel that speaks for the class still counts as one."""
    cap = camviz.capture(seeded(Plain), noise_images(3), None, ["relu3"])
    worst = cap.logits.argmin(1)
    cap = camviz.capture(cap.module, cap.x, worst, ["relu3"])
    assert bool((cap.logits.gather(1, worst[:, None]) < 0).all())
    weights = np.array(ablation_weights(cap, 0, 0))
    drops = [
        (
            cap.logits[0, worst[0]] - call_logits(cap.module, cap.x[:1], "relu3", 1, without_channel(k))[0, worst[0]]
        ).item()
        for k in range(10)
    ]
    assert np.array_equal(np.sign(weights), np.sign(drops))
    raw = camviz.METHODS["ablationcam"].raw(cap, 0, [None])[0][0].double().numpy()
    expected = np.tensordot(drops, cap.activations[0][0].numpy(), 1) / abs(cap.logits[0, worst[0]].item())
    assert np.abs(raw - expected).max() < 1e-5 * np.abs(expected).max()


def score_weights(cap, index, image, channels):
    """Softmax of the class scores of the image seen through some channels."""
    x, target = cap.x[image : image + 1], cap.target[image]
    scores = []
    for channel in cap.activations[index][image, channels].numpy():
        mask = torch.from_numpy(stretched(upsample(channel, *cap.x.shape[-2:])))
        scores.append(cap.module(x * mask)[0, target].item())
    return [math.exp(score) / sum(math.exp(other) for other in scores) for score in scores]


def test_scorecam(cap):
    maps = cam_with_notes(cap, "scorecam")[0]
    for index in range(len(cap.layers)):
        for image in range(len(TARGETS)):
            a = cap.activations[index][image].numpy()
            weights = score_weights(cap, index, image, range(len(a)))
            expected = finished(np.tensordot(weights, a, 1), cap.x.shape[-2:])
            assert np.abs(maps[index, image].numpy() - expected).max() < 2e-4, (cap.layers[index], image)
    assert bool(maps.any())


@pytest.mark.parametrize("name", ["scorecam", "ablationcam"])
def test_dead_channels_are_asked_once(name):
    """Of ten channels at least five are 0 everywhere: one run stands for all of these, and the map is that of ten."""
    module, dead, told, seen = seeded(Plain), [0, 3, 4, 8, 9], [], []
    module.conv3.weight.data[dead], module.conv3.bias.data[dead] = 0, -1
    cap = camviz.capture(module, noise_images(2), [1, 3], ["relu3"])
    alive = [int((cap.activations[0][image] > 0).any(2).any(1).sum()) for image in range(2)]
    assert all(2 <= count <= 5 for count in alive)
    handle = module.head.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    found = cam_with_notes(cap, name, progress=lambda *step: told.append(step))[0]
    handle.remove()
    # One run more counts Score-CAM's work; of Ablation-CAM one an image finds its way, and one is the clean copy.
    assert sum(seen) == sum(alive) + 2 + (1 if name == "scorecam" else 2 * 2)
    assert [step for step in told if step[0] % 10 == 0] == [(10, 20), (20, 20)]
    for image in range(2):
        weights = score_weights(cap, 0, image, range(10)) if name == "scorecam" else ablation_weights(cap, 0, image)
        expected = finished(np.tensordot(weights, cap.activations[0][image].numpy(), 1), cap.x.shape[-2:])
        assert np.abs(found[0, image].numpy() - expected).max() < 2e-4


@pytest.mark.parametrize("name", ["scorecam", "ablationcam"])
def test_fast_variants_look_at_the_channels_that_vary_most(cap, monkeypatch, name):
    """Each image's own three: the other channels could as well not be there."""
    monkeypatch.setattr("camviz.methods.channel_sweeps.STRONGEST", 3)
    maps = cam_with_notes(cap, f"{name}-fast")[0]
    for index in range(len(cap.layers)):
        for image in range(len(TARGETS)):
            activations = cap.activations[index][image]
            spread = [float(np.var(channel)) for channel in activations.numpy()]
            three = sorted(sorted(range(len(spread)), key=spread.__getitem__)[-3:])
            weights = np.zeros(len(spread))
            if name == "ablationcam":
                weights[three] = np.array(ablation_weights(cap, index, image))[three]
            else:
                weights[three] = score_weights(cap, index, image, three)
            expected = finished(np.tensordot(weights, activations.numpy(), 1), cap.x.shape[-2:])
            assert np.abs(maps[index, image].numpy() - expected).max() < 2e-4, (cap.layers[index], image)
    assert bool(maps.any())


@pytest.mark.parametrize("name", camviz.METHODS)
def test_one_image_at_a_time_gives_the_same(name):
    module, x, layers = seeded(Plain), noise_images(3), ["relu2", "relu3"]
    together = cam_with_notes(camviz.capture(module, x, TARGETS, layers), name)[0]
    for image in range(3):
        cap = camviz.capture(module, x[image : image + 1], TARGETS[image], layers)
        assert (cam_with_notes(cap, name)[0][:, 0] - together[:, image]).abs().max() < 1e-5
    assert together.dtype == torch.float32
    assert together.shape == (2, 3, *x.shape[-2:])


@pytest.mark.parametrize("name", [name for name, method in camviz.METHODS.items() if not method.finished])
def test_maps_are_stretched_and_in_the_order_of_layers(name):
    module, x = seeded(Plain), noise_images(2)
    maps, notes = cam_with_notes(camviz.capture(module, x, [3, 1], ["relu3", "relu2"]), name)
    other = cam_with_notes(camviz.capture(module, x, [3, 1], ["relu2", "relu3"]), name)[0]
    assert torch.equal(maps, other.flip(0))
    told = [note for of_layer in notes for note in of_layer]
    for map_, note in zip(maps.flatten(0, 1), told, strict=True):
        assert (map_.min(), map_.max()) == ((0, 0) if note else (0, 1))
    assert told.count("") >= 3


@pytest.mark.parametrize("name", camviz.METHODS)
def test_class_specific_methods_are_those_that_follow_the_class(name):
    module, x = seeded(Plain), noise_images(1)
    first, second = (cam_with_notes(camviz.capture(module, x, target, ["relu2"]), name)[0] for target in (1, 3))
    assert torch.equal(first, second) != camviz.METHODS[name].class_specific


def test_random_follows_image_seed_and_layer_only():
    module, x = seeded(Plain), noise_images(3)
    cap = camviz.capture(module, x, TARGETS, ["relu2", "conv2"])  # the same grid twice
    maps = camviz.cam(cap, "random", seed=5)
    assert torch.equal(maps, camviz.cam(cap, "random", seed=5))
    assert not torch.allclose(maps, camviz.cam(cap, "random", seed=6), atol=0.1)
    assert not torch.allclose(maps[0], maps[1], atol=0.1)
    assert not torch.allclose(maps[0, 0], maps[0, 1], atol=0.1)
    other = camviz.capture(seeded(Plain, seed=1), x[1:2], 0, ["relu2"])
    assert torch.equal(camviz.cam(other, "random", seed=5)[0, 0], maps[0, 1])


def test_random_is_uniform_noise_on_the_layers_grid():
    (raw,) = camviz.METHODS["random"].raw(fake(np.ones((50, 1, 8, 8))), 0, [None])
    assert raw.shape == (50, 8, 8)
    assert abs(raw.mean().item() - 0.5) < 0.03
    assert abs(raw.var().item() - 1 / 12) < 0.01


def test_centre_by_hand():
    cap = camviz.capture(seeded(Plain), noise_images(2, 12, 16), [0, 1], ["relu2", "relu3"])
    expected = np.zeros((12, 16))
    for i in range(12):
        for j in range(16):
            dy, dx = ((i + 0.5) / 12 - 0.5) / 0.25, ((j + 0.5) / 16 - 0.5) / 0.25
            expected[i, j] = math.exp(-(dy**2 + dx**2) / 2)
    expected = stretched(expected)
    assert (camviz.cam(cap, "centre").double() - torch.from_numpy(expected)).abs().max() < 1e-6
    assert camviz.cam(cap, "centre").shape == (2, 2, 12, 16)


def test_uniform_is_ones_and_no_reason_is_given():
    maps, notes = cam_with_notes(camviz.capture(seeded(Plain), noise_images(2), 0, ["relu2"]), "uniform")
    assert torch.equal(maps, torch.ones(1, 2, 12, 16))
    assert notes == [["", ""]]


FINITE = "have NaN or infinite"
NO_GRADIENT = "every gradient is 0"
NEGATIVE = "nowhere positive"
FLAT = "same everywhere"


def ramp(batch=1, channels=3, side=4):
    return torch.linspace(0.1, 1, batch * channels * side * side, dtype=torch.float64).view(batch, channels, side, side)


ONES, RAMP = torch.ones(1, 3, 4, 4), ramp()


def spoiled(values, spot):
    values = values.clone()
    values[0, 1, 2, 3] = spot
    return values


@pytest.mark.parametrize(
    ("activations", "gradients", "reason"),
    [
        (spoiled(RAMP, math.nan), ONES, FINITE),
        (spoiled(RAMP, math.inf), ONES, FINITE),
        (RAMP, spoiled(RAMP, math.nan), FINITE),
        (RAMP, 0 * ONES, NO_GRADIENT),
        (RAMP, -ONES, NEGATIVE),
        (ONES, ONES, FLAT),
        (0.1 * ONES, ONES, FLAT),
        (RAMP[..., :1, :1], ONES[..., :1, :1], FLAT),
    ],
    ids=["nan a", "inf a", "nan g", "zero g", "negative", "constant", "constant 0.1", "one pixel"],
)
@pytest.mark.parametrize("name", [name for name in DERIVED if not name.startswith("eigen")])
def test_blank_maps_say_why(name, activations, gradients, reason):
    blank_and_why(name, activations, gradients, reason)


@pytest.mark.parametrize(
    ("name", "activations", "gradients", "reason"),
    [
        ("eigencam", spoiled(RAMP, math.nan), ONES, FINITE),
        ("eigencam", spoiled(RAMP, math.inf), ONES, FINITE),
        ("eigencam", ONES, ONES, FLAT),
        ("eigencam", 0.1 * ONES, ONES, FLAT),
        ("eigencam", RAMP[..., :1, :1], ONES[..., :1, :1], FLAT),
        ("eigengradcam", RAMP, spoiled(RAMP, math.nan), FINITE),
        ("eigengradcam", RAMP, 0 * ONES, NO_GRADIENT),
        ("eigengradcam", ONES, ONES, FLAT),
    ],
)
def test_blank_eigen_maps_say_why(name, activations, gradients, reason):
    blank_and_why(name, activations, gradients, reason)


def blank_and_why(name, activations, gradients, reason):
    cap = fake(activations, gradients)
    maps, notes = cam_with_notes(cap, name)
    assert not bool(maps.any())
    assert reason in notes[0][0]
    with pytest.warns(camviz.BlankMapWarning, match=f"{re.escape(name)}, layer layer, image 0: .*{reason}"):
        camviz.cam(cap, name)


@pytest.mark.parametrize("name", DERIVED)
def test_a_spoiled_image_leaves_the_others_alone(name):
    a, g = torch.cat([RAMP, RAMP.flip(3)]), torch.cat([ONES, RAMP * 0.3])
    whole = cam_with_notes(fake(a, g), name)[0]
    maps, notes = cam_with_notes(fake(torch.cat([spoiled(RAMP, math.nan), a[1:]]), g), name)
    assert FINITE in notes[0][0]
    assert notes[0][1] == ""
    assert not bool(maps[0, 0].any())
    assert torch.equal(maps[0, 1], whole[0, 1])
    assert bool(whole[0, 1].any())


@pytest.mark.parametrize("name", ["scorecam", "ablationcam"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda net: net.conv1.bias.data.fill_(math.nan), FINITE),
        (lambda net: (net.conv1.weight.data.zero_(), net.conv1.bias.data.fill_(1)), FLAT),
        (lambda net: (net.conv1.weight.data.abs_().neg_(), net.conv1.bias.data.fill_(-9)), NEGATIVE),
    ],
    ids=["nan", "constant", "negative"],
)
def test_blank_maps_of_many_passes_say_why(name, spoil, reason):
    module = seeded(Plain)
    spoil(module)
    if name == "ablationcam" and reason != FINITE:  # every channel speaks for the class
        module = seeded(Pooled)
        spoil(module)
        for parameter in (module.conv2.weight, module.conv2.bias, module.fc.weight, module.fc.bias):
            parameter.data.abs_()
    cap = camviz.capture(module, noise_images(1).abs(), 1, ["conv1"])
    maps, notes = cam_with_notes(cap, name)
    assert not bool(maps.any())
    assert reason in notes[0][0]


def test_no_warning_where_nothing_is_blank():
    cap = fake(RAMP, ONES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in DERIVED:
            camviz.cam(cap, name)


@pytest.mark.parametrize(("channels", "side"), [(20, 3), (9, 3), (4, 5)])
@pytest.mark.parametrize("scale", [1, 1e-25, 1e25])
def test_first_component_at_any_shape_and_scale(channels, side, scale):
    """More channels than pixels, as many, fewer; at scales whose squares leave float32's range."""
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(2, channels, side, side, generator=generator, dtype=torch.float64)
    maps = cam_with_notes(fake(values, torch.full_like(values, scale)), "eigengradcam")[0]
    for image in range(2):
        expected = finished(component(values[image].numpy()), (8, 8))
        assert np.abs(maps[0, image].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(("channels", "side"), [(70, 9), (90, 9)])
def test_components_of_large_layers_with_spoiled_and_blank_images(channels, side):
    """More than LAPACK takes at once: one good image, one of constants, one with NaN."""
    values = torch.randn(3, channels, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values[0] += torch.linspace(0, 9, side, dtype=torch.float64)
    values[1] = values[1, :, :1, :1]
    values[2, 5, 1, 1] = torch.nan
    maps, notes = cam_with_notes(fake(values, torch.ones_like(values)), "eigencam")
    assert np.abs(maps[0, 0].numpy() - finished(component(values[0].numpy()), (8, 8))).max() < 1e-4
    assert not bool(maps[0, 1:].any())
    assert notes[0][0] == ""
    assert "the same everywhere" in notes[0][1]
    assert FINITE in notes[0][2]


def test_components_of_several_layers_at_once():
    """Layers of all shapes, a blank one among them: each as if it were alone, and as derived in float64."""
    generator = torch.Generator().manual_seed(4)
    shapes = [(3, 20, 2, 2), (1, 5, 1, 1), (2, 60, 12, 9), (3, 90, 5, 5), (1, 2, 30, 30), (2, 6, 4, 4)]
    layers = [torch.randn(shape, generator=generator) for shape in shapes]
    layers[-1] = torch.ones(shapes[-1])
    together = first_components(layers)
    for layer, found in zip(layers, together, strict=True):
        (alone,) = first_components([layer])
        assert found.shape == (len(layer), *layer.shape[2:])
        assert torch.allclose(found, alone, atol=1e-4 * float(alone.abs().max()))
        for image, values in zip(found, layer, strict=True):
            expected = component(values.double().numpy()) if float(values.std()) > 0 else np.zeros(values.shape[1:])
            assert np.abs(stretched(image.double().numpy()) - stretched(expected)).max() < 1e-4


def test_sign_of_the_first_component():
    """One bright pixel against many slightly dark ones: the bright pixel wins, whatever the input's sign."""
    a = torch.zeros(1, 2, 3, 3)
    a[0, :, 1, 1] = 5
    bright, dark = (cam_with_notes(fake(sign * a, x=noise_images(1, 3, 3)), "eigencam")[0] for sign in (1, -1))
    assert torch.equal(bright, dark)
    assert torch.equal(bright[0, 0].nonzero(), torch.tensor([[1, 1]]))


@pytest.mark.parametrize("name", DERIVED)
def test_equal_values_give_equal_pixels(name):
    """Two halves that tie: the map is 0 on one, 1 on the other, and nothing in between."""
    a = torch.zeros(1, 2, 4, 4)
    a[..., 2:] = 3
    maps = cam_with_notes(fake(a, x=noise_images(1, 4, 4)), name)[0]
    assert set(maps[0, 0, :, :2].unique().tolist()) | set(maps[0, 0, :, 2:].unique().tolist()) == {0, 1}
    assert maps[0, 0].unique(dim=0).shape == (1, 4)


@pytest.mark.parametrize("name", DERIVED)
def test_tiny_gradients_count_like_any_other(name):
    """Away from eq. 19's own 1e-6, a map does not depend on how loud the network is."""
    loud, quiet = (cam_with_notes(fake(RAMP, g), name)[0] for g in (RAMP, RAMP * 1e-30))
    assert (loud - quiet).abs().max() < 1e-4 or name == "gradcam++"
    assert bool(quiet.any()) or name == "gradcam++"


def test_the_small_constant_of_eq_19():
    """At gradients of a thousandth it weighs as much as their squares, so its size shows."""
    generator = torch.Generator().manual_seed(0)
    a, g = torch.rand(2, 2, 5, 4, 4, generator=generator, dtype=torch.float64)
    g = (g - 0.3) * torch.tensor([1e-3, 3e-4, 1e-2, 0, 3e-3]).view(1, 5, 1, 1)
    maps = cam_with_notes(fake(a, g), "gradcam++")[0]
    for image in range(2):
        expected = finished(DERIVED["gradcam++"](a[image].numpy(), g[image].numpy()), (8, 8))
        assert np.abs(maps[0, image].numpy() - expected).max() < 1e-4


def test_unknown_method():
    with pytest.raises(ValueError, match=r"'gradcamm'.*gradcam\+\+"):
        camviz.cam(fake(RAMP), "gradcamm")


@pytest.mark.parametrize(("name", "runs"), [("scorecam", 8 + 10), ("ablationcam", 8 + 10), ("scorecam-fast", 8 + 9)])
def test_progress(name, runs, monkeypatch):
    told = []
    monkeypatch.setattr("camviz.methods.channel_sweeps.STRONGEST", 9)
    if camviz.METHODS[name].channels:
        monkeypatch.setitem(camviz.METHODS, name, replace(camviz.METHODS[name], channels=9))
    module, x = seeded(Plain), noise_images(2)
    cap = camviz.capture(module, x, [1, 2], ["relu2", "relu3"])
    cam_with_notes(cap, name, progress=lambda *step: told.append(step))
    done = [step[0] for step in told]
    assert {step[1] for step in told} == {2 * runs}
    assert done == sorted(set(done))
    assert done[-1] == 2 * runs
    assert len(done) >= 4


@pytest.mark.parametrize("name", ["scorecam", "ablationcam"])
def test_progress_can_stop_the_work(name):
    told = []

    def stop(done, _total):
        told.append(done)
        if len(told) == 2:
            raise KeyboardInterrupt

    module = seeded(Plain)
    cap = camviz.capture(module, noise_images(2), [1, 2], ["relu2", "relu3"])
    with pytest.raises(KeyboardInterrupt):
        camviz.cam(cap, name, progress=stop)
    assert len(told) == 2
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


Pair = collections.namedtuple("Pair", "first second")


class Named(torch.nn.Module):
    """An early layer that returns a named tuple."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.fc = Stem(), torch.nn.Conv2d(4, 6, 3), torch.nn.Linear(6, 5)

    def forward(self, x):
        pair = self.stem(x)
        return self.fc(self.conv(pair.first * pair.second).relu().mean((2, 3)))


class Stem(torch.nn.Module):
    """Two convolutions of the same input."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return Pair(self.conv1(x), self.conv2(x))


class Tokens(torch.nn.Module):
    """An early layer sees tokens (S, B, C), batch second; S is the later layer's channels."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix = torch.nn.Conv2d(3, 6, 4, stride=4), torch.nn.Linear(6, 6)
        self.conv, self.fc = torch.nn.Conv2d(6, 12, 3, padding=1), torch.nn.Linear(12, 5)
        self.skip = torch.nn.Linear(6 * 12, 12)

    def forward(self, x):
        grid = self.stem(x)
        tokens = self.mix(grid.flatten(2).permute(2, 0, 1))
        mixed = tokens.permute(1, 2, 0).reshape(grid.shape)
        return self.fc((self.conv(mixed).relu().mean((2, 3)) + self.skip(mixed.flatten(1))).relu())


class Tempered(Plain):
    """An early layer gives one number, whatever the batch, and its outputs are summed."""

    def __init__(self):
        super().__init__()
        self.temperature = torch.nn.Linear(4, 1)

    def forward(self, x):
        temperature = self.temperature(x.new_ones(1, 4)).sum()
        return super().forward(x) + torch.arange(5) * temperature


@pytest.mark.parametrize(
    ("network", "layer"), [(Named, "conv"), (Tokens, "conv"), (Tempered, "relu3"), (Normalising, "relu3")]
)
def test_ablationcam_on_unusual_networks(network, layer):
    cap = camviz.capture(seeded(network), noise_images(2), [1, 3], [layer])
    maps = cam_with_notes(cap, "ablationcam")[0]
    assert bool(maps.any())
    for image in range(2):
        weights = ablation_weights(cap, 0, image)
        expected = finished(np.tensordot(weights, cap.activations[0][image].numpy(), 1), (12, 16))
        assert np.abs(maps[0, image].numpy() - expected).max() < 2e-4


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "layer3.1"), ("densenet121", "features.denseblock3.denselayer2")]
)
def test_ablationcam_on_torchvision(name, layer):
    module = seeded(lambda: torchvision.models.get_model(name, weights=None), dtype=torch.float32)
    cap = camviz.capture(module, noise_images(1, 32, 32, dtype=torch.float32), 4, [layer])
    maps = cam_with_notes(cap, "ablationcam")[0]
    module.double()
    exact = camviz.capture(module, cap.x.double(), 4, [layer])
    raw = np.tensordot(ablation_weights(exact, 0, 0), exact.activations[0][0].numpy(), 1)
    assert np.abs(maps[0, 0].numpy() - finished(raw, (32, 32))).max() < 2e-2
    assert bool(maps.any())


@pytest.mark.parametrize(
    ("network", "early", "layer"),
    [
        (Plain, "conv1", "relu3"),
        (Shared, "conv2", "relu"),
        (Residual, "stem", "conv1"),
        (Dense, "conv2", "conv3"),
        (Sized, "conv1", "conv2"),
    ],
)
def test_what_lies_before_the_layer_runs_on_one_image(network, early, layer):
    module = seeded(network)
    cap = camviz.capture(module, noise_images(2), [0, 1], [layer])
    seen = {early: set(), "fc": set(), "head": set()}
    for name in seen:
        part = getattr(module, name, None)
        if part is not None:
            part.register_forward_hook(lambda _m, _a, output, name=name: seen[name].add(len(output)))
    cam_with_notes(cap, "ablationcam")
    assert seen[early] == {1}
    assert max(seen["fc"] | seen["head"]) >= cap.activations[0].shape[1]


# Those that come with camviz; a new one may well agree with one of them.
GRADIENT_METHODS = {
    *("gradcam", "gradcam++", "xgradcam", "hirescam"),
    *("gradcam-elementwise", "layercam", "eigengradcam"),
}


def test_twins_on_a_linear_head():
    """ResNet-18 ends in global average pooling and one linear layer."""
    module = seeded(lambda: torchvision.models.resnet18(weights=None), dtype=torch.float32)
    cap = camviz.capture(module, noise_images(2, 64, 64, dtype=torch.float32), None, ["layer3", "layer4"])
    names = {"gradcam", "xgradcam", "hirescam"}
    for name in names:
        earlier, last = twins(cap, name)
        assert set(last) & GRADIENT_METHODS == names - {name}
        assert not earlier
    assert twins(cap, "gradcam++")[1] == []


@pytest.mark.parametrize("method", [name for name, method in camviz.METHODS.items() if not method.is_slow])
def test_twins_give_equal_maps_and_no_other_method_does(method):
    """Compared at the layer's resolution and at the input's alike."""
    module = seeded(lambda: torchvision.models.resnet18(weights=None), dtype=torch.float32)
    cap = camviz.capture(module, noise_images(2, 64, 64, dtype=torch.float32), None, ["layer3", "layer4"])
    maps = camviz.cam(cap, method)
    for index, found in enumerate(twins(cap, method)):
        equal = [
            name
            for name, other in camviz.METHODS.items()
            if name != method and other.uses_gradient and not other.is_slow
            if not other.component and not camviz.METHODS[method].component
            if torch.allclose(camviz.cam(cap, name)[index], maps[index], rtol=0, atol=1e-3)
        ]
        assert found == equal


def test_no_twins_on_a_head_with_a_hidden_layer():
    cap = camviz.capture(seeded(Plain), noise_images(2), TARGETS[:2], ["relu3"])
    assert twins(cap, "gradcam") == [[]]
    assert bool(cam_with_notes(cap, "gradcam")[0].any())
