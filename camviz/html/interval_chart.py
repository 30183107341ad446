"""A chart of intervals as HTML: a point with a whisker for each row, in one or more columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from camviz.statistics import Interval

_TICKS = {0: "0", 0.5: "0.5", 1: "1"}


def intervals_html(
    columns: Mapping[str, Mapping[str, Interval]],
    paint: Mapping[str, str],
    dots: Mapping[str, Sequence[tuple[str, float]]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> str:
    """Draw intervals on a scale from 0 to 1: columns side by side share their rows, and stack where it is narrow.

    Args:
        columns: the intervals by the column's title and the row's name, with the same rows in each; a NaN is shown as
            "undefined".
        paint: each row's colour, as CSS has it.
        dots: single values that a row's mean is made of, drawn as small rings, each with its name.
        notes: what a row's name means.
    """
    parts = [_column(title, rows, paint, dots or {}, notes or {}) for title, rows in columns.items()]
    return f'<div class="cv-intervals" hidden style="--columns:{len(columns)}">{"".join(parts)}</div>'


def _column(
    title: str,
    rows: Mapping[str, Interval],
    paint: Mapping[str, str],
    dots: Mapping[str, Sequence[tuple[str, float]]],
    notes: Mapping[str, str],
) -> str:
    lines = "".join(
        _row(name, interval, paint[name], dots.get(name, ()), notes.get(name, "")) for name, interval in rows.items()
    )
    ticks = "".join(f'<i style="--at:{at}">{label}</i>' for at, label in _TICKS.items())
    return (
        f'<section><h4>{escape(title)}</h4><div role="table" aria-label="{escape(title)}">{lines}</div>'
        f'<div class="cv-ticks" aria-hidden="true"><div>{ticks}</div></div></section>'
    )


def _row(name: str, interval: Interval, colour: str, dots: Sequence[tuple[str, float]], note: str) -> str:
    shown, hint = escape(name), f"\n{escape(note)}" if note else ""
    words = interval_words(interval)
    rings = "".join(
        f'<u style="--at:{value:.4f}" title="{escape(title)}: {value:.2f}"></u>'
        for title, value in dots
        if not math.isnan(value)
    )
    known = not math.isnan(interval.value)
    value = f"{interval.value:.2f}" if known else "undefined"
    return (
        f'<div role="row" title="{shown}: {value}, {words}{hint}"><span role="rowheader">{shown}</span>'
        f'<div style="--paint:{colour}">{rings}{_marks(interval) if known else ""}</div>'
        f'<span role="cell" aria-label="{value}, {words}">{value}</span></div>'
    )


def _marks(interval: Interval) -> str:
    whisker = "" if math.isnan(interval.low) else f'<s style="--from:{interval.low:.4f};--to:{interval.high:.4f}"></s>'
    return f'{whisker}<i style="--at:{interval.value:.4f}"></i>'


def interval_words(interval: Interval) -> str:
    """An interval in words."""
    if math.isnan(interval.low):
        pictures = "1 picture" if interval.n == 1 else f"{interval.n} pictures"
        return f"{pictures}, no interval" if interval.n else "no pictures"
    return f"95 %: {interval.low:.2f} to {interval.high:.2f} on {interval.n} pictures"
