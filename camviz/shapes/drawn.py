"""What a synthetic sample consists of, and the random numbers that it is drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from camviz.shapes.backgrounds import Field, Pixels
from camviz.shapes.figures import paste

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_LAST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Shape:
    """A shape in a sample.

    Attributes:
        label: its class, an index into CLASSES.
        band: its size band: "large", "medium" or "small".
        size: its diameter or side in pixels.
        colour: uint8 (3,).
        coverage: float64 (224, 224), the share of each pixel that it visibly covers.
        texture: uint8 (224, 224, 3), shown in place of the colour; None for a shape of one colour.
    """

    label: int
    band: str
    size: float
    colour: Pixels
    coverage: Field
    texture: Pixels | None = field(default=None, repr=False)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels (224, 224) at least half covered."""
        return self.coverage >= 0.5


@dataclass(frozen=True, eq=False)
class Sample:
    """A synthetic sample.

    Attributes:
        image: uint8 (224, 224, 3).
        background: the image without its shapes.
        shapes: its shapes; the first one gives it its label.
    """

    image: Pixels
    background: Pixels
    shapes: tuple[Shape, ...]

    @property
    def label(self) -> int:
        """The class of the first shape, an index into CLASSES and into the logits of models trained on shapes."""
        return self.shapes[0].label

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels (224, 224) of the first shape that are at least half covered."""
        return self.shapes[0].mask

    def on(self, other: Pixels) -> Pixels:
        """Paste the sample's shapes onto another background, uint8 (224, 224, 3)."""
        for shape in self.shapes:
            other = paste(other, shape.coverage, shape.colour if shape.texture is None else shape.texture)
        return other


def generator(index: int, split: Split, kind: int) -> RandomState:
    """The source of random numbers for the sample of a kind with this index (ValueError for no such sample)."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {', '.join(map(repr, SPLITS))}")
    if not 0 <= index <= _LAST:
        raise ValueError(f"a sample's index must be from 0 to {_LAST}, got {index}")
    return RandomState([SPLITS.index(split), kind, index])
