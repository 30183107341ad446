"""The bench of a method as files for a paper, a CSV table, a LaTeX table and a figure, and as text for a terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camviz.results.exports import as_cell
from camviz.results.figure import WIDTH, as_pdf, cut, paper_style
from camviz.statistics import Interval
from camviz.trust.bench import COLUMNS, FIT, Bench, Column, Row
from camviz.trust.sealed_study import PROTOCOL
from camviz.trust.study_figure import MARKS, draw_row

FILES = ("bench.csv", "bench.tex", "bench.pdf")
_CHART = tuple(column for column in COLUMNS if column.name in (FIT.name, "faithfulness", "arcc"))
_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{char: f"{{{char}}}" for char in "[]*"},  # after a line's end, LaTeX would take them for its options
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
_OWN, _OTHERS = "#b2182b", "#222222"
_TEXT, _SMALL = 7, 5.5  # points
_ROW, _ABOVE, _BELOW, _LEFT, _GAP, _EDGE = 0.2, 0.5, 0.75, 1.45, 0.2, 0.06  # inches
_NAME = 26  # characters of a row's title in the chart


def files(bench: Bench) -> dict[str, bytes]:
    """The files to write, by name."""
    return dict(zip(FILES, (as_csv(bench), as_latex(bench), as_figure(bench)), strict=True))


def as_csv(bench: Bench) -> bytes:
    """A row for each map, in UTF-8: means with the ends of their intervals, and the provenance; empty if undefined.

    "difference" is the best IoU minus RefineCAM's.
    """
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    networks = [f"{FIT.key} {name}" for name in bench.networks]
    keys = [*(column.key for column in COLUMNS), "difference"]
    ends = [f"{key}{end}" for key in keys for end in ("", "_low", "_high")]
    table.writerow(["map", *ends, "p", "p_holm", *networks, *bench.provenance])
    for row in bench.rows:
        means = [row.means[column.key] for column in COLUMNS]
        means.append(row.against.difference if row.against else Interval(math.nan, math.nan, math.nan, 0))
        numbers = [number for mean in means for number in (mean.value, mean.low, mean.high)]
        numbers += [row.against.p, row.against.corrected] if row.against else [math.nan, math.nan]
        numbers += [row.networks[FIT.key][name] for name in bench.networks]
        cells = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
        table.writerow([as_cell(row.title), *cells, *map(as_cell, bench.provenance.values())])
    return stream.getvalue().encode()


def as_latex(bench: Bench) -> bytes:
    """Two tables in UTF-8 that need no package: the means, and best IoU by network; below each the provenance."""
    head = [
        *(_stacked(column.title, column.area) for column in COLUMNS),
        _stacked("Difference", "to RefineCAM"),
        _stacked("p", "(Holm)"),
    ]
    of_networks = [
        _line([latex(row.title), *(_maths(row.networks[FIT.key][name]) for name in bench.networks)])
        for row in bench.rows
    ]
    means = "The mean over networks, below it the 95 % interval over pictures; differences are of best IoU"
    lines = [
        *_table(head, [line for row in bench.rows for line in _latex_rows(row)], (means, *_provenance(bench))),
        "",
        *_table(
            [_stacked(FIT.title, name) for name in bench.networks],
            of_networks,
            (f"{FIT.title}, {FIT.area}: the mean over pictures", *_provenance(bench)),
        ),
    ]
    return "\n".join([*lines, ""]).encode()


def _table(head: list[str], rows: list[str], notes: Iterable[str]) -> list[str]:
    """The lines of a table of maps, with notes below it."""
    return [
        r"{\footnotesize\setlength{\tabcolsep}{2pt}%",
        f"\\begin{{tabular}}{{l{'r' * len(head)}}}",
        "\\hline\\noalign{\\smallskip}",
        _line(["Map", *head]),
        "\\hline",
        *rows,
        "\\hline",
        "\\end{tabular}}",
        r"\par\smallskip{\tiny\raggedright\parindent0pt",
        *(f"{latex(note)}.\\par" for note in notes),
        "}",
    ]


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(char, char) for char in text)


def _latex_rows(row: Row) -> Iterator[str]:
    """A line with the means, and one with their intervals unless there are none."""
    means = [row.means[column.key] for column in COLUMNS]
    values, intervals = [_maths(mean.value) for mean in means], [_small(_ends(mean)) for mean in means]
    if row.against is None:
        values, intervals = [*values, "", ""], [*intervals, "", ""]
    else:
        values += [_maths(row.against.difference.value, "+.3f"), _maths(row.against.corrected, ".4f")]
        intervals += [_small(_ends(row.against.difference)), ""]
    yield _line([latex(row.title), *values])
    if any(intervals):
        yield _line(["", *intervals])


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _stacked(title: str, below: str) -> str:
    """A column's head: the words of its title above each other, then a small line."""
    lines = [*map(latex, title.split()), _small(latex(below))]
    return "\\shortstack{" + r"\\".join(lines) + "}"


