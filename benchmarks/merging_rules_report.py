"""The `merging_rules` report, generated only from its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.tables import table
from camviz.statistics import Interval
from camviz.trust.resampling import interval
from camviz.trust.sealed_study import PARTS
from camviz.trust.study_results import DECIDING

REFINED, DEEPEST = "gradcam++, product, all", "gradcam++, deepest"
SHARPENED, MIRRORED = f"{REFINED}, edges", f"{REFINED}, mirrored"  # the app's rule, and its option, of these names
_GROUPS = {
    "no further pass": lambda name: "mirrored" not in name and "edges" not in name,
    "one more pass": lambda name: "mirrored" in name and "edges" not in name,
    "the picture's edges": lambda name: "edges" in name and "mirrored" not in name,
    "one more pass and the picture's edges": lambda name: "edges" in name and "mirrored" in name,
}
_CONTROLS = ("centre", "random", "centre, edges", "random, edges", DEEPEST)


def write(folder: Path, file: Path) -> None:
    """Write the report, whatever the results."""
    rows = load(folder)
    chosen = choose(rows)
    shown = {REFINED: "RefineCAM", DEEPEST: "the deepest layer alone"}
    shown |= {MIRRORED: "RefineCAM, mirror-averaged", SHARPENED: "RefineCAM, sharpened"}
    shown |= {name: group for group, name in chosen.items()}
    head = (
        "# What merging rules reach\n\nBest IoU with the true mask. In each group, the recipe with the highest mean "
        "over the three deciding networks on exploring samples was chosen, and is shown on sealed ones. Written by "
        "`python -m benchmarks.merging_rules`."
    )
    parts = [head, "## Chosen on exploring samples", _chosen(rows, chosen)]
    for kind, title in (("plain", "On sealed samples"), ("textured", "On textured samples")):
        if kind in set(rows["kind"]):
            parts += [f"## {title}", _on(rows, kind, shown)]
    parts += ["## Is sharpening honest?", _controls(rows)]
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def load(folder: Path) -> pd.DataFrame:
    """All rows: "network", "kind", "half", "picture", "map", "best_iou"."""
    tables = [
        pd.read_parquet(file).assign(network=part.network, kind=part.kind)
        for part in PARTS
        if (file := folder / f"{part.name}.parquet").exists()
    ]
    return pd.concat(tables, ignore_index=True)


def choose(rows: pd.DataFrame) -> dict[str, str]:
    """For each group, the recipe with the highest mean over the deciding networks on exploring samples."""
    means = _means(rows)
    candidates = [str(name) for name in means.index if name not in _CONTROLS]
    return {
        group: str(means.loc[[name for name in candidates if belongs(name)]].mean(axis=1).idxmax())
        for group, belongs in _GROUPS.items()
    }


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean on exploring samples: a row for each map, a column for each deciding network."""
    half = rows[(rows["half"] == "exploring") & (rows["kind"] == "plain") & rows["network"].isin(DECIDING)]
    return half.groupby(["map", "network"])["best_iou"].mean().unstack("network")


def _chosen(rows: pd.DataFrame, chosen: dict[str, str]) -> str:
    means = _means(rows)
    lines = [(group, name, *(f"{value:.2f}" for value in means.loc[name])) for group, name in chosen.items()]
    return table(("group", "layers' maps, rule, layers", *means.columns), lines)


def _on(rows: pd.DataFrame, kind: str, shown: dict[str, str]) -> str:
    half = rows[(rows["half"] == "sealed") & (rows["kind"] == kind)]
    networks = sorted(half["network"].unique())
    wide = {
        network: half[half["network"] == network].pivot(index="picture", columns="map", values="best_iou")
        for network in networks
    }
    lines = [(words, *(_cell(wide[network], name) for network in networks)) for name, words in shown.items()]
    counts = ", ".join(f"{len(wide[network])} of {network}" for network in networks)
    return (
        f"Means with 95 % intervals over pictures ({counts}); in brackets the paired difference to RefineCAM.\n\n"
        + table(("map", *networks), lines)
    )


def _cell(wide: pd.DataFrame, name: str) -> str:
    mean = interval(wide[name].to_numpy())
    if name == REFINED:
        return _words(mean)
    return f"{_words(mean)} ({_words(interval((wide[name] - wide[REFINED]).to_numpy()), '+.2f')})"


def _words(found: Interval, form: str = ".2f") -> str:
    if np.isnan(found.low):
        return f"{found.value:{form}}"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _controls(rows: pd.DataFrame) -> str:
    """Blind guesses before and after the filter: without the network, the picture's edges find nothing."""
    half = rows[(rows["half"] == "sealed") & rows["map"].isin(_CONTROLS[:4])]
    means = half.groupby(["map", "kind"])["best_iou"].mean().unstack("kind")
    lines = [(name, *(f"{means.loc[name, kind]:.2f}" for kind in means.columns)) for name in _CONTROLS[:4]]
    return (
        "The filter takes outlines from the picture. Blind guesses, filtered alike, show that the place still comes "
        "from the network:\n\n" + table(("map", *(f"{kind} samples" for kind in means.columns)), lines)
    )
