"""What a picture is known to hold, as the network sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from camviz.results.finding import KnownShape, shape_to_show
from camviz.workbench.pictures import Explained, SeenPicture


@dataclass(frozen=True, eq=False)
class TrueShape:
    """The shape that a map should show.

    Attributes:
        label: its class, in words.
        explained: whether that is the class explained; if not, the map has no reason to show it.
        mask: bool (h, w), as the network sees it.
    """

    label: str
    explained: bool
    mask: NDArray[np.bool_] = field(repr=False)


def seen_shapes(of: SeenPicture) -> tuple[KnownShape, ...]:
    """What the picture is known to hold, as the network sees it: masks bool (h, w)."""

    def compute() -> tuple[KnownShape, ...]:
        return tuple(KnownShape(each.label, of.net.view(each.mask, of.fit)) for each in of.picture.shapes)

    return of.host.kept((*of.clean.seen_key, "shapes"), compute)


def get_true_shape(of: Explained) -> TrueShape | None:
    """The shape of the class explained, else the first; None where none is known, or it leaves nothing to find."""
    shown = shape_to_show(seen_shapes(of), of.net.labels[of.target])
    if shown is None or not shown.mask.any() or shown.mask.all():
        return None
    return TrueShape(shown.label, shown.label == of.net.labels[of.target], shown.mask)
