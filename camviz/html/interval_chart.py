"""A chart of intervals as HTML: a point with a whisker for each row, in one or more columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from camviz.statistics import Interval

_TICKS = {0: "0", 0.5: "0.5", 1: "1"}


def intervals_html(columns: Mapping[str, Mapping[str, Interval]], paint: Mapping[str, str]) -> str:
    """Draw intervals on a scale from 0 to 1: columns side by side share their rows, and stack where it is narrow.

    Args:
        columns: the intervals by the column's title and the row's name, with the same rows in each; a NaN is shown as
            "undefined".
        paint: each row's colour, as CSS has it.
    """
    return (
        f'<div class="cv-intervals" hidden style="--columns:{len(columns)}">'
        f"{''.join(_column(title, rows, paint) for title, rows in columns.items())}</div>"
    )


def _column(title: str, rows: Mapping[str, Interval], paint: Mapping[str, str]) -> str:
    lines = "".join(_row(name, interval, paint[name]) for name, interval in rows.items())
    ticks = "".join(f'<i style="--at:{at}">{label}</i>' for at, label in _TICKS.items())
    return (
        f'<section><h4>{escape(title)}</h4><div role="table" aria-label="{escape(title)}">{lines}</div>'
        f'<div class="cv-ticks" aria-hidden="true"><div>{ticks}</div></div></section>'
    )


def _row(name: str, interval: Interval, colour: str) -> str:
    shown = escape(name)
    words = interval_words(interval)
    known = not math.isnan(interval.value)
    value = f"{interval.value:.2f}" if known else "undefined"
    return (
        f'<div role="row" title="{shown}: {value}, {words}"><span role="rowheader">{shown}</span>'
        f'<div style="--paint:{colour}">{_marks(interval) if known else ""}</div>'
        f'<span role="cell" aria-label="{value}, {words}">{value}</span></div>'
    )


def _marks(interval: Interval) -> str:
    whisker = "" if math.isnan(interval.low) else f'<s style="--from:{interval.low:.4f};--to:{interval.high:.4f}"></s>'
    return f'{whisker}<i style="--at:{interval.value:.4f}"></i>'


def interval_words(interval: Interval) -> str:
    """An interval in words."""
    if math.isnan(interval.low):
        return f"{interval.n} picture, no interval" if interval.n == 1 else "no pictures"
    return f"95 %: {interval.low:.2f} to {interval.high:.2f} on {interval.n} pictures"
