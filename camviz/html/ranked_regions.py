"""The regions of a picture ranked by a map: how they are drawn and numbered, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

from camviz.html.outlines import outline_path, svg_uri

# How many regions are numbered: of the highest ones, and of those that rose or fell most.
_NUMBERED, _MOVED = 5, 3
Labels = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Ranked:
    """The regions of a picture ranked by a map.

    Attributes:
        labels: each pixel's region (h, w), counted from 0.
        scores: the map's mean in each region (m,).
    """

    labels: Labels
    scores: NDArray[np.floating]

    @property
    def ranks(self) -> NDArray[np.float64]:
        """Each region's rank (m,), 1 for the highest; ties share a rank."""
        from scipy.stats import rankdata  # slow to import

        return rankdata(-self.scores)

    @property
    def map(self) -> NDArray[np.float32]:
        """A map (h, w) of the ranks: 1 in the first region, 0 in the last."""
        heights = 1 - (self.ranks - 1) / max(1, len(self.scores) - 1)
        return heights.astype(np.float32)[self.labels]

    @property
    def first(self) -> dict[int, str]:
        """The ranks of the first few regions, in words."""
        ranks = self.ranks
        return {int(i): f"{ranks[i]:g}" for i in np.argsort(ranks, kind="stable")[:_NUMBERED]}

    @property
    def tooltips(self) -> list[str]:
        """The rank of each region in words."""
        return [f"{rank:g} of {len(self.scores)}" for rank in self.ranks]


@dataclass(frozen=True, eq=False)
class Moved:
    """How the regions moved from one ranking to another."""

    before: Ranked
    now: Ranked

    @property
    def rise(self) -> NDArray[np.float64]:
        """By how many ranks each region rose (m,); negative if it fell."""
        return self.before.ranks - self.now.ranks

    @property
    def map(self) -> NDArray[np.float32]:
        """A map (h, w) of the moves: above 0.5 in regions that rose, below in those that fell."""
        rise = self.rise
        share = rise / max(1.0, np.abs(rise).max())
        return (0.5 + share / 2).astype(np.float32)[self.before.labels]

    @property
    def reach(self) -> float:
        """The largest move as a share of the largest possible."""
        return float(np.abs(self.rise).max()) / max(1, len(self.now.scores) - 1)

    @property
    def most(self) -> dict[int, str]:
        """The ranks before and now of the regions that moved most."""
        rise, tooltips = self.rise, self.tooltips
        up, down = np.argsort(-rise, kind="stable")[:_MOVED], np.argsort(rise, kind="stable")[:_MOVED]
        return {int(i): f"▲{tooltips[i]}" for i in up if rise[i] > 0} | {
            int(i): f"▼{tooltips[i]}" for i in down if rise[i] < 0
        }

    @property
    def tooltips(self) -> list[str]:
        """Each region's rank before and now, in words."""
        return [f"{a:g}→{b:g}" for a, b in zip(self.before.ranks, self.now.ranks, strict=True)]


def panel_html(labels: Labels, index: int, title: str, marks: Mapping[int, str], picked: int) -> str:
    """A canvas for a map of regions, with their borders, labels on some, and the picked one outlined.

    Args:
        labels: each pixel's region (h, w).
        index: of the map in its message.
        title: the panel's name.
        marks: labels by region.
        picked: the picked region.
    """
    label = escape(title)
    over = _over(labels, marks, picked)
    return (
        f'<figure><div class="cv-pic"><canvas role="img" aria-label="{label}" data-map="{index}"></canvas>'
        f'<img class="cv-over" src="{over}" alt="{escape(", ".join(marks.values()))}"></div>'
        f'<figcaption title="{label}">{label}</figcaption></figure>'
    )


def _over(labels: Labels, marks: Mapping[int, str], picked: int) -> str:
    """The overlay of a map of regions, an SVG data URI."""
    stroke = "fill='none' stroke='#000' stroke-opacity='.55' vector-effect='non-scaling-stroke'"
    lines = f"<path d='{_borders(labels)}' {stroke}/>"
    return svg_uri(lines + outline_path(labels == picked) + _words(labels, marks), labels.shape)


def _borders(labels: Labels) -> str:
    """The borders between regions, a path along the edges of pixels."""
    upright = [f"M{x + 1} {start}V{end}" for x, start, end in _runs((labels[:, 1:] != labels[:, :-1]).T)]
    level = [f"M{start} {y + 1}H{end}" for y, start, end in _runs(labels[1:] != labels[:-1])]
    return "".join(upright + level)


def _runs(marked: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Each run of marked entries along the rows of (n, k): its row, its start, and its end (exclusive)."""
    change = np.diff(np.pad(marked, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(change == 1)
    ends = np.nonzero(change == -1)[1]
    return zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)


def _words(labels: Labels, marks: Mapping[int, str]) -> str:
    """Labels at the centres of regions; those that would overlap move down."""
    height, width = labels.shape
    centres = dict(zip(marks, center_of_mass(np.ones(labels.shape), labels, list(marks)), strict=True))
    big = height / 20
    texts: list[str] = []
    taken: list[tuple[float, float, float]] = []  # centre (y, x), and half the width
    for i in sorted(marks, key=lambda i: centres[i][0]):
        y, x = centres[i]
        half = big * len(marks[i]) / 2.8
        x = float(np.clip(x, half, width - half))
        while any(abs(y - other) < 1.1 * big and abs(x - at) < half + wide for other, at, wide in taken):
            y += 0.3 * big
        taken.append((y, x, half))
        texts.append(f"<text x='{x:.0f}' y='{y + big / 3:.0f}'>{escape(marks[i])}</text>")
    style = (
        f"font: 600 {big:.1f}px sans-serif; text-anchor: middle; fill: #fff; stroke: #000; "
        f"stroke-width: {big / 4:.1f}px; paint-order: stroke"
    )
    return f"<g style='{style}'>{''.join(texts)}</g>"


def path_html(steps: list[tuple[str, str, float, bool, bool]]) -> str:
    """The predictions from faint to strong noise, as a row of chips.

    Args:
        steps: noise level in words, class, its probability, whether it differs from the clean one, whether it is shown.
    """
    chips = "".join(
        f'<span class="cv-step{" cv-flip" if flipped else ""}{" cv-now" if here else ""}" title="{escape(strength)}">'
        f"<small>{escape(strength)}</small>{escape(label)} <b>{probability:.0%}</b></span>"
        for strength, label, probability, flipped, here in steps
    )
    return f'<div class="cv-path" hidden>{chips}</div>'
