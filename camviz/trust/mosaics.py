"""Mosaics: a truth on photographs without masks, since each class is in one quarter (the grid pointing game).

Source: Böhle et al., "Convolutional Dynamic Alignment Networks for Interpretable Classifications", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camviz.trust.run import Case
from camviz.workbench.maps import get_view, predict
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

Item = TypeVar("Item")

# A picture is taken only if the network is that sure of its class.
SURE = 0.9
_QUARTERS = 4


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Four pictures in one, of which the class of one is explained.

    Attributes:
        image: uint8 (h, w, 3).
        mask: bool (h, w), that picture's quarter.
        label: its class, an index into the network's labels.
    """

    image: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    label: int


def mosaic(views: Sequence[NDArray[np.uint8]], labels: Sequence[int], place: int) -> Mosaic:
    """Put four pictures into one of the same size, row by row, and explain the class of the one at a place.

    Args:
        views: four pictures as the network sees them, uint8 (h, w, 3).
        labels: their classes, all different.
        place: 0 to 3.

    Raises:
        ValueError: not four pictures of one size, or a class twice.
    """
    if len(views) != _QUARTERS or len({view.shape for view in views}) > 1:
        raise ValueError(f"a mosaic needs four pictures of one size, got {[view.shape for view in views]}")
    if len(set(labels)) != _QUARTERS:
        raise ValueError(f"a mosaic needs four different classes, got {list(labels)}")
    height, width = views[0].shape[:2]
    image = np.zeros_like(views[0])
    mask = np.zeros((height, width), dtype=bool)
    for number, view in enumerate(views):
        rows, columns = _quarter(height, number // 2), _quarter(width, number % 2)
        size = columns.stop - columns.start, rows.stop - rows.start
        image[rows, columns] = np.asarray(Image.fromarray(view).resize(size, Image.Resampling.BOX))
        if number == place:
            mask[rows, columns] = True
    return Mosaic(image, mask, labels[place])


def _quarter(side: int, number: int) -> slice:
    """The first or the second half of a side."""
    return slice(0, side // 2) if number == 0 else slice(side // 2, side)


def groups_of_four(items: Sequence[Item], labels: Sequence[int], count: int, seed: int = 0) -> list[tuple[Item, ...]]:
    """Draw groups of four items with different classes; each class is as likely, whatever it has of items.

    Args:
        items: what is drawn.
        labels: the class of each.
        count: how many groups.
        seed: their seed.

    Raises:
        ValueError: fewer than four classes.
    """
    by_label: dict[int, list[Item]] = {}
    for item, label in zip(items, labels, strict=True):
        by_label.setdefault(label, []).append(item)
    if len(by_label) < _QUARTERS:
        raise ValueError(f"mosaics need pictures of at least four classes, got {len(by_label)}")
    rng = np.random.default_rng(seed)
    known = sorted(by_label)
    groups = []
    for _ in range(count):
        drawn = rng.choice(known, _QUARTERS, replace=False)
        groups.append(tuple(by_label[label][rng.integers(len(by_label[label]))] for label in drawn))
    return groups


def recognised(pool: Sequence[SeenPicture]) -> list[tuple[SeenPicture, int]]:
    """The pictures whose class the network is sure of (`SURE`), each with that class."""
    predicted = [(seen, predict(seen)) for seen in pool]
    return [(seen, int(found.argmax())) for seen, found in predicted if found.max() >= SURE]


def mosaic_cases(sure: Sequence[tuple[SeenPicture, int]], count: int) -> list[Case]:
    """Mosaics of pictures with a known class, for an evaluation; the explained one's place goes round.

    Args:
        sure: the pictures as one network sees them, each with its class.
        count: how many mosaics.

    Raises:
        ValueError: fewer than four classes.
    """
    groups = groups_of_four(sure, [label for _, label in sure], count)
    return [_case(group, number % _QUARTERS) for number, group in enumerate(groups)]


def _case(group: Sequence[tuple[SeenPicture, int]], place: int) -> Case:
    made = mosaic([get_view(seen) for seen, _ in group], [label for _, label in group], place)
    first, _ = group[0]
    title = " · ".join(first.net.labels[label] for _, label in group)
    picture = pixels_as_picture(np.ascontiguousarray(made.image), title)
    return Case(SeenPicture(first.host, picture, first.net, "squeeze"), made.mask, target=made.label)
