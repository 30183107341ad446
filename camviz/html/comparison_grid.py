"""The Compare page's grid as HTML: its header, rows of panels, the numbers below them, pinned panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from camviz.html.comparison import LEAST, Scores, Sort, best, ruler
from camviz.html.score_chart import ScoreRow, chart_scores, is_on_request, signed
from camviz.metrics import SCORES

_HOW_TO_PIN = "Point at a map to pin it: it stays while everything else changes."
# The colours of a difference.
_RAMP = '<div class="cv-legend"><i class="cv-ramp" data-signed></i></div>'
# The width of a panel in rem by the number of rows on the screen; the last also for more rows.
_WIDTHS = (17, 14.5, 11.5, 9.2)
_UNKNOWN: Mapping[int, float] = {}
_BEST: dict[Sort, str] = {
    "arcc": "Its ARCC is ahead of the next by more than twice the spread over five random seeds.",
    "best_iou": "It fits the true shape best.",
}


@dataclass(frozen=True)
class Panel:
    """A map of a row.

    Attributes:
        title: what it shows, in full.
        blank: why it is blank, or "".
        outline: an image drawn over it, or "".
    """

    title: str
    blank: str = ""
    outline: str = ""


@dataclass(frozen=True)
class Head:
    """A row's header: its name, details, whether its picture is shown, whether it is a difference."""

    title: str
    detail: str
    picture: bool = False
    signed: bool = False


def width(rows: int) -> float:
    """The width of a panel in rem."""
    return _WIDTHS[min(max(rows, 1), len(_WIDTHS)) - 1]


def head_html(columns: Sequence[tuple[str, str]], look: str, caution: str, wide: float, picture: bool) -> str:
    """What to look for, next to the picture if no row shows it, and the columns' names with details."""
    names = "".join(
        f'<h4 title="{escape(name)}">{escape(name)} <span>{escape(more)}</span></h4>' for name, more in columns
    )
    warning = f" <b>{escape(caution)}</b>" if caution else ""
    seen = '<figure><div class="cv-pic"><canvas role="img" aria-label="What the model sees"></canvas></div></figure>'
    corner = seen if picture else "<div></div>"
    return (
        f'<div class="cv-grid cv-grid-head" hidden style="{_columns(len(columns), wide)}">{corner}'
        f"<p>{escape(look)} {_HOW_TO_PIN}{warning}</p>{names}</div>"
    )


def row_html(head: Head, panels: Sequence[Panel], wide: float) -> str:
    """A row: its header, and a canvas for each map with a button to pin it."""
    figures = "".join(_figure(panel, index, "Pin") for index, panel in enumerate(panels))
    return f'<div class="cv-grid" hidden style="{_columns(len(panels), wide)}">{_head(head)}{figures}</div>'


def row_skeleton(head: Head, panels: int, wide: float) -> str:
    """A placeholder for the row while its maps are computed."""
    empty = '<figure><div class="cv-pic cv-wait"></div></figure>' * panels
    quiet = Head(head.title, head.detail)
    return f'<div class="cv-grid" hidden style="{_columns(panels, wide)}">{_head(quiet)}{empty}</div>'


def numbers_html(
    scores: Scores,
    reaches: Sequence[float | None],
    wide: float,
    spreads: Mapping[int, float] = _UNKNOWN,
    lines: int = 0,
) -> str:
    """The numbers below a row, or the largest difference; the best is marked once the spreads of ARCC tell.

    Below ARCC, there is space for some lines from the start, so that nothing moves when they come.
    """
    marked = best(scores, spreads)
    cells = "".join(
        reach_html(reach or 0.0) if score is None else numbers(score, ruler(scores) if index == marked else None)
        for index, (score, reach) in enumerate(zip(scores, reaches, strict=True))
    )
    style = f"{_columns(len(scores), wide)};--lines:{lines}"
    return f'<div class="cv-grid cv-numbers" hidden style="{style}"><div></div>{cells}</div>'


def lines_of(names: Sequence[str]) -> int:
    """How many lines stand below a map's ARCC if these scores are shown."""
    return ("best_iou" in names) + sum(map(is_on_request, chart_scores(names)))


