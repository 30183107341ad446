"""The scores of a recipe's map, each computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from camviz.methods import METHODS
from camviz.methods.registry import Progress
from camviz.metrics import SCORES, Evidence, Scored, available
from camviz.metrics.arcc import harmonic_mean, joined, scaled
from camviz.metrics.patch_agreement import OF_EFFECTS, Effects, imputed_effects
from camviz.metrics.road import road_over_seeds
from camviz.recipe import Recipe, explain
from camviz.results.finding import MapScores
from camviz.workbench.cache_keys import Kind
from camviz.workbench.host import telling
from camviz.workbench.maps import get_capture, merged
from camviz.workbench.pictures import Explained
from camviz.workbench.true_shapes import get_true_shape

# What is computed only when it is asked for, as it takes many passes.
MORE_SCORES = ("faithfulness",)
# ROAD fills removed pixels with some random noise: with how many seeds ARCC is computed to see how much that matters.
SEEDS = 5


def score_names(of: Explained) -> list[str]:
    """The scores that can be computed for its maps, in the order of the registry."""
    return available(mask=get_true_shape(of) is not None)


def with_more(names: Sequence[str], more: Sequence[str]) -> list[str]:
    """Scores and those asked for besides, in the order of the registry.

    Raises:
        ValueError: an unknown score, or one that does not have to be asked for.
    """
    offered = [name for name, score in SCORES.items() if score.on_request]
    unknown = [name for name in more if name not in offered]
    if unknown:
        raise ValueError(f"unknown score {unknown[0]!r}; on request there are {', '.join(offered)}")
    return [name for name in SCORES if name in {*names, *more}]


def get_effects(of: Explained) -> Effects:
    """What removing squares of the picture does to the class's probability: 85 passes, which serve all of its maps."""
    cap = get_capture(of)

    def compute() -> Effects:
        blank = cap.x.new_zeros(1, 1, *cap.x.shape[-2:])  # whatever the map, the effects are the same
        with of.host.working() as give_way:
            progress = telling(None, give_way)
            return imputed_effects(
                Evidence(of.net.module, cap.x, blank, cap.target, logits=cap.logits, progress=progress)
            )

    return of.kept(Kind.EFFECTS, compute=compute)


def stages(names: Sequence[str]) -> list[list[str]]:
    """Scores in the best order to compute them, grouped by cost.

    First those that cost nothing, then those that run a method again, then those that remove pixels.
    """
    orders = {(SCORES[name].cost, SCORES[name].runs_method) for name in names}
    return [[n for n in names if (SCORES[n].cost, SCORES[n].runs_method) == order] for order in sorted(orders)]


def runs_slow_method(recipe: Recipe, name: str) -> bool:
    """Whether a score of a recipe's map runs a slow method again."""
    return SCORES[name].runs_method and METHODS[recipe.method].is_slow


def are_known(of: Explained, recipe: Recipe, names: Sequence[str]) -> bool:
    """Whether scores of a recipe's map are known."""
    return all(of.has(Kind.SCORE, recipe, name) for name in names)


def known_scores(of: Explained, recipe: Recipe, names: Sequence[str]) -> MapScores:
    """The known ones of these scores of a recipe's map."""
    cached = {name: of.host.results.find(of.cache_key(Kind.SCORE, recipe, name)) for name in names}
    return _map_scores(cached)


def compute_scores(of: Explained, recipe: Recipe, names: Sequence[str], progress: Progress | None = None) -> MapScores:
    """Return scores of a recipe's map, computing only those that are not yet known.

    Args:
        of: the picture and class.
        recipe: the recipe.
        names: names in `camviz.SCORES`.
        progress: called with (passes done, all passes) when a slow method runs again; an exception from it stops the
            work.
    """
    keys = {name: of.cache_key(Kind.SCORE, recipe, name) for name in names}
    scores: dict[str, Scored | None] = {name: of.host.results.find(key) for name, key in keys.items()}
    missing = tuple(name for name, value in scores.items() if value is None)
    if missing:
        new = of.kept(Kind.SCORES, recipe, missing, compute=lambda: _compute(of, recipe, missing, progress))
        for name, value in new.items():
            of.host.results.put(keys[name], value)
        scores |= new
    return _map_scores(scores)


