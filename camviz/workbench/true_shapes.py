"""The shapes that a picture is known to contain, as the network sees them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from camviz.models import follows_tags
from camviz.results.finding import KnownShape, shape_to_show
from camviz.workbench.cache_keys import Kind
from camviz.workbench.pictures import Explained, SeenPicture


@dataclass(frozen=True, eq=False)
class TrueShape:
    """The shape that a map should show.

    Attributes:
        label: its class, in words.
        explained: whether this is the explained class; if not, the map has no reason to show it.
        mask: bool (h, w), as the network sees it.
    """

    label: str
    explained: bool
    mask: NDArray[np.bool_] = field(repr=False)


def seen_shapes(of: SeenPicture) -> tuple[KnownShape, ...]:
    """The shapes that the picture is known to contain, as the network sees them: masks bool (h, w).

    For a network that follows tags, the tag instead, where there is one: that is what its maps should show.
    """

    def compute() -> tuple[KnownShape, ...]:
        known = of.picture.shapes
        by_tag = follows_tags(of.net.info) and any(shape.is_tag for shape in known)
        return tuple(replace(shape, mask=of.net.view(shape.mask, of.fit)) for shape in known if shape.is_tag == by_tag)

    return of.host.kept(of.clean.seen_cache_key(Kind.SHAPES), compute)


def get_true_shape(of: Explained) -> TrueShape | None:
    """The shape of the explained class, else the first; None if none is known or it fills all or none of the view."""
    shape = shape_to_show(seen_shapes(of), of.net.labels[of.target])
    if shape is None or not shape.mask.any() or shape.mask.all():
        return None
    return TrueShape(shape.label, shape.label == of.net.labels[of.target], shape.mask)
