"""The `metric_trust` report: tables, generated only from the study's rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.tables import table
from camviz import shapes
from camviz.html.measured_trust import SUMMARY
from camviz.metrics import SCORES
from camviz.statistics import Interval
from camviz.trust.deliberate import MASK
from camviz.trust.evaluation import TRUTH, Pairs
from camviz.trust.ordering import MARGIN
from camviz.trust.ranked_maps import BLIND, MERGED
from camviz.trust.resampling import LEAST_FOR_WINNER, interval
from camviz.trust.sealed_study import PICTURES, PROTOCOL, REFINED, STAGES
from camviz.trust.study_results import (
    DECIDING,
    EXACT,
    METRICS,
    Contrast,
    StudyResults,
    accuracies_of,
    blind_wins,
    centre_beats_mask,
    contrasts,
    estimate_with_controls,
    fall_into_noise,
    holds,
    interval_in,
    order_of_maps,
    trust_of_metrics,
    wins_against_refined,
)

_TITLES = {
    "arcc_exact": "ARCC, exact shares",
    "road_exact": "ROAD, exact shares",
    "faithfulness_shifted": "the grid shifted by half a square",
    "faithfulness_blur": "squares filled by a blur",
    "faithfulness_mean": "squares filled by the mean colour",
}
# The share of the first textured samples that each network recognises; a network below the bar is left out.
RECOGNISED, BAR = "textured_recognised.json", 0.8  # "pictures", and "shares" by network
_LEVEL = 0.05
Chosen = Callable[[pd.DataFrame], pd.DataFrame]


def summary(results: StudyResults) -> dict[str, float]:
    """What the app says of ARCC beside its values: shares, as the maps are unless the name says otherwise."""
    plain, equal = (trust_of_metrics(results, equal_area=area)["pair_accuracy"] for area in (False, True))
    counts = _counts(results, "ordinary")
    found = {
        "pictures": counts.min(),
        "pictures_most": counts.max(),
        "networks": results.of("ordinary", equal_area=False)["network"].nunique(),
        "arcc": plain["arcc"],
        "complexity": plain["complexity"],
        "arcc_equal_area": equal["arcc"],
        "faithfulness_equal_area": equal["faithfulness"],
        "centre": blind_wins(results, "arcc")["centre"],
    }
    if "deliberate" in results.rows:
        wins = wins_against_refined(results, equal_area=False)
        found |= {
            "another_class": wins.loc["another class", "arcc"],
            "mask": wins.loc[MASK, "arcc"],
            "mask_exact": wins.loc[MASK, "arcc_exact"],
            "centre_mask": centre_beats_mask(results, "arcc"),
            "centre_mask_exact": centre_beats_mask(results, "arcc_exact"),
            "pictures_made": _counts(results, "deliberate").min(),
        }
    return {name: round(float(value), 4) for name, value in found.items()}


def _counts(results: StudyResults, stage: str) -> pd.Series:
    """How many pictures each network has."""
    return results.of(stage, equal_area=True).groupby("network")["picture"].nunique()


def _fewest(results: StudyResults) -> int:
    """How many pictures the deciding network with the fewest has."""
    return int(_counts(results, "ordinary").reindex(list(DECIDING), fill_value=0).min())


def write(results: StudyResults, file: Path, folder: Path) -> None:
    """Write the report, whatever the results, and the summary that the app reads, to a folder."""
    (folder / SUMMARY.name).write_text(json.dumps(summary(results), indent=2) + "\n", encoding="utf-8")
    head = (
        f"# Which metric can be trusted?\n\n{PROTOCOL.name}, version {PROTOCOL.version} "
        f"([docs/protocol.md](../docs/protocol.md), SHA-256 `{PROTOCOL.sha256[:16]}…`). "
        "Written by `python -m benchmarks.metric_trust` from the rows in "
        "`assets/metric_trust`."
    )
    recognised = json.loads((folder / RECOGNISED).read_text(encoding="utf-8"))
    sections = [f"## {title}\n\n{words}" for title, words in _sections(results, recognised)]
    file.write_text("\n\n".join([head, _verdict(results), *sections]) + "\n", encoding="utf-8")


def _sections(results: StudyResults, recognised: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The title and the text of each section; `recognised` is what the file of that name holds."""
    yield "Samples", _samples(results.samples)
    coin = (
        "Pair accuracy by best IoU, a margin of 0.1, the mean over networks. A coin gets 0.50. Ranks are among the "
        "metrics that were measured on the same pictures; pictures are those of the network with the fewest."
    )
    yield "How often the better map scores higher", f"{coin}\n\n{_trust(results)}"
    yield "Declared contrasts", _contrasts(results)
    yield "Where the paper's claims hold", _claims(results)
    yield "Strata", f"Pair accuracy at equal area.\n\n{_strata(results)}"
    yield "Other truths and margins", f"Pair accuracy at equal area.\n\n{_truths(results)}"
    kinds = set(results.rows["ordinary"]["kind"])
    if "textured" in kinds:
        yield "Textured samples", f"{_who_recognises(recognised)}\n\n{_other_kind(results, 'textured')}"
    if "tagged" in kinds:
        words = f"{_other_kind(results, 'tagged')}\n\nWhich maps show the tag, as they are:"
        yield "Tagged samples: the tag is the truth", f"{words}\n\n{_on_the_tag(results)}"
    if "slow" in results.rows:
        words = "Pair accuracy on the same pictures: the estimate itself, and with another grid or filling."
        yield "Controls of the Faithfulness Estimate", f"{words}\n\n{_controls(results)}"
    if "deliberate" in results.rows:
        words = (
            "How often each scores higher than RefineCAM of Grad-CAM++ on the same picture; equal scores count half. A "
            "metric that can be trusted gives the wrong maps little, and the masks much."
        )
        yield "Maps made right or wrong on purpose", f"{words}\n\n{_wins(results)}"
    words = "In how many pictures the centre scores higher than RefineCAM, as the maps are"
    yield "A blind spot in the centre", f"{words}: {_blind(results)}."
    words = "Tau-b between the maps' order by a metric's mean and by the mean of best IoU, at equal area."
    yield "The order of maps", f"{words}\n\n{_orders(results)}"
    if "randomisation" in results.rows:
        words = (
            "How much a map still resembles itself when the network's weights are randomised, from head to stem: low "
            "is good. Merged maps, as they are; the mean over steps and seeds."
        )
        yield "The randomisation check by method", f"{words}\n\n{_randomised(results)}"
    missing = [stage.name for stage in STAGES if stage.name not in results.rows]
    if missing:
        yield "Not measured yet", f"Stages of the protocol without rows: {', '.join(missing)}."
    if "fading" in results.rows:
        words = "Tau-b of a metric and the steps in which RefineCAM fades into noise: 1 falls at every step."
        yield "Into noise", f"{words}\n\n{_fading(results)}"


