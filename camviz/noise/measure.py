"""Does an explanation stay the same when the prediction does, and change when the prediction changes?

Based on the abstract, the introduction and summaries of "Assessing the Noise Robustness of Class Activation Maps",
arXiv 2508.18154; the definitions below are our interpretation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from camviz import noise
from camviz.methods import METHODS, Progress
from camviz.metrics.similarity import Likeness, likeness
from camviz.models import Net
from camviz.network.batching import chunk_size, in_chunks, in_fast_order
from camviz.network.capture import Capture, captures
from camviz.noise.rank_overlap import overlaps
from camviz.noise.segments import segment_means
from camviz.recipe import Recipe, explain_capture, ready_for

_NOT_COMPARED = Likeness(math.nan, math.nan, math.nan)


@dataclass(frozen=True, order=True)
class Perturbation:
    """A kind of noise, its level, and its seed (the repeat)."""

    kind: str
    level: float
    seed: int = 0


def perturbations(kinds: Sequence[str], levels: Sequence[float], seeds: Sequence[int]) -> list[Perturbation]:
    """Every kind at every level with every seed, in this order."""
    return [Perturbation(*point) for point in itertools.product(kinds, levels, seeds)]


@dataclass(frozen=True)
class Outcome:
    """The effect of a perturbation on the prediction and on one explanation.

    Attributes:
        kind, level, seed: the perturbation.
        predicted: the class predicted on the perturbed picture.
        probability: that class's probability.
        kept: the remaining probability of the class predicted on the clean picture.
        flipped: whether the two classes differ.
        overlap: rank-biased overlap between the segment rankings of the clean map and of the map of the class now
            predicted; NaN if a map is blank.
        overlap_same: the overlap with the map of the class predicted on the clean picture.
        ssim, pearson, spearman: simple comparisons of the perturbed map with the clean one; NaN if not requested.
    """

    kind: str
    level: float
    seed: int
    predicted: int
    probability: float
    kept: float
    flipped: bool
    overlap: float
    overlap_same: float
    ssim: float
    pearson: float
    spearman: float


@dataclass(frozen=True, eq=False)
class CleanExplanation:
    """One explanation of a clean picture, which explanations of perturbed copies are compared with.

    Attributes:
        recipe: how the explanation is made.
        map: float (H, W) in [0, 1], on the network's device.
        scores: the map's mean in each segment, float (m,).
    """

    recipe: Recipe
    map: Tensor
    scores: Tensor


@dataclass(frozen=True, eq=False)
class Subject:
    """A picture as a network sees it, its segments, and the explanations of the class predicted for it.

    Attributes:
        net: the network.
        view: uint8 (h, w, 3), what the network sees; noise is applied to this.
        labels: int (h, w), the segment of each pixel.
        target: the class predicted on the clean view.
        clean: one entry for each recipe, by name.
    """

    net: Net
    view: NDArray[np.uint8] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    target: int
    clean: Mapping[str, CleanExplanation]

    @property
    def segments(self) -> int:
        """The number of segments to rank."""
        return int(self.labels.max()) + 1


def measure(
    of: Subject,
    points: Sequence[Perturbation],
    progress: Progress | None = None,
    batch: int | None = None,
    comparisons: bool = True,
) -> dict[str, list[Outcome]]:
    """Perturb a picture and compare each explanation with the clean one.

    The perturbed copies go through the network in batches, with one capture for all recipes; if predictions flip, a
    second backward pass explains the class predicted on the clean picture.

    Args:
        of: the picture with its clean explanations.
        points: the perturbations.
        progress: called with (perturbed copies done, total); an exception from it stops the work.
        batch: copies per batch; None for as many as fit in memory, or as are fast on a CPU.
        comparisons: whether to also compare the maps pixel by pixel, about 10 ms per map on a CPU.

    Returns:
        for each recipe, one outcome per perturbation, in order.

    Raises:
        ValueError: an unknown kind of noise, or a level outside [0, 1].
    """
    if not points:
        return {name: [] for name in of.clean}
    distinct = _to_compute(points)
    results: dict[Perturbation, dict[str, Outcome]] = {}

    def run(part: slice) -> list[dict[str, Outcome]]:
        return _outcomes(of, distinct[part], still(progress, part.start, len(distinct)), comparisons)

    size = batch or capture_size(of)
    for part, outcomes in in_chunks(run, len(distinct), size):
        results.update(zip(distinct[part], outcomes, strict=True))
        if progress is not None:
            progress(part.stop, len(distinct))
    return {name: [_with_seed(results[_without_unused_seed(p)][name], p.seed) for p in points] for name in of.clean}


def capture_size(of: Subject) -> int:
    """How many copies are captured together: a backward pass needs twice the memory of a forward pass.

    So does another capture, of the mirrored copies.
    """
    if of.net.device.type == "cpu":
        return chunk_size(of.net.inputs(of.view[None]))
    twice = 2 if any(clean.recipe.mirror_averaged for clean in of.clean.values()) else 1
    return max(1, chunk_size(of.net.inputs(of.view[None])) // (2 * twice))


@dataclass(frozen=True, eq=False)
class Robustness:
    """The results of perturbing one picture.

    Attributes:
        table: one row per perturbed copy, with the fields of `Outcome` as columns.
        consistency: mean overlap of the copies that keep the prediction; NaN if none does.
        responsiveness: 1 - mean overlap of the copies that change it; NaN if none does.
        rm: consistency * responsiveness; NaN if either is undefined.
        segments: the number of segments ranked.
        chance: the expected overlap of a random order of the segments.
        minimum: their smallest possible overlap.
        target: the class predicted on the clean picture.
    """

    table: pd.DataFrame = field(repr=False)
    consistency: float
    responsiveness: float
    rm: float
    segments: int
    chance: float
    minimum: float
    target: int


def as_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Make a table with one row per outcome."""
    return pd.DataFrame([asdict(outcome) for outcome in outcomes])


