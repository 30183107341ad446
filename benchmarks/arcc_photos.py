"""ARCC of RefineCAM, of every single layer and of blind baselines, on the photographs of `photos.py`.

Run from the repository's root: `python -m benchmarks.arcc_photos`. It writes `benchmarks/arcc_photos.md`, whatever the
result. One network, the class it predicts, its own preprocessing; nothing is tuned on the scores. The seed changes the
imputation's noise and the random baseline.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import camviz
from benchmarks.photos import PHOTOS
from benchmarks.tables import table
from camviz.metrics import Evidence, Scored
from camviz.metrics.arcc import PARTS
from camviz.recipe import explain_capture
from camviz.statistics import DRAWS, bootstrap

MODEL = "efficientnet-lite0"
METHODS = ("gradcam++", "layercam")
BASELINES = ("centre", "random", "uniform")
SEEDS = 5
_TIE = 1e-4  # scores closer than this count as equal

Score = dict[str, float]


@dataclass(frozen=True)
class Result:
    """One photograph: the explained class, its probability, and each map's mean scores over the seeds."""

    photo: str
    label: str
    probability: float
    scores: dict[str, Score]


def main() -> None:
    """Score everything and write the report."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument(
        "--photos", type=int, default=len(PHOTOS), help="how many photographs, from the first (default: all)"
    )
    options.add_argument("--seeds", type=int, default=SEEDS)
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = options.parse_args()
    start = time.perf_counter()
    results = []
    # One thread per process: sums then run in a fixed order, and the numbers are the same on every run.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, context, initializer=_single_thread) as pool:
        for result in pool.map(partial(score_photo, seeds=args.seeds), range(args.photos)):
            results.append(result)
            print(
                f"{time.perf_counter() - start:5.0f} s  {len(results)}/{args.photos}  {result.photo}",
                file=sys.stderr,
            )
    args.out.write_text(report(results, args.seeds), encoding="utf-8")
    print(f"wrote {args.out}", file=sys.stderr)


def _single_thread() -> None:
    torch.set_num_threads(1)


@cache
def _net() -> camviz.Net:
    return camviz.load_model(MODEL, device="cpu")


def recipes(layers: Sequence[str]) -> dict[str, camviz.Recipe]:
    """Every scored map, by its name in the report."""
    named = {}
    for method in METHODS:
        named[refined(method)] = camviz.Recipe(method, tuple(layers))
        named |= {single(method, layer): camviz.Recipe(method, (layer,)) for layer in layers}
    # On the deepest layer's grid, which matters only to the random baseline.
    return named | {name: camviz.Recipe(name, (layers[-1],)) for name in BASELINES}


def refined(method: str) -> str:
    """The name of a method's RefineCAM in the report."""
    return f"RefineCAM, {method}"


def single(method: str, layer: str) -> str:
    """The name of a single layer's map in the report."""
    return f"{method}, `{layer}`"


def score_photo(index: int, seeds: int) -> Result:
    """Explain one photograph with every recipe and score each map for each seed."""
    net = _net()
    x = net.preprocess(PHOTOS[index].load())
    cap = camviz.capture(net.module, x, layers=net.layers)
    scores = {}
    for name, recipe in recipes(net.layers).items():
        explained: tuple[Tensor, Scored] | None = None
        evidences = []
        for seed in range(seeds):
            if explained is None or recipe.method == "random":  # other maps do not depend on the seed
                explained = _explained(cap, camviz.Recipe(recipe.method, recipe.layers, recipe.rule, seed))
            maps, coherency = explained
            again = partial(camviz.explain, cap.module, recipe=recipe)
            known = {"coherency": coherency}
            evidences.append(Evidence(net.module, x, maps[None], cap.target, [again], seed=seed, known=known))
        scores[name] = {
            part: float(np.mean([evidence.values(part).item() for evidence in evidences])) for part in PARTS
        }
    target = int(cap.target[0])
    probability = float(cap.logits.softmax(1)[0, target])
    return Result(PHOTOS[index].name, net.labels[target], probability, scores)


def _explained(cap: camviz.Capture, recipe: camviz.Recipe) -> tuple[Tensor, Scored]:
    """The recipe's map and its coherency, for which the whole recipe runs again on the masked image."""
    maps = explain_capture(cap, recipe)
    again = partial(camviz.explain, cap.module, recipe=recipe)
    return maps, Evidence(cap.module, cap.x, maps[None], cap.target, [again]).scored("coherency")


