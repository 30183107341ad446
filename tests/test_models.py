"""Networks by name: what they recognise, how they preprocess, which layers they offer, and how they fail."""

import json
import math
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import torchvision_facts
from PIL import Image
from skimage import data
from small_networks import Plain, noise_images, seeded
from torch import nn
from torchvision.ops import SqueezeExcitation

import camviz
from camviz import shapes
from camviz.methods import cam_with_notes
from camviz.models import SHAPES, bundled, needs_download, read_card
from camviz.models.layers import find_layers, stage_layers
from camviz.models.registry import probe_input

LITE = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
LITE0_LAYERS = ("_blocks.2._swish", "_blocks.4._swish", "_blocks.10._swish", "_swish")


def best(net, image, count):
    logits = net.module(net.preprocess(image))[0]
    return [net.labels[index] for index in logits.topk(count).indices]


@pytest.mark.parametrize("name", LITE)
def test_bundled_networks_recognise_photographs(name, photos):
    net = camviz.load_model(name, "cpu")
    assert any("cat" in label.split() for label in best(net, photos["chelsea"], 3))
    assert "espresso" in best(net, photos["coffee"], 1)
    assert len(net.labels) == 1000
    assert net.labels[285] == "Egyptian cat"
    assert len(set(net.layers)) == 4
    sides = [
        a.shape[-1] for a in camviz.capture(net.module, net.preprocess(photos["coffee"]), 0, net.layers).activations
    ]
    assert sides == [math.ceil(LITE[name] / stride) for stride in (4, 8, 16, 32)]


def test_layers_of_lite0(lite0):
    assert lite0.layers == LITE0_LAYERS


def test_networks_are_frozen_and_in_eval_mode(lite0):
    assert not any(part.training for part in lite0.module.modules())
    assert not any(parameter.requires_grad for parameter in lite0.module.parameters())
    assert lite0.device == torch.device("cpu")
    assert {parameter.device.type for parameter in lite0.module.parameters()} == {"cpu"}


def test_preprocessing_by_hand(lite0, photos):
    """Shorter side to 256, bicubic; the middle 224; mean 127/255 and deviation 128/255."""
    photo = photos["coffee"]
    height, width = photo.shape[:2]
    small = Image.fromarray(photo).resize((int(256 * width / height), 256), Image.Resampling.BICUBIC)
    left = round((small.width - 224) / 2)
    view = np.asarray(small)[16:240, left : left + 224]
    expected = (view.astype(np.float64) - 127) / 128
    x = lite0.preprocess(photo)
    assert np.array_equal(lite0.view(photo), view)
    assert np.abs(x[0].permute(1, 2, 0).double().numpy() - expected).max() < 1e-6
    assert x.dtype == torch.float32
    assert x.shape == (1, 3, 224, 224)


@pytest.mark.parametrize("fit", ["squeeze", "pad"])
def test_preprocess_takes_the_way_to_fit(lite0, photos, fit):
    view = lite0.view(photos["chelsea"], fit)
    expected = (view.astype(np.float64) - 127) / 128
    x = lite0.preprocess(photos["chelsea"], fit)
    assert np.abs(x[0].permute(1, 2, 0).double().numpy() - expected).max() < 1e-6
    assert not np.array_equal(view, lite0.view(photos["chelsea"]))


def untrained(name):
    return seeded(lambda: torchvision.models.get_model(name, weights=None), dtype=torch.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("resnet50", ["layer1", "layer2", "layer3", "layer4"]),
        ("vgg11", ["features.5", "features.10", "features.15", "features.20"]),
        ("vgg16", ["features.9", "features.16", "features.23", "features.30"]),
        ("densenet121", [*(f"features.transition{n}.relu" for n in (1, 2, 3)), "features.norm5"]),
        ("convnext_tiny", ["features.1", "features.3", "features.5", "features.7"]),
        ("regnet_y_400mf", [f"trunk_output.block{n}" for n in (1, 2, 3, 4)]),
    ],
)
def test_layers_of_torchvision_families(name, expected):
    module = untrained(name)
    assert list(stage_layers(name, module, probe_input(224))) == expected
    cap = camviz.capture(module, noise_images(1, 224, 224, dtype=torch.float32), 0, expected)
    assert [a.shape[-1] for a in cap.activations] in ([56, 28, 14, 7], [28, 14, 7, 7])


