"""RefineCAM and coherency as other implementations compute them: in float64 by other means, by hand, at the extremes.

`test_parity.py` holds them against grad-cam and torch-cam themselves.
"""

import math

import numpy as np
import pytest
import torch
from small_networks import Plain, noise_images, seeded
from torch import nn
from torch.nn import functional as F

import camviz
from camviz.merging import REFINE_READINGS
from camviz.metrics.coherency_readings import COHERENCY_READINGS

SIZE = (56, 40)
ALL = list(REFINE_READINGS)
LAYERS = ("relu1", "relu2", "relu3")


def raw_maps(*grids, batch=2):
    """Maps of layers on grids of their own, of different scales, a quarter of the pixels 0."""
    generator = torch.Generator().manual_seed(0)
    return [
        10.0**-number * (torch.rand(batch, *grid, generator=generator) - 0.25).clamp(min=0)
        for number, grid in enumerate(grids)
    ]


GRIDS = ((28, 20), (14, 10), (7, 5))


def resized(maps, size):
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def min_max(maps, epsilon=0.0):
    """For each picture by itself, in float64."""
    spans = [(picture.min(), picture.max() - picture.min() + epsilon) for picture in maps]
    return torch.stack([(picture - low) / span for picture, (low, span) in zip(maps, spans, strict=True)])


def by_derivation(reading, raw, size):
    """The reading in float64; where another stretch changes nothing in exact numbers, it is left out."""
    raw = [maps.double() for maps in raw]
    if reading == "torch-cam":
        grid = tuple(max(maps.shape[side] for maps in raw) for side in (1, 2))
        product = math.prod(resized(min_max(maps, 1e-8), grid) for maps in raw)
        return resized(min_max(product, 1e-8), size)
    product = math.prod(min_max(resized(maps, size)) for maps in raw)
    return min_max(product, {"camviz": 0, "research": 1e-12, "grad-cam": 1e-7}[reading])


@pytest.mark.parametrize("reading", ALL)
@pytest.mark.parametrize(
    "grids", [GRIDS, GRIDS[::-1], ((28, 5), (7, 20)), ((9, 11), (9, 11)), (SIZE, (8, 8)), GRIDS[2:]]
)
def test_readings_of_maps_on_any_grids(reading, grids):
    raw = raw_maps(*grids)
    found = camviz.refine_as(raw, SIZE, reading)
    assert found.shape == (2, *SIZE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), by_derivation(reading, raw, SIZE), rtol=0, atol=2e-6)


def test_which_readings_differ():
    """A stretch before upsampling changes nothing after the next one; multiplying on a smaller grid does."""
    raw = raw_maps(*GRIDS)
    of = {reading: camviz.refine_as(raw, SIZE, reading) for reading in ALL}
    assert (of["research"] - of["camviz"]).abs().max() < 1e-5
    assert (of["grad-cam"] - of["camviz"]).abs().max() < 1e-5
    assert (of["torch-cam"] - of["camviz"]).abs().max() > 0.1


def test_camviz_is_what_refine_does():
    module, x = seeded(Plain, dtype=torch.float32), noise_images(2, dtype=torch.float32)
    cap = camviz.capture(module, x, [1, 2], LAYERS)
    for method in ("gradcam++", "layercam"):
        found = camviz.refine_as(camviz.raw_maps(cap, method), x.shape[-2:], "camviz")
        torch.testing.assert_close(found, camviz.refine(camviz.cam(cap, method)))


def test_raw_maps_are_on_the_layers_grids():
    module, x = seeded(Plain), noise_images(2)
    cap = camviz.capture(module.float(), x.float(), [1, 2], LAYERS)
    raw = camviz.raw_maps(cap, "gradcam")
    assert [tuple(maps.shape) for maps in raw] == [(2, 12, 16), (2, 6, 8), (2, 3, 4)]
    for ours, theirs in zip(raw, gradcam(seeded(Plain), x, [1, 2]), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-7)


