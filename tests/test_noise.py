"""Noise against its theory after clipping and rounding, FGSM against a gradient by hand, seeds, levels and errors."""

import hashlib
import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from pictures import ramp
from PIL import Image
from scipy import ndimage, stats
from torch import nn
from torch.nn import functional as F

from camviz import noise
from camviz.models.registry import SHAPES, ModelInfo, Preprocessing, make_net
from camviz.noise import KINDS

SEEDED = ["gaussian", "shot", "impulse", "speckle", "uniform"]
UNSEEDED = ["blur", "jpeg", "fgsm"]
ANY_IMAGE = [name for name, kind in noise.KINDS.items() if not kind.needs_net]
GREYS = np.arange(256)
LEVELS = [0.06, 0.2, 0.5, 1.0]


def flat(grey, side=160):
    return np.full((side, side, 3), grey, np.uint8)


def sha(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


@pytest.fixture(scope="session")
def views(lite0, photos):
    return {name: lite0.view(image) for name, image in photos.items()}


def logits(net, view):
    with torch.no_grad():
        return net.module(net.preprocess(view))


def predicted(net, view):
    return int(logits(net, view).argmax())


def linear_net(gap=0.0):
    """A network on 6 x 6 pixels whose gradient is known by hand; class 1 leads by the gap."""
    generator = torch.Generator().manual_seed(5)
    linear = nn.Linear(6 * 6 * 3, 4)
    with torch.no_grad():
        linear.weight.copy_(0.1 * torch.randn(linear.weight.shape, generator=generator))
        linear.bias.copy_(torch.tensor([0.0, gap, 0.0, 0.0]))
    info = ModelInfo("linear", "Linear", "Linear", "checkpoint", SHAPES, 0.0, 0.0, 0.0)
    how = Preprocessing(6, 6, (0.5, 0.4, 0.3), (0.2, 0.5, 1.0), Image.Resampling.BILINEAR)
    return make_net(info, nn.Sequential(nn.Flatten(), linear), tuple("abcd"), ("0",), how, torch.device("cpu"))


# Theory: the chance of each of the 256 grey values, from the distribution before clipping and rounding.


def binned(cdf):
    """Chances of the grey values of a continuous variable: each takes what rounds to it, the ends all beyond."""
    return np.diff(cdf(GREYS[:-1] + 0.5), prepend=0, append=1)


def gaussian_theory(grey, level):
    return binned(stats.norm(grey, 255 * 0.6 * level).cdf)


def speckle_theory(grey, level):
    return binned(stats.norm(grey, grey * 2 * level).cdf)


def uniform_theory(grey, level):
    return binned(stats.uniform(grey - 255 * level, 2 * 255 * level).cdf)


def impulse_theory(grey, level):
    chances = np.zeros(256)
    chances[[0, 255]] = level / 4
    chances[grey] += 1 - level / 2
    return chances


def shot_theory(grey, level):
    photons = 1 / level**2
    counts = np.arange(stats.poisson.isf(1e-14, grey / 255 * photons) + 1)
    values = np.rint(np.clip(255 * counts / photons, 0, 255)).astype(int)
    return np.bincount(values, stats.poisson.pmf(counts, grey / 255 * photons), minlength=256)


THEORY = {
    "gaussian": gaussian_theory,
    "shot": shot_theory,
    "impulse": impulse_theory,
    "speckle": speckle_theory,
    "uniform": uniform_theory,
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("grey", [40, 128])
@pytest.mark.parametrize("kind", THEORY)
def test_distribution_is_the_theory(kind, grey, level):
    noisy = noise.apply(flat(grey), kind, level, seed=1)
    # The channels of an impulse are one draw.
    values = (noisy[:, :, 0] if kind == "impulse" else noisy).ravel().astype(np.float64)
    chances = THEORY[kind](grey, level)
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    mean = chances @ GREYS
    variance, fourth = (chances @ (GREYS - mean) ** power for power in (2, 4))
    # Four standard errors of the sample mean and of the sample variance.
    assert abs(values.mean() - mean) < 4 * np.sqrt(variance / values.size)
    assert abs(values.var() - variance) < 4 * np.sqrt((fourth - variance**2) / values.size)
    seen, expected = np.bincount(values.astype(int), minlength=256), chances * values.size
    assert seen[expected == 0].sum() == 0
    common, rare = expected >= 5, (expected > 0) & (expected < 5)
    if rare.any():
        seen, expected = (np.append(array[common], array[rare].sum()) for array in (seen, expected))
    else:
        seen, expected = seen[common], expected[common]
    assert stats.chisquare(seen, expected, sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("level", [0.013, *LEVELS])
def test_shot_noise_inverts_scipys_poisson(level):
    """Every grey value, against the quantiles of the same uniform draws."""
    image = np.repeat(np.arange(256, dtype=np.uint8), 60).reshape(64, 80, 3)
    photons = KINDS["shot"].amount(level)
    assert photons == pytest.approx(1 / level**2, rel=1e-14)
    at = KINDS["shot"].prepare(noise.NoiseInput(image, np.random.default_rng(4), None, None))
    draws = np.random.default_rng(4).random(image.size).reshape(image.shape)
    counts = stats.poisson.ppf(draws, image / 255 * photons)
    counts[image == 0] = 0  # SciPy's quantile of no light at all is -1 or 0
    np.testing.assert_array_equal(at(photons), np.rint(np.clip(255 * counts / photons, 0, 255)))


def test_shot_noise_fades_out():
    assert np.array_equal(noise.apply(ramp(), "shot", 1e-4), ramp())
    assert np.array_equal(noise.apply(ramp(), "shot", 1e-300), ramp())


def test_impulse_takes_whole_pixels_black_and_white_alike_and_nested():
    image = np.random.default_rng(0).integers(1, 255, (200, 200, 3), dtype=np.uint8)
    levels = [0.1, 0.3, 0.6, 1.0]
    before, weaker = np.zeros((200, 200), bool), image
    for level, noisy in zip(levels, noise.apply_levels(image, "impulse", levels, seed=2), strict=True):
        changed = (noisy != image).any(2)
        assert np.array_equal(changed, (noisy != image).all(2))
        extremes = noisy[changed]
        assert (extremes == extremes[:, :1]).all()
        assert set(extremes[:, 0]) == {0, 255}
        assert stats.binomtest(int(changed.sum()), changed.size, level / 2).pvalue > 1e-3
        assert stats.binomtest(int((extremes[:, 0] == 255).sum()), len(extremes)).pvalue > 1e-3
        assert (changed | ~before).all()
        assert np.array_equal(noisy[before], weaker[before])
        before, weaker = changed, noisy


@pytest.mark.parametrize("kind", ["gaussian", "speckle", "uniform"])
def test_a_higher_level_scales_one_pattern(kind):
    weak, strong = noise.apply_levels(flat(128), kind, [0.02, 0.04]).astype(int) - 128
    assert abs(weak).max() > 4
    assert abs(strong - 2 * weak).max() <= 1  # their roundings differ by up to 3/2


@pytest.mark.parametrize(("low", "high"), [(0.03, 0.05), (0.1, 0.4), (0.3, 1.0)])
def test_shot_noise_keeps_the_order_of_its_draws(low, high):
    weak, strong = noise.apply_levels(flat(128), "shot", [low, high])
    groups = [strong[weak == value] for value in np.unique(weak)]
    assert len(groups) > 5
    for darker, brighter in pairwise(groups):
        assert darker.max() <= brighter.min()


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5])
def test_blur_is_a_convolution(level):
    image, sigma = ramp(20, 31), 6 * level
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    mirrored = np.pad(image.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, kernel.shape, (0, 1))
    expected = np.einsum("hwcij,ij->hwc", windows, kernel)
    assert abs(noise.apply(image, "blur", level) - expected).max() <= 0.5 + 1e-9
    assert abs(expected - image).max() > 1


@pytest.mark.parametrize(
    "image",
    [
        ramp(20, 31),
        ramp(31, 20).transpose(1, 0, 2),
        ramp(40, 40)[::2, ::-1],
        ramp(1, 1),
        ramp(2, 90),  # smaller than the kernel
        np.repeat(np.indices((30, 30)).sum(0)[..., None] % 2 * 255, 3, 2).astype(np.uint8),  # halves, to be rounded
        np.repeat(np.indices((30, 30))[1][..., None] // 15 * 255, 3, 2).astype(np.uint8),
        np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8),
    ],
)
def test_blur_gives_the_grey_levels_of_scipy(image):
    levels = [1e-6, 0.0208, 0.0209, 0.05, 0.1, 0.3, 0.6, 1.0]  # from 0.125 px on the kernel is wider than a pixel
    expected = [
        np.rint(ndimage.gaussian_filter(image.astype(np.float64), (6 * level, 6 * level, 0), mode="reflect"))
        for level in levels
    ]
    assert np.array_equal(noise.apply_levels(image, "blur", levels), expected)


@pytest.mark.parametrize("grey", [0, 77, 255])
def test_blur_leaves_a_constant_image(grey):
    assert np.array_equal(noise.apply(flat(grey, 20), "blur", 1), flat(grey, 20))


@pytest.mark.parametrize(("level", "quality"), [(0.05, 79), (0.25, 32), (0.5, 10), (0.75, 3), (1, 1)])
def test_jpeg_is_pillows_at_that_quality(views, level, quality):
    stream = io.BytesIO()
    Image.fromarray(views["chelsea"]).save(stream, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(stream))
    assert np.array_equal(noise.apply(views["chelsea"], "jpeg", level), decoded)
    assert KINDS["jpeg"].amount(level) == quality


@pytest.mark.parametrize("gap", [0.0, 40.0])
def test_fgsm_follows_the_gradient_by_hand(gap):
    """With a gap of 40 the class has probability 1 - 1e-17: even in double precision 1 - p would be 0."""
    net, image = linear_net(gap), ramp(6, 6)
    x = net.preprocess(image).double().flatten()
    weight, bias = net.module[1].weight.double(), net.module[1].bias.double()
    chances = (weight @ x + bias).softmax(0)
    pull = chances.clone()
    pull[1] = -(chances[0] + chances[2] + chances[3])  # p - 1, without cancellation
    expected = (pull @ weight).reshape(3, 6, 6).permute(1, 2, 0).sign().numpy()
    moved = noise.apply(image, "fgsm", 0.5, net=net, target=1)
    assert np.array_equal(moved, np.clip(image + 8 * expected, 0, 255))


@pytest.mark.parametrize("level", [1 / 16, 1 / 8])
def test_fgsm_raises_the_loss_of_the_predicted_class(lite0, views, level):
    for view in views.values():
        target = torch.tensor([predicted(lite0, view)])
        moved = noise.apply(view, "fgsm", level, net=lite0, target=int(target))
        clean, attacked = (float(F.cross_entropy(logits(lite0, image), target)) for image in (view, moved))
        assert attacked > clean + 0.3


def test_fgsm_moves_each_value_by_at_most_epsilon(lite0, views):
    levels = [0.03, 0.04, 0.1, 0.33, 1.0]
    view = views["coffee"]
    results = noise.apply_levels(view, "fgsm", levels, net=lite0, target=967)
    for level, moved in zip(levels, results, strict=True):
        distance = abs(moved.astype(int) - view)
        assert distance.max() == round(16 * level)  # none of these is halfway
        inner = (view > 16) & (view < 239)
        assert (distance[inner] == round(16 * level)).mean() > 0.99  # a gradient of 0 is rare


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fgsm_works_where_gradients_are_off_and_leaves_nothing(lite0, views, mode):
    view = views["rocket"]
    expected = noise.apply(view, "fgsm", 0.3, net=lite0, target=657)
    with mode():
        inside = noise.apply(view, "fgsm", 0.3, net=lite0, target=657)
        assert not torch.is_grad_enabled()
    assert np.array_equal(inside, expected)
    assert not np.array_equal(inside, view)
    assert all(weight.grad is None and not weight.requires_grad for weight in lite0.module.parameters())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(part, name) for part in lite0.module.modules() for name in hooks)
    assert not any(part.training for part in lite0.module.modules())


