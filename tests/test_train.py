"""Training of shapes models: what a break changes (nothing), what is learnt, tested and written down."""

import itertools
import math
import pickle
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_networks import seeded
from torch import nn

import camviz
from camviz import shapes
from camviz.models import checkpoint
from camviz.models.architectures import ARCHITECTURES
from camviz.models.checkpoint import Accuracy
from camviz.models.layers import stage_layers
from camviz.models.registry import ModelError, make_net
from camviz.train import __main__ as cli
from camviz.train.data import ALL, PREPROCESSING, Shapes, evaluate, look_closer, normalised
from camviz.train.run import SEED_STRIDE, WARM_UP, Options, Run, train

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
NOTHING = Accuracy(1, 0.0, {}, {})
PATIENCE = 120.0  # seconds after which a test that hangs fails
LITE = Options("efficientnet-lite0", ((56, 64, ALL),), "random", 8, 1e-3, 0.05, 0, False)
LAYERS = {
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
    "resnet18-w16": ("layer1", "layer2", "layer3", "layer4"),
    "resnet18-w24": ("layer1", "layer2", "layer3", "layer4"),
    "vgg11": ("features.7", "features.14", "features.21", "features.28"),
    "efficientnet-lite0": ("_blocks.2._swish", "_blocks.4._swish", "_blocks.10._swish", "_swish"),
}


def arguments(architecture, out, *stages, workers=0):
    text = f"{architecture} --stages {' '.join(stages)} --batch 8 --workers {workers} --save-every 0 --test 18"
    return [*text.split(), "--device", "cpu", "--no-bfloat16", "--out", str(out)]


def command(given):
    return [sys.executable, "-m", "camviz.train", *given]


def load(path):
    return checkpoint.load(path, checkpoint.info_of(path, "mine"), CPU)


def assert_same_weights(path, other):
    one, two = load_file(path), load_file(other)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def only_look(data, index):
    """The one image (3, side, side) of a sample, and its class."""
    (image,), label = data[index]
    return image, label


