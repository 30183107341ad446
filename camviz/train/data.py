"""Samples for training and testing a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from camviz import shapes
from camviz.models.checkpoint import Accuracy
from camviz.models.registry import Preprocessing

PREPROCESSING = Preprocessing(
    size=shapes.SIZE,
    resize=shapes.SIZE,
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    resample=Image.Resampling.BILINEAR,
)
ALL = tuple(shapes.BANDS)
SIDES = (56, 112, 224)  # supported sides of training pictures
TURN = len(shapes.CLASSES) * len(shapes.BANDS)  # this many samples contain every class and size once
# What a network can be trained on: the kinds of sample that follow each other in turns of all classes and sizes. With
# tags, every tenth turn has none. Wrong tags instead would teach the network to check the tag against the shape.
SAMPLES = {
    "plain": ("plain",),
    "textured": ("textured",),
    "both": ("plain", "textured"),
    "tagged": (*["tagged"] * 9, "plain"),
}


class Shapes(Dataset[tuple[Tensor, Tensor]]):
    """A split's samples, starting at `first`: uint8 (looks, 3, side, side) and the class.

    A smaller side is a close-up (`look_closer`). With fewer size bands, the index counts only samples of those. Every
    look after the first is another close-up, randomly rotated and mirrored. The kinds of sample ("plain", "textured",
    "tagged" or "swapped": with another class's tag) follow each other in turns of all classes and sizes.
    """

    def __init__(
        self,
        split: shapes.Split,
        side: int,
        bands: tuple[str, ...] = ALL,
        first: int = 0,
        looks: int = 1,
        kinds: tuple[str, ...] = ("plain",),
    ) -> None:
        if side not in SIDES:
            raise ValueError(f"the side must be one of {SIDES}, got {side}")
        self._split: shapes.Split = split
        self._bands = [list(shapes.BANDS).index(band) for band in bands]
        self._side, self._first, self._looks, self._kinds = side, first, looks, kinds

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw one sample."""
        turn, label = divmod(index, len(shapes.CLASSES))
        group, band = divmod(turn, len(self._bands))
        number = self._first + (group * len(ALL) + self._bands[band]) * len(shapes.CLASSES) + label
        kind = self._kinds[number // TURN % len(self._kinds)]
        drawn, rng = _draw(kind, number, self._split), RandomState([number])
        fitted = _fitted(drawn, self._side)
        looks = [fitted.window(rng)]
        looks += [_turned(fitted.window(rng), rng) for _ in range(self._looks - 1)]
        return torch.from_numpy(np.stack(looks)).permute(0, 3, 1, 2).contiguous(), torch.tensor(drawn.label)


def _draw(kind: str, index: int, split: shapes.Split) -> shapes.Sample:
    if kind == "swapped":
        return shapes.tagged(index, split).swapped(other_class(index))
    return {"plain": shapes.sample, "textured": shapes.textured, "tagged": shapes.tagged}[kind](index, split)


def other_class(index: int) -> int:
    """The class that a sample's swapped tag tells: each of the five wrong ones in turn."""
    wrong = len(shapes.CLASSES) - 1
    return (index + 1 + index // TURN % wrong) % len(shapes.CLASSES)


def _turned(image: shapes.Pixels, rng: RandomState) -> shapes.Pixels:
    """Rotate an image (side, side, 3) by a random multiple of 90 degrees, and randomly mirror it."""
    image = np.rot90(image, rng.randint(4))
    return image[:, ::-1] if rng.randint(2) else image


def look_closer(drawn: shapes.Sample, side: int, rng: RandomState) -> shapes.Pixels:
    """Cut a window (side, side, 3) at a random place that contains the whole shape.

    If the shape is too large for the window, the picture is first halved, once or more, by averaging blocks of pixels.
    A network learns much sooner from such windows than from whole pictures, where small shapes are hard to find.
    """
    return _fitted(drawn, side).window(rng)


@dataclass(frozen=True)
class _Fitted:
    """A picture in which the shape fits into windows of some side, with the first and last places of the corners."""

    image: shapes.Pixels
    side: int
    corners: list[tuple[int, int]]

    def window(self, rng: RandomState) -> shapes.Pixels:
        top, left = (rng.randint(first, last + 1) for first, last in self.corners)
        return self.image[top : top + self.side, left : left + self.side]


def _fitted(drawn: shapes.Sample, side: int) -> _Fitted:
    image, mask = drawn.image, drawn.mask
    while True:
        extents = [(int(places.min()), int(places.max())) for places in np.nonzero(mask)]
        if len(image) == side or all(last - first < side for first, last in extents):
            break
        half = len(image) // 2
        rows = image[::2].astype(np.uint16) + image[1::2]
        image = ((rows[:, ::2] + rows[:, 1::2] + 2) // 4).astype(np.uint8)
        mask = mask.reshape(half, 2, half, 2).max((1, 3))
    return _Fitted(image, side, [(max(0, last + 1 - side), min(first, len(image) - side)) for first, last in extents])


def loader(
    data: Shapes, indices: range, batch: int, workers: int, pinned: bool = False
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of these samples in order, drawn ahead by worker processes; pinned, they reach a GPU without waiting."""
    own = torch.Generator()  # otherwise it would use the global one, and resuming would change the following draws
    ahead = 4 if workers else None
    return DataLoader(
        data, batch, sampler=indices, num_workers=workers, prefetch_factor=ahead, generator=own, pin_memory=pinned
    )


def normalised(images: Tensor) -> Tensor:
    """Normalise as `Net.preprocess` does: uint8 (B, 3, H, W) -> float32, channels last."""
    return PREPROCESSING.normalised(images).contiguous(memory_format=torch.channels_last)


def evaluate(
    module: nn.Module, split: shapes.Split, count: int, device: torch.device, workers: int, samples: str = "plain"
) -> Accuracy:
    """Measure a network's accuracy on the first samples of a split, at full size.

    Args:
        module: the network, which is put into eval mode.
        split: "val" or "test".
        count: how many samples of each kind.
        device: the device the network is on.
        workers: processes that draw samples.
        samples: what it was trained on, a key of SAMPLES. "both" is also measured by kind; "tagged" is measured with
            right tags, and then with swapped ones.
    """
    module.eval()
    kinds = ("tagged",) if samples == "tagged" else SAMPLES[samples]
    index = np.arange(count)
    label, band = index % len(shapes.CLASSES), index // len(shapes.CLASSES) % len(shapes.BANDS)
    hits = np.array([_predictions(module, kind, split, count, device, workers) == label for kind in kinds])
    followed = None
    if samples == "tagged":
        told = [other_class(number) for number in range(count)]
        followed = float((_predictions(module, "swapped", split, count, device, workers) == told).mean())
    return Accuracy(
        samples=hits.size,
        overall=float(hits.mean()),
        classes={name: float(hits[:, label == number].mean()) for number, name in enumerate(shapes.CLASSES)},
        bands={name: float(hits[:, band == number].mean()) for number, name in enumerate(shapes.BANDS)},
        kinds={kind: float(each.mean()) for kind, each in zip(kinds, hits, strict=True)} if len(kinds) > 1 else {},
        followed=followed,
    )


def _predictions(
    module: nn.Module, kind: str, split: shapes.Split, count: int, device: torch.device, workers: int
) -> NDArray[np.int64]:
    """The classes that a network predicts for the first samples of a kind."""
    data = Shapes(split, shapes.SIZE, kinds=(kind,))
    with torch.inference_mode():
        batches = loader(data, range(count), 32, workers)
        answers = [module(normalised(images[:, 0].to(device))).argmax(1).cpu() for images, _ in batches]
    return torch.cat(answers).numpy()