def given(kind):
    """An image and what the kind needs beside it."""
    return (ramp(6, 6), {"net": linear_net(), "target": 1}) if KINDS[kind].needs_net else (ramp(), {})


def test_kinds_are_listed_in_order():
    known = ["gaussian", "shot", "impulse", "speckle", "uniform", "blur", "jpeg", "fgsm"]
    assert list(KINDS)[: len(known)] == known
    assert [kind.name for kind in KINDS.values()] == list(KINDS)
    assert [name for name in known if KINDS[name].seeded] == SEEDED
    assert [name for name in known if KINDS[name].needs_net] == ["fgsm"]
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS)
    assert all(kind.sentence.endswith(".") for kind in KINDS.values())


@pytest.mark.parametrize(
    ("kind", "level", "amount", "words"),
    [
        ("gaussian", 0.2, 0.12, "strength 0.12"),
        ("gaussian", 1, 0.6, "strength 0.6"),
        ("shot", 0.05, 400, "400 photons at white"),
        ("shot", 0.01, 10_000, "10000 photons at white"),
        ("shot", 0.3, 1 / 0.09, "11.1 photons at white"),
        ("shot", 1, 1, "1 photon at white"),
        ("impulse", 0.5, 0.25, "25 % of pixels"),
        ("speckle", 0.25, 0.5, "strength 0.5 times the value"),
        ("uniform", 0.3, 0.3, "within ±0.3"),
        ("blur", 0.5, 3, "sigma 3 px"),
        ("jpeg", 0.5, 10, "quality 10"),
        ("fgsm", 0.5, 8 / 255, "epsilon 8/255"),
    ],
)
def test_strength_in_numbers_and_words(kind, level, amount, words):
    assert KINDS[kind].amount(level) == pytest.approx(amount, rel=1e-12)
    assert KINDS[kind].strength(level) == words