def _compute(of: Explained, recipe: Recipe, names: Sequence[str], progress: Progress | None) -> dict[str, Scored]:
    cap, map_, truth = get_capture(of), merged(of, recipe), get_true_shape(of)
    known = {name: of.host.results.find(of.cache_key(Kind.SCORE, recipe, name)) for name in SCORES}
    mask = None if truth is None else torch.from_numpy(truth.mask)[None].to(map_.device)
    shared: dict[Callable[[Evidence], object], object] = {}
    if set(names) & set(OF_EFFECTS):
        shared[imputed_effects] = get_effects(of)
    method_progress = progress if METHODS[recipe.method].is_slow else None
    with of.host.working() as give_way:
        report = telling(method_progress, give_way)
        evidence = Evidence(
            of.net.module,
            cap.x,
            map_[None],
            cap.target,
            explains=[partial(_again, of.net.module, recipe, report)],
            explains_on=[lambda module, x, target: _again(module, recipe, report, x, target)],
            mask=mask,
            seed=recipe.seed,
            logits=cap.logits,
            progress=telling(None, give_way),
            known={name: value for name, value in known.items() if value is not None},
            shared=shared,
        )
        scores = [evidence.scored(name) for name in names]
    values = _on_cpu([score.values for score in scores])
    return {name: Scored(v, score.notes) for name, v, score in zip(names, values, scores, strict=True)}


def arcc_spread(of: Explained, recipe: Recipe) -> float:
    """The standard deviation of a map's ARCC over `SEEDS` seeds of ROAD, by which a lead over another is judged.

    Coherency and complexity do not depend on that seed: they are those of the map's scores.
    """

    def compute() -> float:
        scores = compute_scores(of, recipe, ["coherency", "complexity", "road"])
        coherency, complexity, first = (scores[name] or 0.0 for name in ("coherency", "complexity", "road"))
        roads = [first, *_more_roads(of, recipe)]
        parts = torch.tensor([[coherency] * SEEDS, [1 - complexity] * SEEDS, roads])
        return float(harmonic_mean(parts).std())

    return of.kept(Kind.SEED_SPREAD, recipe, compute=compute)


def _more_roads(of: Explained, recipe: Recipe) -> list[float]:
    """ROAD, as it enters ARCC, with all seeds but the recipe's own."""
    cap, map_ = get_capture(of), merged(of, recipe)
    seeds = range(recipe.seed + 1, recipe.seed + SEEDS)
    with of.host.working() as give_way:
        roads = road_over_seeds(of.net.module, cap.x, map_, cap.target, cap.logits, seeds, telling(None, give_way))
    return [float(scaled(road.score)) for road in roads]


def is_spread_known(of: Explained, recipe: Recipe) -> bool:
    """Whether `arcc_spread` has nothing left to compute."""
    return of.has(Kind.SEED_SPREAD, recipe)


def _on_cpu(values: list[Tensor]) -> list[Tensor]:
    """Move the values (M, B) of several scores to the CPU, waiting for a GPU only once."""
    there = [number for number, value in enumerate(values) if value.device.type != "cpu"]
    if not there:
        return values
    fetched = dict(zip(there, torch.stack([values[number].float() for number in there]).cpu(), strict=True))
    return [fetched.get(number, value) for number, value in enumerate(values)]


def _again(module: nn.Module, recipe: Recipe, progress: Progress, x: Tensor, target: Tensor) -> Tensor:
    return explain(module, x, target, recipe, progress)


def _map_scores(scores: dict[str, Scored | None]) -> MapScores:
    """One map's scores as numbers: without unknown scores, and None for an undefined one."""
    known = {name: score for name, score in scores.items() if score is not None}
    values = {name: float(score.values[0, 0]) for name, score in known.items()}
    return MapScores(
        {name: value if math.isfinite(value) else None for name, value in values.items()},
        joined(score.notes[0][0] for score in known.values()),
    )