def title(name: str) -> str:
    """A metric's name; those for which low is good count negated."""
    if name in _TITLES:
        return _TITLES[name]
    score = SCORES[name]
    return score.title + " (low is good)" * (score.better == "lower")


def estimate(found: Interval) -> str:
    """A mean with its interval, if there are enough pictures for one."""
    if pd.isna(found.low):
        return _number(found.value)
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _verdict(results: StudyResults) -> str:
    fewest = _fewest(results)
    outcome = holds(results)
    if outcome is None:
        return f"**No verdict yet**: a network that decides has {fewest} pictures, and {LEAST_FOR_WINNER} are needed."
    when = "" if fewest >= PICTURES else f"**So far**, with {fewest} of {PICTURES} pictures a network: "
    words = "holds" if outcome else "does not hold"
    where = "more often than ARCC on each" if outcome else "no more often than ARCC on at least one"
    return (
        f"{when}**The Faithfulness Estimate {words}**: at equal area, it finds the better map {where} of the three "
        "networks that decide."
    )


def _samples(samples: pd.DataFrame) -> str:
    rows = []
    for (network, kind), group in samples.groupby(["network", "kind"], sort=False):
        reasons = group.loc[group["left_out"] != "", "left_out"].str.replace(
            r"sees .*, not .*", "sees another class", regex=True
        )
        counts = ", ".join(f"{count} ({reason})" for reason, count in reasons.value_counts().items())
        rows.append((network, kind, len(group), (group["left_out"] == "").sum(), counts or "none"))
    return table(("network", "samples", "looked at", "kept", "left out"), rows)