@pytest.mark.parametrize("kind", KINDS)
def test_level_zero_is_the_image_itself(kind):
    image, extra = given(kind)
    assert np.array_equal(noise.apply(image, kind, 0, **extra), image)
    assert np.array_equal(noise.apply_levels(image, kind, [0, 0.5], **extra)[0], image)
    assert KINDS[kind].strength(0) == "no change"


@pytest.mark.parametrize("kind", KINDS)
def test_the_faintest_level_works(kind):
    image, extra = given(kind)
    distance = abs(noise.apply(image, kind, 5e-324, **extra).astype(int) - image)
    if kind != "jpeg":  # which loses something at quality 100, too
        assert distance.max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_image_and_global_generators_are_untouched(kind):
    image, extra = given(kind)
    before, legacy, torchs = image.copy(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    results = noise.apply_levels(image, kind, [0, 0.7], **extra)
    assert not np.shares_memory(results, image)
    results[:] = 9
    assert np.array_equal(image, before)
    after = np.random.get_state()  # noqa: NPY002
    assert np.array_equal(legacy[1], after[1])
    assert legacy[2:] == after[2:]
    assert torch.equal(torchs, torch.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_one_level_is_a_slice_of_several(kind):
    image, extra = given(kind)
    levels = [1.0, 0.2, 0.0, 0.55, 0.2]
    together = noise.apply_levels(image, kind, levels, 3, **extra)
    assert together.dtype == np.uint8
    for level, result in zip(levels, together, strict=True):
        assert np.array_equal(noise.apply(image, kind, level, 3, **extra), result)
    assert noise.apply_levels(image, kind, [], **extra).shape == (0, *image.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_matters_where_it_should(kind):
    image, extra = given(kind)
    first, again, other = (noise.apply(image, kind, 0.6, seed, **extra) for seed in (5, np.int64(5), 6))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) != KINDS[kind].seeded
    assert np.array_equal(noise.apply(image, kind, 0.6, 2**40 + 5, **extra), first) != KINDS[kind].seeded


def test_kinds_do_not_share_their_draws():
    """The normals of gaussian and speckle noise are unrelated at the same seed."""
    one, two = (noise.apply(flat(128), kind, 0.05).ravel().astype(float) for kind in ("gaussian", "speckle"))
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(one.size)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("impulse", "e52e0b3de6f9433c03ef34571027db0a16261b064a62c796f864d1b5da878386"),
        ("uniform", "41b6e6b557033c666362aefe3b99d992af6a429b90be62da053f0ed547e817bb"),
    ],
)
def test_results_stay_as_they_were(kind, expected):
    """The kinds that need no more than exact arithmetic are the same everywhere."""
    assert sha(noise.apply(ramp(), kind, 0.5, seed=7)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_change_grows_with_the_level(kind, lite0, views):
    for name in ("astronaut", "china"):
        view = views[name].astype(int)
        results = noise.apply_levels(
            views[name], kind, [0, 0.1, 0.25, 0.5, 0.75, 1], net=lite0, target=predicted(lite0, views[name])
        )
        change = abs(results - view).mean((1, 2, 3))
        assert change[0] == 0
        assert (np.diff(change) > 0.1).all(), change


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 2), (33, 70)])
@pytest.mark.parametrize("kind", ANY_IMAGE)
def test_any_shape(kind, shape):
    image = ramp(*shape)
    results = noise.apply_levels(image, kind, [0.1, 1])
    assert results.shape == (2, *image.shape)
    mirrored = noise.apply_levels(ramp(*shape)[::-1], kind, [0.1, 1])  # an array that is not contiguous
    assert np.array_equal(mirrored, noise.apply_levels(ramp(*shape)[::-1].copy(), kind, [0.1, 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_strongest_level_changes_most_predictions(kind, lite0, views):
    flips = 0
    for view in views.values():
        target = predicted(lite0, view)
        flips += predicted(lite0, noise.apply(view, kind, 1, net=lite0, target=target)) != target
    assert flips > len(views) / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "snow"}, rf"unknown noise 'snow'; choose from {', '.join(KINDS)}$"),
        ({"level": -0.1}, r"level must be a number from 0 to 1, got -0\.1: "),
        ({"level": 1.01}, r"level must .* got 1\.01: "),
        ({"level": float("nan")}, r"level must .* got nan: "),
        ({"level": "0.5"}, r"level must .* got '0\.5': "),
        ({"level": None}, r"level must .* got None: "),
        ({"image": ramp().astype(np.float32)}, r"image must be uint8 \(H, W, 3\), got float32 \(8, 12, 3\): pass "),
        ({"image": ramp()[:, :, 0]}, r"image must .* got uint8 \(8, 12\): "),
        ({"image": ramp()[:, :, :2]}, r"image must .* got uint8 \(8, 12, 2\): "),
        ({"image": ramp()[:0]}, r"image must .* got uint8 \(0, 12, 3\): "),
        ({"image": ramp().tolist()}, r"image must .* got list: "),
        ({"seed": -1}, r"seed must be a whole number of at least 0, got -1"),
        ({"seed": 1.0}, r"seed must .* got 1\.0: "),
        ({"seed": None}, r"seed must .* got None: "),
        ({"seed": True}, r"seed must .* got True: "),
    ],
)
@pytest.mark.parametrize("level", [0, 0.5])
def test_errors(change, message, level):
    arguments = {"image": ramp(), "kind": "gaussian", "level": level, "seed": 0, **change}
    with pytest.raises(ValueError, match=message):
        noise.apply(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": None}, r"fgsm needs a network and a class, got no net: pass net= and target="),
        ({"target": None}, r"got no target: "),
        ({"net": None, "target": None}, r"got no net and target: "),
        ({"image": ramp(6, 7)}, r"fgsm needs the network's own view of 6 x 6 pixels, got 6 x 7: pass net\.view"),
        ({"image": ramp(12, 12)}, r"got 12 x 12: "),
        ({"target": 4}, r"target must be a whole number in 0\.\.3, got 4: pass an index into net\.labels"),
        ({"target": -1}, r"target must .* got -1: "),
        ({"target": 1.0}, r"target must .* got 1\.0: "),
        ({"target": "b"}, r"target must .* got 'b': "),
    ],
)
@pytest.mark.parametrize("level", [0, 0.5])
def test_errors_of_an_attack(change, message, level):
    arguments = {"image": ramp(6, 6), "kind": "fgsm", "level": level, "net": linear_net(), "target": 1, **change}
    with pytest.raises(ValueError, match=message):
        noise.apply(**arguments)


def test_an_attack_on_a_network_in_training():
    net = linear_net()
    net.module.train()
    with pytest.raises(ValueError, match="training mode"):
        noise.apply(ramp(6, 6), "fgsm", 0.5, net=net, target=1)
