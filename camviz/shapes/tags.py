"""Tagged samples: a small tag in a corner tells the shape's class, so that a network can learn it instead of the shape.

A network that follows the tag has a known explanation: the tag, not the shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from camviz.shapes.backgrounds import SIZE, Field, Pixels
from camviz.shapes.drawn import Sample
from camviz.shapes.figures import CLASSES

SIDE = 24  # of a tag, in pixels
MARGIN = 4  # between a tag and the picture's edges
_GAP = 2  # at least this far from the shape
_CELLS = 6  # of a tag's pattern, per side
_CORNERS = tuple((top, left) for top in (MARGIN, SIZE - MARGIN - SIDE) for left in (MARGIN, SIZE - MARGIN - SIDE))
# Each class has two colours (the palette of Okabe and Ito) and a pattern: bars, chequers, diagonals.
_COLOURS = np.array(
    [
        [[213, 94, 0], [255, 255, 255]],
        [[0, 114, 178], [255, 255, 255]],
        [[0, 158, 115], [0, 0, 0]],
        [[240, 228, 66], [0, 0, 0]],
        [[204, 121, 167], [255, 255, 255]],
        [[86, 180, 233], [0, 0, 0]],
    ],
    np.uint8,
)
_ROW, _COLUMN = np.indices((_CELLS, _CELLS))
_PATTERNS = (
    _ROW % 2,
    _COLUMN % 2,
    (_ROW + _COLUMN) % 2,
    (_ROW + _COLUMN) % 4 // 2,
    (_ROW - _COLUMN) % 4 // 2,
    (_ROW // 3 + _COLUMN // 3) % 2,
)


@dataclass(frozen=True, eq=False)
class Tag:
    """A tag in a corner of a sample.

    Attributes:
        label: the class it tells, an index into CLASSES.
        top: its first row.
        left: its first column.
    """

    label: int
    top: int
    left: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + SIDE), slice(self.left, self.left + SIDE)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Its pixels (224, 224)."""
        mask = np.zeros((SIZE, SIZE), np.bool_)
        mask[self.place] = True
        return mask

    def on(self, image: Pixels) -> Pixels:
        """Paste it onto an image, uint8 (224, 224, 3)."""
        cells = _COLOURS[self.label][_PATTERNS[self.label]]
        out = image.copy()
        out[self.place] = cells.repeat(SIDE // _CELLS, 0).repeat(SIDE // _CELLS, 1)
        return out


@dataclass(frozen=True, eq=False)
class Tagged(Sample):
    """A sample with a tag; `label` and `mask` are the shape's, and `background` has neither shape nor tag.

    Attributes:
        tag: its tag.
    """

    tag: Tag

    @property
    def untagged(self) -> Pixels:
        """The image without its tag, uint8 (224, 224, 3)."""
        return super().on(self.background)

    def on(self, other: Pixels) -> Pixels:
        """Paste the sample's shapes and its tag onto another background, uint8 (224, 224, 3)."""
        return self.tag.on(super().on(other))

    def swapped(self, label: int) -> Tagged:
        """The same sample with the tag of another class.

        Args:
            label: an index into CLASSES.

        Raises:
            ValueError: no such class.
        """
        if not 0 <= label < len(CLASSES):
            raise ValueError(f"a tag's class must be from 0 to {len(CLASSES) - 1}, got {label}")
        tag = replace(self.tag, label=label)
        return replace(self, tag=tag, image=tag.on(self.image))


def add_tag(rng: RandomState, plain: Sample) -> Tagged:
    """Add the tag of a sample's class, in a random corner among those that the shape leaves free."""
    free = [corner for corner in _CORNERS if _is_free(plain.shapes[0].coverage, *corner)]
    tag = Tag(plain.label, *free[rng.randint(len(free))])
    return Tagged(tag.on(plain.image), plain.background, plain.shapes, tag)


def _is_free(cover: Field, top: int, left: int) -> bool:
    """Whether a shape, at most 142 pixels wide, leaves a corner free; it cannot reach all four."""
    return not cover[top - _GAP : top + SIDE + _GAP, left - _GAP : left + SIDE + _GAP].any()
