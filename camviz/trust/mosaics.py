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

from camviz.trust.evaluation import MASS
from camviz.trust.run import Case
from camviz.workbench.maps import get_view, predict
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

Item = TypeVar("Item")

# A picture is taken only if the network is that sure of its class.
SURE = 0.9
_QUARTERS = 4


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Four pictures in one, of which the class of one is explained: a case for `camviz.evaluate`.

    Attributes:
        image: uint8 (h, w, 3).
        mask: bool (h, w), that picture's quarter.
        target: its class, an index into the network's labels.
        label: None: the network may predict any of the four classes.
        truth: "mass": what counts is the share of heat in the quarter (chance: 0.25), which a map should not fill.
    """

    image: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    target: int
    label: None = field(default=None, init=False)
    truth: str = field(default=MASS, init=False)


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


@dataclass(frozen=True, eq=False)
class Recognised:
    """Pictures that mosaics can be made of, and how many cannot.

    Attributes:
        sure: the pictures that the network recognises with at least `SURE`, each with its class.
        mistaken: how many are predicted as another class than theirs.
        unsure: how many others it recognises with less.
    """

    sure: list[tuple[SeenPicture, int]]
    mistaken: int
    unsure: int


def recognised(pool: Sequence[tuple[SeenPicture, int | None]]) -> Recognised:
    """Look for the pictures whose class the network is sure of.

    Args:
        pool: pictures, each with its class; None where it is unknown: then it is what the network predicts.
    """
    sure, mistaken, unsure = [], 0, 0
    for seen, label in pool:
        found = predict(seen)
        predicted = int(found.argmax())
        if label not in (None, predicted):
            mistaken += 1
        elif found.max() < SURE:
            unsure += 1
        else:
            sure.append((seen, predicted))
    return Recognised(sure, mistaken, unsure)


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
    return Case(SeenPicture(first.host, picture, first.net, "squeeze"), made.mask, target=made.target)