def summary(table: pd.DataFrame) -> tuple[float, float, float]:
    """Consistency, responsiveness and their product over a table's rows; NaN where undefined.

    Rows without an overlap (because a map was blank) are left out.
    """
    consistency = float(table.loc[~table.flipped, "overlap"].mean())
    responsiveness = 1 - float(table.loc[table.flipped, "overlap"].mean())
    return consistency, responsiveness, consistency * responsiveness


def _outcomes(
    of: Subject, points: Sequence[Perturbation], progress: Progress | None, comparisons: bool
) -> list[dict[str, Outcome]]:
    """The outcomes of one batch: for each perturbation, one per recipe."""
    recipes = {name: clean.recipe for name, clean in of.clean.items()}
    class_specific = any(METHODS[recipe.method].class_specific for recipe in recipes.values())
    targets = [None, of.target] if class_specific else [None]
    cap, *again = _captures(of.net, _perturbed(of, points), targets, _layers(recipes))
    cap = ready_for(cap, recipes.values())
    probabilities, predicted = cap.logits.float().softmax(1).cpu(), cap.target.tolist()
    flipped = [index for index, target in enumerate(predicted) if target != of.target]
    places = torch.tensor(flipped, device=cap.x.device)
    specific = [recipe for recipe in recipes.values() if METHODS[recipe.method].class_specific]
    unchanged = ready_for(again[0].images(places), specific) if again and flipped else None
    rows: list[dict[str, Outcome]] = [{} for _ in points]
    for name, clean in of.clean.items():
        maps = explain_capture(cap, clean.recipe, progress)
        overlap = _overlap(clean, maps, of)
        same = overlap.clone()
        if unchanged is not None and METHODS[clean.recipe.method].class_specific:
            same[places] = _overlap(clean, explain_capture(unchanged, clean.recipe, progress), of)
        overlaps_, overlaps_same = torch.stack([overlap, same]).tolist()
        compared = likeness(clean.map, maps) if comparisons else [_NOT_COMPARED] * len(maps)
        for index, point in enumerate(points):
            rows[index][name] = Outcome(
                **asdict(point),
                predicted=predicted[index],
                probability=float(probabilities[index, predicted[index]]),
                kept=float(probabilities[index, of.target]),
                flipped=index in flipped,
                overlap=overlaps_[index],
                overlap_same=overlaps_same[index],
                **asdict(compared[index]),
            )
    return rows


def _captures(
    net: Net, views: NDArray[np.uint8], targets: Sequence[int | None], layers: Sequence[str]
) -> tuple[Capture, ...]:
    """Captures of views (B, h, w, 3), one per target."""
    return in_fast_order(net.module, net.inputs(views), lambda x: captures(net.module, x, targets, layers))


def _perturbed(of: Subject, points: Sequence[Perturbation]) -> NDArray[np.uint8]:
    """The perturbed views (B, h, w, 3); levels of one kind and seed share their draws."""
    views = np.empty((len(points), *of.view.shape), np.uint8)
    for kind, seed in {(point.kind, point.seed) for point in points}:
        places = [i for i, point in enumerate(points) if (point.kind, point.seed) == (kind, seed)]
        levels = [points[i].level for i in places]
        views[places] = noise.apply_levels(of.view, kind, levels, seed, of.net, of.target)
    return views


def _overlap(clean: CleanExplanation, maps: Tensor, of: Subject) -> Tensor:
    return overlaps(clean.scores, segment_means(maps, of.labels))


def _layers(recipes: Mapping[str, Recipe]) -> list[str]:
    """Every layer that any recipe merges."""
    return list(dict.fromkeys(layer for recipe in recipes.values() for layer in recipe.layers))


def _to_compute(points: Sequence[Perturbation]) -> list[Perturbation]:
    """The distinct perturbations; those that share draws are adjacent, so that a batch draws them once."""
    return sorted(dict.fromkeys(map(_without_unused_seed, points)), key=lambda point: (point.kind, point.seed))


def _without_unused_seed(point: Perturbation) -> Perturbation:
    """The perturbation, with the default seed if its kind draws nothing."""
    if point.kind in noise.KINDS and not noise.KINDS[point.kind].seeded:
        return Perturbation(point.kind, point.level)
    return point


def _with_seed(outcome: Outcome, seed: int) -> Outcome:
    return outcome if outcome.seed == seed else Outcome(**{**asdict(outcome), "seed": seed})


def count_computed(points: Sequence[Perturbation]) -> int:
    """The number of distinct perturbed copies, which are the ones computed."""
    return len(_to_compute(points))


def still(progress: Progress | None, done: int, total: int) -> Progress | None:
    """A callback that reports unchanged progress within a batch, called often so that it can stop the work there."""
    return None if progress is None else lambda *_: progress(done, total)
