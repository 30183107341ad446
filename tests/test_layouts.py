"""Where a layer has its channels: found for every layout, or refused; and the same map whatever the layout."""

import pytest
import torch
import torchvision
from small_networks import Plain, noise_images, seeded
from torch import nn

import camviz
from camviz.methods import METHODS
from camviz.models.layers import find_layers
from camviz.network.hooks import layer_hooks
from camviz.network.layouts import channels_last

SIDE = 96


def images(batch=1, side=SIDE, dtype=torch.float32):
    return noise_images(batch, side, side, dtype=dtype)


def network(name):
    return seeded(lambda: getattr(torchvision.models, name)(), dtype=torch.float32)


@pytest.fixture(scope="module")
def swin():
    return network("swin_t")


STAGES = ["features.1", "features.3", "features.5", "features.7"]


def test_stages_of_a_swin_transformer(swin):
    x, outputs = images(2), {}
    with (
        torch.no_grad(),
        layer_hooks(swin, {name: lambda out, name=name: outputs.setdefault(name, out) for name in STAGES}),
    ):
        swin(x)
    cap = camviz.capture(swin, x, layers=STAGES)
    assert cap.channels_last == (True,) * 4
    for activation, name in zip(cap.activations, STAGES, strict=True):
        assert torch.equal(activation, outputs[name].permute(0, 3, 1, 2))
    assert [tuple(activation.shape) for activation in cap.activations] == [
        (2, 96 * 2**stage, 24 // 2**stage, 24 // 2**stage) for stage in range(4)
    ]


def test_the_map_of_a_swin_transformer_by_hand(swin):
    """Grad-CAM of the deepest stage, from the last layers alone: their gradient at what the stage returns."""
    x = images()
    cap = camviz.capture(swin, x, layers=STAGES)
    features = cap.activations[-1].permute(0, 2, 3, 1).requires_grad_()
    logits = swin.head(swin.flatten(swin.avgpool(swin.permute(swin.norm(features)))))
    torch.testing.assert_close(logits, cap.logits)
    (gradient,) = torch.autograd.grad(logits[0, cap.target[0]], features)
    small = (features * gradient.mean((1, 2), keepdim=True)).sum(3).relu()[0].detach()
    large = torch.nn.functional.interpolate(small[None, None], (SIDE, SIDE), mode="bilinear")[0, 0]
    expected = (large - large.min()) / (large.max() - large.min())
    torch.testing.assert_close(camviz.cam(cap, "gradcam")[-1, 0], expected, rtol=0, atol=1e-4)


def test_inside_the_blocks_of_a_convnext():
    """A convolution, then normalisation and two linear layers with the channels last, and back."""
    block = [f"features.3.0.block.{number}" for number in range(7)]
    found = channels_last(network("convnext_tiny"), images(), ["features.1", *block, "features.7.2"])
    assert [found[name] for name in block] == [False, True, True, True, True, True, False]
    assert not found["features.1"]
    assert not found["features.7.2"]


@pytest.mark.parametrize("side", [64, 256])
def test_as_many_channels_as_rows_and_columns(side):
    """ResNet-18's first stage at 256 pixels is (B, 64, 64, 64)."""
    module = network("resnet18")
    cap = camviz.capture(module, images(side=side), layers=["layer1", "layer4"])
    assert cap.channels_last == (False, False)
    assert tuple(cap.activations[0].shape) == (1, 64, side // 4, side // 4)


CONVOLUTIONAL = ["densenet121", "efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf", "vgg11", "googlenet"]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_networks(name):
    module = network(name)
    head = ("classifier", "fc", "aux")
    layers = [name for name, _ in module.named_modules() if name and not name.startswith(head)]
    found = channels_last(module, images(), layers)
    assert len(found) > 20
    assert not any(found.values())


class Both(nn.Module):
    """The same activation with its channels first and last."""

    def __init__(self, width=8):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3, stride=2, padding=1), nn.Conv2d(width, 6, 3, padding=1)
        self.first, self.last = nn.GELU(), nn.Identity()
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.first(self.conv1(x))
        x = self.last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(self.conv2(x).relu().mean((2, 3)))


@pytest.mark.filterwarnings("ignore::camviz.BlankMapWarning")
@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])  # seeded by the layer's name
def test_every_method_gives_the_same_map_whatever_the_layout(method):
    module, x = seeded(Both), noise_images(2, 16, 16)  # (B, 8, 8, 8): the shape does not tell
    cap = camviz.capture(module, x, layers=["first", "last"])
    assert cap.channels_last == (False, True)
    assert torch.equal(*cap.activations)
    torch.testing.assert_close(*cap.gradients)
    first, last = (camviz.cam(cap.select([layer]), method) for layer in cap.layers)
    torch.testing.assert_close(first, last, rtol=0, atol=1e-6)