def test_killed_and_started_again(tmp_path):
    """The network has random layers, so the random numbers must go on where they were, too."""
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    state = broken.with_suffix(".state")
    given = arguments("efficientnet-lite0", broken, "56:40", "112:8", workers=1)
    with subprocess.Popen(command(given), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        saved, until = set(), time.monotonic() + PATIENCE
        while len(saved) < 3 and process.poll() is None and time.monotonic() < until:
            if state.exists():
                saved.add(state.stat().st_mtime_ns)
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 0 < torch.load(state, weights_only=True)["seen"] < 48
    assert not broken.exists()
    cli.main(given)
    assert list(tmp_path.iterdir()) == [broken]
    assert load(broken).layers == LAYERS["efficientnet-lite0"]
    cli.main(arguments("efficientnet-lite0", whole, "56:40", "112:8"))
    assert_same_weights(broken, whole)


def test_broken_off_at_every_turn(tmp_path, monkeypatch):
    """Within a stage, between two, and in the test at the end."""
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    step, done, stop = Run.step, [], None

    def breaking(run, images, labels):
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(run.seen)
        return step(run, images, labels)

    def no_test(*_args):
        if stop is not None:
            raise KeyboardInterrupt
        return NOTHING

    monkeypatch.setattr(Run, "step", breaking)
    monkeypatch.setattr(cli, "evaluate", no_test)
    cli.main(arguments("efficientnet-lite0", whole, "56:24", "112:16"))
    done.clear()
    for stop in (2, 3, 5):  # noqa: B007  (`breaking` reads it)
        with pytest.raises(KeyboardInterrupt):
            cli.main(arguments("efficientnet-lite0", broken, "56:24", "112:16"))
    stop = None
    cli.main(arguments("efficientnet-lite0", broken, "56:24", "112:16"))
    assert done == [0, 8, 16, 24, 32]  # no step was done twice
    assert sorted(tmp_path.iterdir()) == [broken, whole]
    assert_same_weights(broken, whole)


def test_a_state_of_other_options_is_refused(tmp_path):
    state = tmp_path / "net.state"
    Run(LITE, CPU, state).save()
    others = {
        "architecture": "resnet18",
        "stages": ((56, 64, ("large",)),),
        "start": "imagenet",
        "batch": 10,
        "rate": 2e-3,
        "decay": 0.0,
        "seed": 1,
        "bfloat16": True,
        "looks": 2,
        "samples": "both",
        "minutes": 3.0,
    }
    assert list(others) == list(Options.__dataclass_fields__)
    before = state.read_bytes()
    for name, value in others.items():
        with pytest.raises(ModelError, match=r"net\.state belongs to a training run with other options"):
            Run(replace(LITE, **{name: value}), CPU, state)
    assert state.read_bytes() == before


def test_the_command_line_refuses_a_state_of_other_options(tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    Run(LITE, CPU, out.with_suffix(".state")).save()
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments("efficientnet-lite0", out, "56:72"))
    assert ended.value.code == 2
    assert "net.state belongs to a training run with other options" in capsys.readouterr().err
    assert not out.exists()


def test_learning_rate_by_hand():
    options = replace(LITE, stages=((56, 400, ALL), (112, 600, ALL)), rate=2.0)
    rise = 1000 * WARM_UP
    fall, eighth = 1000 - rise, 2 * (2 + math.sqrt(2)) / 4
    assert 0 < rise < fall
    for seen, rate in {0: 0, rise / 2: 1, rise: 2}.items():
        assert options.rate_at(seen) == pytest.approx(rate, abs=1e-12)
    for share, rate in {0: 2, 0.25: eighth, 0.5: 1, 0.75: 2 - eighth, 1: 0}.items():
        assert options.rate_at(rise + share * fall) == pytest.approx(rate, abs=1e-12)


def test_it_learns(tmp_path):
    """A few steps on the same few samples; at the very first the learning rate is still 0."""
    data = [only_look(Shapes("train", 56), index) for index in range(24)]
    images, labels = (torch.stack(part) for part in zip(*data, strict=True))
    options = replace(LITE, architecture="resnet18", stages=((56, 24 * 12, ALL),), batch=24)
    run = Run(options, CPU, tmp_path / "net.state")
    before = [parameter.detach().clone() for parameter in run.module.parameters()]
    run.module.train()
    first, _ = run.step(images, labels)
    assert all(map(torch.equal, before, run.module.parameters()))
    for _ in range(10):
        run.step(images, labels)
    last, right = run.step(images, labels)
    assert run.seen == options.images
    assert run.optimiser.param_groups[0]["lr"] == options.rate_at(24 * 11)
    assert first > 1.5
    assert last < 0.2 * first
    assert right == 24


def test_samples_in_order(tmp_path, monkeypatch):
    """Also those left after a break."""
    options = replace(LITE, stages=((56, 10, ALL), (112, 7, ALL)), batch=4, seed=2)
    seen = []

    def noting(run, images, labels):
        seen.append((images, labels))
        run.seen += len(images)
        return 0.0, 0

    monkeypatch.setattr(Run, "step", noting)

    def learnt(start):
        run = Run(options, CPU, tmp_path / f"{start}.state")
        run.seen = start
        seen.clear()
        train(run, workers=1, save_every=1e9)
        return [list(zip(*batch, strict=True)) for batch in seen]

    start = 2 * SEED_STRIDE  # the second stage begins with a new turn of all classes and sizes
    expected = [only_look(Shapes("train", 56), start + index) for index in range(10)]
    expected += [only_look(Shapes("train", 112), start + 18 + index) for index in range(7)]
    for start, sizes in [(0, [4, 4, 2, 4, 3]), (8, [2, 4, 3]), (14, [3]), (17, [])]:
        batches = learnt(start)
        assert [len(batch) for batch in batches] == sizes
        found = [sample for batch in batches for sample in batch]
        for (image, label), (its_image, its_label) in zip(found, expected[start:], strict=True):
            assert torch.equal(image, its_image)
            assert label == its_label


def test_looks_at_one_sample():
    """The first is the only one of a training without; the others are turned or mirrored windows of the same sample."""
    data, plain = Shapes("train", 56, looks=40), Shapes("train", 56)
    for index in (12, 16):  # small, solid and framed
        drawn = shapes.sample(index, "train")
        looks, label = data[index]
        assert label == drawn.label
        assert torch.equal(looks[0], only_look(plain, index)[0])
        turns = [what_was_done(look.permute(1, 2, 0).numpy(), drawn) for look in looks]
        assert turns[0] == (0, False)
        assert set(turns) == set(itertools.product(range(4), (False, True)))
        assert len({look.numpy().tobytes() for look in looks}) > 30


def what_was_done(window, drawn):
    """By how many right angles a window was turned, and whether it was mirrored: the one way that fits the sample."""
    found = []
    for turns, mirrored in itertools.product(range(4), (False, True)):
        straight = np.rot90(window[:, ::-1] if mirrored else window, -turns)
        if len(np.argwhere(sliding(drawn.image, straight))) == 1:
            assert holds_the_whole_shape(straight, drawn)
            found.append((turns, mirrored))
    assert len(found) == 1
    return found[0]


def test_several_looks_in_successive_steps(tmp_path, monkeypatch):
    """Also after a break, and from samples of their own in every stage."""
    options = replace(LITE, stages=((56, 12, ALL), (112, 6, ALL)), batch=4, looks=2)
    seen = []

    def noting(run, images, labels):
        seen.extend(zip(images, labels, strict=True))
        run.seen += len(images)
        return 0.0, 0

    monkeypatch.setattr(Run, "step", noting)
    first, second = Shapes("train", 56, looks=2), Shapes("train", 112, first=18, looks=2)
    expected = [
        (data[index][0][look], data[index][1])
        for data, indices in ((first, range(4)), (first, range(4, 6)), (second, range(3)))
        for look in range(2)
        for index in indices
    ]
    for start in (0, 8, 12, 18):
        run = Run(options, CPU, tmp_path / f"{start}.state")
        run.seen = start
        seen.clear()
        train(run, workers=0, save_every=1e9)
        assert len(seen) == 18 - start
        for (image, label), (its_image, its_label) in zip(seen, expected[start:], strict=True):
            assert torch.equal(image, its_image)
            assert label == its_label


def test_no_sample_is_seen_twice(tmp_path, monkeypatch):
    """Neither by one training, nor by two of different seeds."""
    numbers, drawn = [], shapes.sample(0)

    def sample(index, _split):
        numbers.append(index)
        return drawn

    def noting(run, images, _labels):
        run.seen += len(images)
        return 0.0, 0

    monkeypatch.setattr(shapes, "sample", sample)
    monkeypatch.setattr(Run, "step", noting)
    for seed in range(4):
        options = replace(LITE, stages=((112, 36, ("large",)), (112, 90, ALL)), seed=seed)
        train(Run(options, CPU, tmp_path / f"{seed}.state"), workers=0, save_every=1e9)
    assert len(numbers) == 4 * 126
    assert len(set(numbers)) == len(numbers)


def test_imagenet_start(tmp_path, lite0):
    """All but the head is the bundled network's."""
    module = Run(replace(LITE, start="imagenet"), CPU, tmp_path / "net.state").module
    own, given = module.state_dict(), lite0.module.state_dict()
    assert [name for name in own if "_fc" not in name and not torch.equal(own[name], given[name])] == []
    assert own["_fc.weight"].shape == (6, 1280)


def test_going_on_from_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "evaluate", lambda *_args: NOTHING)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    cli.main(arguments("efficientnet-lite0", first, "56:8"))
    given = ["--start", str(first), "--seed", "1"]
    cli.main([*arguments("efficientnet-lite0", second, "56:8"), *given])
    begun = Run(replace(LITE, start=str(first)), CPU, tmp_path / "net.state").module.state_dict()
    assert all(torch.equal(tensor, begun[name]) for name, tensor in load(first).module.state_dict().items())
    told = checkpoint.read_card(first).training["command"]
    assert checkpoint.read_card(second).training["start"] == f"the weights of `{told}` (from random weights)"
    with pytest.raises(ModelError, match="cannot be trained further as resnet18"):
        Run(replace(LITE, architecture="resnet18", start=str(first)), CPU, tmp_path / "net.state")