def _small(text: str) -> str:
    return f"{{\\tiny {text}}}" if text else ""


def _maths(value: float, form: str = ".3f") -> str:
    return "--" if math.isnan(value) else f"${value:{form}}$"


def _ends(mean: Interval) -> str:
    return "" if math.isnan(mean.low) else f"$[{mean.low:.3f}, {mean.high:.3f}]$"


def as_figure(bench: Bench) -> bytes:
    """The figure as a PDF: a panel for each of three scores, a row for each map."""
    with paper_style():
        return as_pdf(_drawn(bench), Title=f"camviz bench: {bench.method}", Subject="; ".join(_provenance(bench)))


def _drawn(bench: Bench) -> Figure:
    height = _ABOVE + len(bench.rows) * _ROW + _BELOW
    drawn = Figure(figsize=(WIDTH, height))
    breadth = (WIDTH - _LEFT - len(_CHART) * _GAP) / len(_CHART)
    for number, column in enumerate(_CHART):
        left = _LEFT + number * (breadth + _GAP)
        axes = drawn.add_axes((left / WIDTH, _BELOW / height, breadth / WIDTH, len(bench.rows) * _ROW / height))
        _panel(axes, bench, column, named=number == 0)
    head = f"{cut(bench.method, 2 * _NAME)} on {bench.pictures} pictures of each network"
    drawn.text(_EDGE / WIDTH, 1 - _EDGE / height, head, fontsize=_TEXT + 1, va="top", weight="bold")
    foot = "\n".join((MARKS, *_provenance(bench)))
    drawn.text(_EDGE / WIDTH, _EDGE / height, foot, fontsize=_SMALL, va="bottom")
    return drawn


def _panel(axes: Axes, bench: Bench, column: Column, named: bool) -> None:
    """One score of every map, the first map on top."""
    for place, row in enumerate(bench.rows):
        networks = list(row.networks[column.key].values())
        draw_row(axes, place, row.means[column.key], networks, _OTHERS if place else _OWN)
    axes.margins(x=0.08)
    axes.set_ylim(len(bench.rows) - 0.5, -0.5)
    axes.set_yticks(range(len(bench.rows)), [cut(row.title, _NAME) for row in bench.rows] if named else [])
    axes.tick_params(labelsize=_SMALL, width=0.4, length=2)
    axes.grid(axis="x", linewidth=0.3, color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_title(f"{column.title}, {column.area}", fontsize=_TEXT)
    if named:
        axes.get_yticklabels()[0].set(color=_OWN, weight="bold")


def _provenance(bench: Bench) -> tuple[str, str, str]:
    """What the numbers depend on, in words."""
    facts = bench.provenance
    return (
        str(PROTOCOL),
        f"camviz {facts['camviz']}, {bench.measured_on}",
        f"{cut(facts['method'], 2 * _NAME)}, SHA-256 of its file {facts['method_sha256']}",
    )


def as_text(bench: Bench) -> str:
    """The short table for a terminal."""
    cells = [["", *(f"{column.title}, {column.area}" for column in _CHART), "best IoU - RefineCAM's"]]
    for row in bench.rows:
        against = row.against
        told = f"{against.difference.value:+.3f} (p = {against.corrected:.2g})" if against else ""
        cells.append([row.title, *(_shown(row.means[column.key]) for column in _CHART), told])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join([*lines, f"{bench.measured_on}. {bench.verdict}"])


def _shown(mean: Interval) -> str:
    if math.isnan(mean.value):
        return "undefined"
    return f"{mean.value:.3f}" + ("" if math.isnan(mean.low) else f" [{mean.low:.3f}, {mean.high:.3f}]")
