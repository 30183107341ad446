"""What the Compare page compares, what may be compared with what, and what its numbers say; without Streamlit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from camviz.html.score_chart import ScoreRow

# Maps in a grid: about 5 MB on their way to the browser, and as many as can be taken in.
MOST = 24
# Maps that differ by less are alike, and their difference is not stretched.
LEAST = 0.005
Scores = Sequence[ScoreRow | None]  # of a row; None for a difference, which is no map of a class


@dataclass(frozen=True)
class Mode:
    """One comparison.

    Attributes:
        title: what people choose.
        row: what a row is.
        column: what a column is.
        look: what to look at, for who sees it for the first time.
        caution: which numbers must not be compared, or "".
        across: whether rows are of one picture, model and class, so that their numbers can be compared.
    """

    title: str
    row: str
    column: str
    look: str
    caution: str
    across: bool


MODES = {
    "layers": Mode(
        "Methods by layer",
        "method",
        "layer",
        "Each row is a method, from the deepest layer on the left to the finest, and then all of them merged. Look for "
        "what stays from column to column: coarse layers say what, fine ones say where.",
        "",
        across=True,
    ),
    "classes": Mode(
        "Classes",
        "class",
        "method",
        "Each row asks for another class. If two rows look alike, the method does not tell the classes apart. The last "
        "rows show where there is more evidence for the one than for the other: why this rather than that.",
        "Compare numbers within a row, not between classes: a likelier class leaves ARCC more room.",
        across=False,
    ),
    "models": Mode(
        "Models",
        "model",
        "method",
        "Each row is another network that is asked for the same class. Do they look at the same thing?",
        "Compare numbers within a row, not between models: a surer model leaves ARCC more room.",
        across=False,
    ),
    "noise": Mode(
        "Noise",
        "copy",
        "method",
        "The first row is the clean picture, each other a noisy copy, asked for the same class. A good map stays while "
        "the network still sees the same.",
        "Compare numbers within a row, not between copies: noise changes how sure the network is.",
        across=False,
    ),
    "rules": Mode(
        "Merging rules",
        "method",
        "rule",
        "The same layers, merged by four rules. The product and the minimum are bright only where all layers agree, "
        "the mean wherever one is.",
        "",
        across=True,
    ),
}

Sort = Literal["chosen", "arcc", "mass"]
SORTS: dict[Sort, str] = {"chosen": "As chosen", "arcc": "Best ARCC first", "mass": "Most mass inside first"}


def value(score: ScoreRow | None, by: Sort) -> float | None:
    """What a map is sorted by; None where it is not known."""
    if score is None:
        return None
    if by == "arcc":
        return score.value("arcc")
    return score.value("mass") if by == "mass" else None


def best(scores: Scores) -> set[int]:
    """The maps of a row with the highest ARCC: none before all are scored, among fewer than two, or if all fail."""
    found = {index: value(score, "arcc") for index, score in enumerate(scores) if score and not score.skipped}
    known = {index: each for index, each in found.items() if each is not None}
    if len(known) < max(2, len(found)) or not max(known.values()):
        return set()
    return {index for index, each in known.items() if math.isclose(each, max(known.values()), abs_tol=1e-6)}


def order(rows: Sequence[Scores], by: Sort, across: bool) -> tuple[list[int], list[int]]:
    """The order of rows and columns.

    Rows whose numbers can be compared go by their best map. Of others the columns go by their mean, as each row counts
    alike. What has no number comes last; what is equal stays as it was.
    """
    numbers = [[value(score, by) for score in row] for row in rows]
    columns = range(len(rows[0]) if rows else 0)
    if by == "chosen":
        return list(range(len(rows))), list(columns)
    if across:
        return sorted(range(len(rows)), key=lambda row: -_most(numbers[row])), list(columns)
    return list(range(len(rows))), sorted(columns, key=lambda column: -_mean([row[column] for row in numbers]))


def _most(numbers: Sequence[float | None]) -> float:
    return max((number for number in numbers if number is not None), default=-math.inf)


def _mean(numbers: Sequence[float | None]) -> float:
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known else -math.inf


def difference(this: NDArray[np.float32], that: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where there is more evidence for this than for that, stretched to [0, 1]: above 0.5 for this, below for that."""
    far = reach(this, that)
    return (0.5 + (this - that) / (2 * far if far >= LEAST else 2)).astype(np.float32)


def reach(this: NDArray[np.float32], that: NDArray[np.float32]) -> float:
    """How far two maps differ at most."""
    return float(np.abs(this - that).max())


def same_class(label: str, index: int, labels: Sequence[str]) -> int | None:
    """A class in another network's labels; some labels are there twice, and then their place tells."""
    if index < len(labels) and labels[index] == label:
        return index
    return labels.index(label) if label in labels else None


def question(this: str, *others: str) -> str:
    """The page's title as HTML, from labels that are HTML."""
    if not others:
        return f"Where is <b>{this}</b>?"
    *first, last = others
    either = f"{', '.join(first)} or {last}" if first else last
    return f"Why <b>{this}</b> rather than {either}?"


def too_many(rows: int, columns: int, mode: Mode) -> str:
    """Say that a grid is too large, or "" if it is not."""
    if rows * columns <= MOST:
        return ""
    plural = {"class": "classes", "copy": "copies"}.get(mode.row, f"{mode.row}s")
    return (
        f"This grid would have {rows * columns} maps ({rows} rows of {columns}), and {MOST} are the most: choose fewer "
        f"{plural} or {mode.column}s."
    )
