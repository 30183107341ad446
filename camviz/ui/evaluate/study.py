"""A study on the page: the shipped one or another, and what of it is shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache, partial, wraps
from typing import Any, Protocol, TypeVar, cast

import pandas as pd
from cachetools import cached

from camviz.metrics import SCORES
from camviz.models import list_models
from camviz.statistics import Interval
from camviz.trust.evaluation import TRUTH, oriented
from camviz.trust.ordering import MARGIN
from camviz.trust.ranked_maps import BLIND
from camviz.trust.sealed_study import SHIPPED
from camviz.trust.study_results import StudyResults, interval_in, load, trust_of_metrics
from camviz.ui.links.link_format import ALL_SIZES

# The smallness of a map alone, which every other metric has to beat.
TO_BEAT = "complexity"


class Gallery(Protocol):
    """The pictures behind a study's rows."""

    def overlay(self, network: str, picture: int, name: str) -> str:
        """A map over its picture, as a data URI; "" if it is not available."""

    def address(self, network: str, picture: int, name: str) -> str:
        """The address that opens a map in Explore; "" if there is none."""


@dataclass(frozen=True, eq=False)
class Study:
    """What the page shows.

    Attributes:
        results: the rows.
        gallery: the pictures of each kind of samples.
        goal: how many pictures of each network the protocol asks for; None without a verdict by it. A file only says
            that it follows a protocol.
    """

    results: StudyResults
    gallery: Callable[[str], Gallery] = field(repr=False)
    goal: int | None = None

    @property
    def kinds(self) -> list[str]:
        """The kinds of samples."""
        return list(self.results.rows["ordinary"]["kind"].unique())


@dataclass(frozen=True)
class Shown:
    """What of a study is shown.

    Attributes:
        samples: the kind of samples.
        equal_area: whether maps are compared at equal area.
        truth: the score against the mask that says which map is better.
        size: the shapes' size band, or "all".
        blind: whether blind guesses are among the maps.
    """

    samples: str = "plain"
    equal_area: bool = True
    truth: str = TRUTH
    size: str = ALL_SIZES
    blind: bool = True


@dataclass(frozen=True)
class Example:
    """Two maps of one picture, of which one is better, and what a metric says of them."""

    network: str
    picture: int
    better: str
    worse: str
    truths: tuple[float, float]
    scores: tuple[float, float]


@lru_cache(maxsize=1)
def shipped() -> StudyResults:
    """The study as it is shipped: read once for all visitors."""
    return load(SHIPPED)


F = TypeVar("F", bound=Callable[..., Any])
_LOCK = threading.Lock()


def _remembered(function: F) -> F:
    """Keep what a function makes of results with them, as long as they live."""

    @wraps(function)
    def wrapped(results: StudyResults, *args: object) -> object:
        compute = cached(results.remembered, lambda *key: (function.__name__, *key), _LOCK)
        return compute(partial(function, results))(*args)

    return cast(F, wrapped)


@_remembered
def metrics_table(results: StudyResults, shown: Shown) -> pd.DataFrame:
    """`trust_of_metrics` of what is shown."""
    return trust_of_metrics(
        results,
        equal_area=shown.equal_area,
        truth=shown.truth,
        kind=shown.samples,
        chosen=lambda rows: chosen(results, shown, rows),
    )


def chosen(results: StudyResults, shown: Shown, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the maps and sizes that are shown."""
    if not shown.blind:
        rows = rows[~rows["map"].isin(BLIND)]
    if shown.size != ALL_SIZES:
        samples = results.samples
        wanted = samples[(samples["kind"] == shown.samples) & (samples["band"] == shown.size)]
        rows = rows[rows["picture"].isin(wanted["picture"])]
    return rows


@_remembered
def maps_table(results: StudyResults, shown: Shown, metric: str) -> pd.DataFrame:
    """A row for each map where both are defined: "network", "picture", "map", the truth and the metric."""
    columns = list(dict.fromkeys(["network", "picture", "map", shown.truth, metric]))
    return rows_of(results, shown, metric)[columns].dropna()


def rows_of(results: StudyResults, shown: Shown, metric: str) -> pd.DataFrame:
    """The rows that are shown of the stage that measured a metric."""
    rows = results.of(results.stage_of(metric), equal_area=shown.equal_area, kind=shown.samples)
    return chosen(results, shown, rows)


def counts(results: StudyResults, shown: Shown) -> pd.Series:
    """How many pictures of each network were measured."""
    rows = chosen(results, shown, results.of("ordinary", equal_area=shown.equal_area, kind=shown.samples))
    return rows.groupby("network")["picture"].nunique()


def metric_rows(results: StudyResults, shown: Shown) -> tuple[dict[str, Interval], dict[str, list[tuple[str, float]]]]:
    """Each metric's pair accuracy, best first, and that of each network, by the metric's title."""
    table, names = metrics_table(results, shown), titles()
    networks = sorted(counts(results, shown).index)
    rows: dict[str, Interval] = {}
    dots: dict[str, list[tuple[str, float]]] = {}
    for name in map(str, table.index):
        row = table.loc[name].to_dict()
        rows[metric_title(name)] = interval_in(row)
        dots[metric_title(name)] = [(names.get(network, network), row[network]) for network in networks]
    return rows, dots


@_remembered
def examples(results: StudyResults, shown: Shown, metric: str, count: int) -> tuple[list[Example], list[Example]]:
    """The pairs that the metric orders rightly and wrongly and whose truths differ most, each of another picture.

    The same sample is shown once, whichever networks have seen it, unless there are too few samples.
    """
    right: list[Example] = []
    fooled: list[Example] = []
    for _, rows in maps_table(results, shown, metric).groupby(["network", "picture"], sort=False):
        pairs = _pairs(rows, shown.truth, metric)
        for found, sign in ((right, 1), (fooled, -1)):
            of_sign = [pair for pair in pairs if sign * oriented(metric) * (pair.scores[0] - pair.scores[1]) > 0]
            found.extend(sorted(of_sign, key=_gap)[-1:])
    chosen_right = _spread(right, count, ())
    return chosen_right, _spread(fooled, count, [pair.picture for pair in chosen_right])


def _pairs(rows: pd.DataFrame, truth: str, metric: str) -> list[Example]:
    """The pairs of one picture's maps of which one is better."""
    network, picture = rows["network"].iloc[0], int(rows["picture"].iloc[0])
    maps = list(zip(rows["map"], rows[truth].tolist(), rows[metric].tolist(), strict=True))
    return [
        Example(network, picture, first[0], second[0], (first[1], second[1]), (first[2], second[2]))
        for first in maps
        for second in maps
        if first[1] - second[1] > MARGIN
    ]


def _gap(pair: Example) -> float:
    return pair.truths[0] - pair.truths[1]


def _spread(pairs: list[Example], count: int, shown: Collection[int]) -> list[Example]:
    """The pairs with the largest gaps: from networks and of samples that are not shown yet, as far as there are any."""
    left, found = sorted(pairs, key=_gap, reverse=True), []
    while left and len(found) < count:
        networks, samples = {pair.network for pair in found}, {*shown, *(pair.picture for pair in found)}
        best = min(left, key=lambda pair: (pair.picture in samples, pair.network in networks))
        found.append(best)
        left.remove(best)
    return found


def titles() -> dict[str, str]:
    """The networks' names."""
    return {info.name: info.title for info in list_models()}


def metric_title(name: str) -> str:
    """A metric's name, turned so that high is good."""
    score = SCORES[name]
    return score.chart_title if score.is_flipped else score.title
