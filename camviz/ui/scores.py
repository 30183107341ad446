"""The score chart: ARCC and its parts for every layer, for the result and for the baselines; as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

Kind = Literal["result", "layer", "baseline"]

# name, question, explanation
COLUMNS = (
    ("ARCC", "all three in one", "The harmonic mean of the three parts: high is good, one bad part pulls it down."),
    ("Coherency", "does it stay?", "Does the map stay when the network sees only what the map shows? 1 = unchanged."),
    ("1 − complexity", "is it small?", "How little of the picture the map fills. 1 = a single point, 0 = everything."),
    ("ROAD", "does it matter?", "Does the class need what the map shows, and not the rest? 1 = fully, 0 = not at all."),
    (
        "raw ROAD",
        "unclipped",
        "ROAD before doubling and clipping. Negative: taking the dark places hurts more.",
    ),
)


# Against a known mask: the score's name in TRUTH, then as above.
TRUTH_COLUMNS = (
    ("mass", "Mass inside", "is it there?", "The share of the map's heat that lies on the true shape. 1 = all."),
    ("best_iou", "Best IoU", "does it fit?", "Overlap with the true shape at the best threshold. 1 = the very shape."),
    ("auc", "ROC AUC", "is it hotter?", "How often a pixel of the shape is hotter than one beside it. 0.5 = chance."),
)

# Raw ROAD closer to 0 than this is shown as 0.
ROUNDING = 0.005


@dataclass(frozen=True)
class ScoreRow:
    """One row of the chart; None stands for a score that is still to come.

    Attributes:
        label: what was scored.
        detail: a second, quieter word on it.
        kind: which group it belongs to.
        values: ARCC, coherency, 1 - complexity, scaled ROAD.
        road_raw: ROAD before scaling and clipping, in [-0.5, 0.5].
        truth: the scores against a known mask, in the order of TRUTH_COLUMNS; None where no mask is known.
        note: what a reader must know, or "".
        skipped: why ARCC and coherency are left out, or "".
        before: the values on the clean picture, to be marked on the bars of a noisy one.
    """

    label: str
    detail: str
    kind: Kind
    values: tuple[float | None, float | None, float | None, float | None]
    road_raw: float | None = None
    truth: tuple[float, ...] | None = None
    note: str = ""
    skipped: str = ""
    before: tuple[float | None, ...] = (None,) * 4


def scores_html(rows: list[ScoreRow]) -> str:
    """Draw the chart: a table of bars."""
    known = any(row.truth is not None for row in rows)
    columns = [*COLUMNS, *(column[1:] for column in TRUTH_COLUMNS if known)]
    head = "".join(
        f'<div role="columnheader" title="{escape(why)}"><span>{escape(name)}</span> {escape(question)}</div>'
        for name, question, why in columns
    )
    body = "".join(_row(row) for row in rows)
    kind = "cv-scores cv-known" if known else "cv-scores"
    return f'<div class="{kind}" role="table" hidden><div role="row"><div></div>{head}</div>{body}</div>'


def _row(row: ScoreRow) -> str:
    cells = "".join(
        _cell(value, row.skipped if index < 2 else "", main=index == 0, before=row.before[index])
        for index, value in enumerate(row.values)
    )
    raw = "" if row.road_raw is None else f"{row.road_raw:+.2f}".replace("-", "−").replace("−0.00", "0.00")
    alarm = " cv-negative" if row.road_raw is not None and row.road_raw < -ROUNDING else ""
    truth = "".join(_cell(value, "", main=False) for value in row.truth or ())
    note = f'<i title="{escape(row.note)}">i</i>' if row.note else ""
    return (
        f'<div role="row" class="cv-score-{row.kind}"><div role="rowheader" title="{escape(row.label)}">'
        f"<b>{escape(row.label)}</b> <span>{escape(row.detail)}</span>{note}</div>{cells}"
        f'<div role="cell" class="cv-raw{alarm}">{raw}</div>{truth}</div>'
    )


def _cell(value: float | None, skipped: str, main: bool, before: float | None = None) -> str:
    if value is None:
        state = "cv-skipped" if skipped else "cv-wait"
        return (
            f'<div role="cell" class="cv-bar {state}" title="{escape(skipped)}">'
            f"<span>{'–' if skipped else ''}</span></div>"
        )
    weight = " cv-main" if main else ""
    tick = "" if before is None else f'<s style="--b:{before:.4f}" title="clean: {before:.2f}"></s>'
    return f'<div role="cell" class="cv-bar{weight}" style="--v:{value:.4f}"><span>{value:.2f}</span>{tick}</div>'