def report(results: Sequence[Result], seeds: int) -> str:
    """The report as Markdown; its sentences are generated from the numbers."""
    return (
        "\n\n".join(
            [
                "# ARCC on photographs",
                "Generated by `python -m benchmarks.arcc_photos`; do not edit.",
                _conclusions(results),
                _conditions(results, seeds),
                "## Means over the photographs",
                _mean_table(results),
                "## Each photograph (ARCC)",
                _photo_table(results),
            ]
        )
        + "\n"
    )


def _conclusions(results: Sequence[Result]) -> str:
    rivals = {
        "the deepest layer alone": "",
        "the centred Gaussian (a blind guess)": "centre",
        "the random map": "random",
    }
    lines = []
    for method in METHODS:
        ours = _column(results, refined(method))
        comparisons = [
            f"than {words} on {_compare(ours, _column(results, name or single(method, _net().layers[-1])))}"
            for words, name in rivals.items()
        ]
        lines.append(f"RefineCAM with {method} has a higher ARCC {', '.join(comparisons)}.")
    arcc, probabilities = _column(results, refined(METHODS[0])), [r.probability for r in results]
    if len(results) > 2 and np.ptp(arcc) > 0:
        lines.append(
            f"Over the photographs, the ARCC of RefineCAM with {METHODS[0]} and the probability of the explained "
            f"class have a correlation of {np.corrcoef(probabilities, arcc)[0, 1]:.2f} (Pearson)."
        )
    return "\n".join(f"- {line}" for line in lines)


def _compare(ours: NDArray[Any], other: NDArray[Any]) -> str:
    """Say how often ours is higher, and the mean difference with its interval."""
    difference = ours - other
    better, equal = int((difference > _TIE).sum()), int((abs(difference) <= _TIE).sum())
    ties = f", equal on {equal}" if equal else ""
    interval = bootstrap(difference)
    return (
        f"{better} of {len(ours)} photographs{ties} (mean difference {interval.value:+.3f}, "
        f"95 % interval {interval.low:+.3f} to {interval.high:+.3f})"
    )


def _conditions(results: Sequence[Result], seeds: int) -> str:
    preprocessing = _net().preprocessing
    layers = ", ".join(f"`{layer}`" for layer in _net().layers)
    probability = np.mean([result.probability for result in results])
    return (
        f"{MODEL}, layers {layers}; rule: product. Preprocessing: shorter side to {preprocessing.resize} "
        f"(bicubic), centre crop of {preprocessing.size}. The predicted class is explained; its mean probability is "
        f"{probability:.2f}. {len(results)} photographs (`benchmarks/photos.py`), {seeds} seeds. Scores are "
        "averaged over the seeds first; brackets are 95 % bootstrap intervals over photographs "
        f"({DRAWS} resamples). Some photographs are crops of others, so the intervals are too narrow."
    )


def _mean_table(results: Sequence[Result]) -> str:
    rows = []
    for name in results[0].scores:
        columns = {part: _column(results, name, part) for part in PARTS}
        cells = {part: f"{values.mean():z.3f}" for part, values in columns.items()}
        for part in ("arcc", "road_raw"):
            interval = bootstrap(columns[part])
            cells[part] += f" [{interval.low:z.3f}, {interval.high:z.3f}]"
        rows.append([name, *cells.values(), int((columns["arcc"] == 0).sum())])
    head = ["map", "ARCC (high is good)", "coherency", "complexity (low is good)", "ROAD, scaled and clipped",
            "ROAD r, before clipping", "photographs with ARCC 0"]  # fmt: skip
    return table(head, rows)


def _photo_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        arcc = {name: score["arcc"] for name, score in result.scores.items()}
        singles = {single(m, layer): arcc[single(m, layer)] for m in METHODS for layer in _net().layers}
        best = max(singles, key=lambda name: singles[name])
        rows.append([
            result.photo, result.label, f"{result.probability:.3f}",
            *(f"{arcc[refined(m)]:.3f}" for m in METHODS),
            f"{arcc[single(METHODS[0], _net().layers[-1])]:.3f}", f"{singles[best]:.3f} ({best})",
            f"{arcc['centre']:.3f}", f"{arcc['random']:.3f}",
        ])  # fmt: skip
    head = ["photograph", "predicted class", "probability", *(refined(m) for m in METHODS),
            f"deepest layer, {METHODS[0]}", "best single layer, picked afterwards", "centre", "random"]  # fmt: skip
    return table(head, rows)


def _column(results: Sequence[Result], name: str, part: str = "arcc") -> NDArray[Any]:
    """A map's score for every photograph."""
    return np.array([result.scores[name][part] for result in results])


if __name__ == "__main__":
    main()
