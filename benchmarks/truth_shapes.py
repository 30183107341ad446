"""Maps of the shapes models compared with the true masks: every layer, RefineCAM and blind baselines, by size band.

Run from the repository's root: `python -m benchmarks.truth_shapes`. Each sample's scores are appended to
`benchmarks/truth_shapes/MODEL.csv` as they are computed, and a later run resumes from there; at the end
`benchmarks.truth_report` writes the tables and the figure, whatever the result. Nothing is tuned on the scores.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import camviz
from benchmarks import truth_report
from camviz import shapes
from camviz.maps import upsample
from camviz.merging import refine
from camviz.metrics import Evidence
from camviz.metrics.mask_scores import mask_scores
from camviz.models import SHAPES, ModelInfo, read_card
from camviz.recipe import explain_capture

METHOD = "gradcam++"
SAMPLES = 300
SEED = 0
FOLDER = Path(__file__).with_suffix("")

Row = dict[str, object]


def main() -> None:
    """Score what is missing and write the report."""
    models = [info.name for info in camviz.list_models() if info.data == SHAPES and knows_plain_shapes(info)]
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--models", nargs="+", default=models, choices=models)
    options.add_argument(
        "--samples", type=int, default=SAMPLES, help="correctly classified samples, a third of each size"
    )
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options.add_argument("--folder", type=Path, default=FOLDER)
    args = options.parse_args()
    args.folder.mkdir(exist_ok=True)
    for model in args.models:
        measure(model, args.samples, args.workers, args.folder / f"{model}.csv")
    truth_report.write(args.folder)


def knows_plain_shapes(info: ModelInfo) -> bool:
    """Whether a network was trained on plain samples: not on tags, and by a card of its own."""
    card = read_card(info)
    return card is not None and not card.accuracy.is_of_tags


def measure(model: str, samples: int, workers: int, file: Path) -> None:
    """Append the scores of samples that are missing from a model's file."""
    done = {int(row["index"]) for row in truth_report.read(file)} if file.exists() else set()
    todo = [index for index in chosen(model, samples) if index not in done]
    start = time.perf_counter()
    # One thread per process: sums then run in a fixed order, and the numbers are the same on every run.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for count, rows in enumerate(pool.map(partial(score, model), todo), 1):
            _append(file, rows)
            print(f"{time.perf_counter() - start:6.0f} s  {model}  {count} of {len(todo)}", file=sys.stderr)


def chosen(model: str, samples: int) -> list[int]:
    """The first test samples that the model classifies correctly, the same number of every size band."""
    net, count = _net(model), samples // len(shapes.BANDS)
    by_band: dict[str, list[int]] = {band: [] for band in shapes.BANDS}
    index = 0
    while any(len(indices) < count for indices in by_band.values()):
        sample = shapes.sample(index)
        band = by_band[sample.shapes[0].band]
        if len(band) < count and _predicted(net, sample.image) == sample.label:
            band.append(index)
        index += 1
    return sorted(index for indices in by_band.values() for index in indices)


def score(model: str, index: int) -> list[Row]:
    """The scores of every map of one sample, one row per map."""
    net, sample = _net(model), shapes.sample(index)
    x = net.preprocess(sample.image)
    cap = camviz.capture(net.module, x, [sample.label], net.layers)
    common = {
        "index": index,
        "band": sample.shapes[0].band,
        "probability": _probability(net, sample.image, sample.label),
        "shape removed": _probability(net, sample.background, sample.label),
        "background swapped": _probability(net, sample.on(shapes.sample(index, "val").background), sample.label),
    }
    mask = torch.from_numpy(sample.mask)[None]
    rows: list[Row] = []
    by_name = {name: explain_capture(cap, recipe) for name, recipe in recipes(net.layers).items()}
    maps = torch.stack(list(by_name.values()))
    full = Evidence(
        net.module,
        x,
        maps,
        cap.target,
        [partial(camviz.explain, net.module, recipe=recipe) for recipe in recipes(net.layers).values()],
        mask=mask,
        seed=SEED,
        logits=cap.logits,
    )
    # ARCC again, with coherency that keeps the deeper maps; for a single layer both variants are the same.
    again = [partial(_finest_again, cap, recipe) for recipe in recipes(net.layers).values()]
    parts = {part: full.scored(part) for part in ("complexity", "road")}
    kept = Evidence(net.module, x, maps, cap.target, again, logits=cap.logits, known=parts)
    for index, (name, recipe) in enumerate(recipes(net.layers).items()):
        of_kept = kept if len(recipe.layers) > 1 else full
        rows.append({
            **common,
            "map": name,
            "arcc": full.values("arcc")[index].item(),
            "arcc, deeper maps kept": of_kept.values("arcc")[index].item(),
            "coherency": full.values("coherency")[index].item(),
            "coherency, deeper maps kept": of_kept.values("coherency")[index].item(),
            "complexity": full.values("complexity")[index].item(),
            "road": full.values("road")[index].item(),
            "road, raw": full.values("road_raw")[index].item(),
            "blank": int(not bool(maps[index].any())),
            **{key: full.values(key)[index].item() for key in mask_scores()},
            "mass at most": most_mass(cap, recipe, mask),
        })  # fmt: skip
    return rows


def recipes(layers: tuple[str, ...]) -> dict[str, camviz.Recipe]:
    """Every scored map, by its name in the report, from deepest to finest."""
    singles = {layer: camviz.Recipe(METHOD, (layer,)) for layer in layers[::-1]}
    blind = {name: camviz.Recipe(name, (layers[-1],)) for name in truth_report.BLIND}
    return {truth_report.REFINED: camviz.Recipe(METHOD, layers), **singles, **blind}


def _finest_again(cap: camviz.Capture, recipe: camviz.Recipe, x: Tensor, target: Tensor) -> Tensor:
    """The second variant of coherency: only the finest layer sees the masked image, deeper maps stay clean."""
    again = camviz.cam(camviz.capture(cap.module, x, target, recipe.layers[:1]), recipe.method)
    deeper = camviz.cam(cap.select(recipe.layers[1:]), recipe.method)
    return refine(torch.cat([again, deeper]), recipe.rule)


def most_mass(cap: camviz.Capture, recipe: camviz.Recipe, mask: Tensor) -> float:
    """The most mass inside the mask that a map of a single layer's resolution could have; NaN for several layers.

    A map is a sum of its cells' bilinear bumps with non-negative weights, so its share inside the mask is a weighted
    mean of the bumps' shares, and the best single bump has the largest share.
    """
    if len(recipe.layers) > 1 or recipe.method != METHOD:
        return float("nan")
    side = cap.select(recipe.layers).activations[0].shape[-2:]
    cells = torch.zeros(1, 1, *side, requires_grad=True)
    up = upsample(cells, mask.shape[-2:])[0]
    (inside,) = torch.autograd.grad((up * mask).sum(), cells, retain_graph=True)
    (whole,) = torch.autograd.grad(up.sum(), cells)
    return float((inside / whole).max())


@cache
def _net(model: str) -> camviz.Net:
    return camviz.load_model(model, device="cpu")


def _predicted(net: camviz.Net, image: NDArray[np.uint8]) -> int:
    with torch.inference_mode():
        return int(net.module(net.preprocess(image)).argmax(1))


def _probability(net: camviz.Net, image: NDArray[np.uint8], label: int) -> float:
    with torch.inference_mode():
        return float(net.module(net.preprocess(image)).softmax(1)[0, label])


def _append(file: Path, rows: list[Row]) -> None:
    new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows({key: _short(value) for key, value in row.items()} for row in rows)


def _short(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