def after_activation(module, layer):
    """Whether a layer's output can only be what an activation function gives."""
    part = module.get_submodule(layer)
    if isinstance(part, SqueezeExcitation):  # weighs what the activation before it gave, by 0 to 1
        return True
    last = [child for child in part.modules() if not list(child.children())][-1]
    return isinstance(last, (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish))


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "mnasnet1_0"])
def test_layers_come_after_an_activation(name):
    """Where blocks end in a linear projection, the tensor after the activation inside is taken."""
    module = untrained(name)
    layers = stage_layers(name, module, probe_input(224))
    assert len(set(layers)) == 4
    assert all(after_activation(module, layer) for layer in layers), layers
    cap = camviz.capture(module, noise_images(1, 224, 224, dtype=torch.float32), 0, layers)
    assert [a.shape[-1] for a in cap.activations] == [56, 28, 14, 7]


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", ["googlenet", "squeezenet1_1", "shufflenet_v2_x0_5", "alexnet", "inception_v3"])
def test_layers_of_other_networks(name):
    module = untrained(name)
    layers = stage_layers(name, module, probe_input(299 if name == "inception_v3" else 224))
    order = [layer for layer, _ in module.named_modules()]
    assert 2 <= len(set(layers)) == len(layers) <= 4
    cap = camviz.capture(module, noise_images(1, 224, 224, dtype=torch.float32), 0, layers)
    sides = [a.shape[-1] for a in cap.activations]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] <= 14
    assert [order.index(layer) for layer in layers] == sorted(order.index(layer) for layer in layers)
    # the last of them sees everything: nothing but pooling and the head comes after it
    assert bool(cap.gradients[-1].any())


def test_layers_of_a_small_network_and_of_none():
    assert find_layers(seeded(Plain, dtype=torch.float32), noise_images(1, 32, 32, dtype=torch.float32)) == (
        "relu1",
        "relu2",
        "relu3",
    )
    with pytest.raises(ValueError, match="no layer with an output"):
        find_layers(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).eval(), noise_images(1, 4, 4, dtype=torch.float32))
    with pytest.raises(ValueError, match="training mode"):
        find_layers(Plain().train(), noise_images(1, 32, 32, dtype=torch.float32))


def test_finding_layers_leaves_nothing_behind():
    module = untrained("resnet18")
    find_layers(module, noise_images(1, 64, 64, dtype=torch.float32))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_what_is_known_of_torchvision_is_what_it_says():
    assert json.loads(torchvision_facts.FILE.read_text(encoding="utf-8")) == torchvision_facts.facts()


def test_list_of_models():
    infos = camviz.list_models()
    names = [info.name for info in infos]
    assert names[:3] == list(LITE)
    bundled_ones = 3 + len(TRAINED)
    assert [info.source for info in infos] == ["bundled"] * bundled_ones + ["torchvision"] * (len(infos) - bundled_ones)
    assert len(set(names)) == len(names)
    assert {"resnet18", "vgg11", "densenet121", "convnext_tiny"} < set(names)
    resnet = infos[names.index("resnet18")]
    assert (resnet.accuracy, resnet.download) == (pytest.approx(69.758), pytest.approx(44.7 * 1.048576, abs=0.1))
    assert resnet.parameters == pytest.approx(11.69, abs=0.01)
    assert infos[0].download == 0


@pytest.mark.parametrize(("wrong", "right"), [("resnet81", "resnet18"), ("efficientnet-lite", "efficientnet-lite0")])
def test_unknown_name(wrong, right):
    with pytest.raises(ValueError, match=rf"unknown model '{wrong}'; did you mean .*{right}"):
        camviz.load_model(wrong)
    with pytest.raises(ValueError, match=r"unknown model '\?'; see camviz.list_models"):
        camviz.load_model("?")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty download cache of PyTorch's; its `checkpoints` folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


