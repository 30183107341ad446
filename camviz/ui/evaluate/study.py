"""The shipped study, and what of it the page shows: read and computed once for all visitors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from camviz.metrics import SCORES
from camviz.trust.evaluation import BLIND, TRUTH, oriented
from camviz.trust.ordering import MARGIN
from camviz.trust.sealed_samples import Kind
from camviz.trust.sealed_study import SHIPPED
from camviz.trust.study_results import StudyResults, load, stage_of, trust_of_metrics
from camviz.ui.links.link_format import ALL_SIZES


@dataclass(frozen=True)
class Shown:
    """What of the study is shown.

    Attributes:
        samples: the kind of samples.
        equal_area: whether maps are compared at equal area.
        truth: the score against the mask that says which map is better.
        size: the shapes' size band, or "all".
        blind: whether blind guesses are among the maps.
    """

    samples: Kind = "plain"
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
    """The study as it is shipped."""
    return load(SHIPPED)


@lru_cache(maxsize=64)
def metrics_table(shown: Shown) -> pd.DataFrame:
    """`trust_of_metrics` of what is shown."""
    return trust_of_metrics(
        shipped(),
        equal_area=shown.equal_area,
        truth=shown.truth,
        kind=shown.samples,
        chosen=lambda rows: chosen(shown, rows),
    )


def chosen(shown: Shown, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the maps and sizes that are shown."""
    if not shown.blind:
        rows = rows[~rows["map"].isin(BLIND)]
    if shown.size != ALL_SIZES:
        samples = shipped().samples
        wanted = samples[(samples["kind"] == shown.samples) & (samples["band"] == shown.size)]
        rows = rows[rows["picture"].isin(wanted["picture"])]
    return rows


@lru_cache(maxsize=64)
def maps_table(shown: Shown, metric: str) -> pd.DataFrame:
    """A row for each map: "network", "picture", "map", the truth and the metric."""
    rows = shipped().of(stage_of(metric), equal_area=shown.equal_area, kind=shown.samples)
    columns = list(dict.fromkeys(["network", "picture", "map", shown.truth, metric]))
    return chosen(shown, rows)[columns].dropna()


def measured_with(shown: Shown, metric: str) -> bool:
    """Whether a metric was measured together with the truth."""
    rows = shipped().rows.get(stage_of(metric))
    return rows is not None and (shown.truth in rows or shown.truth == TRUTH)


@lru_cache(maxsize=64)
def examples(shown: Shown, metric: str, count: int) -> tuple[list[Example], list[Example]]:
    """The pairs that the metric orders rightly and wrongly and whose truths differ most, each of another picture."""
    right: list[Example] = []
    fooled: list[Example] = []
    for _, rows in maps_table(shown, metric).groupby(["network", "picture"], sort=False):
        pairs = _pairs(rows, shown.truth, metric)
        for found, sign in ((right, 1), (fooled, -1)):
            of_sign = [pair for pair in pairs if sign * oriented(metric) * (pair.scores[0] - pair.scores[1]) > 0]
            found.extend(sorted(of_sign, key=_gap)[-1:])
    return _spread(right, count), _spread(fooled, count)


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


def _spread(pairs: list[Example], count: int) -> list[Example]:
    """The first pairs by their gap, from as many networks as there are."""
    ordered = sorted(pairs, key=_gap, reverse=True)
    first_of_each = list({pair.network: pair for pair in reversed(ordered)}.values())
    firsts = sorted(first_of_each, key=_gap, reverse=True)
    return [*firsts, *(pair for pair in ordered if pair not in firsts)][:count]


def metric_title(name: str) -> str:
    """A metric's name, turned so that high is good."""
    score = SCORES[name]
    return score.chart_title if score.is_flipped else score.title