def test_a_faint_product_by_hand():
    """Bright in different places, together 1e-7 in one: what is added to the maximum decides how bright that is."""
    raw = [torch.tensor([[[1, 0], [0, 1e-3]]]), torch.tensor([[[0, 1], [0, 1e-4]]])]
    expected = {"camviz": 1, "research": 1 / (1 + 1e-5), "grad-cam": 0.5, "torch-cam": 1 / 1.1}
    for reading, value in expected.items():
        found = camviz.refine_as(raw, (2, 2), reading).flatten().tolist()
        assert found == [0, 0, 0, pytest.approx(value, abs=1e-5)], reading


def test_where_torch_cam_multiplies_by_hand():
    """One row of the grids 2 and 4 for a picture of 8: it multiplies 4 values, the others 8."""
    raw = [torch.tensor([[[0.0, 1, 0, 1]]]), torch.tensor([[[0.0, 1]]])]
    product = [0, 0.25, 0, 1]  # the second map on 4: 0, 1/4, 3/4, 1
    on_8 = [product[0], *(near * 0.75 + far * 0.25 for at in range(3) for near, far in
            ((product[at], product[at + 1]), (product[at + 1], product[at]))), product[3]]  # fmt: skip
    assert camviz.refine_as(raw, (1, 8), "torch-cam").flatten().tolist() == pytest.approx(on_8)
    first, second = [0, 1 / 4, 3 / 4, 3 / 4, 1 / 4, 1 / 4, 3 / 4, 1], [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1]
    of_8 = [a * b for a, b in zip(first, second, strict=True)]
    for reading in ("camviz", "research", "grad-cam"):
        assert camviz.refine_as(raw, (1, 8), reading).flatten().tolist() == pytest.approx(of_8, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_map_that_is_the_same_everywhere(value):
    """The merge of a picture with such a map is blank; the other picture's is not touched."""
    raw = raw_maps(*GRIDS)
    raw[1][1] = value
    for reading in ("camviz", "grad-cam", "torch-cam"):
        found = camviz.refine_as(raw, SIZE, reading)
        assert not bool(found[1].any())
        assert torch.equal(found[0], camviz.refine_as([maps[:1] for maps in raw], SIZE, reading)[0])
    with pytest.raises(
        ValueError, match="the map of layer 1 is the same everywhere in image 1: the research code leaves"
    ):
        camviz.refine_as(raw, SIZE, "research")


@pytest.mark.parametrize("reading", ALL)
@pytest.mark.parametrize("spot", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(reading, spot):
    raw = raw_maps(*GRIDS)
    raw[2][0, 3, 3] = spot
    with pytest.raises(ValueError, match="the raw map of layer 2 has NaN or infinite values"):
        camviz.refine_as(raw, SIZE, reading)


def test_wrong_arguments():
    raw = raw_maps(*GRIDS)
    with pytest.raises(
        ValueError, match="reading of RefineCAM 'keras'; choose from camviz, research, grad-cam, torch-cam"
    ):
        camviz.refine_as(raw, SIZE, "keras")
    for wrong in ([], [raw[0][0]], [raw[0], raw[1][:1]]):
        with pytest.raises(ValueError, match=r"raw maps must be \(B, h, w\), one for each layer, got \["):
            camviz.refine_as(wrong, SIZE)
    module, x = seeded(Plain, dtype=torch.float32), noise_images(1, dtype=torch.float32)
    with pytest.raises(ValueError, match="reading of coherency 'keras'; choose from camviz, grad-cam, research"):
        camviz.coherency_as(module, x, 1, camviz.Recipe("gradcam", LAYERS), "keras")
    with pytest.raises(ValueError, match="the research code has no rule 'sharpened'"):
        camviz.coherency_as(module, x, 1, camviz.Recipe("gradcam", LAYERS, "sharpened"))
    with pytest.raises(ValueError, match="unknown merging rule 'sum'"):
        camviz.coherency_as(module, x, 1, camviz.Recipe("gradcam", LAYERS, "sum"))


def gradcam(module, x, target):
    """Grad-CAM of `Plain`'s three layers on their own grids, in float64 by autograd."""
    first = F.relu(module.conv1(x))
    second = F.relu(module.conv2(first))
    third = F.relu(module.conv3(second))
    logits = module.head(third)
    layers = [first, second, third]
    gradients = torch.autograd.grad(logits[range(len(x)), target].sum(), layers)
    return [
        torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), a).relu().detach() for a, g in zip(layers, gradients, strict=True)
    ]