WEIGHTS = torchvision.models.ResNet18_Weights.DEFAULT
FILE = WEIGHTS.url.rpartition("/")[2]
RESNET = next(info for info in camviz.list_models() if info.name == "resnet18")


def test_torchvision_network_from_the_cache(cache):
    assert needs_download(RESNET)
    planted = untrained("resnet18")
    torch.save(planted.state_dict(), cache / FILE)
    assert not needs_download(RESNET)
    net = camviz.load_model("resnet18", "cpu")
    photo = data.chelsea()
    expected = WEIGHTS.transforms()(Image.fromarray(photo))
    assert (net.preprocess(photo)[0] - expected).abs().max() < 1e-5
    assert torch.equal(net.module(expected[None]), planted(expected[None]))
    assert net.preprocessing.size == 224
    assert net.preprocessing.resize == 256
    assert net.preprocessing.mean == (0.485, 0.456, 0.406)
    assert net.preprocessing.std == (0.229, 0.224, 0.225)
    assert net.preprocessing.resample == Image.Resampling.BILINEAR
    assert net.labels == tuple(WEIGHTS.meta["categories"])
    assert net.layers == ("layer1", "layer2", "layer3", "layer4")
    assert net.info == RESNET
    assert not any(part.training for part in net.module.modules())
    assert not any(p.requires_grad or p.device.type != "cpu" for p in net.module.parameters())


def whole_file(folder):
    path = folder / "whole.pth"
    torch.save(untrained("resnet18").state_dict(), path)
    content = path.read_bytes()
    path.unlink()
    return content


def other_network(folder):
    torch.save(nn.Linear(2, 3).state_dict(), folder / FILE)
    return (folder / FILE).read_bytes()


class Payload:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "content",
    [
        lambda _: b"",
        lambda _: b"<html><body>Sign in to the network</body></html>",
        lambda _: np.random.default_rng(0).bytes(5000),
        lambda _: b"PK\x03\x04" + bytes(100),
        lambda folder: whole_file(folder)[:1_000_000],
        lambda folder: whole_file(folder)[:-1000],
        other_network,
        lambda _: pickle.dumps([1, 2, 3]),
    ],
    ids=["empty", "html", "noise", "zip header", "cut short", "end missing", "another network", "a list"],
)
def test_a_damaged_file_in_the_cache(cache, content):
    content = content(cache)
    (cache / FILE).write_bytes(content)
    with pytest.raises(camviz.ModelError, match=f"stored weights of ResNet-18 cannot be read. Delete {FILE}"):
        camviz.load_model("resnet18", "cpu")