class Attention(nn.Module):
    """Two heads of attention over all places, whose matrices (B, 2, N, N) are the output of a layer."""

    def __init__(self):
        super().__init__()
        self.patches, self.query, self.key = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8), nn.Linear(8, 8)
        self.matrix, self.head = nn.Dropout(0.1), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        query, key, value = (
            part.unflatten(2, (2, 4)).transpose(1, 2) for part in (self.query(tokens), self.key(tokens), tokens)
        )
        attention = self.matrix((query @ key.transpose(2, 3)).softmax(3))
        return self.head((tokens + (attention @ value).transpose(1, 2).flatten(2)).mean(1))


def test_attention_matrices_are_refused():
    module, x = seeded(Attention), noise_images(2, 16, 16)
    with pytest.raises(ValueError, match=r"axes of layer 'matrix' are channels .* returns \(1, 2, 16, 16\)"):
        camviz.capture(module, x, layers=["patches", "matrix"])
    assert find_layers(module, x[:1]) == ("patches",)


class Heads(Attention):
    """The queries of each head, normalised, are the output of a layer: (B, 2, N, 4)."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(tokens.unflatten(2, (2, 4)).transpose(1, 2)).transpose(1, 2).flatten(2).mean(1))


@pytest.mark.parametrize("side", [16, 32])
def test_the_heads_of_an_attention_are_refused(side):
    with pytest.raises(ValueError, match=r"axes of layer 'norm' are channels"):
        camviz.capture(seeded(Heads), noise_images(2, side, side), layers=["norm"])


class Windows(nn.Module):
    """Four crops of each image, folded into the batch."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Linear(6, 5)

    def forward(self, x):
        rows = [part for half in x.chunk(2, 2) for part in half.chunk(2, 3)]
        x = self.conv(torch.stack(rows, 1).flatten(0, 1)).relu()
        return self.head(self.pool(x).flatten(1)).unflatten(0, (-1, 4)).mean(1)


@pytest.mark.parametrize("batch", [1, 3])
def test_crops_in_the_batch_are_refused(batch):
    with pytest.raises(ValueError, match=rf"'conv' returns {4 * batch} feature maps .* for {batch} image"):
        camviz.capture(seeded(Windows), noise_images(batch, 16, 16), layers=["conv"])


class Dead(nn.Module):
    """A layer that returns zeros of some shape, so that a probe shows nothing."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.layer, self.head = shape, nn.Identity(), nn.Linear(3, 5)

    def forward(self, x):
        return self.head(x.mean((2, 3))) + self.layer(x.new_zeros(len(x), *self.shape)).sum((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("shape", "is_last"), [((5, 4, 8), False), ((4, 8, 5), True), ((5, 1, 1), False), ((4, 7, 33), True)]
)
def test_where_nothing_shows_the_shape_decides(shape, is_last):
    assert channels_last(seeded(lambda: Dead(shape)), noise_images(1, 16, 32), ["layer"]) == {"layer": is_last}


@pytest.mark.parametrize("shape", [(8, 16, 32), (3, 40, 3)])
def test_where_nothing_tells_it_is_refused(shape):
    with pytest.raises(ValueError, match=r"axes of layer 'layer' are channels"):
        channels_last(seeded(lambda: Dead(shape)), noise_images(1, 16, 32), ["layer"])


def test_it_is_found_once_for_a_network():
    module, runs = seeded(Plain), []
    module.register_forward_pre_hook(lambda *_: runs.append(1))
    for _ in range(2):
        camviz.capture(module, noise_images(2), layers=["relu1", "relu2"])
    assert len(runs) == 3 + 2
