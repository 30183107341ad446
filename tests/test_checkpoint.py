"""Checkpoints: what is saved comes back, and whatever else is in a file is refused in one sentence."""

import io
import json
import os
import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small_networks import noise_images, seeded

import camviz
from camviz import shapes
from camviz.models import checkpoint
from camviz.models.architectures import ARCHITECTURES
from camviz.models.checkpoint import Accuracy, Card
from camviz.models.registry import ModelError, Preprocessing

CPU = torch.device("cpu")
INFO = camviz.list_models()[0]  # what a list says of a network does not matter here
CARD = Card(
    architecture="efficientnet-lite0",
    title="A network of ours",
    data="synthetic shapes",
    labels=shapes.CLASSES,
    layers=("_blocks.2._swish", "_swish"),
    preprocessing=Preprocessing(64, 72, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), Image.Resampling.BICUBIC),
    training={"command": "python -m camviz.train", "images": "17 × 3"},
    seed=5,
    accuracy=Accuracy(18, 0.75, {"circle": 1.0, "square": 0.5}, {"large": 0.9}),
)
DEEP = 100_000  # brackets
NAN, INFINITE = float("nan"), float("inf")
LAST_LAYER = {
    "resnet18": "layer4",
    "resnet18-w16": "layer4",
    "resnet18-w24": "layer4",
    "vgg11": "features.28",
    "efficientnet-lite0": "_swish",
}