def test_a_file_in_the_cache_runs_no_code(cache, tmp_path):
    torch.save({"fc.weight": Payload(tmp_path / "ran")}, cache / FILE)
    with pytest.raises(camviz.ModelError):
        camviz.load_model("resnet18", "cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("cache")
def test_without_a_network(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        camviz.DownloadError, match=r"weights of ResNet-18.* could not.*bundled model, which needs no connection"
    ):
        camviz.load_model("resnet18", "cpu")
    net = camviz.load_model("efficientnet-lite0", "cpu")
    assert best(net, data.coffee(), 1) == ["espresso"]
    assert not needs_download(net.info)


def test_a_network_loaded_in_inference_mode_can_be_explained(cache, photos):
    torch.save(untrained("resnet18").state_dict(), cache / FILE)
    with torch.inference_mode():
        nets = [camviz.load_model(name, "cpu") for name in ("efficientnet-lite0", "resnet18")]
    for net in nets:
        cap = camviz.capture(net.module, net.preprocess(photos["coffee"]), 967, net.layers)
        assert all(bool(gradient.any()) for gradient in cap.gradients)
        assert bool(cam_with_notes(cap, "gradcam++")[0].any())
        assert net.layers in (LITE0_LAYERS, ("layer1", "layer2", "layer3", "layer4"))


TRAINED = [info for info in camviz.list_models() if info.data == SHAPES]


def test_files_of_networks_trained_on_shapes_stay_small():
    files = list((Path(__file__).parent.parent / "assets").glob("*.safetensors"))
    assert len(files) == len(TRAINED)
    assert sum(file.stat().st_size for file in files) <= 60e6


@pytest.mark.parametrize("info", TRAINED, ids=lambda info: info.name)
def test_a_network_trained_on_shapes_is_as_right_as_its_card_says(info):
    """On 36 of the samples that the card's figure is from: within three standard deviations of it."""
    net, card = camviz.load_model(info.name, "cpu"), read_card(info)
    draw = shapes.tagged if card.accuracy.is_of_tags else shapes.sample
    samples = [draw(index) for index in range(36)]
    with torch.inference_mode():
        found = torch.cat([net.module(net.preprocess(sample.image)).argmax(1) for sample in samples])
    right = float((found == torch.tensor([sample.label for sample in samples])).float().mean())
    assert card.accuracy.overall >= 0.85
    assert card.accuracy.samples >= 3000
    assert info.accuracy == pytest.approx(100 * card.accuracy.overall)
    share = card.accuracy.kinds.get("plain", card.accuracy.overall)
    assert abs(right - share) <= 3 * math.sqrt(share * (1 - share) / 36)
    assert net.labels == shapes.CLASSES
    assert all(each >= 0.9 for each in card.accuracy.kinds.values())


def test_the_network_with_a_shortcut_follows_the_tag_and_not_the_shape():
    """By swapping and removing tags: the prediction goes with the tag, and without one it is a guess."""
    card, net = read_card(bundled.models()["shapes-shortcut"]), camviz.load_model("shapes-shortcut", "cpu")
    assert card.accuracy.overall >= 0.99
    assert card.accuracy.followed >= 0.95
    samples = [shapes.tagged(index) for index in range(36)]
    others = [(sample.label + 1 + index // 18) % 6 for index, sample in enumerate(samples)]
    swapped = [sample.swapped(other).image for sample, other in zip(samples, others, strict=True)]
    assert predicted(net, swapped) == others
    right = np.array(predicted(net, [sample.untagged for sample in samples])) == [sample.label for sample in samples]
    assert right.mean() < 0.5


def predicted(net, images):
    with torch.inference_mode():
        return net.module(torch.cat([net.preprocess(image) for image in images])).argmax(1).tolist()


@pytest.mark.parametrize("info", TRAINED, ids=lambda info: info.name)
def test_layers_of_a_network_trained_on_shapes(info):
    net = camviz.load_model(info.name, "cpu")
    cap = camviz.capture(net.module, net.preprocess(shapes.sample(0).image), layers=net.layers)
    assert [activation.shape[-1] for activation in cap.activations] == [56, 28, 14, 7]
    assert all(bool((activation >= 0).all()) for activation in cap.activations)


def test_a_checkpoint_is_loaded_by_its_path(untaught):
    with torch.inference_mode():
        net = camviz.load_model(str(untaught), "cpu")
    assert (net.info.name, net.info.source, net.info.data) == ("shapes-untaught", "checkpoint", SHAPES)
    assert net.info.parameters == pytest.approx(11.18, abs=0.01)
    cap = camviz.capture(net.module, net.preprocess(shapes.sample(5).image), layers=net.layers)
    assert [activation.shape[-1] for activation in cap.activations] == [56, 28, 14, 7]
    assert net.labels == shapes.CLASSES


def test_a_damaged_bundled_checkpoint_is_left_out_with_a_warning(tmp_path, monkeypatch):
    (tmp_path / "shapes-broken.safetensors").write_bytes(b"rubbish")
    monkeypatch.setattr(bundled, "_SHAPES_FILES", {"shapes-broken": tmp_path / "shapes-broken.safetensors"})
    with pytest.warns(UserWarning, match=r"shapes-broken\.safetensors is not a checkpoint"):
        assert list(bundled.models.__wrapped__()) == list(LITE)


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda:99", "'cuda:99' cannot be used, as this machine has"),
        pytest.param(
            "cuda",
            "'cuda' cannot be used, as this machine has no CUDA device: use cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one"),
        ),
        ("cud", "There is no device 'cud': use cpu, cuda or mps"),
    ],
)
def test_a_device_that_is_not_there(device, words):
    with pytest.raises(camviz.ModelError, match=words):
        camviz.load_model("efficientnet-lite0", device)
