"""The maps that are compared on each picture: of single layers, merged, and blind guesses; each by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from camviz.metrics.evidence import ExplainOn
from camviz.models import Net
from camviz.recipe import Recipe, SharedCaptures
from camviz.trust.equal_area import equal_area

MERGED = "merged"  # how the map of all layers is named
DEFAULT_METHODS, BLIND = ("gradcam++", "layercam", "eigencam"), ("centre", "random")


def default_recipes(net: Net, methods: Sequence[str] = DEFAULT_METHODS) -> dict[str, Recipe]:
    """Every layer's map and the merge of all, by some methods, and two blind guesses: by three, 17 for four layers."""
    return ranked_recipes(net, methods, net.layers)


def ranked_recipes(
    net: Net,
    methods: Sequence[str],
    single: Sequence[str],
    rules: Sequence[str] = ("product",),
    *,
    mirror_averaged: bool = False,
) -> dict[str, Recipe]:
    """The maps of each picture, by name: by each method, those of single layers and the merges of all; blind guesses.

    Args:
        net: the network.
        methods: names in `camviz.METHODS`.
        single: the layers whose own maps are wanted, from finest to deepest; the deepest one's come first.
        rules: names in `camviz.RULES`; of a network with one layer, there is no merge.
        mirror_averaged: whether each merge is also made of maps that are averaged with those of the mirrored picture.
    """
    layers, mirrors = net.layers, (False, True) if mirror_averaged else (False,)
    merges = {
        _merge_name(rule, mirrored): (rule, mirrored)
        for rule in (rules if len(layers) > 1 else ())
        for mirrored in mirrors
    }
    found = {}
    for method in methods:
        found |= {f"{method}, {layer}": Recipe(method, (layer,)) for layer in single[::-1]}
        for name, (rule, mirrored) in merges.items():
            found[f"{method}, {name}"] = Recipe(method, layers, rule, mirror_averaged=mirrored)
    return found | {name: Recipe(name, layers[-1:]) for name in BLIND}


def _merge_name(rule: str, mirrored: bool) -> str:
    """How the merge of all layers is named."""
    return MERGED + (f": {rule}" if rule != "product" else "") + (" (mirror-averaged)" if mirrored else "")


def makers_of(recipes: Mapping[str, Recipe]) -> dict[str, ExplainOn]:
    """What makes each recipe's map; makers that explain the same picture one after the other share its capture."""
    shared = SharedCaptures([layer for recipe in recipes.values() for layer in recipe.layers])
    return {name: partial(shared.explain, recipe) for name, recipe in recipes.items()}


def at_equal_area(maker: ExplainOn, seed: int, module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """A maker's maps (B, H, W), given equal areas."""
    return equal_area(maker(module, x, target), seed)
