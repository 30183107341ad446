"""Merging rules by hand on tiny maps."""

import math

import pytest
import torch
from torch import nn

import camviz
from camviz.maps import normalise
from camviz.merging import RULES, running

# Three layers, shallow to deep, of one image with four pixels.
SHALLOW, MIDDLE, DEEP = [1.0, 0.5, 0.2, 0.0], [0.5, 1.0, 0.25, 0.0], [0.0, 0.5, 1.0, 0.8]
MAPS = torch.tensor([SHALLOW, MIDDLE, DEEP]).view(3, 1, 2, 2)


def stretched(values):
    low, high = min(values), max(values)
    return [(value - low) / (high - low) for value in values]


# Each rule for one pixel's values.
BY_HAND = {
    "product": math.prod,
    "geometric mean": lambda values: math.prod(values) ** (1 / len(values)),
    "minimum": min,
    "mean": lambda values: sum(values) / len(values),
    "floor": lambda values: values[0] * math.prod(0.1 + 0.9 * value for value in values[1:]),
    "expmean": lambda values: _smooth(values, len(values), 1),
    "logexp": lambda values: _smooth(values, 1, 1 + math.log(len(values))),
}


def _smooth(values, mean_of, above):
    """Above / log(sum of exp(1 / value) / mean_of), with whole logarithms: exp(1 / 0.001) is no double."""
    if min(values) == 0:
        return 0.0
    most = 1 / min(values)
    return above / (most + math.log(sum(math.exp(1 / value - most) for value in values) / mean_of))


def merged(rule, *layers):
    return stretched([BY_HAND[rule](values) for values in zip(*layers, strict=True)])


OF_MAPS = [name for name, found in RULES.items() if found.needs == "maps"]


@pytest.mark.parametrize("rule", OF_MAPS)
def test_rules_by_hand(rule):
    expected = torch.tensor([merged(rule, DEEP, MIDDLE, SHALLOW), merged(rule, DEEP, MIDDLE), merged(rule, DEEP)]).view(
        3, 1, 2, 2
    )
    torch.testing.assert_close(running(MAPS, rule), expected)
    torch.testing.assert_close(camviz.refine(MAPS, rule), expected[0])
    assert torch.equal(camviz.refine(MAPS, rule), running(MAPS, rule)[0])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_mixed_with_layercam(count):
    """By hand from the two methods' maps: the deepest half of one, the root of all but the deepest of the other."""
    layers = ("stem", "layer1", "layer2", "layer3", "layer4")[5 - count :]
    cap = camviz.capture(Deep(), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), None, layers)
    first, second = camviz.cam(cap, "gradcam++"), camviz.cam(cap, "layercam")
    own = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3}[count]
    expected = torch.ones_like(first[0])
    for place in range(own):
        expected = expected * first[count - 1 - place]
    for place in range(count - 1):
        expected = expected * second[place].sqrt()
    torch.testing.assert_close(camviz.refine(first, "mixed", cap), normalise(expected))
    assert torch.equal(running(first, "mixed", cap)[-1], first[-1])
    if count > 1:
        deeper = cap.select(layers[1:])
        torch.testing.assert_close(running(first, "mixed", cap)[1], camviz.refine(first[1:], "mixed", deeper))


class Deep(nn.Module):
    """Five layers whose maps differ."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        sizes = [(3, 4), (4, 4), (4, 6), (6, 6), (6, 8)]
        for name, (inside, out) in zip(("stem", "layer1", "layer2", "layer3", "layer4"), sizes, strict=True):
            setattr(self, name, nn.Sequential(nn.Conv2d(inside, out, 3, padding=1), nn.ReLU()))
        self.head = nn.Linear(8, 3)
        self.eval()

    def forward(self, x):
        for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
            x = getattr(self, name)(x)
        return self.head(x.mean((2, 3)))


def test_mixed_needs_the_capture():
    with pytest.raises(
        ValueError, match="the merging rule 'mixed' also needs maps of a second method: pass the capture"
    ):
        camviz.refine(MAPS, "mixed")


def test_product_is_the_default():
    expected = stretched([0, 0.25, 0.05, 0])
    torch.testing.assert_close(camviz.refine(MAPS).flatten(), torch.tensor(expected))
    assert torch.equal(running(MAPS), running(MAPS, "product"))


def test_maps_are_not_changed_and_precision_is_single():
    maps = MAPS.double()
    before = maps.clone()
    assert camviz.refine(maps).dtype == torch.float32
    assert torch.equal(maps, before)


def test_each_image_is_stretched_by_itself():
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(3, 4, 5, 6, generator=generator)
    together = running(maps)
    for image in range(4):
        assert torch.equal(together[:, image], running(maps[:, image : image + 1])[:, 0])
    assert torch.equal(together.amin((2, 3)), torch.zeros(3, 4))
    assert torch.equal(together.amax((2, 3)), torch.ones(3, 4))


@pytest.mark.parametrize("rule", ["product", "geometric mean", "minimum"])
def test_a_blank_layer_makes_the_merge_blank(rule):
    maps = MAPS.clone()
    maps[1] = 0
    assert not bool(running(maps, rule)[:2].any())
    torch.testing.assert_close(running(maps, rule)[2].flatten(), torch.tensor(DEEP))


def test_layers_without_a_common_region_make_zeros():
    maps = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1]]).view(2, 1, 2, 2)
    assert torch.equal(camviz.refine(maps), torch.zeros(1, 2, 2))


@pytest.mark.parametrize("rule", OF_MAPS)
def test_uniform_maps_stay_ones(rule):
    maps = torch.ones(3, 2, 2, 2)
    maps[0, 1] = MAPS[0, 0]
    merged = camviz.refine(maps, rule)
    assert torch.equal(merged[0], torch.ones(2, 2))  # all layers uniform
    if rule in ("product", "minimum", "mean"):  # others bend the scale
        torch.testing.assert_close(merged[1], MAPS[0, 0])  # a uniform layer leaves the other alone
    assert torch.equal(camviz.refine(0.5 * maps, rule)[0], torch.zeros(2, 2))  # flat, but not uniform


@pytest.mark.parametrize(("rule", "spot"), [*((rule, math.nan) for rule in OF_MAPS), ("product", math.inf)])
def test_broken_maps_become_zeros(rule, spot):
    maps = torch.cat([MAPS, MAPS], 1)
    maps[1, 0, 0, 1] = spot
    merged = running(maps, rule)
    assert not bool(merged[:2, 0].any())
    assert torch.equal(merged[:, 1], running(MAPS, rule)[:, 0])


def test_many_faint_layers_do_not_vanish():
    """A product far below float32's usual range of ten digits still has its shape."""
    maps = torch.cat([MAPS[:1], torch.tensor([0.0, 1e-6, 2e-6, 1.0]).view(1, 1, 2, 2).expand(4, -1, -1, -1)])
    maps = torch.where(torch.arange(4).view(2, 2) == 3, 0.0, maps)  # the pixel of value 1 is no part of the merge
    torch.testing.assert_close(camviz.refine(maps).flatten(), torch.tensor(stretched([0, 0.5, 3.2, 0])))


def test_unknown_rule():
    with pytest.raises(ValueError, match=r"'sum'.*product, geometric mean"):
        camviz.refine(MAPS, "sum")


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2), (1, 1, 1, 2, 2), (0, 1, 2, 2)])
def test_wrong_shape(shape):
    with pytest.raises(
        ValueError, match=r"\(layers, B, H, W\), got " + str(shape).replace("(", r"\(").replace(")", r"\)")
    ):
        camviz.refine(torch.zeros(shape))
