"""A study's table of metrics as a figure for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camviz.results.figure import WIDTH, as_pdf, cut, paper_style
from camviz.statistics import Interval

_ROW, _ABOVE, _BELOW, _LEFT, _EDGE = 0.2, 0.42, 0.62, 1.9, 0.06  # inches
_TEXT, _SMALL = 7, 5.5  # points
_DOT, _RING, _COIN = "#222222", "#888888", "#bbbbbb"
_NAME = 32  # characters of a metric's name
MARKS = "Dot: mean over networks; whisker: 95 % interval over pictures; ring: one network."


def metrics_figure(
    rows: Mapping[str, Interval], networks: Mapping[str, Sequence[float]], title: str, foot: Sequence[str]
) -> bytes:
    """Draw a dot with a whisker for each metric, and a ring for each network, as a PDF.

    Args:
        rows: each metric's pair accuracy with its interval, by its title, in order.
        networks: the values of each network, by the metric's title.
        title: above the chart, and the file's title.
        foot: lines below the chart, such as what was measured.
    """
    height = _ABOVE + len(rows) * _ROW + _BELOW + 0.1 * len(foot)
    below = _BELOW + 0.1 * len(foot) - 0.15
    with paper_style():
        drawn = Figure(figsize=(WIDTH, height))
        breadth = WIDTH - _LEFT - 4 * _EDGE
        axes = drawn.add_axes((_LEFT / WIDTH, below / height, breadth / WIDTH, len(rows) * _ROW / height))
        for place, (name, found) in enumerate(rows.items()):
            draw_row(axes, place, found, networks[name])
        axes.axvline(0.5, color=_COIN, linewidth=0.6, linestyle="--")
        axes.set_xlim(0, 1)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [cut(name, _NAME) for name in rows])
        axes.tick_params(labelsize=_TEXT, width=0.4, length=2)
        axes.set_xlabel("How often the better map scores higher; 0.5 is a coin", fontsize=_TEXT)
        drawn.text(_EDGE / WIDTH, 1 - _EDGE / height, title, fontsize=_TEXT + 1, va="top", weight="bold")
        drawn.text(_EDGE / WIDTH, _EDGE / height, "\n".join((MARKS, *foot)), fontsize=_SMALL, va="bottom")
        return as_pdf(drawn, Title=title, Subject="; ".join(foot))


def draw_row(axes: Axes, place: int, found: Interval, networks: Sequence[float], colour: str = _DOT) -> None:
    """Draw a mean with its whisker, which an undefined interval lacks, and a ring for each network."""
    axes.plot((found.low, found.high), (place, place), color=colour, linewidth=1)
    ring = {"markersize": 3, "markerfacecolor": "none", "markeredgewidth": 0.5, "color": _RING}
    axes.plot(networks, [place] * len(networks), "o", **ring)
    axes.plot(found.value, place, "o", markersize=4, color=colour)