@pytest.mark.parametrize("layers", [LAYERS, LAYERS[1:], LAYERS[2:]])
@pytest.mark.parametrize("reading", list(COHERENCY_READINGS))
def test_coherency_of_a_small_network(reading, layers):
    target, size = [0, 2], (24, 32)  # no map of these is blank
    module, x = seeded(lambda: Plain(inplace=False), 2), noise_images(2, *size, seed=3)
    used = slice(3 - len(layers), 3)
    clean = [min_max(resized(maps, size)) for maps in gradcam(module, x, target)[used]]
    merged = min_max(math.prod(clean))
    again = gradcam(module, x * merged[:, None], target)[used]
    if reading == "research":
        products = resized(min_max(again[0]), size) * math.prod(clean[1:])
    else:
        products = math.prod(min_max(resized(maps, size)) for maps in again)
    expected = [(np.corrcoef(a.flatten(), b.flatten())[0, 1] + 1) / 2 for a, b in zip(merged, products, strict=True)]
    assert max(expected) < 0.999
    found = camviz.coherency_as(
        seeded(Plain, 2, torch.float32), x.float(), target, camviz.Recipe("gradcam", layers), reading
    )
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_coherency_of_a_map_that_is_the_same_everywhere():
    module, x = seeded(Plain, dtype=torch.float32), noise_images(2, dtype=torch.float32)
    recipe = camviz.Recipe("uniform", LAYERS)
    assert camviz.coherency_as(module, x, None, recipe, "camviz").tolist() == [0, 0]
    assert camviz.coherency_as(module, x, None, recipe, "grad-cam").tolist() == [0.5, 0.5]
    assert bool(camviz.coherency_as(module, x, None, recipe, "research").isnan().all())


class Spotted(nn.Module):
    """Two layers: where the mean of red over a square is above a bound, and where green is; both add to class 1."""

    def __init__(self, side, bound):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 1, side, padding=side // 2), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU())
        for conv, channel, bias in ((self.fine[0], 0, -bound), (self.deep[0], 1, 0.0)):
            conv.weight.data.zero_()[:, channel] = 1 / conv.weight[0, 0].numel()
            conv.bias.data.fill_(bias)
        self.eval()

    def forward(self, x):
        score = (self.fine(x) + self.deep(x)).mean((2, 3))
        return torch.cat([-score, score], 1)


def test_coherency_if_the_masked_picture_has_a_blank_map():
    """A red square, one pixel of it also green: the merge is that pixel, and without red around it `fine` is blank."""
    x = torch.zeros(1, 3, 12, 12)
    x[:, 0, 2:9, 2:9] = 1
    x[:, 1, 5, 5] = 1
    recipe = camviz.Recipe("gradcam", ("fine", "deep"))
    assert camviz.explain(Spotted(3, 0.8), x, torch.tensor([1]), recipe).nonzero().tolist() == [[0, 5, 5]]
    for reading, score in (("camviz", 0), ("grad-cam", 0.5), ("research", 0.5)):
        assert camviz.coherency_as(Spotted(3, 0.8), x, 1, recipe, reading).tolist() == [score]


@pytest.mark.parametrize(("value", "is_left_out"), [(1e-3, True), (1e-2, False)])
def test_the_research_code_leaves_out_a_faint_merge(value, is_left_out):
    """Red and green, each brightest elsewhere, meet in one pixel: there the product is the square of the value."""
    x = torch.zeros(1, 3, 12, 12)
    x[:, 0, 1, 1] = x[:, 1, 9, 9] = 1
    x[:, :2, 5, 5] = value
    recipe = camviz.Recipe("gradcam", ("fine", "deep"))
    score = {reading: camviz.coherency_as(Spotted(1, 0.0), x, 1, recipe, reading) for reading in COHERENCY_READINGS}
    assert bool(score["research"].isnan()) == is_left_out
    assert score["grad-cam"].item() == pytest.approx(1, abs=1e-4)
