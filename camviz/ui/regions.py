"""The ranked regions of a picture, clean and noisy, and which of them rose or fell; as HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass
from scipy.stats import rankdata
from skimage.segmentation import find_boundaries

from camviz.render import data_uri, overlay

# How many regions are numbered: the best, and those that rose or fell most.
_NUMBERED, _MOVED = 5, 3


@dataclass(frozen=True, eq=False)
class Ranked:
    """A view with the mean of a map in each of its segments.

    Attributes:
        title: what it is called.
        view: uint8 (h, w, 3).
        scores: (m,).
    """

    title: str
    view: NDArray[np.uint8]
    scores: NDArray[np.floating]

    @property
    def ranks(self) -> NDArray[np.float64]:
        """Each segment's rank, 1 for the highest; ties share theirs."""
        return rankdata(-self.scores)


def regions_html(labels: NDArray[np.int64], clean: Ranked, noisy: Ranked) -> str:
    """Three pictures: the regions by rank, clean and noisy, and how each has moved."""
    centres = np.array(center_of_mass(np.ones(labels.shape), labels, range(labels.max() + 1)))
    before, now = clean.ranks, noisy.ranks
    rise = before - now
    figures = [_ranked(labels, centres, each) for each in (clean, noisy)]
    up, down = np.argsort(-rise)[:_MOVED], np.argsort(rise)[:_MOVED]
    marks = {int(i): f"▲{before[i]:.0f}→{now[i]:.0f}" for i in up if rise[i] > 0}
    marks |= {int(i): f"▼{before[i]:.0f}→{now[i]:.0f}" for i in down if rise[i] < 0}
    moved = _figure(_diverging(noisy.view, labels, rise), "Risen (orange), fallen (violet)", labels, centres, marks)
    return f'<div class="cv-regions" hidden>{"".join(figures)}{moved}</div>'


def _ranked(labels: NDArray[np.int64], centres: NDArray[np.float64], of: Ranked) -> str:
    """The regions, bright where they rank high, the first ones numbered."""
    ranks = of.ranks
    height = 1 - (ranks - 1) / max(1, len(ranks) - 1)
    picture = overlay(of.view, torch.from_numpy(height[labels]))
    first = {int(i): f"{ranks[i]:.0f}" for i in np.argsort(ranks, kind="stable")[:_NUMBERED]}
    return _figure(picture, of.title, labels, centres, first)


def _diverging(view: NDArray[np.uint8], labels: NDArray[np.int64], rise: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A grey view, orange where a region has risen and violet where it has fallen."""
    share = rise / max(1.0, np.abs(rise).max())
    colours = mpl.colormaps["PuOr"](0.5 - share / 2)[:, :3]
    cover = (0.15 + 0.75 * np.abs(share))[labels][..., None]
    grey = (view @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    return (255 * ((1 - cover) * grey + cover * colours[labels])).round().astype(np.uint8)


def _figure(
    picture: NDArray[np.uint8],
    title: str,
    labels: NDArray[np.int64],
    centres: NDArray[np.float64],
    marks: Mapping[int, str],
) -> str:
    """A picture with thin lines between the regions, and words on some of them."""
    lined = picture.copy()
    lined[find_boundaries(labels, mode="inner")] //= 2
    return (
        f'<figure><div class="cv-pic"><img src="{data_uri(lined)}" alt="{escape(title)}">'
        f'<img src="{_words(labels.shape, centres, marks)}" alt="{escape(", ".join(marks.values()))}"></div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _words(size: tuple[int, ...], centres: NDArray[np.float64], marks: Mapping[int, str]) -> str:
    """Words at the centres of regions, a data URI of an SVG; those that would lie on others move down."""
    big = size[0] / 20
    texts: list[str] = []
    taken: list[tuple[float, float, float]] = []  # middle, and half the width
    for i in sorted(marks, key=lambda i: centres[i][0]):
        y, x = centres[i]
        half = big * len(marks[i]) / 2.8
        x = float(np.clip(x, half, size[1] - half))
        while any(abs(y - other) < 1.1 * big and abs(x - at) < half + wide for other, at, wide in taken):
            y += 0.3 * big
        taken.append((y, x, half))
        texts.append(f"<text x='{x:.0f}' y='{y + big / 3:.0f}'>{escape(marks[i])}</text>")
    style = (
        f"font: 600 {big:.1f}px sans-serif; text-anchor: middle; fill: #fff; stroke: #000; "
        f"stroke-width: {big / 4:.1f}px; paint-order: stroke"
    )
    box = f"0 0 {size[1]} {size[0]}"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='{box}'><g style='{style}'>{''.join(texts)}</g></svg>"
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def path_html(steps: list[tuple[str, str, float, bool, bool]]) -> str:
    """The prediction from faint noise to strong, as a row of chips.

    Args:
        steps: level in words, class, its probability, whether it differs from the clean one, whether it is looked at.
    """
    chips = "".join(
        f'<span class="cv-step{" cv-flip" if flipped else ""}{" cv-here" if here else ""}" title="{escape(strength)}">'
        f"<small>{escape(strength)}</small>{escape(label)} <b>{probability:.0%}</b></span>"
        for strength, label, probability, flipped, here in steps
    )
    return f'<div class="cv-path" hidden>{chips}</div>'