def test_first_weights_come_from_the_seed(tmp_path):
    weights = [Run(replace(LITE, seed=seed), CPU, tmp_path / "net.state").module._fc.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_whole_pictures_and_closer_looks():
    for index in range(18):  # every class in every size
        drawn = shapes.sample(index, "train")
        for side in (224, 112, 56):
            image, label = only_look(Shapes("train", side), index)
            assert image.dtype == torch.uint8
            assert image.shape == (3, side, side)
            assert int(label) == drawn.label
            assert holds_the_whole_shape(image.permute(1, 2, 0).numpy(), drawn)


def holds_the_whole_shape(window, drawn):
    """Found by looking at every place: in the picture or, if that is too large, in its halves."""
    image, mask, side = drawn.image, drawn.mask, len(window)
    while True:
        rows, columns = np.nonzero(mask)
        fits = max(np.ptp(rows), np.ptp(columns)) < side
        places = [
            (top, left)
            for top in range(max(0, rows.max() + 1 - side), min(rows.min(), len(image) - side) + 1)
            for left in range(max(0, columns.max() + 1 - side), min(columns.min(), len(image) - side) + 1)
            if np.array_equal(image[top, left], window[0, 0])  # hardly any other place comes further
            and np.array_equal(image[top : top + side, left : left + side], window)
        ]
        if fits or len(image) == side:
            return len(places) == 1
        half = len(image) // 2
        image = np.floor(image.reshape(half, 2, half, 2, 3).mean((1, 3)) + 0.5)
        mask = mask.reshape(half, 2, half, 2).max((1, 3))


def test_closer_looks_lie_anywhere():
    """The places of the shapes in their windows, over many samples, reach every edge."""
    drawn = shapes.sample(12, "train")  # small
    corners = []
    for seed in range(200):
        window = look_closer(drawn, 56, np.random.RandomState(seed))
        hits = np.argwhere(sliding(drawn.image, window))
        assert len(hits) == 1
        corners.append(hits[0])
    rows, columns = np.nonzero(drawn.mask)
    for axis, places in enumerate((rows, columns)):
        found = [corner[axis] for corner in corners]
        assert min(found) == max(0, places.max() + 1 - 56)
        assert max(found) == min(places.min(), 224 - 56)


def sliding(image, window):
    views = np.lib.stride_tricks.sliding_window_view(image[..., 0], window.shape[:2])
    return (views[:, :, ::8, ::8] == window[::8, ::8, 0]).all((2, 3))


@pytest.mark.parametrize(
    ("bands", "numbers"),
    [
        (("large",), [0, 5, 18, 41]),
        (("small",), [12, 17, 30, 53]),
        (("large", "small"), [0, 5, 12, 23]),
        (("large", "medium", "small"), [0, 5, 6, 17]),
    ],
    ids=str,
)
def test_dataset_of_some_size_bands(bands, numbers):
    data = Shapes("val", 224, bands)
    for index, number in zip([0, 5, 6, 17], numbers, strict=True):
        image, label = only_look(data, index)
        assert np.array_equal(image.permute(1, 2, 0), shapes.sample(number, "val").image)
        assert label == index % 6


@pytest.mark.parametrize("side", [28, 100, 223, 448, 0, -112])
def test_a_side_that_does_not_divide_the_picture(side):
    with pytest.raises(ValueError, match="the side must be one of"):
        Shapes("train", side)


def test_normalised_as_the_app_does_it():
    net = make_net(camviz.list_models()[0], nn.Identity(), shapes.CLASSES, (), PREPROCESSING, CPU)
    images, _ = Shapes("test", 224)[4]
    assert torch.equal(normalised(images), net.preprocess(shapes.sample(4).image))


class Answers(nn.Module):
    """Gives the answers it is told, in their order, and keeps its inputs."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.inputs = iter(answers), []

    def forward(self, x):
        assert not self.training
        self.inputs += list(x)
        return torch.stack([torch.eye(6)[next(self.answers)] for _ in x])


def test_accuracy_of_one_that_always_says_circle():
    assert evaluate(Answers([0] * 36), "test", 36, CPU, 0) == Accuracy(
        samples=36,
        overall=pytest.approx(1 / 6),
        classes={name: float(name == "circle") for name in shapes.CLASSES},
        bands=dict.fromkeys(("large", "medium", "small"), pytest.approx(1 / 6)),
    )


def test_accuracy_of_one_that_knows_large_shapes_and_squares():
    """More than a batch of them; a wrong answer is the next class."""
    known = [index // 6 % 3 == 0 or index % 6 == 1 for index in range(36)]
    module = Answers([index % 6 if known[index] else (index + 1) % 6 for index in range(36)])
    found = evaluate(module, "val", 36, CPU, 1)
    assert found.overall == pytest.approx(16 / 36)
    assert found.classes == {name: 1 if name == "square" else pytest.approx(1 / 3) for name in shapes.CLASSES}
    assert found.bands == {"large": 1, "medium": pytest.approx(1 / 6), "small": pytest.approx(1 / 6)}
    assert torch.equal(module.inputs[35], normalised(Shapes("val", 224)[35][0])[0])


def test_card_of_a_training(tmp_path, monkeypatch):
    """The accuracy is that of the weights as written."""
    tested = {}

    def noting(module, *others):
        tested.update({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return evaluate(module, *others)

    monkeypatch.setattr(cli, "evaluate", noting)
    out = tmp_path / "my net.safetensors"
    given = [*arguments("efficientnet-lite0", out, "56:16:large,small", "112:8"), "--seed", "3", "--note", "Short."]
    cli.main(given)
    card, net = checkpoint.read_card(out), load(out)
    again = repeated(card.training["command"], tmp_path / "again.safetensors")
    assert_same_weights(again, out)
    without = checkpoint.read_card(again)
    assert replace(without, training={**without.training, "note": "Short."}) == card
    assert card.training["images"] == "24, each seen once"
    options = replace(LITE, looks=4)
    assert cli.card(options, net.module, NOTHING).training["images"] == "64, made by 4 looks at each drawn sample"
    assert cli.command(options).endswith("--looks 4 --no-bfloat16")
    assert card.training["start"] == "random weights"
    assert card.seed == 3
    assert (card.labels, card.layers) == (shapes.CLASSES, LAYERS["efficientnet-lite0"])
    assert card.preprocessing == PREPROCESSING
    assert card.accuracy == evaluate(net.module, "test", 18, CPU, 0)
    assert all(torch.equal(tensor, tested[name]) for name, tensor in net.module.state_dict().items())
    assert card.title == "Shapes EfficientNet-Lite0"


def repeated(told, out):
    """Train again by the command in a card, with the options that change no weight."""
    program, given = shlex.split(told)[:3], shlex.split(told)[3:]
    assert program == ["python", "-m", "camviz.train"]
    cli.main([*given, "--out", str(out), "--workers", "1", "--test", "18", "--device", "cpu"])
    return out


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_in_the_card(architecture):
    module = seeded(lambda: ARCHITECTURES[architecture](6), dtype=torch.float32).train()
    start = "imagenet" if architecture == "efficientnet-lite0" else "random"
    card = cli.card(replace(LITE, architecture=architecture, start=start), module, NOTHING)
    assert card.layers == LAYERS[architecture]
    assert card.architecture == architecture
    assert card.training["start"] == ("ImageNet weights" if start == "imagenet" else "random weights")


@pytest.mark.parametrize(("architecture", "alike"), [("resnet18", True), ("vgg11", False)])
def test_maps_of_the_gradient_methods_on_the_last_layer(architecture, alike):
    """They agree after global average pooling and one linear layer, which the VGG's head is made to avoid."""
    module = seeded(lambda: ARCHITECTURES[architecture](6), dtype=torch.float32)
    x = normalised(Shapes("test", 224)[0][0])
    cap = camviz.capture(module, x, 0, [stage_layers(architecture, module, x)[-1]])
    maps = [camviz.cam(cap, method) for method in ("gradcam", "xgradcam", "hirescam")]
    assert all(bool(each.any()) for each in maps)
    for one, other in itertools.combinations(maps, 2):
        assert float((one - other).abs().max()) < 1e-4 if alike else float((one - other).abs().mean()) > 0.01


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--stages", "56:8", "100:8"], "a stage's side must be one of (56, 112, 224)"),
        (["--stages", "56:0"], "its images at least 1"),
        (["--stages", "56:8:huge"], "bands from large,medium,small"),
        (["--stages", "56"], "is not SIDE:IMAGES"),
        (["--stages", "56:9", "--batch", "8"], "batches of 8 from 9 images include a batch of one image"),
        (["--batch", "1"], "include a batch of one image"),
        (["--stages", "56:9", "--looks", "4"], "9 images cannot be divided into 4 looks at each sample"),
        (["--looks", "0"], "into 0 looks at each sample"),
        (["--samples", "striped"], "invalid choice: 'striped'"),
        (["--samples", "tagged", "--stages", "112:8"], "a close-up would cut off the tag; use stages of 224 pixels"),
        (["--minutes", "0"], "the minutes must be more than 0, got 0"),
        (["--minutes", "inf"], "the minutes must be more than 0, got inf"),
        (["--seed", "300"], "seeds go up to 237"),
        (["--start", "imagenet"], "not for resnet18"),
        (["--start", "missing.safetensors"], "missing.safetensors is not a checkpoint"),
        (["--device", "nope"], "device 'nope' is not available"),
        (["--test", "17"], "a multiple of 18"),
    ],
    ids=str,
)
def test_the_command_line_refuses_what_cannot_be_before_it_starts(tmp_path, capsys, given, message):
    with pytest.raises(SystemExit) as ended:
        cli.main(["resnet18", "--out", str(tmp_path / "net.safetensors"), *given])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_rubbish_in_place_of_a_state_is_refused(tmp_path):
    state = tmp_path / "net.state"
    for rubbish in (b"", b"rubbish", pickle.dumps([1])):
        state.write_bytes(rubbish)
        with pytest.raises(ModelError, match=r"net\.state is not a saved training state"):
            Run(LITE, CPU, state)


def test_every_seed_begins_with_a_turn_of_all_classes_and_sizes():
    assert SEED_STRIDE % 18 == 0
    for seed in (0, 1, 7):
        data = Shapes("train", 224, ("small",), seed * SEED_STRIDE)
        for index in (0, 3, 11):
            image, label = only_look(data, index)
            expected = shapes.sample(seed * SEED_STRIDE + index // 6 * 18 + 12 + index % 6, "train")
            assert expected.shapes[0].band == "small"
            assert label == expected.label == index % 6
            assert np.array_equal(image.permute(1, 2, 0), expected.image)
