"""A picture, its settings, and everything computed from them, as one value to keep and to share."""

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
from camviz.workbench.scores import compute_scores, known_scores, score_names
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
) -> Finding:
    """Explain a picture from its bytes, and score the explanation.

    Args:
        net: the network; its name replaces the one in the settings.
        data: the picture's bytes, as `camviz.load_image` reads them.
        name: what the picture is called.
        settings: what is asked for. The layers come back in the order in which the network reaches them.
        progress: called with (passes done, all passes) by the methods that run the network again, through maps and
            scores; what it raises stops the work.
        scores: whether to compute the scores. Some run the whole method again, once for the merged map and once more
            for the layers.
        host: where results are kept and work is done; None for one that is this call's own.
        shapes: what the picture is known to hold, for the scores that ask for it: masks of the picture's size, or of
            the size of the network's view.

    Raises:
        ImageError: the bytes are no picture.
        ValueError: an unknown method, layer, rule, fit or kind of noise, or a target that the network has not.
    """
    host = host or PlainHost()
    more = extra_layers(net, [settings.recipe])
    seen = SeenPicture(
        host, read_picture(host, data, name, shapes=tuple(shapes)), net, settings.fit, settings.noise, more
    )
    of = seen.explaining(predicted_class(seen) if settings.target is None else settings.target)
    recipe = in_order(of, settings.recipe)
    layer_maps(of, recipe, shifted(progress, 0, passes(of, recipe, scores)))
    if scores:
        score_all(of, recipe, progress)
    return as_finding(of, recipe, score_names(of) if scores else ())


def in_order(of: Explained, recipe: Recipe) -> Recipe:
    """The recipe with its layers in the order in which the network reaches them."""
    reached = dict(zip(of.layers, get_capture(of).reached, strict=True))
    return replace(recipe, layers=tuple(sorted(recipe.layers, key=reached.__getitem__)))


def passes(of: Explained, recipe: Recipe, scores: bool = True) -> int:
    """How often a slow method runs the network for its maps, and to score the merged map and each layer's."""
    scored = (2 if len(recipe.layers) > 1 else 1) if scores else 0
    return (1 + scored) * sum(method_runs(of, recipe))


def score_all(of: Explained, recipe: Recipe, progress: Progress | None = None) -> None:
    """Compute every score of a recipe's merged map, of each layer's, and of the blind guesses, once its maps are known.

    `progress` counts on from the maps: it is called with (passes done, all passes) of a slow method.
    """
    runs, names, total = method_runs(of, recipe), score_names(of), passes(of, recipe)
    compute_scores(of, recipe, names, shifted(progress, sum(runs), total))
    for index, layer in enumerate(recipe.layers if len(recipe.layers) > 1 else ()):
        before = 2 * sum(runs) + sum(runs[:index])
        compute_scores(of, alone(recipe, layer), names, shifted(progress, before, total))
    for baseline in baselines(recipe).values():
        compute_scores(of, baseline, names)


def baselines(recipe: Recipe) -> dict[str, Recipe]:
    """The blind guesses that a recipe's map is held against, by the name of the method."""
    return {name: Recipe(name, recipe.layers[-1:]) for name in BASELINES}


def alone(recipe: Recipe, layer: str) -> Recipe:
    """The recipe for one of the layers by itself, where there is nothing to merge."""
    return Recipe(recipe.method, (layer,), seed=recipe.seed)


def as_finding(of: Explained, recipe: Recipe, names: Sequence[str]) -> Finding:
    """Everything that is known of a picture and a recipe, with those of some scores that were computed."""
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
        top=likeliest(probabilities, of.net.labels),
        scores={key: scores_of_map(of, each, names) for key, each in maps.items()} if names else {},
        baselines={key: known_scores(of, each, names) for key, each in baselines(recipe).items()} if names else {},
        layers=layer_facts(of, recipe),
        shapes=seen_shapes(of),
        merges=running_merges(of, recipe) if RULES[recipe.rule].needs != "maps" else None,
        device=str(of.net.device),
    )


def layer_facts(of: Explained, recipe: Recipe) -> tuple[LayerFacts, ...]:
    """What there is to say of each of a recipe's layers."""
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
    """The known scores of one map; of a layer's map with why it is blank, if it is."""
    found = known_scores(of, recipe, names)
    blank = layer_map(of, recipe, recipe.layers[0])[1] if len(recipe.layers) == 1 else ""
    return replace(found, note=joined((blank, found.note)))
