"""Networks with one logit: explained and scored as the network with the two logits (-z/2, +z/2)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import noise_images, seeded
from torch import nn

import camviz
from camviz.methods import METHODS
from camviz.models import checkpoint
from camviz.models.architectures import ARCHITECTURES
from camviz.models.registry import ModelInfo, Preprocessing, make_net
from camviz.network.batching import forward, run_network
from camviz.network.logits import logits_of
from camviz.recipe import Recipe
from camviz.results.finding import Settings, as_png

LAYERS = ["features.1", "features.3"]


class OneLogit(nn.Module):
    """Two convolutions and one logit for each image, (B, 1) or (B,)."""

    def __init__(self, flat=False):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()
        )
        self.head, self.flat = nn.Linear(8, 1), flat

    def forward(self, x):
        z = 40 * self.head(self.features(x).mean((2, 3)))
        return z[:, 0] if self.flat else z


class TwoLogits(OneLogit):
    """The same with the two logits that stand for it."""

    def forward(self, x):
        z = super().forward(x)
        return torch.cat([-z / 2, z / 2], 1)


IMAGES = noise_images(8)


def undecided(make):
    """A network that says yes to half of the images."""
    module = seeded(make)
    module.head.bias.data -= OneLogit.forward(module, IMAGES).median() / 40
    return module


@pytest.fixture(params=[False, True], ids=["(B, 1)", "(B,)"])
def one(request):
    return undecided(lambda: OneLogit(request.param))


@pytest.fixture
def two():
    return undecided(TwoLogits)


@pytest.fixture
def x(two):
    """Images (4, 3, 12, 16): no, no, yes, yes."""
    answers = two(IMAGES).argmax(1)
    return torch.cat([IMAGES[answers == 0][:2], IMAGES[answers == 1][:2]])


def test_the_class_that_is_predicted_and_its_probability(one, x):
    cap = camviz.capture(one, x, layers=LAYERS)
    z = one(x).detach().reshape(-1)
    assert cap.target.tolist() == (z > 0).long().tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(cap.logits.softmax(1), torch.stack([1 - z.sigmoid(), z.sigmoid()], 1))


def test_the_gradient_is_that_of_the_answer_by_hand(one, x):
    """For the last layer: half its weight over the number of pixels, for "no" with the other sign."""
    cap = camviz.capture(one, x, layers=LAYERS)
    per_pixel = 40 * one.head.weight[0].detach() / 2 / cap.activations[1][0, 0].numel()
    for gradient, sign in zip(cap.gradients[1], (-1, -1, 1, 1), strict=True):
        torch.testing.assert_close(gradient, sign * per_pixel[:, None, None].expand_as(gradient))


@pytest.mark.filterwarnings("ignore::camviz.BlankMapWarning")  # for one of the two answers a layer may hold nothing
@pytest.mark.parametrize("target", [None, 0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_every_method(one, two, x, method, target):
    maps = [camviz.cam(camviz.capture(module, x, target, LAYERS), method) for module in (one, two)]
    assert torch.equal(*maps)
    if (
        METHODS[method].class_specific and method != "eigengradcam" and target is not None
    ):  # its sign is not the class's
        other = camviz.cam(camviz.capture(one, x, 1 - target, LAYERS), method)
        assert not torch.equal(maps[0], other)


@pytest.mark.parametrize("target", [None, 0, 1])
def test_arcc(one, two, x, target):
    def score(module):
        recipe = Recipe("gradcam", tuple(LAYERS))
        fused = camviz.refine(camviz.cam(camviz.capture(module, x, target, LAYERS), "gradcam"))
        explain = lambda x, target: camviz.explain(module, x, target, recipe)  # noqa: E731
        return camviz.arcc(module, x, fused, target, explain=explain)

    ours, expected = score(one), score(two)
    for name in ("arcc", "road", "coherency", "complexity", "road_raw", "probability"):
        torch.testing.assert_close(getattr(ours, name), getattr(expected, name), rtol=0, atol=1e-6)
    assert float(ours.probability.max()) < 1


def test_passes_in_batches(one, two, x):
    assert torch.equal(run_network(one, x), run_network(two, x))
    assert torch.equal(forward(one, x.repeat(5, 1, 1, 1)), forward(two, x.repeat(5, 1, 1, 1)))


def net(module):
    info = ModelInfo("asks", "Asks", "Asks", "checkpoint", "cats", 0.0, 0.0, 0.0)
    how = Preprocessing(32, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), Image.Resampling.BILINEAR)
    labels = ("cat",) if type(module) is OneLogit else ("no", "yes")
    return make_net(info, module.float(), labels, tuple(LAYERS), how, torch.device("cpu"))


PICTURE = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_labels():
    assert net(seeded(OneLogit)).labels == ("not cat", "cat")


def test_noise(one, two):
    tables = [
        camviz.robustness(net(module), PICTURE, ["gaussian", "fgsm"], [0.3, 1.0], "gradcam", seeds=[0, 1]).table
        for module in (one, two)
    ]
    assert tables[0].equals(tables[1])
    assert set(tables[0].predicted) <= {0, 1}


def test_a_checkpoint_with_one_class(tmp_path, untaught):
    """Its card names one class, so its network has one logit, and a picture is explained as that class or not."""
    module = seeded(lambda: ARCHITECTURES["resnet18"](1), dtype=torch.float32)
    path = tmp_path / "cat.safetensors"
    checkpoint.save(path, module, replace(checkpoint.read_card(untaught), labels=("cat",)))
    net = camviz.load_model(str(path), "cpu")
    assert net.labels == ("not cat", "cat")
    found = camviz.find(
        net, as_png(PICTURE), "a", Settings(str(path), Recipe("gradcam", net.layers[-1:])), scores=False
    )
    z = float(net.module(net.preprocess(PICTURE)))
    assert found.label == ("cat" if z > 0 else "not cat")
    assert dict(found.top)["cat"] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-5)


@pytest.mark.parametrize(
    "output", ["abc", torch.zeros(3), torch.zeros(2, 3, 4), torch.zeros(3, 2), (torch.zeros(2, 2),)]
)
def test_what_is_no_output_for_two_images(output):
    with pytest.raises(ValueError, match=r"must return logits \(2, classes\), got "):
        logits_of(output, 2)