def untrained(architecture, classes=6):
    """A network whose statistics in batch normalisation are not those that a new one has."""
    module = seeded(lambda: ARCHITECTURES[architecture](classes), dtype=torch.float32).train()
    module(noise_images(2, 64, 64, dtype=torch.float32))
    return module


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a good checkpoint."""
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    checkpoint.save(path, untrained("efficientnet-lite0"), CARD)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def load(path):
    return checkpoint.load(path, INFO, CPU)


def refusal(path, read):
    """Why a file is refused: one sentence that names the file and not its folder."""
    with pytest.raises(ModelError) as caught:
        read(path)
    start, _, why = str(caught.value).partition(": ")
    assert start == f"{path.name} is not a checkpoint that camviz can load"
    assert why[-1] == "."
    assert ". " not in why
    assert "\n" not in why
    assert str(path.parent) not in why
    assert len(why) < 200
    return why


def assert_refused(path, why=""):
    """By the reader of cards as by the loader."""
    for read in (checkpoint.read_card, load):
        assert why in refusal(path, read)


def with_header(header, content=b""):
    return struct.pack("<Q", len(header)) + header + content


def parts(good):
    """The header as JSON, and the data."""
    (length,) = struct.unpack("<Q", good[:8])
    return json.loads(good[8 : 8 + length]), good[8 + length :]


def with_metadata(good, metadata):
    header, content = parts(good)
    header.pop("__metadata__")
    return with_header(
        json.dumps(header if metadata is None else {"__metadata__": metadata, **header}).encode(), content
    )


def card_in(good):
    return json.loads(parts(good)[0]["__metadata__"]["camviz"])


def with_card(good, card):
    """The same file with another card, given as text or to be written as JSON."""
    return with_metadata(good, {"camviz": card if isinstance(card, str) else json.dumps(card)})


def changed(good, where, value):
    """The same file, whose card says something else at one place, such as "preprocessing.size"."""
    card = card_in(good)
    *outer, last = where.split(".")
    inside = card
    for key in outer:
        inside = inside[key]
    assert last in inside
    inside[last] = value
    return with_card(good, card)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip(path, architecture):
    """Nothing but the rounding to half precision is lost."""
    module = untrained(architecture)
    module.requires_grad_(True)
    card = replace(CARD, architecture=architecture, layers=(LAST_LAYER[architecture],))
    checkpoint.save(path, module, card)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert module.training
    net, info = load(path), checkpoint.info_of(path, "mine")
    x = noise_images(2, 64, 64, dtype=torch.float32)
    with torch.no_grad():
        whole, halved, loaded = module.eval()(x), module.half().float()(x), net.module(x)
    assert torch.equal(loaded, halved)
    assert not torch.equal(loaded, whole)
    assert checkpoint.read_card(path) == card
    assert (net.labels, net.layers, net.preprocessing) == (card.labels, card.layers, card.preprocessing)
    assert not any(part.training for part in net.module.modules())
    assert not any(parameter.requires_grad for parameter in net.module.parameters())
    assert all(one.dtype == two.dtype for one, two in zip(net.module.parameters(), module.parameters(), strict=True))
    assert (info.name, info.title, info.source, info.accuracy) == ("mine", "A network of ours", "checkpoint", 75)
    assert info.parameters == sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_another_number_of_classes(path):
    module = untrained("efficientnet-lite0", 3)
    checkpoint.save(path, module, replace(CARD, labels=("一", "deux", "three")))
    assert load(path).labels == ("一", "deux", "three")
    checkpoint.save(path, module, CARD)
    assert "its tensors are not those of efficientnet-lite0 with 6 classes" in refusal(path, load)


def test_a_loaded_network_can_be_explained(path, good):
    path.write_bytes(good)
    net = load(path)
    x = net.preprocess(shapes.sample(0).image)
    maps = camviz.cam(camviz.capture(net.module, x, 0, net.layers))
    assert maps.shape == (2, 1, 64, 64)
    assert bool(maps.flatten(1).any(1).all())


def test_a_save_that_fails_leaves_the_old_file(path, good, monkeypatch):
    def half(_tensors, to, **_metadata):
        Path(to).write_bytes(good[:1000])
        raise OSError(28, "No space left on device")

    path.write_bytes(good)
    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, untrained("efficientnet-lite0"), CARD)
    assert path.read_bytes() == good


def test_missing_file(path):
    assert_refused(path, "it cannot be read (No such file or directory)")


def test_a_folder(path):
    path.mkdir()
    assert_refused(path, "it is no file")


class Payload:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_runs_no_code(path, tmp_path):
    torch.save({"_fc.weight": Payload(tmp_path / "ran")}, path)
    assert_refused(path, "not in the safetensors format")
    assert not (tmp_path / "ran").exists()


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        random.Random(0).randbytes(5000),
        png(),
        b"<html><body>Sign in to the network</body></html>",
        struct.pack("<Q", 2**62) + bytes(1000),
        struct.pack("<Q", 2**64 - 1) + bytes(1000),
        struct.pack("<Q", 0),
        with_header(b"{"),
        with_header(b"[]"),
        with_header(b"\xff\xfe{}"),
        with_header(b"[" * DEEP + b"]" * DEEP),
        with_header(b'{"__metadata__":' + b'{"a":' * DEEP + b"0" + b"}" * DEEP + b"}"),
        with_header(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}', bytes(8)),
        with_header(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,8]}}', bytes(8)),
        with_header(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,0]}}'),
        with_header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}', bytes(8)),
        with_header(b'{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
        with_header(b'{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', bytes(8)),
    ],
    ids=[
        "empty",
        "noise",
        "png",
        "html",
        "header of 2**62",
        "header of 2**64 - 1",
        "no header",
        "half a header",
        "a list",
        "not UTF-8",
        "deep header",
        "deep metadata",
        "huge tensor",
        "huge tensor in few bytes",
        "too many elements to count",
        "offsets reversed",
        "unknown dtype",
        "negative shape",
    ],
)
def test_not_a_safetensors_file(path, content):
    path.write_bytes(content)
    assert_refused(path, "it is damaged, truncated or not in the safetensors format")


@pytest.mark.parametrize("keep", [1, 7, 8, 100, 0.5, -1])
def test_a_file_cut_short(path, good, keep):
    path.write_bytes(good[: int(len(good) * keep) if keep == 0.5 else keep])
    assert_refused(path, "it is damaged, truncated")


def test_a_file_with_something_after_its_end(path, good):
    path.write_bytes(good + b"x")
    assert_refused(path, "it is damaged")


def test_a_huge_tensor_where_a_small_one_belongs(path, good):
    header, content = parts(good)
    header["_fc.bias"]["shape"] = [10**12]
    path.write_bytes(with_header(json.dumps(header).encode(), content))
    assert_refused(path, "it is damaged")


def test_too_large_a_file(path, good, monkeypatch):
    path.write_bytes(good)
    monkeypatch.setattr(checkpoint, "MAX_BYTES", len(good) - 1)
    assert_refused(path, f"it has {len(good):,} bytes, more than the limit of {len(good) - 1:,}")
    monkeypatch.setattr(checkpoint, "MAX_BYTES", len(good))
    assert load(path).layers == CARD.layers


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"Camviz": "{}"}])
def test_no_card(path, good, metadata):
    path.write_bytes(with_metadata(good, metadata))
    assert_refused(path, "it has no camviz card in its metadata")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a network of ours",
        '{"title": ',
        "[]",
        "{}",
        "null",
        "3",
        '"text"',
        "NaN",
        "[" * DEEP + "]" * DEEP,
        '{"a":' * DEEP + "0" + "}" * DEEP,
        "[" * DEEP,
        "1" * 5000,
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_a_card_that_is_no_card(path, good, text):
    path.write_bytes(with_card(good, text))
    assert_refused(path, "its card is damaged")


@pytest.mark.parametrize("inside", ["", "preprocessing", "accuracy"])
def test_a_card_without_one_of_its_keys(path, good, inside):
    keys = list(card_in(good)[inside] if inside else card_in(good))
    assert len(keys) > 3
    for key in keys:
        card = card_in(good)
        del (card[inside] if inside else card)[key]
        path.write_bytes(with_card(good, card))
        assert_refused(path, "its card is damaged")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("architecture", 5),
        ("architecture", None),
        ("architecture", ["resnet18"]),
        ("title", 5),
        ("title", None),
        ("title", ["A network"]),
        ("data", 5),
        ("labels", 6),
        ("labels", "circle"),
        ("labels", None),
        ("labels", [1, 2, 3, 4, 5, 6]),
        ("labels", [None] * 6),
        ("labels", dict.fromkeys("abcdef", 0)),
        ("layers", 5),
        ("layers", "_swish"),
        ("layers", [5]),
        ("layers", {"_swish": 0}),
        ("preprocessing", []),
        ("preprocessing", 64),
        ("training", []),
        ("training", "with care"),
        ("training", {"images": 17}),
        ("seed", "five"),
        ("seed", "5"),
        ("seed", None),
        ("seed", 5.5),
        ("seed", INFINITE),
        ("accuracy", []),
        ("accuracy", 0.75),
        ("accuracy.samples", "many"),
        ("accuracy.samples", INFINITE),
        ("accuracy.overall", "high"),
        ("accuracy.overall", "0.75"),
        ("accuracy.overall", None),
        ("accuracy.classes", []),
        ("accuracy.classes", {"circle": "1"}),
        ("accuracy.classes", {"circle": 10**400}),
        ("accuracy.bands", {"large": None}),
        ("accuracy.bands", "large"),
        ("accuracy.kinds", {"plain": "1"}),
        ("accuracy.kinds", {"plain": 1.5}),
        ("accuracy.kinds", ["plain"]),
        ("accuracy.kinds", None),
        ("accuracy.followed", None),
        ("accuracy.followed", "0.95"),
        ("accuracy.followed", -0.1),
        ("accuracy.followed", NAN),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_card_of_the_wrong_types(path, good, where, value):
    path.write_bytes(changed(with_figures(good), where, value))
    assert_refused(path)


def with_figures(good):
    """The same file with the figures that only some cards have."""
    card = card_in(good)
    card["accuracy"] |= {"kinds": {"plain": 0.5, "textured": 1}, "followed": 0.95}
    return with_card(good, card)


def test_figures_that_only_some_cards_have(path, good):
    """A card without them is written and read as before there were any."""
    assert set(card_in(good)["accuracy"]) == {"samples", "overall", "classes", "bands"}
    path.write_bytes(with_figures(good))
    expected = replace(CARD.accuracy, kinds={"plain": 0.5, "textured": 1.0}, followed=0.95)
    assert checkpoint.read_card(path) == replace(CARD, accuracy=expected)
    for figures in (expected, replace(expected, followed=0.0), replace(expected, kinds={})):
        checkpoint.save(path, untrained("efficientnet-lite0"), replace(CARD, accuracy=figures))
        assert checkpoint.read_card(path).accuracy == figures


@pytest.mark.parametrize("name", ["", "resnet19", "__class__", "efficientnet-lite0\n", "x" * 10_000])
def test_an_unknown_architecture(path, good, name):
    path.write_bytes(changed(good, "architecture", name))
    assert_refused(path, "is not one of resnet18, resnet18-w16, resnet18-w24, vgg11, efficientnet-lite0")


@pytest.mark.parametrize("count", [0, 100_001])
def test_no_class_or_too_many(path, good, count):
    path.write_bytes(changed(good, "labels", [str(number) for number in range(count)]))
    assert_refused(path, "classes instead of 1 to 100,000")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("size", "resize") for value in (0, -224, 10**9, 64.5, "64", "large", NAN, INFINITE)),
        ("size", None),
        ("size", [64, 64]),
        ("size", 73),  # more than `resize`
        ("size", 8),
        *(
            (key, [0.5, value, 0.5])
            for key in ("mean", "std")
            for value in (NAN, INFINITE, -INFINITE, 10**400, 1e300, "0.5", "half", None, [])
        ),
        ("std", [0.5, 0, 0.5]),
        ("std", [0.5, 1e-300, 0.5]),  # 0 in single precision
        ("std", [-0.5, 0.5, 0.5]),
        ("std", 0.5),
        ("std", "123"),
        ("std", [0.5, 0.5]),
        ("mean", [0.5] * 4),
        ("resample", 99),
        ("resample", "bicubic"),
        ("resample", [3]),
        ("resample", None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_absurd_preprocessing(path, good, key, value):
    path.write_bytes(changed(good, f"preprocessing.{key}", value))
    assert_refused(path)


@pytest.mark.parametrize(
    "layers",
    [[], [""], ["layer4"], ["_swish", "_blocks.99._swish"], ["_swish."], ["../_swish"], ["_swish\n"], ["x" * 10_000]],
    ids=lambda value: str(value)[:30],
)
def test_layers_that_the_network_has_not(path, good, layers):
    """Nor is the whole network, whose name is empty, one of its layers."""
    path.write_bytes(changed(good, "layers", layers))
    refusal(path, load)


def without_one(tensors):
    del tensors["_fc.bias"]


def with_one_more(tensors):
    tensors["_fc.scale"] = torch.ones(6)


def under_another_name(tensors):
    tensors["fc.bias"] = tensors.pop("_fc.bias")


def without_any(tensors):
    tensors.clear()


def setting(name, change):
    def set_one(tensors):
        tensors[name] = change(tensors[name])

    return set_one


def first_set_to(value):
    def change(tensor):
        return torch.cat([torch.tensor([value], dtype=tensor.dtype), tensor[1:]])

    return change


WEIGHT, STATISTIC, COUNTER = "_fc.bias", "_bn0.running_var", "_bn0.num_batches_tracked"


@pytest.mark.parametrize(
    "damage",
    [
        without_one,
        with_one_more,
        under_another_name,
        without_any,
        setting(WEIGHT, lambda tensor: tensor[:5]),
        setting(WEIGHT, lambda tensor: tensor[:, None]),
        setting(WEIGHT, lambda tensor: tensor[:0]),
        setting(COUNTER, lambda tensor: tensor[None]),
        setting("_fc.weight", lambda tensor: tensor.T.contiguous()),
    ],
    ids=["one missing", "one more", "renamed", "none", "shorter", "another rank", "empty", "no scalar", "transposed"],
)
def test_other_tensors(path, good, damage):
    path.write_bytes(good)
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path, {"camviz": json.dumps(card_in(good))})
    assert "its tensors are not those of efficientnet-lite0 with 6 classes" in refusal(path, load)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (WEIGHT, torch.int32),
        (WEIGHT, torch.uint8),
        (WEIGHT, torch.bool),
        (WEIGHT, torch.float64),
        (WEIGHT, torch.complex64),
        (COUNTER, torch.float16),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_tensors_of_another_type(path, good, name, dtype):
    path.write_bytes(good)
    tensors = load_file(path)
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, path, {"camviz": json.dumps(card_in(good))})
    refusal(path, load)


def test_a_type_that_cannot_be_converted(path, good):
    """Two numbers in a byte, which safetensors and PyTorch both have, but nothing can be done with them."""
    header, content = parts(good)
    place = header[WEIGHT]
    start, end = place["data_offsets"]
    for name, other in header.items():
        if name != "__metadata__" and other["data_offsets"][0] >= end:
            other["data_offsets"] = [offset - (end - start) + 3 for offset in other["data_offsets"]]
    place.update(dtype="F4", data_offsets=[start, start + 3])
    path.write_bytes(with_header(json.dumps(header).encode(), content[:start] + bytes(3) + content[end:]))
    refusal(path, load)


@pytest.mark.parametrize("name", [WEIGHT, STATISTIC])
@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
def test_weights_that_are_no_numbers(path, good, name, value):
    path.write_bytes(good)
    tensors = load_file(path)
    tensors[name] = first_set_to(value)(tensors[name])
    save_file(tensors, path, {"camviz": json.dumps(card_in(good))})
    assert "its weights contain NaN or infinite values" in refusal(path, load)


def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(ModelError, match=r"net\.safetensors is not a checkpoint .*: it is no file"):
        camviz.load_model(path, CPU)


def test_a_name_that_no_file_can_have():
    with pytest.raises(ModelError, match="no file can have this name"):
        camviz.load_model("a\0b.safetensors", CPU)


def test_a_path_in_both_forms(path, good):
    path.write_bytes(good)
    by_path, by_text = (camviz.load_model(given, CPU) for given in (path, str(path)))
    assert by_path.info == by_text.info
