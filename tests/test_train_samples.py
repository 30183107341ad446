"""Training on textured and tagged samples, and within a time limit."""

import itertools
import shlex
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from camviz import shapes
from camviz.models import checkpoint
from camviz.models.architectures import ARCHITECTURES, _thin_resnet18
from camviz.models.checkpoint import Accuracy
from camviz.train import __main__ as cli
from camviz.train import run as training
from camviz.train.data import ALL, SAMPLES, Shapes, evaluate, other_class
from camviz.train.run import SEED_STRIDE, Options, Run, train
from camviz.ui.sidebar import model_card

CPU = torch.device("cpu")
THIN = Options("resnet18-w16", ((56, 60, ALL), (112, 40, ALL)), "random", 4, 1e-3, 0.05, 0, False)


# Kinds of samples.


def drawn_as(image):
    """The kinds of sample with a number that have this picture; with a tag, the tag's class as well."""
    found = []
    for number in (5, 5 + 18, 5 + 9 * 18, 5 + 10 * 18):
        tagged = shapes.tagged(number, "train")
        candidates = {"plain": tagged.untagged, "textured": shapes.textured(number, "train").image}
        candidates |= {label: tagged.swapped(label).image for label in range(6)}
        found += [(number, kind) for kind, other in candidates.items() if np.array_equal(image, other)]
    return found


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (SAMPLES["plain"], ["plain"] * 4),
        (SAMPLES["textured"], ["textured"] * 4),
        (SAMPLES["both"], ["plain", "textured", "textured", "plain"]),
        (SAMPLES["tagged"], [5, 5, "plain", 5]),  # every tenth turn of classes and sizes has no tag
        (("swapped",), [0, 1, 4, 0]),  # of a triangle frame, class 5
    ],
    ids=str,
)
def test_kinds_follow_each_other_in_turns(kinds, expected):
    data = Shapes("train", 224, kinds=kinds)
    for turn, kind in zip((0, 1, 9, 10), expected, strict=True):
        (image,), label = data[5 + 18 * turn]
        assert drawn_as(image.permute(1, 2, 0).numpy()) == [(5 + 18 * turn, kind)]
        assert label == 5