def _trust(results: StudyResults) -> str:
    plain, equal = (trust_of_metrics(results, equal_area=area) for area in (False, True))
    exact = accuracies_of(results, "ordinary", EXACT, equal_area=False)
    networks = [name for name in equal.columns if name in set(results.samples["network"])]
    rows = []
    for name, row in equal.iterrows():
        found = interval_in(row.to_dict())
        ranks = "" if pd.isna(found.low) else f"{row['rank_low']:g} to {row['rank_high']:g}"
        as_is = interval_in(plain.loc[str(name)].to_dict())
        rows.append(
            (
                title(str(name)),
                estimate(found),
                ranks,
                estimate(as_is),
                *(f"{row[key]:.2f}" for key in networks),
                found.n,
            )
        )
    for name, found in exact.items():
        mean = interval(found.to_numpy())
        rows.append((title(name), "", "", estimate(mean), *[""] * len(networks), mean.n))
    return table(("metric", "at equal area", "rank", "as they are", *networks, "pictures"), rows)


def _contrasts(results: StudyResults) -> str:
    rows = [
        (
            _side(contrast.first),
            _side(contrast.second),
            estimate(contrast.difference),
            f"{contrast.p:.4f}",
            f"{contrast.corrected:.4f}",
            ", ".join(f"{name} {value:+.2f}" for name, value in contrast.networks.items()),
        )
        for contrast in contrasts(results)
    ]
    return table(("first", "second", "first - second", "p", "after Holm", "networks"), rows)


def _claims(results: StudyResults) -> str:
    """What the study says of the paper's two claims."""
    claims = (
        "*How to Evaluate and Refine your CAM* (arXiv 2605.14641) says that ARCC finds faithful maps more reliably "
        "than existing metrics, and that, by ARCC, RefineCAM outperforms existing methods."
    )
    if holds(results) is None:
        return f"{claims} There are too few pictures yet to say whether that holds here."
    found: dict[str, list[str]] = {}
    for contrast in contrasts(results):
        # At equal area, the complexity of every map is the same.
        if "arcc" in (contrast.first, contrast.second) and contrast.second != "complexity":
            arcc_first = contrast.first == "arcc"
            other = title(contrast.second if arcc_first else contrast.first)
            found.setdefault(_compared(contrast, arcc_first), []).append(other)
    of_others = "\n".join(f"- ARCC {words} {', '.join(names)}." for words, names in found.items())
    means = results.of("ordinary", equal_area=False).groupby(["network", "map"])["arcc"].mean().unstack("network")
    ranks = means.rank(ascending=False, method="min").loc[REFINED].dropna().astype(int)
    places = ", ".join(f"{rank} of {means[name].count()} on {name}" for name, rank in ranks.items())
    return (
        f"{claims} Here, by the declared contrasts at equal area (p after Holm's correction below {_LEVEL}):\n\n"
        f"{of_others}\n\nComplexity is a coin at equal area, so ARCC is judged by its two other parts there. By mean "
        f"ARCC, as the maps are, RefineCAM of Grad-CAM++ ranks {places}."
    )


def _compared(contrast: Contrast, arcc_first: bool) -> str:
    """How ARCC compares with another metric, in words that are followed by the other's name."""
    if contrast.corrected >= _LEVEL:
        return "does not differ clearly from"
    more = (contrast.difference.value > 0) == arcc_first
    return f"finds the better map {'more' if more else 'less'} often than"


def _side(name: str) -> str:
    return title(name) if name in SCORES else f"best IoU: {name}"


def _strata(results: StudyResults) -> str:
    samples = results.samples[results.samples["kind"] == "plain"]

    def of_pictures(wanted: pd.Series) -> Chosen:
        pictures = set(samples.loc[wanted, "picture"])
        return lambda rows: rows[rows["picture"].isin(pictures)]

    strata: dict[str, Chosen] = {band: of_pictures(samples["band"] == band) for band in shapes.BANDS}
    strata |= {"solid": of_pictures(~samples["is_frame"]), "frame": of_pictures(samples["is_frame"])}
    columns = {
        name: trust_of_metrics(results, equal_area=True, chosen=chosen)["pair_accuracy"]
        for name, chosen in strata.items()
    }
    columns |= {
        name: trust_of_metrics(results, equal_area=True, pairs=pairs)["pair_accuracy"] for name, pairs in _PAIRS.items()
    }
    return _by_column(columns)


def _has_blind(first: str, second: str) -> bool:
    return bool({first, second} & set(BLIND))


def _same_part(place: int) -> Pairs:
    """Pairs of maps whose method (0) or layer (1) is the same; a blind guess has neither."""

    def compared(first: str, second: str) -> bool:
        if _has_blind(first, second):
            return False
        return first.split(", ")[place] == second.split(", ")[place]

    return compared


_PAIRS: dict[str, Pairs] = {
    "no blind map": lambda first, second: not _has_blind(first, second),
    "same layer, another method": _same_part(1),
    "same method, another layer": _same_part(0),
    "with a blind map": _has_blind,
}


