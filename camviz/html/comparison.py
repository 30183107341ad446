"""What the Compare page compares, which numbers can be compared, and what they mean; without Streamlit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from camviz.html.score_chart import ScoreRow

# Maps in a grid: about 5 MB sent to the browser, and as many as anyone can take in.
MOST = 24
# Maps that differ by less count as equal, and their difference is not stretched.
LEAST = 0.005
Scores = Sequence[ScoreRow | None]  # of a row; None for a difference, which cannot be scored


@dataclass(frozen=True)
class Mode:
    """One comparison.

    Attributes:
        title: its name in the menu.
        row: what a row is.
        column: what a column is.
        look: what to look for, for newcomers.
        caution: which numbers must not be compared, or "".
        across: whether all rows share a picture, model and class, so that their numbers can be compared.
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
        "Each row is a method: from the deepest layer on the left to the finest, then all layers merged. Look for "
        "what stays the same across columns: deep layers show what, fine ones show where.",
        "",
        across=True,
    ),
    "classes": Mode(
        "Classes",
        "class",
        "method",
        "Each row explains another class. If two rows look alike, the method does not distinguish the classes. The "
        "last rows show where there is more evidence for one than for the other: why this rather than that.",
        "Compare numbers within a row, not between classes: a likelier class can reach a higher ARCC.",
        across=False,
    ),
    "models": Mode(
        "Models",
        "model",
        "method",
        "Each row is another network, explaining the same class. Do they look at the same thing?",
        "Compare numbers within a row, not between models: a surer model can reach a higher ARCC.",
        across=False,
    ),
    "noise": Mode(
        "Noise",
        "copy",
        "method",
        "The first row is the clean picture, every other row a noisy copy, explained for the same class. A good map "
        "stays the same as long as the prediction does.",
        "Compare numbers within a row, not between copies: noise changes how sure the network is.",
        across=False,
    ),
    "rules": Mode(
        "Merging rules",
        "method",
        "rule",
        "The same layers, merged by each rule. The product and the minimum are bright only where all layers agree, "
        "the mean wherever any layer is; the outline of the sharpened one comes from the picture, not the network.",
        "",
        across=True,
    ),
}

Sort = Literal["chosen", "arcc", "best_iou"]
SORTS: dict[Sort, str] = {"chosen": "As chosen", "arcc": "Best ARCC first", "best_iou": "Best IoU first"}
_VISIBLE = 0.01  # a lead that two decimals show


def value(score: ScoreRow | None, by: Sort) -> float | None:
    """The value that a map is sorted by; None if unknown."""
    if score is None:
        return None
    return None if by == "chosen" else score.value(by)


def ruler(scores: Scores) -> Sort:
    """What says which map of a row is the best one: the overlap with the explained class's mask if known, else ARCC."""
    known = any(score is not None and score.explained and score.value("best_iou") is not None for score in scores)
    return "best_iou" if known else "arcc"


def rivals(scores: Scores) -> tuple[int, int] | None:
    """The best and the second best map of a row, by its ruler.

    None until all are scored, if there is only one, or if none leads.
    """
    by = ruler(scores)
    found = {index: value(score, by) for index, score in enumerate(scores) if score and not score.skipped}
    known = {index: each for index, each in found.items() if each is not None}
    if len(known) < max(2, len(found)):
        return None
    first, second, *_ = sorted(known, key=lambda index: -known[index])
    return (first, second) if known[first] > known[second] else None


def best(scores: Scores, spreads: Mapping[int, float]) -> int | None:
    """The best map of a row; None if none leads clearly.

    By ARCC, the lead must be more than twice the spread over seeds. The overlap with a true mask has no spread: a lead
    that can be seen is enough.

    Args:
        scores: the row's scores.
        spreads: the standard deviations of ARCC, as far as they are known, by map; those of both `rivals` are needed.
    """
    pair = rivals(scores)
    if pair is not None and ruler(scores) == "best_iou":
        return pair[0] if _lead(scores, pair) >= _VISIBLE else None
    if pair is None or not spreads.keys() >= set(pair):
        return None
    return pair[0] if _lead(scores, pair) > 2 * max(spreads[index] for index in pair) else None


def needed_spread(scores: Scores, spreads: Mapping[int, float]) -> int | None:
    """The map of a row whose spread `best` needs next; None once it can be answered.

    Where the spread of one rival is as large as half the lead already, that of the other is not needed.
    """
    pair = rivals(scores)
    if pair is None or ruler(scores) == "best_iou":
        return None
    lead = _lead(scores, pair)
    if any(lead <= 2 * spreads[index] for index in pair if index in spreads):
        return None
    return next((index for index in pair if index not in spreads), None)


def _lead(scores: Scores, pair: tuple[int, int]) -> float:
    """By how much the first map is ahead of the second."""
    first, second = (value(scores[index], ruler(scores)) or 0.0 for index in pair)
    return first - second


def order(rows: Sequence[Scores], by: Sort, across: bool) -> tuple[list[int], list[int]]:
    """The order of rows and columns.

    Rows whose numbers can be compared are sorted by their best map. Otherwise the columns are sorted by their means, as
    each row counts the same. Those without a number come last; ties keep their order.
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
    """`this` - `that`, stretched to [0, 1]: above 0.5 where `this` shows more evidence, below where `that` does."""
    far = reach(this, that)
    return (0.5 + (this - that) / (2 * far if far >= LEAST else 2)).astype(np.float32)


def reach(this: NDArray[np.float32], that: NDArray[np.float32]) -> float:
    """The largest difference between two maps."""
    return float(np.abs(this - that).max())


def same_class(label: str, index: int, labels: Sequence[str]) -> int | None:
    """The index of a class in another network's labels; of labels that occur twice, the one at the same index."""
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
    """A sentence that says a grid is too large, or "" if it is not."""
    if rows * columns <= MOST:
        return ""
    plural = {"class": "classes", "copy": "copies"}.get(mode.row, f"{mode.row}s")
    return (
        f"This grid would have {rows * columns} maps ({rows} rows of {columns}), and the limit is {MOST}: choose fewer "
        f"{plural} or {mode.column}s."
    )
