"""A study's table of metrics as a figure for a paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camviz.results.figure import WIDTH, as_pdf, cut, paper_style
from camviz.statistics import Interval

_ROW, _ABOVE, _BELOW, _LEFT, _EDGE = 0.2, 0.42, 0.62, 1.9, 0.06  # inches
_TEXT, _SMALL = 7, 5.5  # points
_DOT, _RING, _COIN = "#222222", "#888888", "#bbbbbb"
_RIGHT = 0.8  # from here on, a label beside a line stands to its left
_NAME = 32  # characters of a metric's name
MARKS = "Dot: mean over networks; whisker: 95 % interval over pictures; ring: one network."


def metrics_figure(
    rows: Mapping[str, Interval],
    networks: Mapping[str, Sequence[float]],
    title: str,
    foot: Sequence[str],
    to_beat: str | None = None,
) -> bytes:
    """Draw a dot with a whisker for each metric, and a ring for each network, as a PDF.

    Args:
        rows: each metric's pair accuracy with its interval, by its title, in order.
        networks: the values of each network, by the metric's title.
        title: above the chart, and the file's title.
        foot: lines below the chart, such as what was measured.
        to_beat: the title of the metric that the others have to beat; None for none.
    """
    with paper_style():
        return as_pdf(_drawn(rows, networks, title, foot, to_beat), Title=title, Subject="; ".join(foot))


def _drawn(
    rows: Mapping[str, Interval],
    networks: Mapping[str, Sequence[float]],
    title: str,
    foot: Sequence[str],
    to_beat: str | None,
) -> Figure:
    below = _BELOW + 0.1 * len(foot) - 0.15
    height = _ABOVE + len(rows) * _ROW + below + 0.15
    drawn = Figure(figsize=(WIDTH, height))
    breadth = WIDTH - _LEFT - 4 * _EDGE
    axes = drawn.add_axes((_LEFT / WIDTH, below / height, breadth / WIDTH, len(rows) * _ROW / height))
    for place, (name, found) in enumerate(rows.items()):
        draw_row(axes, place, found, networks[name])
    axes.axvline(0.5, color=_COIN, linewidth=0.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [cut(name, _NAME) for name in rows])
    axes.tick_params(labelsize=_TEXT, width=0.4, length=2)
    axes.set_xlabel("How often the better map scores higher; 0.5 is a coin", fontsize=_TEXT)
    marks = MARKS
    if to_beat is not None:
        _mark(axes, list(rows).index(to_beat), rows[to_beat].value)
        marks += f" Bold and dashed: {to_beat}, the line to beat."
    drawn.text(_EDGE / WIDTH, 1 - _EDGE / height, title, fontsize=_TEXT + 1, va="top", weight="bold")
    drawn.text(_EDGE / WIDTH, _EDGE / height, "\n".join((marks, *foot)), fontsize=_SMALL, va="bottom")
    return drawn


def _mark(axes: Axes, place: int, value: float) -> None:
    """Mark the row to beat: its name in bold, and a line at its value through all others."""
    axes.get_yticklabels()[place].set(weight="bold")
    if math.isnan(value):
        return
    axes.axvline(value, color=_DOT, linewidth=0.7, linestyle="--")
    end, inward = ("right", -3) if value > _RIGHT else ("left", 3)
    axes.annotate(
        "the line to beat",
        (value, 1),
        (inward, 2),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        fontsize=_SMALL,
        ha=end,
    )


def draw_row(axes: Axes, place: int, found: Interval, networks: Sequence[float], colour: str = _DOT) -> None:
    """Draw a mean with its whisker, which an undefined interval lacks, and a ring for each network."""
    axes.plot((found.low, found.high), (place, place), color=colour, linewidth=1)
    ring = {"markersize": 3, "markerfacecolor": "none", "markeredgewidth": 0.5, "color": _RING}
    axes.plot(networks, [place] * len(networks), "o", **ring)
    axes.plot(found.value, place, "o", markersize=4, color=colour)
