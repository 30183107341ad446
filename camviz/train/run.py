"""A training run: its options, its steps, and the saved state that it resumes from.

Every sample is drawn when needed and seen once, or a few times rotated and mirrored. A run that was stopped and resumed
ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camviz import shapes
from camviz.models import load_model
from camviz.models.architectures import ARCHITECTURES
from camviz.models.checkpoint import read_card
from camviz.models.registry import UNREADABLE, ModelError
from camviz.train.data import SAMPLES, SIDES, TURN, Shapes, loader, normalised

Stage = tuple[int, int, tuple[str, ...]]  # side in pixels, images, size bands
WARM_UP = 0.02  # the share of all images over which the learning rate rises
# Each seed has its own training samples, and no run reaches those of the next seed.
SEED_STRIDE = 500_000 * TURN
SEEDS = range(2**31 // SEED_STRIDE)


@dataclass(frozen=True)
class Options:
    """The options that determine the weights: the same options give the same network on the same machine.

    Attributes:
        architecture: a name in ARCHITECTURES.
        stages: side in pixels, images and size bands of each successive stage.
        start: the initial weights: "random", "imagenet" (the bundled weights of efficientnet-lite0), or the path of a
            checkpoint to continue from.
        batch: images per step.
        rate: AdamW's highest learning rate.
        decay: AdamW's weight decay.
        seed: determines random initial weights and which samples are drawn.
        bfloat16: compute in mixed precision.
        looks: images made from each drawn sample, in successive steps.
        samples: what to learn from, a key of SAMPLES.
        minutes: a time limit, which makes the weights depend on the machine's speed. Each stage then takes at most its
            share of the time, and the learning rate has fallen to 0 in time.

    Raises:
        ValueError: impossible options; the message says why.
    """

    architecture: str
    stages: tuple[Stage, ...]
    start: str
    batch: int
    rate: float
    decay: float
    seed: int
    bfloat16: bool
    looks: int = 1
    samples: str = "plain"
    minutes: float | None = None

    def __post_init__(self) -> None:
        for side, images, _ in self.stages:
            if side not in SIDES or images < 1:
                raise ValueError(
                    f"a stage's side must be one of {SIDES} and its images at least 1, got {side}:{images}"
                )
            if self.looks < 1 or images % self.looks:
                raise ValueError(f"{images} images cannot be divided into {self.looks} looks at each sample")
            if self.batch < 2 or images // self.looks % self.batch == 1:
                raise ValueError(
                    f"batches of {self.batch} from {images} images include a batch of one image, which is too small"
                )
            if self.samples == "tagged" and side != shapes.SIZE:
                raise ValueError(f"a close-up would cut off the tag; use stages of {shapes.SIZE} pixels")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ValueError(f"the minutes must be more than 0, got {self.minutes:g}")
        if self.seed not in SEEDS or sum(self.lengths) > SEED_STRIDE:
            raise ValueError(
                f"seeds go up to {SEEDS[-1]} and have {SEED_STRIDE:,} samples each; lower the seed or the images"
            )
        if self.start == "imagenet" and self.architecture != "efficientnet-lite0":
            raise ValueError(f"camviz bundles ImageNet weights for efficientnet-lite0, not for {self.architecture}")

    @property
    def lengths(self) -> list[int]:
        """How many sample indices each stage uses up, including those of sizes that it skips."""
        drawn = [(images // self.looks, len(shapes.CLASSES) * len(bands)) for _, images, bands in self.stages]
        return [math.ceil(count / turn) * TURN for count, turn in drawn]

    @property
    def images(self) -> int:
        """The total number of images of all stages."""
        return sum(images for _, images, _ in self.stages)

    @property
    def identity(self) -> str:
        """The options as text in a saved state; those that are newer than some states appear only if they are used."""
        newer = ("samples", "minutes")
        chosen = [each for each in fields(self) if each.name not in newer or getattr(self, each.name) != each.default]
        return f"Options({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in chosen)})"

    def rate_at(self, seen: int, spent: float = 0.0) -> float:
        """The learning rate: a linear warm-up, then half a cosine down to 0.

        Args:
            seen: the images so far.
            spent: the share of the time limit that is used up; the cosine follows whichever is further.
        """
        share = seen / self.images
        if share < WARM_UP:
            return self.rate * (share / WARM_UP)
        share = min(1.0, max(share, spent))
        return self.rate * 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


class Run:
    """A training run in progress: the network, its optimiser, and how far it is.

    Attributes:
        options: its options.
        device: the device it runs on.
        module: the network.
        optimiser: its optimiser.
        seen: the images so far, including skipped ones.
        skipped: the images of stages that ended early because their time was up.
    """

    def __init__(self, options: Options, device: torch.device, state: Path) -> None:
        torch.manual_seed(options.seed)
        self.options, self.device, self._state = options, device, state
        self.module = _first_weights(options).to(device).to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(self.module.parameters(), weight_decay=options.decay, fused=True)
        self.seen = self.skipped = 0
        self._seconds, self._since = 0.0, time.monotonic()  # before a break, and the start after it
        if state.exists():
            self._resume()

    @property
    def spent(self) -> float:
        """The share of the time limit that is used up; 0 without a limit."""
        return self._elapsed() / (60 * self.options.minutes) if self.options.minutes else 0.0

    def start_clock(self) -> None:
        """Count time from now on."""
        self._since = time.monotonic()

    def skip(self, images: int) -> None:
        """Leave out images because their time is up."""
        self.seen += images
        self.skipped += images

    def step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from a batch, uint8 (B, 3, side, side) and (B,).

        Returns:
            Its loss and how many were correct, on the device: to read them at every step would keep a GPU waiting.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate_at(self.seen, self.spent)
        labels = labels.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16):
            logits = self.module(normalised(images.to(self.device)))
        loss = F.cross_entropy(logits.float(), labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.seen += len(images)
        return loss.detach(), (logits.argmax(1) == labels).sum()

    def save(self) -> None:
        """Write everything needed to resume, atomically."""
        partial = self._state.with_name(f"{self._state.name}.partial")
        state = {
            "options": self.options.identity,
            "seen": self.seen,
            "skipped": self.skipped,
            "seconds": self._elapsed(),
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "random on GPUs": torch.cuda.get_rng_state_all(),
        }
        torch.save(state, partial)
        partial.replace(self._state)

    def finish(self) -> None:
        """Delete the state, once the checkpoint is written."""
        self._state.unlink(missing_ok=True)

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _resume(self) -> None:
        try:
            state = torch.load(self._state, map_location="cpu", weights_only=True)
            options = state["options"]
        except UNREADABLE as error:
            raise ModelError(f"{self._state} is not a saved training state. Delete it to start over.") from error
        if options != self.options.identity:
            raise ModelError(
                f"{self._state} belongs to a training run with other options ({options}). Use those "
                "options, or delete the file to start over."
            )
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.seen = state["seen"]
        self.skipped, self._seconds = state.get("skipped", 0), state.get("seconds", 0.0)  # not in older states
        torch.set_rng_state(state["random"])
        torch.cuda.set_rng_state_all(state["random on GPUs"])


def train(run: Run, workers: int, save_every: float) -> None:
    """Run the rest of a training, printing progress and saving regularly.

    Args:
        run: the training run.
        workers: processes that draw samples.
        save_every: seconds between saved states.
    """
    meter, saved = Meter(run), time.monotonic()
    run.start_clock()
    options, gpu = run.options, run.device.type == "cuda"
    for (side, _, bands), first, indices, end in _left(run):
        run.module.train()
        data = Shapes("train", side, bands, first, options.looks, SAMPLES[options.samples])
        for looks, labels in loader(data, indices, options.batch, workers, pinned=gpu):
            for images in looks.to(run.device, non_blocking=gpu).unbind(1):
                if run.spent < end / options.images:
                    meter.add(side, len(images), *run.step(images, labels))
            if run.spent >= end / options.images:
                run.skip(end - run.seen)
                break
            if time.monotonic() - saved > save_every:
                run.save()
                saved = time.monotonic()
    run.save()


class Meter:
    """Prints a training run's progress, loss and accuracy at intervals."""

    def __init__(self, run: Run, every: float = 15) -> None:
        self._run, self._every = run, every
        self._reset()

    def add(self, side: int, images: int, loss: Tensor, right: Tensor) -> None:
        """Record a batch."""
        self._images += images
        self._loss += loss * images
        self._right += right
        seconds = time.monotonic() - self._since
        if seconds < self._every and self._run.seen < self._run.options.images:
            return
        mean, share = float(self._loss) / self._images, float(self._right) / self._images
        speed = self._images / seconds
        print(
            f"{side} px · {self._run.seen:,} of {self._run.options.images:,} images · loss {mean:.3f}"
            f" · {share:.1%} correct · {speed:.0f} images/s",
            flush=True,
        )
        self._reset()

    def _reset(self) -> None:
        self._images, self._since = 0, time.monotonic()
        self._right: Tensor | int = 0
        self._loss: Tensor | float = 0.0


def _left(run: Run) -> Iterator[tuple[Stage, int, range, int]]:
    """What is left of each stage: the stage, its first sample's index, its remaining samples, and `seen` at its end."""
    first, before = run.options.seed * SEED_STRIDE, 0
    for stage, length in zip(run.options.stages, run.options.lengths, strict=True):
        samples = range(max(0, run.seen - before) // run.options.looks, stage[1] // run.options.looks)
        if samples:
            yield stage, first, samples, before + stage[1]
        first, before = first + length, before + stage[1]


def _first_weights(options: Options) -> nn.Module:
    module = ARCHITECTURES[options.architecture](len(shapes.CLASSES))
    if options.start == "imagenet":
        body = load_model(options.architecture, "cpu").module.state_dict()
        module.load_state_dict({name: value for name, value in body.items() if "_fc" not in name}, strict=False)
    elif options.start != "random":
        before = read_card(Path(options.start))
        if (before.architecture, before.labels) != (options.architecture, shapes.CLASSES):
            raise ModelError(
                f"{options.start} contains a {before.title}, which cannot be trained further as {options.architecture}."
            )
        module.load_state_dict(load_model(options.start, "cpu").module.state_dict())
    return module
