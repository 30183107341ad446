"""The registry of scores, read by the chart, tables, files, command line and tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from torch import Tensor

if TYPE_CHECKING:
    from camviz.metrics.evidence import Evidence

Better = Literal["higher", "lower"]
# "explain": the method runs again, which takes long for a slow method. "network": it runs on another network, too.
# "mask": the picture's true mask is known.
Need = Literal["explain", "network", "mask"]
# A caveat for each of M maps and B images, or "".
Notes = Sequence[Sequence[str]]
# Evidence -> (M, B), NaN where the score is undefined; optionally with a note for each map and image, "" for none.
Function = Callable[["Evidence"], Tensor | tuple[Tensor, Notes]]


@dataclass(frozen=True)
class Score:
    """One score of a map.

    Attributes:
        name: its key in `SCORES`.
        title: its display name.
        question: what it asks, in about five words.
        sentence: what it asks and how to read it, in plain English.
        better: whether "higher" or "lower" values are better.
        range: the lowest and highest possible value; infinite if unbounded.
        formula: how it is computed, in one line.
        reference: its paper.
        cost: forward passes of the network for one map of an image, not counting those that run the method again.
        needs: what it needs besides the map, the picture and the network.
        in_chart: whether it has a column in the chart where it was computed; the table of all scores and every file
            include all of them.
        on_request: whether results include it only if it is asked for by name.
        function: computes it from an `Evidence`.
    """

    name: str
    title: str
    question: str
    sentence: str
    better: Better
    range: tuple[float, float]
    formula: str
    reference: str
    cost: int
    needs: frozenset[Need]
    in_chart: bool
    on_request: bool
    function: Function = field(repr=False)

    @property
    def runs_method(self) -> bool:
        """Whether the method that made the map is run again."""
        return bool(self.needs & {"explain", "network"})

    @property
    def needs_mask(self) -> bool:
        """Whether it compares the map with the picture's true mask."""
        return "mask" in self.needs

    @property
    def is_flipped(self) -> bool:
        """Whether the chart shows the highest value minus the score, so that a long bar is always good."""
        return self.better == "lower" and math.isfinite(sum(self.range))

    @property
    def chart_title(self) -> str:
        """Its title above a column of bars."""
        return f"{self.range[1]:g} − {self.title[:1].lower()}{self.title[1:]}" if self.is_flipped else self.title

    def chart_value(self, value: float | None) -> float | None:
        """The length of its bar; None where the value is unknown."""
        return self.range[1] - value if self.is_flipped and value is not None else value


SCORES: dict[str, Score] = {}


def score(
    name: str,
    title: str,
    question: str,
    sentence: str,
    *,
    better: Better = "higher",
    range: tuple[float, float] = (0.0, 1.0),
    formula: str,
    reference: str,
    cost: int = 0,
    needs: Sequence[Need] = (),
    in_chart: bool | None = None,
    on_request: bool = False,
) -> Callable[[Function], Function]:
    """Register a function of an `Evidence` as a score; the arguments are `Score`'s attributes.

    Unless `in_chart` says otherwise, scores that have to be asked for have no column in the chart, and others have one.
    """

    def register(function: Function) -> Function:
        SCORES[name] = Score(
            name,
            title,
            question,
            sentence,
            better,
            range,
            formula,
            reference,
            cost,
            frozenset(needs),
            not on_request if in_chart is None else in_chart,
            on_request,
            function,
        )
        return function

    return register


def available(*, mask: bool, explain: bool = True, on_request: bool = False) -> list[str]:
    """The names of the scores that can be computed, in the order of the registry.

    Args:
        mask: whether the picture's true mask is known.
        explain: whether the method may run again, on any network.
        on_request: whether to include those that have to be asked for.
    """
    has = {"mask"} if mask else set()
    has |= {"explain", "network"} if explain else set()
    return [name for name, score in SCORES.items() if score.needs <= has and (on_request or not score.on_request)]
