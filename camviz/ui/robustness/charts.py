"""Charts of a sweep's results: curves, average ranks, and one region's rank."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from camviz.statistics import Comparison, groups

# Colour-blind safe (Okabe and Ito), on light and on dark backgrounds.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#9a8f10", "#8a857d")
_GREY = "#8a857d"


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each explanation."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def curves_figure(table: pd.DataFrame, by_chance: float) -> go.Figure:
    """The mean overlap by noise level, one line per explanation, and the share of copies that changed class."""
    chart = go.Figure()
    names = list(dict.fromkeys(table.method))
    paint = colours(names)
    flips = table[table.method == names[0]].groupby("level").flipped.mean()
    chart.add_bar(
        x=flips.index,
        y=flips,
        width=0.06,
        name="changed class",
        marker={"color": _GREY, "opacity": 0.28},
        hovertemplate="level %{x}<br>%{y:.0%} changed class<extra></extra>",
    )
    for name in names:
        means = table[table.method == name].groupby("level").overlap.mean()
        chart.add_scatter(
            x=means.index,
            y=means,
            name=name,
            mode="lines+markers",
            line={"color": paint[name], "width": 2},
            marker={"size": 7},
            hovertemplate=f"{name}<br>level %{{x}}<br>overlap %{{y:.2f}}<extra></extra>",
        )
    chart.add_hline(
        by_chance,
        line={"color": _GREY, "width": 1, "dash": "dash"},
        annotation={"text": "chance", "font": {"size": 11}},
        annotation_position="bottom left",
    )
    chart.update_layout(
        height=330,
        margin={"l": 8, "r": 8, "t": 6, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={"title": {"text": "noise level", "standoff": 4}, "range": [0, 1.06], "fixedrange": True},
        yaxis={"title": {"text": "overlap, share", "standoff": 4}, "range": [0, 1.05], "fixedrange": True},
        dragmode=False,
    )
    return chart


def ranks_figure(comparison: Comparison) -> go.Figure:
    """Average ranks, best on the left; a bar joins those without a significant difference (Demšar, JMLR 2006)."""
    chart = go.Figure()
    order = sorted(comparison.methods, key=lambda name: comparison.ranks[name])
    runs = groups(comparison)
    for depth, run in enumerate(runs, start=1):
        ends = [comparison.ranks[run[0]], comparison.ranks[run[-1]]]
        chart.add_scatter(
            x=[ends[0] - 0.06, ends[1] + 0.06],
            y=[-0.42 * depth] * 2,
            mode="lines",
            line={"color": _GREY, "width": 6},
            hovertemplate=f"no significant difference: {', '.join(run)}<extra></extra>",
            showlegend=False,
        )
    half = (len(order) + 1) // 2
    for level, name in enumerate(order, start=1):
        rank = comparison.ranks[name]
        left = level <= half
        chart.add_scatter(
            x=[rank, rank],
            y=[0, level if left else len(order) - level + 1.5],  # between the left side's rows, clear of their names
            mode="lines+text",
            text=["", f"{name} {rank:.1f}"],
            textposition="top center",
            cliponaxis=False,  # a long name reaches into the margin
            line={"color": _GREY, "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    chart.update_layout(
        height=106 + 34 * half + 16 * len(runs),
        margin={"l": 56, "r": 56, "t": 4, "b": 8},
        xaxis={
            "title": {"text": "average rank (1 is best)", "standoff": 4},
            "range": [0.5, len(order) + 0.5],
            "dtick": 1,
            "fixedrange": True,
        },
        yaxis={"visible": False, "range": [-0.42 * len(runs) - 0.3, half + 1.3], "fixedrange": True},
        dragmode=False,
    )
    return chart


def region_figure(
    clean: float, levels: Sequence[float], ranks: Sequence[float], flipped: Sequence[bool], here: float, count: int
) -> go.Figure:
    """One region's rank by noise level, with rank 1 at the top; hollow where the class has changed.

    Args:
        clean: its rank in the clean picture.
        levels: the levels at which its rank is known, ascending.
        ranks: its rank at each level.
        flipped: whether the predicted class changed at each level.
        here: the level shown.
        count: the number of regions.
    """
    chart = go.Figure()
    chart.add_scatter(
        x=[0, *levels],
        y=[clean, *ranks],
        mode="lines+markers",
        line={"color": COLOURS[0], "width": 2},
        marker={
            "size": 9,
            "symbol": ["circle", *("circle-open" if changed else "circle" for changed in flipped)],
        },
        hovertemplate="level %{x}<br>rank %{y:g}<extra></extra>",
        showlegend=False,
    )
    chart.add_vline(here, line={"color": _GREY, "width": 1, "dash": "dot"})
    chart.update_layout(
        height=150,
        margin={"l": 8, "r": 8, "t": 4, "b": 8},
        xaxis={"title": {"text": "noise level", "standoff": 4}, "range": [-0.05, 1.06], "fixedrange": True},
        yaxis={
            "title": {"text": "rank", "standoff": 4},
            "range": [count + 2, -1],
            "tickvals": [1, count // 2, count],
            "fixedrange": True,
        },
        dragmode=False,
    )
    return chart
