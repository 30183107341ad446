"""Which metric finds the better map in mosaics, whose truth needs no mask: 2 x 2 sealed shapes of different classes.

Run from the repository's root: `python -m benchmarks.mosaics`. It does what the Evaluate page does with mosaics of a
folder, with sealed samples, for each network. Rows go to benchmarks/mosaics, one file for each network and step; a
later run measures the networks that are missing. The report is written whatever the results.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import torch

import camviz
from benchmarks.metric_trust_report import estimate, title
from benchmarks.tables import table
from camviz import shapes
from camviz.given_back import keep_giving_back
from camviz.models import Net
from camviz.trust.mosaics import SURE, mosaic_cases, recognised
from camviz.trust.ranked_maps import default_recipes
from camviz.trust.run import OWN, STEPS, EvaluationRun
from camviz.trust.sealed_samples import FIRST
from camviz.trust.sealed_study import PARTS, write
from camviz.trust.study_results import StudyResults, interval_in, trust_of_metrics
from camviz.workbench.host import PlainHost
from camviz.workbench.pictures import SeenPicture, draw_picture

FOLDER = Path(__file__).with_suffix("")
NETWORKS = tuple(part.network for part in PARTS if part.kind == "plain")
# The first sealed samples, of which mosaics are made, and how many mosaics of each network.
_POOL, MOSAICS = 96, 30
_STEPS = ("ordinary", "road")
_SAMPLES = "samples"
TRUTH = "mass"


def main() -> None:
    """Measure what is missing, and write the report."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    args = options.parse_args()
    FOLDER.mkdir(exist_ok=True)
    torch.set_num_threads(1)  # sums run in a fixed order
    keep_giving_back()
    for name in args.networks:
        if not rows_file(name, _STEPS[-1]).exists():
            measure(camviz.load_model(name, "cpu"))
    Path(__file__).with_suffix(".md").write_text(report(load()), encoding="utf-8")


def measure(net: Net) -> None:
    """Write the rows of a network."""
    run = run_of(net, MOSAICS)
    while run.go_on(60):
        print(f"{net.info.name}  {run.done} of {run.total}", file=sys.stderr)
    results = run.results()
    write(results.samples, rows_file(net.info.name, _SAMPLES))
    for step, rows in results.rows.items():
        numbers = rows.select_dtypes("number").columns.drop("picture")
        write(rows.round(5).astype(dict.fromkeys(numbers, "float32")), rows_file(net.info.name, step))


def run_of(net: Net, count: int) -> EvaluationRun:
    """The evaluation of a network on mosaics of the sealed samples that it is sure of, and right about."""
    host = PlainHost()
    pool = []
    for index in range(FIRST, FIRST + _POOL):
        picture = draw_picture(host, f"shapes:test/{index}", str(index), partial(shapes.sample, index))
        pool.append((SeenPicture(host, picture, net, "squeeze"), shapes.sample(index).label))
    return EvaluationRun(net, tuple(mosaic_cases(recognised(pool).sure, count)), default_recipes(net), _STEPS, (TRUTH,))


def rows_file(network: str, step: str) -> Path:
    """The file of a network's rows."""
    return FOLDER / f"{network}-{step}.parquet"


def load() -> StudyResults:
    """What there is of the rows."""
    known = [name for name in NETWORKS if rows_file(name, _STEPS[-1]).exists()]
    tables = {
        step: pd.concat([pd.read_parquet(rows_file(name, step)) for name in known], ignore_index=True)
        for step in (_SAMPLES, *_STEPS)
    }
    return StudyResults(tables.pop(_SAMPLES), tables, {step: STEPS[step] for step in _STEPS}, (TRUTH,))


def report(results: StudyResults) -> str:
    """The report in Markdown."""
    found = trust_of_metrics(results, equal_area=True, truth=TRUTH, kind=OWN)
    networks = [name for name in NETWORKS if name in found]
    rows = []
    for name, row in found.iterrows():
        accuracy = interval_in(row.to_dict())
        rows.append(
            (title(str(name)), estimate(accuracy), *(f"{row[network]:.2f}" for network in networks), accuracy.n)
        )
    inside = results.of("ordinary", equal_area=False, kind=OWN).groupby(["map", "network"])[TRUTH].mean().unstack()
    merged = inside[inside.index.str.endswith(", merged") | inside.index.isin(["centre", "random"])]
    maps = [(str(name), *(f"{value:.2f}" for value in row)) for name, row in merged[networks].iterrows()]
    missing = [name for name in NETWORKS if name not in networks]
    waiting = f" Not measured yet: {', '.join(missing)}." if missing else ""
    return (
        "# Mosaics: a truth without masks\n\nFour sealed shapes of different classes in one picture, each recognised "
        f"with a probability of at least {SURE} on its own. For one of the classes, a map should be hot in its "
        "quarter: the share of its heat there is the truth (chance: 0.25). It judges place to a quarter only. "
        "Written by `python -m benchmarks.mosaics`.\n\n## How often the better map scores higher\n\n"
        "Pair accuracy at equal area: of two maps "
        "whose shares of heat differ by more than 0.1. A coin gets 0.50."
        f"{waiting}\n\n"
        + table(("metric", "mean", *networks, "pictures"), rows)
        + "\n\n## Share of heat in the right quarter\n\nAs the maps are, the mean over pictures.\n\n"
        + table(("map", *networks), maps)
        + "\n"
    )


if __name__ == "__main__":
    main()
