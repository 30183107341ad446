"""The sealed samples of the metric study, and which of them a network's masks can be trusted on (docs/protocol.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from camviz import shapes
from camviz.maps import as_float64
from camviz.models import Net
from camviz.network.batching import forward
from camviz.shapes.drawn import Sample
from camviz.trust.evaluation import seen_by

Kind = Literal["plain", "textured", "tagged"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# The first sealed index; whatever was chosen, was chosen on smaller ones.
FIRST = 1_000_000
# The mask is the truth if the class is less probable than this without what it covers, and more with that alone.
_HALF = 0.5

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class SealedSample:
    """A sample, with the pictures that tell whether its mask is the truth about a network.

    Attributes:
        image: uint8 (224, 224, 3).
        mask: bool (224, 224), what a map should show.
        label: the class that this tells.
        without: the image without it.
        elsewhere: it alone, on another background; None where that would say nothing.
        band: the shape's size band.
        is_frame: whether the shape is a frame.
    """

    image: Pixels
    mask: NDArray[np.bool_]
    label: int
    without: Pixels
    elsewhere: Pixels | None
    band: str
    is_frame: bool


def draw(kind: Kind, index: int) -> SealedSample:
    """The sample of a kind with this index of the split "test"."""
    return _DRAW[kind](index)


def _plain(index: int) -> SealedSample:
    sample = shapes.sample(index)
    return _of_shape(sample, sample.on(shapes.sample(index, "val").background))


def _textured(index: int) -> SealedSample:
    # Another background would change what makes the shape visible.
    return _of_shape(shapes.textured(index), None)


def _tagged(index: int) -> SealedSample:
    """With the tag of another class, which is the truth about a network that follows tags."""
    sample = shapes.mistagged(index)
    elsewhere = sample.tag.on(shapes.sample(index, "val").background)
    shape = sample.shapes[0]
    return SealedSample(
        sample.image, sample.tag.mask, sample.tag.label, sample.untagged, elsewhere, shape.band, _is_frame(shape.label)
    )


def _of_shape(sample: Sample, elsewhere: Pixels | None) -> SealedSample:
    return SealedSample(
        sample.image,
        sample.mask,
        sample.label,
        sample.background,
        elsewhere,
        sample.shapes[0].band,
        _is_frame(sample.label),
    )


def _is_frame(label: int) -> bool:
    return "frame" in shapes.CLASSES[label]


_DRAW: dict[Kind, Callable[[int], SealedSample]] = {"plain": _plain, "textured": _textured, "tagged": _tagged}


def judge(net: Net, kind: Kind, wanted: int, first: int = FIRST) -> pd.DataFrame:
    """Take samples in order until as many as wanted are kept.

    Returns:
        a row for each sample: "picture" (its index), "label", "band", "is_frame", "probability" of its class,
        "without" and "elsewhere" (the same for these pictures, NaN where there is none), and "left_out", the reason
        or "".
    """
    rows: list[dict[str, object]] = []
    kept, index = 0, first
    while kept < wanted:
        row = _judged(net, draw(kind, index))
        rows.append({"picture": index, **row})
        kept += row["left_out"] == ""
        index += 1
    return pd.DataFrame(rows)


def share_recognised(net: Net, kind: Kind, count: int, first: int = FIRST) -> float:
    """The share of a kind's first samples that the network classifies correctly."""
    samples = [draw(kind, index) for index in range(first, first + count)]
    with torch.no_grad():
        right = [int(forward(net.module, net.preprocess(each.image)).argmax()) == each.label for each in samples]
    return sum(right) / count


def _judged(net: Net, sample: SealedSample) -> dict[str, object]:
    seen = seen_by(net, sample)
    images = [image for image in (sample.image, sample.without, sample.elsewhere) if image is not None]
    with torch.no_grad():
        logits = forward(net.module, torch.cat([net.preprocess(image) for image in images]))
    own, without, *rest = as_float64(logits).softmax(1)[:, sample.label].tolist()
    elsewhere = rest[0] if rest else math.nan
    reasons = (
        seen if isinstance(seen, str) else "",
        "" if without < _HALF else "the network still sees the class without it",
        "" if not rest or elsewhere > _HALF else "the network does not see the class on another background",
    )
    return {
        "label": sample.label,
        "band": sample.band,
        "is_frame": sample.is_frame,
        "probability": round(own, 5),
        "without": round(without, 5),
        "elsewhere": round(elsewhere, 5),
        "left_out": next(filter(None, reasons), ""),
    }
