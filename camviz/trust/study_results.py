"""What the rows of the sealed study say: how far each metric can be trusted, and the tests that the protocol declares.

Tables have columns "network", "picture", "map", "equal_area" and one for each score, also for those that follow from
others. In addition, "arcc_exact" and "road_exact" hold ARCC and ROAD under the rule that removes exact shares, for the
maps as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from camviz.metrics.arcc import harmonic_mean
from camviz.statistics import Interval, holm
from camviz.trust.deliberate import MASK
from camviz.trust.evaluation import TRUTH, Pairs, accuracies, by_picture, oriented
from camviz.trust.ordering import MARGIN, kendall
from camviz.trust.ranked_maps import BLIND, MERGED
from camviz.trust.resampling import LEAST_FOR_WINNER, interval, rank_intervals, sign_flip
from camviz.trust.sealed_study import PARTS, PROTOCOL, REFINED, STAGES, Protocol

# What says which of two maps is better: scores against the mask.
TRUTHS = (TRUTH, "mass", "auc", "cosine")
# The metrics that are held against the truth, by the stage that measured them.
METRICS: dict[str, tuple[str, ...]] = {
    "ordinary": (
        *("faithfulness", "fidelity", "infidelity", "arcc", "coherency", "complexity", "road_raw", "morf", "lerf"),
        *("average_drop", "average_gain", "increase", "adcc", "entropy", "gini"),
    ),
    "slow": ("insertion", "deletion", "max_sensitivity"),
    "randomisation": ("randomisation", "randomisation_ssim"),
}
AS_THEY_ARE = tuple(stage.name for stage in STAGES if not stage.at_equal_area)
EXACT = ("arcc_exact", "road_exact")
CONTROLS = ("faithfulness_shifted", "faithfulness_blur", "faithfulness_mean")
# The networks on which the verdict rests; what was chosen, was chosen on exploring samples of these.
DECIDING = ("shapes-efficientnet-lite0", "shapes-resnet18", "shapes-vgg11")
CONTRASTS = (
    ("faithfulness", "arcc"),
    *(("arcc", other) for other in ("coherency", "complexity", "road_raw", "adcc", "insertion", "deletion")),
)
DEEPEST = "the deepest layer"
MAP_CONTRASTS = ((REFINED, DEEPEST), (REFINED, f"layercam, {MERGED}"))


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The rows of the study, as far as it has been run.

    Attributes:
        samples: every sample looked at, with "network", "kind" and why it was left out.
        rows: the rows of each stage, with "network" and "kind"; the truths are in those of the stage "ordinary".
        metrics: the metrics of each stage.
        truths: what may say which map is better, the usual one first.
        protocol: what the rows follow; None for pictures and maps of somebody's own choice.
    """

    samples: pd.DataFrame = field(repr=False)
    rows: Mapping[str, pd.DataFrame] = field(repr=False)
    metrics: Mapping[str, Sequence[str]] = field(default_factory=lambda: METRICS)
    truths: tuple[str, ...] = TRUTHS
    protocol: Protocol | None = None
    # What was made of these results; it goes with them.
    remembered: LRUCache[Any, Any] = field(default_factory=lambda: LRUCache(64), repr=False)

    def stage_of(self, metric: str) -> str:
        """The stage that measures a metric."""
        return next(stage for stage, names in self.metrics.items() if metric in names)

    def of(self, stage: str, *, equal_area: bool, kind: str = "plain") -> pd.DataFrame:
        """A stage's rows of one kind of samples, with the truths and the second tie rule beside them.

        A stage that measures maps only as they are gives these rows for both.
        """
        rows = self.rows[stage]
        equal_area = equal_area and stage not in AS_THEY_ARE
        rows = rows[(rows["kind"] == kind) & (rows["equal_area"] == equal_area)].drop(columns=["kind", "equal_area"])
        if self.truths[0] in rows:
            return rows
        truths = self.of("ordinary", equal_area=equal_area, kind=kind)
        known = [name for name in self.truths if name in truths]
        return rows.merge(truths[["network", "picture", "map", *known]], on=["network", "picture", "map"])


@dataclass(frozen=True)
class Contrast:
    """Two metrics, or two maps, compared on the same pictures.

    Attributes:
        first: one of them.
        second: the other.
        difference: the mean of first - second, with its interval.
        p: the sign-flip test's p-value.
        corrected: the same after Holm's correction over all declared contrasts.
        networks: the mean difference on each network.
    """

    first: str
    second: str
    difference: Interval
    p: float
    corrected: float
    networks: dict[str, float]