def _truths(results: StudyResults) -> str:
    options = {f"best IoU, {margin}": (TRUTH, margin) for margin in (0.05, 0.2)}
    options |= {SCORES[truth].title: (truth, MARGIN) for truth in ("mass", "auc", "cosine")}
    found = {
        words: trust_of_metrics(results, equal_area=True, truth=truth, margin=margin)["pair_accuracy"]
        for words, (truth, margin) in options.items()
    }
    return _by_column({words: values.reindex(METRICS["ordinary"]) for words, values in found.items()})


def _by_column(columns: dict[str, pd.Series]) -> str:
    frame = pd.DataFrame(columns)
    rows = [(title(str(name)), *map(_number, row)) for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return table(("metric", *frame.columns), rows)


def _who_recognises(recognised: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in recognised["shares"].items())
    return (
        f"Of the first {recognised['pictures']} textured samples, these shares are recognised: {shares}. Networks "
        f"below {100 * BAR:.0f} % are left out of the table: without the pictures that they get wrong, the sample "
        "would be biased."
    )


def _other_kind(results: StudyResults, kind: str) -> str:
    found = trust_of_metrics(results, equal_area=True, kind=kind)
    rows = [
        (
            title(str(name)),
            estimate(interval_in(row.to_dict())),
            int(row["pictures"]),
        )
        for name, row in found.iterrows()
    ]
    return table(("metric", "at equal area", "pictures"), rows)


def _on_the_tag(results: StudyResults) -> str:
    rows = results.of("ordinary", equal_area=False, kind="tagged")
    return _by_map(rows, list(rows["map"].unique()), ("mass", TRUTH))


def _randomised(results: StudyResults) -> str:
    rows = results.of("randomisation", equal_area=False)
    shown = [name for name in rows["map"].unique() if name.endswith(MERGED) or name in BLIND]
    return _by_map(rows, shown, METRICS["randomisation"])


def _by_map(rows: pd.DataFrame, maps: Sequence[str], scores: Sequence[str]) -> str:
    """Scores of maps: the mean over networks of the means over pictures."""
    lines = []
    for name in maps:
        of_map = rows[rows["map"] == name].set_index(["network", "picture"])
        lines.append((name, *(estimate(interval(of_map[score].unstack("picture").to_numpy())) for score in scores)))
    return table(("map", *map(title, scores)), lines)


def _controls(results: StudyResults) -> str:
    rows = [(title(name), estimate(mean), mean.n) for name, mean in estimate_with_controls(results).items()]
    return table(("Faithfulness Estimate", "pair accuracy", "pictures"), rows)


def _wins(results: StudyResults) -> str:
    shown = [
        TRUTH,
        "faithfulness",
        "arcc",
        "arcc_exact",
        "coherency",
        "complexity",
        "road_raw",
        "road_exact",
        "adcc",
        "average_drop",
    ]
    parts = []
    for equal_area, words in ((False, "As they are"), (True, "At equal area")):
        found = wins_against_refined(results, equal_area=equal_area)
        columns = [name for name in shown if name in found and not (equal_area and name in EXACT)]
        rows = [(name, *(f"{100 * found.loc[name, column]:.0f} %" for column in columns)) for name in found.index]
        parts.append(f"{words}:\n\n" + table(("map", *map(title, columns)), rows))
    return "\n\n".join(parts)


def _blind(results: StudyResults) -> str:
    return ", ".join(
        f"{title(name)} {100 * blind_wins(results, name)['centre']:.0f} %"
        for name in (TRUTH, "arcc", "arcc_exact", "faithfulness")
    )


def _orders(results: StudyResults) -> str:
    found = order_of_maps(results, equal_area=True)
    rows = [(title(str(name)), *map(_number, row)) for name, row in zip(found.index, found.to_numpy(), strict=True)]
    return table(("metric", *found.columns), rows)


def _tau(found: pd.DataFrame, name: str) -> Interval:
    row = found.loc[name].to_dict()
    return interval_in(row, "tau")


def _fading(results: StudyResults) -> str:
    plain, equal = (fall_into_noise(results, equal_area=area) for area in (False, True))
    rows = [
        (
            title(str(name)),
            *(estimate(_tau(each, str(name))) for each in (plain, equal)),
            int(row["pictures"]),
        )
        for name, row in equal.iterrows()
    ]
    return table(("metric", "as they are", "at equal area", "pictures"), rows)
