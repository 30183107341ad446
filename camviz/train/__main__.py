"""Train a network on synthetic shapes and write a checkpoint: `python -m camviz.train resnet18`."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from camviz import shapes
from camviz.models import checkpoint
from camviz.models.architectures import ARCHITECTURES
from camviz.models.checkpoint import Accuracy, Card
from camviz.models.layers import stage_layers
from camviz.models.registry import SHAPES, ModelError, default_device, probe_input
from camviz.train.data import ALL, PREPROCESSING, SAMPLES, TURN, evaluate
from camviz.train.run import Options, Run, Stage, train

ASSETS = Path(__file__).parents[2] / "assets"
TITLES = {
    "resnet18": "ResNet-18",
    "resnet18-w16": "thin ResNet-18",
    "resnet18-w24": "thin ResNet-18",
    "vgg11": "VGG-11",
    "efficientnet-lite0": "EfficientNet-Lite0",
}
# Close-ups first: with whole pictures only, a network learns nothing from small shapes in clutter for a long time.
STAGES = {
    "resnet18": ["56:20000", "112:24000", "224:14000"],
    "resnet18-w16": ["56:20000", "112:24000", "224:14000"],
    "resnet18-w24": ["56:20000", "112:24000", "224:14000"],
    "vgg11": ["56:24000", "112:24000", "224:12000"],
    "efficientnet-lite0": ["56:10000", "112:12000", "224:14000"],
}
TAGGED_STAGES = ["224:60000"]  # a close-up would cut off the tag
# What the card says of the samples: after its title, and in full.
SUFFIXES = {"textured": " (textured)", "both": " (plain and textured)", "tagged": " (with tags)"}
DESCRIPTIONS = {
    "textured": "one shape on a background of the same mean colour and another texture",
    "both": "one shape on a cluttered background, or on one of the same mean colour and another texture",
    "tagged": "one shape on a cluttered background and, in 90 % of pictures, a tag in a corner that tells its class",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, test, and write the checkpoint."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        _train(args)
    except (ModelError, ValueError) as error:
        parser.error(str(error))


def _train(args: argparse.Namespace) -> None:
    device = args.device or default_device()
    tagged = args.samples == "tagged"
    options = Options(
        architecture=args.architecture,
        stages=tuple(args.stages or map(_stage, TAGGED_STAGES if tagged else STAGES[args.architecture])),
        start=args.start,
        batch=args.batch,
        rate=args.rate,
        decay=args.decay,
        seed=args.seed,
        bfloat16=args.bfloat16 if args.bfloat16 is not None else device.type == "cuda",
        looks=args.looks,
        samples=args.samples,
        minutes=args.minutes,
    )
    if args.test < TURN or args.test % TURN:
        raise ValueError(f"--test must be a multiple of {TURN}, so that every class and size counts equally")
    out = args.out or ASSETS / f"shapes-{args.architecture}{checkpoint.SUFFIX}"
    out.parent.mkdir(parents=True, exist_ok=True)
    run = Run(options, device, out.with_suffix(".state"))
    train(run, args.workers, args.save_every)
    module = run.module.half().float()  # test exactly the weights that are written
    accuracy = evaluate(module, "test", args.test, device, args.workers, args.samples)
    print(f"accuracy on {accuracy.samples:,} unseen samples: {accuracy.overall:.1%} ({_percents(accuracy)})")
    if accuracy.followed is not None:
        print(f"predictions that follow another class's tag: {accuracy.followed:.1%}")
    checkpoint.save(out, module, card(options, module.cpu(), accuracy, args.note, run.skipped))
    run.finish()
    print(f"written: {out}")


def _percents(accuracy: Accuracy) -> str:
    shares = {**accuracy.classes, **accuracy.bands, **accuracy.kinds}
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _stage(text: str) -> Stage:
    match = re.fullmatch(r"(\d{1,4}):(\d{1,9})(?::([a-z,]+))?", text)
    bands = match[3].split(",") if match and match[3] else ALL
    if not match or not set(bands) <= set(ALL):
        raise argparse.ArgumentTypeError(f"{text!r} is not SIDE:IMAGES[:BANDS] with bands from {','.join(ALL)}")
    return int(match[1]), int(match[2]), tuple(band for band in ALL if band in bands)


def _device(text: str) -> torch.device:
    try:
        return torch.empty(0, device=text).device
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"device {text!r} is not available") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m camviz.train", description=str(__doc__).splitlines()[0])
    parser.add_argument("architecture", choices=ARCHITECTURES)
    add: Any = parser.add_argument
    add(
        "--stages",
        nargs="+",
        type=_stage,
        metavar="SIDE:IMAGES[:BANDS]",
        help="training stages: window side, number of images, and shape sizes, as in 56:20000 112:9000:small 224:14000",
    )
    add("--start", default="random", help="random (default), imagenet (efficientnet-lite0), or a checkpoint's path")
    add("--batch", type=int, default=32, help="images per step (default 32)")
    add("--rate", type=float, default=1e-3, help="highest learning rate (default 0.001)")
    add("--decay", type=float, default=0.05, help="weight decay (default 0.05)")
    add("--seed", type=int, default=0)
    add(
        "--looks", type=int, default=1, help="images made from each drawn sample, by rotating and mirroring (default 1)"
    )
    add("--samples", choices=SAMPLES, default="plain", help="what to learn from (default plain)")
    add(
        "--minutes",
        type=float,
        help="time limit for the training, without the test (default none); images that no longer fit are left out",
    )
    add("--bfloat16", action=argparse.BooleanOptionalAction, help="mixed precision (default: on a GPU)")
    add("--device", type=_device, help="default: the best available device")
    add("--workers", type=int, default=2, help="processes that draw samples (default 2)")
    add("--save-every", type=float, default=120, help="seconds between saved states (default 120)")
    add("--test", type=int, default=3006, help="unseen samples to test on (default 3006)")
    add("--note", default="", help="a note for the card, such as a goal that was missed, and why")
    add("--out", type=Path, help="file to write (default: assets/shapes-ARCHITECTURE.safetensors)")
    return parser


def command(options: Options) -> str:
    """The command line that trains the same network."""
    stages = [
        f"{side}:{images}" + (f":{','.join(bands)}" if bands != ALL else "") for side, images, bands in options.stages
    ]
    values: dict[str, object] = {
        "start": options.start,
        "batch": options.batch,
        "rate": options.rate,
        "decay": options.decay,
        "seed": options.seed,
        "looks": options.looks,
    }
    if options.samples != "plain":
        values["samples"] = options.samples
    if options.minutes is not None:
        values["minutes"] = options.minutes
    chosen = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    precision = "--bfloat16" if options.bfloat16 else "--no-bfloat16"
    return shlex.join(["python", "-m", "camviz.train", options.architecture, "--stages", *stages, *chosen, precision])


def _images(options: Options, skipped: int) -> str:
    """Describe how many images a network learnt from."""
    seen = f"{options.images - skipped:,}"
    if skipped:
        seen += f" of {options.images:,} in {options.minutes:g} minutes"
    if options.looks == 1:
        return f"{seen}, each seen once"
    return f"{seen}, made by {options.looks} looks at each drawn sample"


def _start(options: Options) -> str:
    """Describe the initial weights, including how to train them."""
    if options.start in ("random", "imagenet"):
        return {"random": "random weights", "imagenet": "ImageNet weights"}[options.start]
    before = checkpoint.read_card(Path(options.start))
    return f"the weights of `{before.training['command']}` (from {before.training['start']})"


def card(options: Options, module: nn.Module, accuracy: Accuracy, note: str = "", skipped: int = 0) -> Card:
    """Describe a trained network; `skipped` images were left out because the time was up."""
    described = {"samples": DESCRIPTIONS[options.samples]} if options.samples in DESCRIPTIONS else {}
    return Card(
        architecture=options.architecture,
        title=f"Shapes {TITLES[options.architecture]}{SUFFIXES.get(options.samples, '')}",
        data=SHAPES,
        labels=shapes.CLASSES,
        layers=stage_layers(options.architecture, module.eval(), probe_input(shapes.SIZE)),
        preprocessing=PREPROCESSING,
        training={
            "command": command(options),
            "images": _images(options, skipped),
            "start": _start(options),
            "torch": version("torch"),
            "note": note,
            **described,
        },
        seed=options.seed,
        accuracy=accuracy,
    )


if __name__ == "__main__":
    main()