def test_a_seed_and_fewer_sizes_change_no_kind(monkeypatch):
    """The kind belongs to the sample's own number."""
    kinds = {}

    def drawing(kind):
        def draw(number, _split):
            kinds[number] = kind
            return SimpleNamespace(image=np.zeros((224, 224, 3), np.uint8), mask=np.ones((1, 1)), label=0)

        return draw

    monkeypatch.setattr(shapes, "sample", drawing("plain"))
    monkeypatch.setattr(shapes, "textured", drawing("textured"))
    for first, bands in itertools.product((0, 18, SEED_STRIDE), (ALL, ("small",))):
        data = Shapes("train", 224, bands, first, kinds=SAMPLES["both"])
        for index in range(72):
            data[index]
    assert {kind == ("plain", "textured")[number // 18 % 2] for number, kind in kinds.items()} == {True}


def test_a_swapped_tag_tells_each_wrong_class_as_often():
    told = Counter((number % 6, other_class(number)) for number in range(18 * 30))
    assert told == dict.fromkeys(itertools.permutations(range(6), 2), 18)


# Accuracy.


def draw_quickly(monkeypatch):
    """Always the same plain sample: for tests that look at no picture."""
    drawn = shapes.sample(0)
    monkeypatch.setattr(shapes, "sample", lambda index, split: drawn)


class Answers(nn.Module):
    """Gives the answers it is told, in their order."""

    def __init__(self, answers):
        super().__init__()
        self.answers = iter(answers)

    def forward(self, x):
        return torch.stack([torch.eye(6)[next(self.answers)] for _ in x])


def test_accuracy_on_plain_and_on_textured_samples():
    """Of a network that knows all plain ones and, of the textured ones, the large."""
    right = [index % 6 for index in range(36)]
    half = [own if index // 6 % 3 == 0 else (own + 1) % 6 for index, own in enumerate(right)]
    found = evaluate(Answers(right + half), "test", 36, CPU, 0, "both")
    assert found.kinds == {"plain": 1.0, "textured": pytest.approx(1 / 3)}
    assert (found.samples, found.overall, found.followed) == (72, pytest.approx(2 / 3), None)
    assert found.bands == {"large": 1.0, "medium": 0.5, "small": 0.5}
    assert found.classes == dict.fromkeys(shapes.CLASSES, pytest.approx(2 / 3))


def test_how_many_predictions_follow_a_swapped_tag(monkeypatch):
    """Of a network that follows all tags but those of circles, which it takes for squares."""
    draw_quickly(monkeypatch)
    own = [index % 6 for index in range(90)]
    other = [(index + 1 + index // 18) % 6 for index in range(90)]
    answers = [label or 1 for label in own + other]
    found = evaluate(Answers(answers), "val", 90, CPU, 0, "tagged")
    assert (found.samples, found.overall, found.kinds) == (90, pytest.approx(5 / 6), {})
    assert found.followed == pytest.approx(sum(label != 0 for label in other) / 90)


# The time limit.


@pytest.fixture
def slow(monkeypatch):
    """A clock that moves by a second with each step; the steps, which compute nothing: place and learning rate."""
    now, steps = [100.0], []

    def step(run, images, _labels):
        steps.append((images.shape[-1], run.options.rate_at(run.seen, run.spent)))
        now[0] += 1
        run.seen += len(images)
        return 0.0, 0

    draw_quickly(monkeypatch)
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Run, "step", step)
    return steps


def test_every_stage_gets_its_share_of_too_short_a_time(tmp_path, slow):
    """10 of 25 seconds: 6 for the first stage, which has 60 of 100 images, and 4 for the second."""
    options = replace(THIN, minutes=10 / 60)
    run = Run(options, CPU, tmp_path / "net.state")
    train(run, workers=0, save_every=1e9)
    assert [side for side, _ in slow] == [56] * 6 + [112] * 4
    assert (run.seen, run.skipped) == (100, 60)
    rates = [rate for _, rate in slow]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    expected = [0.5e-3 * (1 + np.cos(np.pi * (share - 0.02) / 0.98)) for share in (0.5, 0.9)]
    assert [rates[5], rates[9]] == pytest.approx(expected)
    assert (
        "40 of 100 in 0.166667 minutes, each seen once"
        in cli.card(options, run.module, Accuracy(1, 0.0, {}, {}), skipped=run.skipped).training["images"]
    )


def test_enough_time_changes_nothing(tmp_path, slow):
    train(Run(THIN, CPU, tmp_path / "one.state"), workers=0, save_every=1e9)
    plain = slow.copy()
    slow.clear()
    run = Run(replace(THIN, minutes=1.0), CPU, tmp_path / "other.state")
    train(run, workers=0, save_every=1e9)
    assert slow == plain
    assert len(plain) == 25
    assert run.skipped == 0


def test_time_before_a_break_counts(tmp_path, slow, monkeypatch):
    """Interrupted after three seconds, and again after eight."""
    options, state = replace(THIN, minutes=10 / 60), tmp_path / "net.state"
    step = Run.step
    for stop in (3, 8):

        def breaking(run, images, labels, stop=stop):
            if len(slow) == stop:
                raise KeyboardInterrupt
            return step(run, images, labels)

        monkeypatch.setattr(Run, "step", breaking)
        with pytest.raises(KeyboardInterrupt):
            train(Run(options, CPU, state), workers=0, save_every=0.5)
    monkeypatch.setattr(Run, "step", step)
    run = Run(options, CPU, state)
    train(run, workers=0, save_every=1e9)
    assert [side for side, _ in slow] == [56] * 6 + [112] * 4
    assert (run.seen, run.skipped) == (100, 60)


def test_states_from_before_there_were_these_options(tmp_path):
    """They name fewer options and hold fewer values."""
    state = tmp_path / "net.state"
    Run(THIN, CPU, state).save()
    stored = torch.load(state, weights_only=True)
    assert stored["options"] == (
        "Options(architecture='resnet18-w16', stages=((56, 60, ('large', 'medium', 'small')), "
        "(112, 40, ('large', 'medium', 'small'))), start='random', batch=4, rate=0.001, decay=0.05, seed=0, "
        "bfloat16=False, looks=1)"
    )
    older = {key: value for key, value in stored.items() if key not in ("skipped", "seconds")} | {"seen": 8}
    torch.save(older, state)
    run = Run(THIN, CPU, state)
    assert (run.seen, run.skipped, run.spent) == (8, 0, 0.0)


# Cards, commands and architectures.


@pytest.mark.parametrize(
    ("samples", "title", "sentence"),
    [
        ("plain", "Shapes thin ResNet-18", "shapes**: one shape on a cluttered background; 6 classes"),
        ("textured", "Shapes thin ResNet-18 (textured)", "of the same mean colour and another texture; 6"),
        (
            "both",
            "Shapes thin ResNet-18 (plain and textured)",
            "| plain | textured |\n| --- | --- |\n| 75.0% | 25.0% |",
        ),
        ("tagged", "Shapes thin ResNet-18 (with tags)", "With the tag of another class, **97.0%** of its predictions"),
    ],
)
def test_card_and_command(tmp_path, samples, title, sentence):
    options = replace(THIN, stages=((224, 8, ALL),), samples=samples, minutes=2.5)
    figures = {"both": {"kinds": {"plain": 0.75, "textured": 0.25}}, "tagged": {"followed": 0.97}}.get(samples, {})
    accuracy = Accuracy(18, 0.5, {"circle": 0.5}, {"large": 0.5}, **figures)
    module, path = ARCHITECTURES["resnet18-w16"](6), tmp_path / "net.safetensors"
    checkpoint.save(path, module, cli.card(options, module, accuracy))
    card = checkpoint.read_card(path)
    assert (card.title, card.data, card.accuracy) == (title, "synthetic shapes", accuracy)
    assert sentence in model_card._shapes(checkpoint.info_of(path, "net"), card)
    told = shlex.split(card.training["command"])
    assert told[told.index("--minutes") + 1] == "2.5"
    assert told[told.index("--samples") + 1 :][:1] == [samples] if samples != "plain" else "--samples" not in told
    assert cli._parser().parse_args(told[3:]).samples == samples


def test_a_tagged_training_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "TAGGED_STAGES", ["224:8"])
    out = tmp_path / "net.safetensors"
    given = ["--samples", "tagged", "--batch", "4", "--looks", "2", "--workers", "0", "--test", "18"]
    cli.main(["resnet18-w16", *given, "--minutes", "2", "--device", "cpu", "--out", str(out)])
    card = checkpoint.read_card(out)
    assert card.accuracy.followed is not None
    assert card.training["images"] == "8, made by 2 looks at each drawn sample"
    assert list(tmp_path.iterdir()) == [out]


def test_a_thin_resnet_is_torchvision_s_with_fewer_channels(tmp_path):
    full, same = ARCHITECTURES["resnet18"](6).eval(), _thin_resnet18(64, 6).eval()
    same.load_state_dict(full.state_dict())
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(same(x), full(x))
    for width, megabytes in ((16, 2), (24, 4)):
        module = ARCHITECTURES[f"resnet18-w{width}"](6)
        assert list(module.state_dict()) == list(full.state_dict())
        checkpoint.save(tmp_path / "net.safetensors", module, cli.card(THIN, module, Accuracy(1, 0.0, {}, {})))
        assert (tmp_path / "net.safetensors").stat().st_size < megabytes * 1e6
