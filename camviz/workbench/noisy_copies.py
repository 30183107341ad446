"""How noise changes a network's prediction and its explanations: each noisy copy is measured once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from camviz.images import Fit
from camviz.methods import Progress
from camviz.models import Net
from camviz.noise.measure import (
    CleanExplanation,
    Outcome,
    Perturbation,
    Robustness,
    Subject,
    as_table,
    count_computed,
    measure,
    perturbations,
    still,
    summary,
)
from camviz.noise.rank_overlap import chance, minimum, overlaps
from camviz.noise.segments import segment, segment_means
from camviz.recipe import Recipe
from camviz.workbench.cache_keys import Key, Kind
from camviz.workbench.host import PlainHost, telling
from camviz.workbench.maps import extra_layers, get_view, layer_maps, likeliest, merged
from camviz.workbench.pictures import Explained, SeenPicture, pixels_as_picture

Recipes = Mapping[str, Recipe]


def robustness(
    net: Net,
    image: NDArray[np.uint8],
    kinds: Sequence[str] | str = ("gaussian",),
    levels: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0),
    method: str = "gradcam++",
    layers: Sequence[str] | str | None = None,
    seeds: Sequence[int] = (0,),
    *,
    rule: str = "product",
    mirror_averaged: bool = False,
    fit: Fit = "crop",
    batch: int | None = None,
    comparisons: bool = True,
    progress: Progress | None = None,
) -> Robustness:
    """Perturb a picture and measure how an explanation follows the prediction.

    The clean view is cut into segments, which are ranked by their mean map value. Each perturbed copy ranks them again,
    with the map of the class predicted there. Rank-biased overlap says how similar two rankings are.

    Args:
        net: the network.
        image: uint8 (H, W, 3).
        kinds: names in `camviz.noise.KINDS`.
        levels: each in [0, 1]; a copy at level 0 is the picture itself, and counts like any other copy.
        method: a name in `camviz.METHODS`.
        layers: the layers to merge into RefineCAM, or one layer; None for the network's default layers.
        seeds: of the noise; kinds without random draws are computed once and listed in the table for each seed.
        rule: the merging rule.
        mirror_averaged: as in `camviz.Recipe`.
        fit: how the picture is fitted into the network's view; the noise acts on the view.
        batch: copies in a batch; None for as many as fit into memory, or as suit a CPU.
        comparisons: whether to compare the maps pixel by pixel too.
        progress: called with (copies done, all copies); an exception from it stops the work.

    Raises:
        ValueError: an unknown kind, method, rule or layer, a level outside [0, 1], nothing to do, or a picture that
            cannot be cut into segments.
    """
    points = perturbations([kinds] if isinstance(kinds, str) else kinds, levels, seeds)
    if not points:
        raise ValueError("nothing to measure: give at least one kind of noise, one level and one seed")
    merged = (layers,) if isinstance(layers, str) else tuple(layers or net.layers)
    recipes = {method: Recipe(method, merged, rule, mirror_averaged=mirror_averaged)}
    host = PlainHost(batch=batch)
    seen = SeenPicture(host, pixels_as_picture(image, ""), net, fit, more_layers=extra_layers(net, recipes.values()))
    of = seen.explaining(likeliest(seen))
    measured = outcomes(of, recipes, points, comparisons, progress)[method]
    table, m = as_table(measured), count_segments(of)
    return Robustness(table, *summary(table), m, chance(m), minimum(m), of.target)


def get_segments(of: SeenPicture) -> NDArray[np.int64]:
    """The segment of each pixel of the clean view (h, w).

    Raises:
        ValueError: a picture that cannot be cut into segments.
    """
    clean = of.clean
    return of.host.kept(clean.seen_cache_key(Kind.SEGMENTS), lambda: segment(get_view(clean)))


def count_segments(of: SeenPicture) -> int:
    """The number of segments."""
    return int(get_segments(of).max()) + 1


def get_subject(of: Explained, recipes: Recipes, progress: Progress | None = None) -> Subject:
    """A clean picture and its explanations, computed if not yet known; `progress` is called for slow methods."""
    labels = get_segments(of)
    for recipe in recipes.values():
        layer_maps(of, recipe, progress)
    maps = {name: merged(of, recipe)[0] for name, recipe in recipes.items()}
    clean = {
        name: CleanExplanation(recipes[name], map_, segment_means(map_[None], labels)[0]) for name, map_ in maps.items()
    }
    return Subject(of.net, get_view(of), labels, of.target, clean)


def own_overlap(of: Explained, recipe: Recipe) -> float:
    """The overlap of the clean ranking with itself: below 1 where regions tie, NaN for a blank map."""
    scores = get_subject(of, {"": recipe}).clean[""].scores
    return float(overlaps(scores, scores[None])[0])


def has_outcomes(of: Explained, recipes: Recipes, piece: Sequence[Perturbation], comparisons: bool = True) -> bool:
    """Whether a piece has been measured for every explanation."""
    return all(of.host.results.has(_key(of, recipe, piece, comparisons)) for recipe in recipes.values())


def outcomes(
    of: Explained,
    recipes: Recipes,
    piece: Sequence[Perturbation],
    comparisons: bool = True,
    progress: Progress | None = None,
) -> dict[str, list[Outcome]]:
    """Measure a piece of a sweep: how its perturbations change each explanation of a clean picture.

    Explanations that are not yet measured are measured together, from the same captures.

    Args:
        of: the clean picture and the class predicted on it.
        recipes: how to explain, by name.
        piece: the perturbations.
        comparisons: whether to compare the maps pixel by pixel too.
        progress: called with (perturbed copies done, all copies); an exception from it stops the work.

    Raises:
        ValueError: a picture that cannot be cut into segments, or any error of `measure`.
    """
    cached = {name: of.host.results.find(_key(of, recipe, piece, comparisons)) for name, recipe in recipes.items()}
    known: dict[str, list[Outcome]] = {name: value for name, value in cached.items() if value is not None}
    missing = {name: recipe for name, recipe in recipes.items() if name not in known}

    def compute() -> dict[str, list[Outcome]]:
        subject = get_subject(of, missing, still(progress, 0, count_computed(piece)))
        batch = of.host.batch if of.net.device.type == "cpu" else None
        with of.host.working() as give_way:
            return measure(subject, piece, telling(progress, give_way), batch, comparisons)

    if missing:
        known |= of.kept(Kind.SWEPT, tuple(missing.items()), tuple(piece), comparisons, compute=compute)
        for name, recipe in missing.items():
            of.host.results.put(_key(of, recipe, piece, comparisons), known[name])
    return {name: known[name] for name in recipes}


def _key(of: Explained, recipe: Recipe, piece: Sequence[Perturbation], comparisons: bool) -> Key:
    return of.cache_key(Kind.OUTCOMES, recipe, tuple(piece), comparisons)
