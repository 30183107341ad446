"""Cached calls of the robustness measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from camviz.cache import Key
from camviz.explain import Recipe
from camviz.ranks import overlaps
from camviz.robustness import Clean, Outcome, Perturbation, Subject, measure
from camviz.segments import segment, segment_means
from camviz.ui.compute import Scene, get_view, merged, polite
from camviz.ui.engine import cache, heavy, kept

# Copies in a batch on a CPU: few, so that whoever waits is served soon.
_BATCH = {"cpu": 2}

Recipes = Mapping[str, Recipe]


def get_segments(at: Scene) -> NDArray[np.int64]:
    """The segment of each pixel of the clean view (h, w).

    Raises:
        ValueError: a picture that cannot be cut.
    """
    clean = at.clean
    return kept((*clean.seen, "segments"), lambda: segment(get_view(clean)))


def count_segments(at: Scene) -> int:
    """How many segments are ranked."""
    return int(get_segments(at).max()) + 1


def get_subject(at: Scene, recipes: Recipes) -> Subject:
    """A scene without noise and its explanations, which are computed if they are not at hand."""
    labels = get_segments(at)
    maps = {name: merged(at, recipe)[0] for name, recipe in recipes.items()}
    clean = {name: Clean(recipes[name], map_, segment_means(map_[None], labels)[0]) for name, map_ in maps.items()}
    return Subject(at.net, get_view(at), labels, at.target, clean)


def own_overlap(at: Scene, recipe: Recipe) -> float:
    """The overlap of the clean ranking with itself: below 1 where regions tie, NaN for a blank map."""
    scores = get_subject(at, {"": recipe}).clean[""].scores
    return float(overlaps(scores, scores[None])[0])


def has_outcomes(at: Scene, recipes: Recipes, piece: Sequence[Perturbation], comparisons: bool = True) -> bool:
    """Whether a piece has been measured for every explanation."""
    return all(cache().has(_key(at, recipe, piece, comparisons)) for recipe in recipes.values())


def outcomes(
    at: Scene, recipes: Recipes, piece: Sequence[Perturbation], comparisons: bool = True
) -> dict[str, list[Outcome]]:
    """Measure a piece: what its perturbations do to each explanation of a scene without noise.

    Explanations that were not measured yet are measured together, from the same captures.
    """
    looked_up = {name: cache().find(_key(at, recipe, piece, comparisons)) for name, recipe in recipes.items()}
    known: dict[str, list[Outcome]] = {name: found for name, found in looked_up.items() if found is not None}
    missing = {name: recipe for name, recipe in recipes.items() if name not in known}

    def compute() -> dict[str, list[Outcome]]:
        of = get_subject(at, missing)
        with heavy() as give_way:
            return measure(of, piece, polite(None, give_way), _BATCH.get(at.net.device.type), comparisons)

    if missing:
        known |= kept((*at.key, "measured", tuple(missing.items()), tuple(piece), comparisons), compute)
        for name, recipe in missing.items():
            cache().put(_key(at, recipe, piece, comparisons), known[name])
    return {name: known[name] for name in recipes}


def _key(at: Scene, recipe: Recipe, piece: Sequence[Perturbation], comparisons: bool) -> Key:
    return (*at.key, "outcomes", recipe, tuple(piece), comparisons)
