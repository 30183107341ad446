"""The score chart as HTML: the scores of the result, of each layer's map and of the blind guesses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from camviz.methods import METHODS
from camviz.metrics import SCORES, Score
from camviz.results.finding import RESULT, Finding, MapScores, result_title

Kind = Literal["result", "layer", "baseline"]
# A signed score closer to 0 than this is shown as 0.
ROUNDING = 0.005
_NOTHING = MapScores({})


@dataclass(frozen=True)
class ScoreRow:
    """One row of the chart.

    Attributes:
        label: what was scored.
        detail: a remark in quieter type.
        kind: which group it belongs to.
        scores: the scores known so far; None for one that is still being computed.
        skipped: why scores that run the method again are left out, or "".
        complete: whether nothing more will be computed, so that `skipped` holds for every score that is missing.
        before: the scores on the clean picture, marked on the bars of a noisy one.
        explained: whether a known mask is that of the explained class, which a map should show.
    """

    label: str
    detail: str
    kind: Kind
    scores: MapScores = field(default=_NOTHING)
    skipped: str = ""
    before: MapScores = field(default=_NOTHING)
    complete: bool = False
    explained: bool = True

    def value(self, name: str) -> float | None:
        """One of its scores."""
        return self.scores[name]


def rows_of(finding: Finding) -> list[ScoreRow]:
    """A result's rows: the merged map, each of its layers from the deepest to the finest, and the blind guesses.

    A map without scores has no row; if the merged map has none, there are no rows at all.
    """
    if not finding.scores or not _is_scored(finding.scores[RESULT]):
        return []
    recipe = finding.settings.recipe
    rows = [_finished(result_title(recipe), "", "result", finding.scores[RESULT])]
    if len(recipe.layers) > 1:
        titles = dict(zip(recipe.layers, finding.layer_titles, strict=True))
        rows += [_finished(titles[layer], "", "layer", finding.scores[layer]) for layer in reversed(recipe.layers)]
    rows += [
        _finished(METHODS[name].title if name in METHODS else name, "blind guess", "baseline", scores)
        for name, scores in finding.baselines.items()
    ]
    return [row for row in rows if _is_scored(row.scores)]


def _is_scored(scores: MapScores) -> bool:
    return any(value is not None for value in scores.values.values())


def _finished(label: str, detail: str, kind: Kind, scores: MapScores) -> ScoreRow:
    """A row that is complete."""
    return ScoreRow(label, detail, kind, scores, skipped="it was not computed", complete=True)


def chart_scores(names: Sequence[str]) -> list[str]:
    """The scores that have a column in the chart, unknown ones among them."""
    return [name for name in names if name not in SCORES or SCORES[name].in_chart]


def scores_html(rows: Sequence[ScoreRow], names: Sequence[str]) -> str:
    """Draw the chart: a table of bars, one column per score."""
    columns = chart_scores(names)
    head = "".join(_head(name, first=_stands_apart(columns, name)) for name in columns)
    body = "".join(_row(row, columns) for row in rows)
    return (
        f'<div class="cv-scores" role="table" hidden style="--columns:{_widths(columns)}">'
        f'<div role="row"><div></div>{head}</div>{body}</div>'
    )


def _needs_mask(name: str) -> bool:
    return name in SCORES and SCORES[name].needs_mask


def _stands_apart(columns: Sequence[str], name: str) -> bool:
    """Whether a column has a gap before it: the first of those against a mask, and of those asked for besides."""
    before = columns[: columns.index(name)]
    return any(kind(name) and not any(map(kind, before)) for kind in (_needs_mask, is_on_request))


def is_on_request(name: str) -> bool:
    """Whether a known score is computed only if it is asked for."""
    return name in SCORES and SCORES[name].on_request


def _is_signed(name: str) -> bool:
    """Whether a score is shown as a number instead of a bar: because it can be negative or is unbounded."""
    return name not in SCORES or SCORES[name].range[0] < 0 or not math.isfinite(SCORES[name].range[1])


def _widths(columns: Sequence[str]) -> str:
    """The widths of the row header and of each column."""
    crowded = any(map(_needs_mask, columns))
    widths = ["minmax(7rem,1.3fr)" if crowded else "minmax(9rem,1.25fr)"]
    for index, name in enumerate(columns):
        if _is_signed(name):
            widths.append("5.6rem" if is_on_request(name) else "3.2rem" if crowded else "4.2rem")
        elif _needs_mask(name):
            widths.append("1.05fr" if _stands_apart(columns, name) else "0.9fr")
        else:
            first = index == 0
            widths.append(("1fr" if first else "0.82fr") if crowded else ("1.15fr" if first else "1fr"))
    return " ".join(widths)


def _classes(name: str, first: bool) -> str:
    marks = ("cv-mask" if _needs_mask(name) else "", "cv-apart-left" if first else "", "cv-raw" * _is_signed(name))
    return " ".join(filter(None, marks))


def _head(name: str, first: bool) -> str:
    score: Score | None = SCORES.get(name)
    title, question, why = (
        (score.chart_title, score.question, score.sentence) if score else (name, "", "As stored in the file.")
    )
    return (
        f'<div role="columnheader" class="{_classes(name, first)}" title="{escape(why)}">'
        f"<span>{escape(title)}</span> {escape(question)}</div>"
    )


def _row(row: ScoreRow, columns: Sequence[str]) -> str:
    cells = "".join(_cell(row, name, index == 0, _stands_apart(columns, name)) for index, name in enumerate(columns))
    note = f'<i title="{escape(row.scores.note)}">i</i>' if row.scores.note else ""
    return (
        f'<div role="row" class="cv-score-{row.kind}"><div role="rowheader" title="{escape(row.label)}">'
        f"<b>{escape(row.label)}</b> <span>{escape(row.detail)}</span>{note}</div>{cells}</div>"
    )


def _cell(row: ScoreRow, name: str, main: bool, first: bool) -> str:
    value, classes = row.value(name), _classes(name, first)
    if value is None:
        return _without_value(row, name, classes)
    if _is_signed(name):
        alarm, before = " cv-negative" if name in SCORES and value < -ROUNDING else "", row.before[name]
        clean = "" if before is None else f' <small title="clean: {signed(before)}">({signed(before)})</small>'
        return f'<div role="cell" class="{classes}{alarm}">{signed(value)}{clean}</div>'
    score = SCORES[name]
    length, before = _shown(score, value), row.before[name]
    tick = "" if before is None else _tick(_shown(score, before), score)
    weight = " cv-main" if main else ""
    return (
        f'<div role="cell" class="cv-bar{weight} {classes}" style="--v:{_share(score, length):.4f}">'
        f"<span>{length:.2f}</span>{tick}</div>"
    )


def _without_value(row: ScoreRow, name: str, classes: str) -> str:
    """The cell of a score that is undefined, was left out or is still being computed."""
    skipped = row.skipped if row.complete or (name in SCORES and SCORES[name].runs_method) else ""
    if name in row.scores.values:
        skipped = "it is undefined for this map"
    state = "cv-skipped" if skipped else "cv-wait"
    return (
        f'<div role="cell" class="cv-bar {state} {classes}" title="{escape(skipped)}">'
        f"<span>{'–' if skipped else ''}</span></div>"
    )


def _shown(score: Score, value: float) -> float:
    shown = score.chart_value(value)
    assert shown is not None  # noqa: S101  (the value is known)
    return shown


def _share(score: Score, length: float) -> float:
    """The length of a bar as a share of its cell."""
    low, high = score.range
    return (length - low) / (high - low)


def _tick(length: float, score: Score) -> str:
    return f'<s style="--b:{_share(score, length):.4f}" title="clean: {length:.2f}"></s>'


def signed(value: float) -> str:
    """A score that can be negative, with its sign."""
    return f"{value:+.2f}".replace("-", "−").replace("−0.00", "0.00")
