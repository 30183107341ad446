"""A picture, its settings and everything computed from them, as one value to keep and share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from camviz.merging import RULES
from camviz.methods.registry import Progress, shifted
from camviz.metrics.arcc import joined
from camviz.models import Net
from camviz.recipe import Recipe
from camviz.results.finding import BASELINES, RESULT, Finding, KnownShape, LayerFacts, MapScores, Settings, likeliest
from camviz.workbench.host import Host, PlainHost
from camviz.workbench.maps import (
    extra_layers,
    floor,
    get_capture,
    get_twins,
    get_view,
    layer_map,
    layer_maps,
    merged,
    method_runs,
    negative_layers,
    predict,
    running_merges,
)
from camviz.workbench.maps import likeliest as predicted_class
from camviz.workbench.pictures import Explained, SeenPicture, picture_bytes, read_picture
from camviz.workbench.scores import MORE_SCORES, compute_scores, known_scores, score_names, with_more
from camviz.workbench.true_shapes import seen_shapes


def find(
    net: Net,
    data: bytes,
    name: str,
    settings: Settings,
    progress: Progress | None = None,
    scores: bool = True,
    host: Host | None = None,
    shapes: Sequence[KnownShape] = (),
    more_scores: Sequence[str] = (),
) -> Finding:
    """Explain a picture from its bytes, and score the explanation.

    Args:
        net: the network; its name replaces the one in the settings.
        data: the picture's bytes, as `camviz.load_image` reads them.
        name: the picture's name.
        settings: what to compute. The result lists the layers in the order in which the network reaches them.
        progress: called with (passes done, all passes) by methods that run the network again, for maps and scores; an
            exception from it stops the work.
        scores: whether to compute the scores. Some run the whole method again, once for the merged map and once more
            for the layers.
        host: where results are cached and work is done; None for a host of this call only.
        shapes: the shapes that the picture is known to contain, for scores against a mask: masks of the size of the
            picture or of the network's view.
        more_scores: scores to compute besides, names in `camviz.SCORES`: those that are computed only on request.

    Raises:
        ImageError: the bytes are not a picture.
        ValueError: an unknown score, method, layer, rule, fit, kind of noise or target; more scores without scores.
    """
    with_more([], more_scores)  # before anything is computed
    if more_scores and not scores:
        raise ValueError("more_scores were asked for with scores=False: leave one of the two out")
    host = host or PlainHost()
    more = extra_layers(net, [settings.recipe])
    seen = SeenPicture(
        host, read_picture(host, data, name, shapes=tuple(shapes)), net, settings.fit, settings.noise, more
    )
    of = seen.explaining(predicted_class(seen) if settings.target is None else settings.target)
    recipe = in_order(of, settings.recipe)
    layer_maps(of, recipe, shifted(progress, 0, passes(of, recipe, scores)))
    names = with_more(score_names(of), more_scores) if scores else []
    if names:
        score_all(of, recipe, names, progress)
    return as_finding(of, recipe, names)


def find_again(net: Net, stored: Finding, progress: Progress | None = None, host: Host | None = None) -> Finding:
    """Compute a stored result again from its picture and settings, with the scores that it has of those offered here.

    Arguments and errors are those of `find`.
    """
    return find(
        net,
        stored.picture,
        stored.name,
        stored.settings,
        progress,
        bool(stored.scores),
        host,
        stored.shapes,
        [name for name in MORE_SCORES if stored.scores and name in stored.score_names],
    )


def in_order(of: Explained, recipe: Recipe) -> Recipe:
    """The recipe with its layers in the order in which the network reaches them."""
    reached = dict(zip(of.layers, get_capture(of).reached, strict=True))
    return replace(recipe, layers=tuple(sorted(recipe.layers, key=reached.__getitem__)))


def passes(of: Explained, recipe: Recipe, scores: bool = True) -> int:
    """How often a slow method runs the network: for its maps, and to score the merged map and each layer's map."""
    scored = (2 if len(recipe.layers) > 1 else 1) if scores else 0
    return (1 + scored) * sum(method_runs(of, recipe))


def score_all(of: Explained, recipe: Recipe, names: Sequence[str], progress: Progress | None = None) -> None:
    """Compute scores of a recipe's merged map, layer maps and blind guesses, once its maps are known.

    `progress` continues from the maps: it is called with (passes done, all passes) of a slow method.
    """
    runs, total = method_runs(of, recipe), passes(of, recipe)
    compute_scores(of, recipe, names, shifted(progress, sum(runs), total))
    for index, layer in enumerate(recipe.layers if len(recipe.layers) > 1 else ()):
        before = 2 * sum(runs) + sum(runs[:index])
        compute_scores(of, alone(recipe, layer), names, shifted(progress, before, total))
    for baseline in baselines(recipe).values():
        compute_scores(of, baseline, names)


def baselines(recipe: Recipe) -> dict[str, Recipe]:
    """The blind guesses that a recipe's map is compared with, by the name of the method."""
    return {name: Recipe(name, recipe.layers[-1:]) for name in BASELINES}


def alone(recipe: Recipe, layer: str) -> Recipe:
    """The recipe for a single layer, without a merge."""
    return replace(recipe, layers=(layer,), rule="product")


def as_finding(of: Explained, recipe: Recipe, names: Sequence[str]) -> Finding:
    """Everything known about a picture and a recipe, including those of the named scores that were computed."""
    probabilities = predict(of)
    # A single layer's map is the result itself.
    layers = {layer: alone(recipe, layer) if len(recipe.layers) > 1 else recipe for layer in recipe.layers}
    maps = {RESULT: recipe, **layers}
    return Finding(
        settings=Settings(of.net.info.name, recipe, of.fit, of.target, of.noise),
        name=of.picture.title,
        picture=picture_bytes(of),
        view=get_view(of),
        maps=layer_maps(of, recipe)[:, 0].cpu().numpy(),
        merged=merged(of, recipe)[0].cpu().numpy(),
        label=of.net.labels[of.target],
        probability=float(probabilities[of.target]),
        floor=floor(of) if names else None,
        top=likeliest(probabilities, of.net.labels),
        scores={key: scores_of_map(of, shown, names) for key, shown in maps.items()} if names else {},
        baselines={key: known_scores(of, guess, names) for key, guess in baselines(recipe).items()} if names else {},
        layers=layer_facts(of, recipe),
        shapes=seen_shapes(of),
        merges=running_merges(of, recipe) if RULES[recipe.rule].needs != "maps" else None,
        device=str(of.net.device),
    )


def layer_facts(of: Explained, recipe: Recipe) -> tuple[LayerFacts, ...]:
    """Facts about each of a recipe's layers."""
    cap, twins = get_capture(of).select(recipe.layers), get_twins(of, recipe.method)
    return tuple(
        LayerFacts(
            (activation.shape[-2], activation.shape[-1]),
            layer_map(of, recipe, layer)[1],
            negative_layers(of)[layer],
            tuple(twins[layer]),
        )
        for layer, activation in zip(cap.layers, cap.activations, strict=True)
    )


def scores_of_map(of: Explained, recipe: Recipe, names: Sequence[str]) -> MapScores:
    """The known scores of one map; for a blank layer, with the reason."""
    scores = known_scores(of, recipe, names)
    blank = layer_map(of, recipe, recipe.layers[0])[1] if len(recipe.layers) == 1 else ""
    return replace(scores, note=joined((blank, scores.note)))