def reach_html(reach: float) -> str:
    """The largest difference between two maps."""
    words = f"largest difference {reach:.2f}" if reach >= LEAST else "no difference"
    why = "Stretched so that the largest difference has full colour; “True scale” shows it unstretched."
    return f'<div class="cv-number" title="{why}"><small><span>{words}</span></small></div>'


def numbers(score: ScoreRow, best_by: Sort | None = None) -> str:
    """A map's ARCC as a bar with its parts as a tooltip, and below it the scores against a known mask.

    The best map of a row is marked where the score stands that says so.
    """
    arcc, iou = score.value("arcc"), score.value("best_iou")
    star = f'<b title="{_BEST[best_by]}">best</b>' if best_by else ""
    if score.skipped:
        bar = f'<div class="cv-bar cv-skipped" title="{escape(score.skipped)}"><span>–</span></div>'
    elif arcc is None:
        bar = '<div class="cv-bar cv-wait"><span>&nbsp;</span></div>'
    else:
        leads = best_by == "arcc"
        kind = "cv-bar cv-main cv-best" if leads else "cv-bar cv-main"
        bar = f'<div class="{kind}" style="--v:{arcc:.4f}"><span><i>ARCC</i> {arcc:.2f}</span>{star * leads}</div>'
    truth = ""
    if iou is not None:
        fits = best_by == "best_iou"
        kind = ' class="cv-best-fit"' if fits else ""
        inside = f"<span>mass inside {score.value('mass'):.2f}</span>"
        truth = f"<small{kind}><span>IoU {iou:.2f} {star * fits}</span>{inside}</small>"
    return f'<div class="cv-number" title="{escape(_parts(score))}">{bar}{truth}{_more(score)}</div>'


def _more(score: ScoreRow) -> str:
    """A map's scores that were asked for besides, a line for each."""
    lines = []
    for name in chart_scores(list(score.scores.values)):
        if is_on_request(name):
            value, known = score.value(name), SCORES[name]
            shown = "undefined" if value is None else signed(value)
            lines.append(f'<small title="{escape(known.sentence)}"><span>{known.title} {shown}</span></small>')
    return "".join(lines)


def pin_html(lines: Sequence[str], panel: Panel, signed: bool) -> str:
    """A pinned panel, a few lines that describe it, and a button to unpin it."""
    spans = "".join(f'<span title="{escape(line)}">{escape(line)}</span>' for line in lines)
    ramp = _RAMP if signed else ""
    figure = _figure(panel, 0, "Unpin")
    return f'<div class="cv-pinned" hidden>{figure}<div class="cv-pinned-words">{spans}</div>{ramp}</div>'


def _parts(score: ScoreRow) -> str:
    """The chart's scores in one line, as far as they are known."""
    known = [
        f"{SCORES[name].chart_title} {SCORES[name].chart_value(value):.2f}"
        for name, value in score.scores.values.items()
        if value is not None and name in SCORES and SCORES[name].in_chart
    ]
    return ", ".join(known) + (f"; {score.scores.note}" if score.scores.note else "")


def _columns(count: int, wide: float) -> str:
    return f"--cells:{count};--wide:{wide}rem"


def _head(head: Head) -> str:
    """A row's name, and its picture if each row has one."""
    canvas = f'<canvas role="img" aria-label="{escape(head.title)}"></canvas>'
    picture = f'<figure><div class="cv-pic">{canvas}</div></figure>' if head.picture else ""
    ramp = _RAMP if head.signed else ""
    return (
        f'<div class="cv-grid-name">{picture}<h4 title="{escape(head.title)}">{escape(head.title)}</h4>'
        f"<p>{escape(head.detail)}</p>{ramp}</div>"
    )


def _figure(panel: Panel, index: int, act: str) -> str:
    title = escape(panel.title)
    over = f'<div class="cv-blank"><span>Blank: {escape(panel.blank)}.</span></div>' if panel.blank else ""
    line = f'<img src="{panel.outline}" alt="Outline of the true shape">' if panel.outline else ""
    return (
        f'<figure title="{title}"><div class="cv-pic">'
        f'<canvas role="img" aria-label="{title}" data-map="{index}"></canvas>{line}{over}</div>'
        f'<button type="button" class="cv-pin" data-pick="{index}" aria-label="{act} {title}">{act}'
        "</button></figure>"
    )
