"""Samples for a network to learn from and to be tested on."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
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
TURN = len(shapes.CLASSES) * len(shapes.BANDS)  # after so many samples, every class and size has come once


class Shapes(Dataset[tuple[Tensor, Tensor]]):
    """Samples of a split from a first one on: uint8 (3, side, side) and the class.

    A smaller side is made by means of whole pixels. Of fewer size bands, the index counts only those.
    """

    def __init__(self, split: shapes.Split, side: int, bands: tuple[str, ...] = ALL, first: int = 0) -> None:
        if side < 1 or shapes.SIZE % side:
            raise ValueError(f"the side must divide {shapes.SIZE}, got {side}")
        self._split: shapes.Split = split
        self._bands = [list(shapes.BANDS).index(band) for band in bands]
        self._step, self._first = shapes.SIZE // side, first

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw one sample."""
        turn, label = divmod(index, len(shapes.CLASSES))
        group, band = divmod(turn, len(self._bands))
        number = (group * len(ALL) + self._bands[band]) * len(shapes.CLASSES) + label
        drawn = shapes.sample(self._first + number, self._split)
        blocks = torch.from_numpy(drawn.image).permute(2, 0, 1)
        if self._step > 1:
            blocks = F.avg_pool2d(blocks.float(), self._step).round_().to(torch.uint8)
        return blocks.contiguous(), torch.tensor(drawn.label)


def loader(data: Shapes, indices: range, batch: int, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of these samples in their order, drawn ahead by processes of their own."""
    own = torch.Generator()  # or else it would draw from the global one, and a break would change what follows
    ahead = 4 if workers else None
    return DataLoader(data, batch, sampler=indices, num_workers=workers, prefetch_factor=ahead, generator=own)


def normalised(images: Tensor) -> Tensor:
    """As `Net.preprocess` does it: uint8 (B, 3, H, W) -> float32, channels last."""
    return PREPROCESSING.normalised(images).contiguous(memory_format=torch.channels_last)


def evaluate(module: nn.Module, split: shapes.Split, count: int, device: torch.device, workers: int) -> Accuracy:
    """How often a network is right on the first samples of a split, at full size.

    Args:
        module: the network, which is put into eval mode.
        split: "val" or "test".
        count: how many samples.
        device: where the network lives.
        workers: processes that draw samples.
    """
    module.eval()
    right: list[bool] = []
    with torch.inference_mode():
        for images, labels in loader(Shapes(split, shapes.SIZE), range(count), 32, workers):
            logits = module(normalised(images.to(device)))
            right += (logits.argmax(1).cpu() == labels).tolist()
    hits, index = np.array(right), np.arange(count)
    label, band = index % len(shapes.CLASSES), index // len(shapes.CLASSES) % len(shapes.BANDS)
    return Accuracy(
        samples=count,
        overall=float(hits.mean()),
        classes={name: float(hits[label == number].mean()) for number, name in enumerate(shapes.CLASSES)},
        bands={name: float(hits[band == number].mean()) for number, name in enumerate(shapes.BANDS)},
    )
