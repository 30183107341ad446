"""Noise robustness of seven explanations, on photographs and on synthetic shapes, for every kind of noise.

Run from the repository's root: `python -m benchmarks.robustness`. `benchmarks/robustness/MODEL.csv` has a row for every
perturbed copy of a picture and every explanation; it grows by one picture at a time, and a later run resumes from it.
At the end `benchmarks.robustness_report` writes the tables and the figure, whatever the result. Nothing is tuned on the
results.

A picture takes about 23 s of one core with EfficientNet-Lite0, 18 s with ResNet-18 and 53 s with VGG-11, mostly for
Ablation-CAM: 80 minutes of one core in total.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import camviz
from benchmarks import robustness_report
from benchmarks.photos import PHOTOS
from benchmarks.robustness_rows import KEY, REFINED, read
from benchmarks.truth_shapes import chosen
from camviz import noise, shapes
from camviz.images import Fit
from camviz.noise.measure import Perturbation, perturbations
from camviz.noise.segments import segment
from camviz.study import Case, sweep

PHOTO_MODEL = "efficientnet-lite0"
MODELS = (PHOTO_MODEL, "shapes-resnet18", "shapes-vgg11")
METHODS = ("gradcam", "gradcam++", "xgradcam", "hirescam", "eigencam", "ablationcam")
BASE = "gradcam++"
LEVELS = (0.3, 0.6, 1.0)
SAMPLES = 60
FIT: Fit = "crop"
FOLDER = Path(__file__).with_suffix("")
# The fields that the report needs, to four decimals: all fields would take twice the space.
COLUMNS = ["image", "segments", "method", "kind", "level", "seed", "predicted", "flipped", "overlap", "overlap_same"]


def main() -> None:
    """Measure what is missing and write the report."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options.add_argument("--folder", type=Path, default=FOLDER)
    options.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of the noise")
    options.add_argument("--images", type=int, help="how many pictures of each model, from the first (default: all)")
    args = options.parse_args()
    args.folder.mkdir(exist_ok=True)
    points = perturbations(list(noise.KINDS), LEVELS, args.seeds)
    for model in args.models:
        measure(model, pictures(model)[: args.images], points, args.workers, args.folder / f"{model}.csv")
    robustness_report.write(args.folder)


def pictures(model: str) -> list[str]:
    """The names of a model's pictures: the photographs, or samples that it classifies correctly."""
    if model == PHOTO_MODEL:
        return [photo.name for photo in PHOTOS]
    return [str(index) for index in chosen(model, SAMPLES)]


def load(model: str, name: str) -> NDArray[np.uint8]:
    """One of a model's pictures, uint8 (H, W, 3)."""
    if model == PHOTO_MODEL:
        return next(photo.load() for photo in PHOTOS if photo.name == name)
    return shapes.sample(int(name)).image


def measure(model: str, names: Sequence[str], points: Sequence[Perturbation], workers: int, file: Path) -> None:
    """Add the rows of pictures that are missing from a model's file."""
    tables = [read(file)] if file.exists() else []
    done = {name for table in tables for name in complete(table, points)}
    todo = [name for name in names if name not in done]
    start = time.perf_counter()
    # One thread per process: sums then run in a fixed order, and the numbers are the same on every run.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for count, rows in enumerate(pool.map(partial(perturb, model, points), todo), 1):
            tables.append(rows)
            _save(pd.concat(tables), file)
            print(f"{time.perf_counter() - start:6.0f} s  {model}  {count} of {len(todo)}", file=sys.stderr)


def complete(table: pd.DataFrame, points: Sequence[Perturbation]) -> set[str]:
    """The pictures for which a table holds every explanation and perturbation."""
    expected = {(name, point.kind, point.level, point.seed) for name in _titles() for point in points}
    groups = table.groupby("image")[["method", "kind", "level", "seed"]]
    return {str(image) for image, rows in groups if expected <= set(rows.itertuples(index=False, name=None))}


def perturb(model: str, points: Sequence[Perturbation], name: str) -> pd.DataFrame:
    """One row for each perturbed copy of a picture and each explanation."""
    net, image = _net(model), load(model, name)
    pieces = sweep(net, [Case(name, image, FIT)], recipes(net.layers), points)
    table = pd.concat([rows for _, rows in pieces])
    return table.assign(segments=segment(net.view(image, FIT)).max() + 1)[COLUMNS].round(4)


def recipes(layers: tuple[str, ...]) -> dict[str, camviz.Recipe]:
    """All explanations by name in the report: each method on the deepest layer, and RefineCAM over all layers."""
    single = [camviz.Recipe(method, layers[-1:]) for method in METHODS]
    return dict(zip(_titles(), [*single, camviz.Recipe(BASE, layers)], strict=True))


def _titles() -> list[str]:
    return [*(camviz.METHODS[method].title for method in METHODS), REFINED]


@cache
def _net(model: str) -> camviz.Net:
    return camviz.load_model(model, device="cpu")


def _save(table: pd.DataFrame, file: Path) -> None:
    """Write all rows, replacing old ones of a picture; an interruption never leaves half a file."""
    part = file.with_suffix(".part")
    table.drop_duplicates(KEY, keep="last").to_csv(part, index=False, lineterminator="\n")
    part.replace(file)


if __name__ == "__main__":
    main()