def load(folder: Path) -> StudyResults:
    """Read what there is of the study's files."""
    samples, rows = [], {stage.name: [] for stage in STAGES}
    for part in PARTS:
        tables = {"": samples, **{f"-{stage}": found for stage, found in rows.items()}}
        for suffix, found in tables.items():
            file = folder / f"{part.name}{suffix}.parquet"
            if file.exists():
                found.append(pd.read_parquet(file).assign(network=part.network, kind=part.kind))
    tables = {stage: with_derived(pd.concat(found, ignore_index=True)) for stage, found in rows.items() if found}
    return StudyResults(pd.concat(samples, ignore_index=True), tables, protocol=PROTOCOL)


def with_derived(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the scores that follow from others.

    Args:
        rows: a stage's rows as its files hold them, with "network" and "kind".
    """
    if "road_raw" not in rows:
        return rows
    return with_arcc(rows.assign(adcc=_harmonic(rows, 1 - rows["average_drop"])))


def with_arcc(rows: pd.DataFrame) -> pd.DataFrame:
    """Add ARCC, and to the maps as they are ARCC and ROAD with exact shares."""
    rows = rows.assign(arcc=_arcc(rows, rows["road_raw"]))
    # ROAD with exact shares is that of the map at equal area, which has the same order and no ties.
    keys = ["network", "kind", "picture", "map"]
    exact = rows[rows["equal_area"]].set_index(keys)["road_raw"]
    plain = rows[~rows["equal_area"]].set_index(keys)
    road = exact.reindex(plain.index)
    added = plain.assign(road_exact=road, arcc_exact=_arcc(plain, road)).reset_index()
    return pd.concat([added, rows[rows["equal_area"]]], ignore_index=True)


def _arcc(rows: pd.DataFrame, road: pd.Series) -> NDArray[np.float64]:
    return _harmonic(rows, (2 * road).clip(0, 1))


def _harmonic(rows: pd.DataFrame, third: pd.Series) -> NDArray[np.float64]:
    """The harmonic mean of coherency, 1 - complexity and a third part; NaN where that is undefined."""
    parts = np.stack([rows["coherency"], 1 - rows["complexity"], third]).astype(np.float64)
    return np.where(third.isna(), np.nan, harmonic_mean(torch.from_numpy(parts)).numpy())


def trust_of_metrics(
    results: StudyResults,
    *,
    equal_area: bool,
    truth: str = TRUTH,
    margin: float = MARGIN,
    kind: str = "plain",
    chosen: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows,
    pairs: Pairs | None = None,
) -> pd.DataFrame:
    """The pair accuracy of every metric, best first.

    Args:
        results: the study.
        equal_area: whether maps are compared at equal area.
        truth: the column that says which map is better.
        margin: how much two truths have to differ.
        kind: the kind of samples.
        chosen: picks rows, to leave maps or pictures out.
        pairs: which two maps of a picture are compared; None for all.

    Returns:
        a row for each metric: "pair_accuracy", "low", "high", "pictures", "rank_low", "rank_high" (of the metrics that
        were measured on as many pictures), and a column for each network.
    """
    tables = [
        _trust(accuracies_of(results, stage, names, equal_area, truth, margin, kind, chosen, pairs))
        for stage, names in results.metrics.items()
        if stage in results.rows
    ]
    return pd.concat([table for table in tables if len(table)]).sort_values("pair_accuracy", ascending=False)


def accuracies_of(
    results: StudyResults,
    stage: str,
    names: Sequence[str],
    equal_area: bool,
    truth: str = TRUTH,
    margin: float = MARGIN,
    kind: str = "plain",
    chosen: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows,
    pairs: Pairs | None = None,
) -> dict[str, pd.DataFrame]:
    """The pair accuracy of metrics on each network (rows) and picture (columns)."""
    rows = results.of(stage, equal_area=equal_area, kind=kind)
    if truth not in rows:
        return {}
    rows = chosen(rows)
    return {name: accuracies(rows, name, truth, margin, pairs) for name in names if name in rows and len(rows)}


def _trust(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Intervals, ranks and networks of metrics measured on the same pictures."""
    if not found:
        return pd.DataFrame()
    ranks = rank_intervals([table.to_numpy() for table in found.values()])
    rows = {}
    for (name, table), (low, high) in zip(found.items(), ranks, strict=True):
        mean = interval(table.to_numpy())
        rows[name] = {
            "pair_accuracy": mean.value,
            "low": mean.low,
            "high": mean.high,
            "pictures": mean.n,
            "rank_low": low,
            "rank_high": high,
            **table.mean(axis=1).to_dict(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def interval_in(row: Mapping[Any, Any], value: str = "pair_accuracy") -> Interval:
    """A mean with its interval, as a row of `trust_of_metrics` (or of another table, under another name) holds it."""
    return Interval(row[value], row["low"], row["high"], int(row["pictures"]))


def contrasts(results: StudyResults) -> list[Contrast]:
    """The contrasts that the protocol declares, at equal area, with Holm's correction over all of them.

    Those with a metric that has not been measured yet are left out.
    """
    pairs = [
        (first, second, _accuracy(results, first) - _accuracy(results, second))
        for first, second in CONTRASTS
        if all(results.stage_of(metric) in results.rows for metric in (first, second))
    ]
    pairs += [(*names, _fit(results, names[0]) - _fit(results, names[1])) for names in MAP_CONTRASTS]
    tests = [sign_flip(difference.to_numpy()) for _, _, difference in pairs]
    return [
        Contrast(first, second, interval(difference.to_numpy()), p, corrected, network_means(difference))
        for (first, second, difference), p, corrected in zip(pairs, tests, holm(tests), strict=True)
    ]


def estimate_with_controls(
    results: StudyResults,
    *,
    equal_area: bool = True,
    truth: str = TRUTH,
    kind: str = "plain",
    chosen: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows,
) -> dict[str, Interval]:
    """The pair accuracy of the Faithfulness Estimate and of its controls, on the pictures that have both.

    Args:
        results: the study.
        equal_area: whether maps are compared at equal area.
        truth: the column that says which map is better.
        kind: the kind of samples.
        chosen: picks rows, to leave maps or pictures out.

    Returns:
        the estimate first, then those in `CONTROLS`; empty if they were not measured.
    """
    if not set(CONTROLS) <= set(results.rows.get("slow", ())):
        return {}
    pictures = results.of("slow", equal_area=equal_area, kind=kind)[["network", "picture"]].drop_duplicates()
    if pictures.empty:
        return {}
    how = {"equal_area": equal_area, "truth": truth, "kind": kind}
    own = accuracies_of(results, "ordinary", ("faithfulness",), chosen=lambda rows: chosen(rows).merge(pictures), **how)
    controls = accuracies_of(results, "slow", CONTROLS, chosen=chosen, **how)
    return {name: interval(found.to_numpy()) for name, found in (own | controls).items()}


def network_means(table: pd.DataFrame) -> dict[str, float]:
    """The mean of each network that has values."""
    return {str(network): float(mean) for network, mean in table.mean(axis=1).dropna().items()}


def _accuracy(results: StudyResults, metric: str) -> pd.DataFrame:
    """A metric's pair accuracy at equal area; empty if it was not measured."""
    stages = [stage for stage, names in results.metrics.items() if metric in names and stage in results.rows]
    found = [accuracies_of(results, stage, (metric,), equal_area=True) for stage in stages]
    return next((tables[metric] for tables in found if metric in tables), pd.DataFrame())


def _fit(results: StudyResults, name: str) -> pd.DataFrame:
    """The truth of one map on each network (rows) and picture (columns)."""
    rows = results.of("ordinary", equal_area=True)
    # Each network's maps begin with that of its deepest layer.
    wanted = rows.groupby("network")["map"].transform("first") if name == DEEPEST else name
    return rows[rows["map"] == wanted].set_index(["network", "picture"])[TRUTH].unstack("picture")


def order_of_maps(results: StudyResults, *, equal_area: bool) -> pd.DataFrame:
    """Second level: does a metric's mean over pictures order the maps as the truth's mean does? Tau-b by network."""
    found = {}
    for stage, names in results.metrics.items():
        if stage not in results.rows:
            continue
        rows = results.of(stage, equal_area=equal_area)
        means = rows.groupby(["network", "map"])[[name for name in (*names, TRUTH) if name in rows]].mean()
        for name in (name for name in names if name in means):
            wide = means[[TRUTH, name]].unstack("map")
            taus = kendall(wide[TRUTH].to_numpy(), oriented(name) * wide[name].to_numpy())
            found[name] = dict(zip(wide.index, taus, strict=True))
    table = pd.DataFrame.from_dict(found, orient="index")
    return table.assign(mean=table.mean(axis=1)).sort_values("mean", ascending=False)


def fall_into_noise(results: StudyResults, *, equal_area: bool) -> pd.DataFrame:
    """Third level: does a metric fall when a map is blended into noise? 1 = at every step, 0 = unrelated."""
    rows = results.of("fading", equal_area=equal_area)
    rows = rows.assign(clean=-rows["map"].str.removeprefix("noise ").astype(int))
    found = {}
    for name in (name for name in METRICS["ordinary"] if name in rows):
        tau = interval(by_picture(rows, name, "clean", kendall).to_numpy())
        found[name] = (tau.value, tau.low, tau.high, tau.n)
    table = pd.DataFrame.from_dict(found, orient="index", columns=["tau", "low", "high", "pictures"])
    return table.sort_values("tau", ascending=False)


def wins_against_refined(results: StudyResults, *, equal_area: bool, kind: str = "plain") -> pd.DataFrame:
    """How often a map made right or wrong on purpose scores higher than RefineCAM, by metric; equal scores count half.

    Returns:
        a row for each of these maps, a column for each metric; the mean over networks. "best_iou" is the truth.
    """
    rows = results.of("deliberate", equal_area=equal_area, kind=kind)
    found: dict[str, dict[str, float]] = {}
    names = [name for name in (*METRICS["ordinary"], *EXACT, *TRUTHS) if name in rows]
    for name in names:
        means = _wins(rows, name).groupby("network").mean().mean()
        found[name] = {str(key): float(value) for key, value in means.items()}
    order = [name for name in rows["map"].unique() if name != REFINED]
    return pd.DataFrame(found).loc[order]


def win_intervals(
    results: StudyResults,
    metric: str,
    *,
    equal_area: bool,
    kind: str = "plain",
    chosen: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows,
) -> dict[str, Interval]:
    """The same for one metric and chosen rows, with the interval over pictures of each map's share."""
    rows = chosen(results.of("deliberate", equal_area=equal_area, kind=kind))
    wins = _wins(rows, metric)
    order = [name for name in rows["map"].unique() if name != REFINED]
    return {name: interval(wins[name].unstack("picture").to_numpy()) for name in order}


def _wins(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """1 where a map scores higher than RefineCAM, 0 where lower: a row for each network and picture, a column a map."""
    wide = _side_by_side(rows, metric)
    higher = wide.sub(wide[REFINED], axis=0)
    # A score that is undefined gives no answer.
    return pd.DataFrame(np.where(higher.isna(), 0.5, (np.sign(higher) + 1) / 2), higher.index, higher.columns)


def blind_wins(results: StudyResults, metric: str, *, equal_area: bool = False) -> dict[str, float]:
    """In which share of pictures a blind guess scores higher than RefineCAM; the mean over networks."""
    rows = results.of("ordinary", equal_area=equal_area)
    wide = _side_by_side(rows, metric)
    return {name: float((wide[name] > wide[REFINED]).groupby("network").mean().mean()) for name in BLIND}


def centre_beats_mask(results: StudyResults, metric: str) -> float:
    """In which share of pictures a blind guess, the centre, scores higher than the true mask; the mean over networks.

    As the maps are.
    """
    keys = ["network", "picture"]
    stages = (("ordinary", "centre"), ("deliberate", MASK))
    centre, mask = (
        rows[rows["map"] == name].set_index(keys)[metric]
        for rows, name in ((results.of(stage, equal_area=False), name) for stage, name in stages)
    )
    higher = oriented(metric) * (centre - mask).dropna()
    return float((higher > 0).groupby("network").mean().mean())


def _side_by_side(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric, turned so that high is good: a row for each network and picture, a column for each map."""
    return (oriented(metric) * rows.set_index(["network", "picture", "map"])[metric]).unstack("map")


def holds(results: StudyResults) -> bool | None:
    """Whether the Faithfulness Estimate is `ahead` on every deciding network, as the protocol asks; None if open."""
    networks = ahead(results)
    return None if networks is None else len(networks) == len(DECIDING)


def ahead(results: StudyResults) -> list[str] | None:
    """The deciding networks on which the Faithfulness Estimate finds the better map more often than ARCC.

    None if one of them has too few pictures for a winner, or none.
    """
    table = _accuracy(results, "faithfulness") - _accuracy(results, "arcc")
    if not set(DECIDING) <= set(table.index):
        return None
    table = table.loc[list(DECIDING)]
    if (table.notna().sum(axis=1) < LEAST_FOR_WINNER).any():
        return None
    means = table.mean(axis=1)
    return [str(network) for network in means.index[means > 0]]
