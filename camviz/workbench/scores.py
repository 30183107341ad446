"""The scores of a recipe's map, each computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from camviz.methods import METHODS
from camviz.methods.registry import Progress
from camviz.metrics import SCORES, Evidence, Scored, available
from camviz.metrics.arcc import joined
from camviz.recipe import Recipe, explain
from camviz.results.finding import MapScores
from camviz.workbench.host import telling
from camviz.workbench.maps import get_capture, merged
from camviz.workbench.pictures import Explained
from camviz.workbench.true_shapes import get_true_shape


def score_names(of: Explained) -> list[str]:
    """The scores that can be computed of its maps, in the order of the registry."""
    return available(mask=get_true_shape(of) is not None)


def stages(names: Sequence[str]) -> list[list[str]]:
    """Scores in the order in which they are best computed, those that cost alike together.

    First what costs nothing, then what runs a method again, then what removes pixels.
    """
    orders = {(SCORES[name].cost, SCORES[name].runs_method) for name in names}
    return [[n for n in names if (SCORES[n].cost, SCORES[n].runs_method) == order] for order in sorted(orders)]


def runs_slow_method(recipe: Recipe, name: str) -> bool:
    """Whether a score of a recipe's map takes long, as it runs a slow method again."""
    return SCORES[name].runs_method and METHODS[recipe.method].is_slow


def are_known(of: Explained, recipe: Recipe, names: Sequence[str]) -> bool:
    """Whether scores of a recipe's map are known."""
    return all(of.has("score", recipe, name) for name in names)


def known_scores(of: Explained, recipe: Recipe, names: Sequence[str]) -> MapScores:
    """Those scores of a recipe's map that are known."""
    found = {name: of.host.results.find((*of.key, "score", recipe, name)) for name in names}
    return _map_scores(found)


def compute_scores(of: Explained, recipe: Recipe, names: Sequence[str], progress: Progress | None = None) -> MapScores:
    """Scores of a recipe's map, of which only those that are not known yet are computed.

    Args:
        of: what is explained.
        recipe: how.
        names: which scores, names in `camviz.SCORES`.
        progress: called with (passes done, all passes) by a slow method that runs again; what it raises stops the work.
    """
    keys = {name: (*of.key, "score", recipe, name) for name in names}
    found: dict[str, Scored | None] = {name: of.host.results.find(key) for name, key in keys.items()}
    missing = tuple(name for name, value in found.items() if value is None)
    if missing:
        new = of.kept("scores", recipe, missing, compute=lambda: _compute(of, recipe, missing, progress))
        for name, value in new.items():
            of.host.results.put(keys[name], value)
        found |= new
    return _map_scores(found)


def _compute(of: Explained, recipe: Recipe, names: Sequence[str], progress: Progress | None) -> dict[str, Scored]:
    cap, map_, truth = get_capture(of), merged(of, recipe), get_true_shape(of)
    known = {name: of.host.results.find((*of.key, "score", recipe, name)) for name in SCORES}
    mask = None if truth is None else torch.from_numpy(truth.mask)[None].to(map_.device)
    method_progress = progress if METHODS[recipe.method].is_slow else None
    with of.host.working() as give_way:
        told = telling(method_progress, give_way)
        evidence = Evidence(
            of.net.module,
            cap.x,
            map_[None],
            cap.target,
            explains=[partial(_again, of, recipe, told)],
            mask=mask,
            seed=recipe.seed,
            logits=cap.logits,
            progress=telling(None, give_way),
            known={name: value for name, value in known.items() if value is not None},
        )
        found = [evidence.scored(name) for name in names]
    values = _on_cpu([each.values for each in found])
    return {name: Scored(v, each.notes) for name, v, each in zip(names, values, found, strict=True)}


def _on_cpu(values: list[Tensor]) -> list[Tensor]:
    """The values (M, B) of several scores on the CPU; a GPU is waited for once."""
    if all(each.device.type == "cpu" for each in values):
        return values
    return list(torch.stack([each.float() for each in values]).cpu())


def _again(of: Explained, recipe: Recipe, told: Progress, x: Tensor, target: Tensor) -> Tensor:
    return explain(of.net.module, x, target, recipe, told)


def _map_scores(found: dict[str, Scored | None]) -> MapScores:
    """One map's scores as numbers: without those that are unknown, and None where a score is undefined."""
    known = {name: each for name, each in found.items() if each is not None}
    values = {name: float(each.values[0, 0]) for name, each in known.items()}
    return MapScores(
        {name: value if math.isfinite(value) else None for name, value in values.items()},
        joined(each.notes[0][0] for each in known.values()),
    )
