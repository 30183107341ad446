"""Coherency as each public implementation computes it.

All explain the picture again after multiplying the normalised picture by its map, and take (Pearson + 1) / 2. They
differ in what is explained again, and in what a map that is the same everywhere scores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from camviz.maps import normalise, upsample
from camviz.merging import RULES, heights, refine
from camviz.merging.readings import Reading, reading
from camviz.methods import cam_with_notes, raw_maps
from camviz.metrics.arcc import coherency
from camviz.network.capture import Target, capture
from camviz.recipe import Recipe, explain

# The network, x (B, 3, H, W), the explained classes (B,) and the recipe -> coherency (B,).
Function = Callable[[nn.Module, Tensor, Tensor, Recipe], Tensor]


COHERENCY_READINGS: dict[str, Reading[Function]] = {}


def coherency_as(module: nn.Module, x: Tensor, target: Target, recipe: Recipe, reading: str = "research") -> Tensor:
    """Score a recipe's maps with coherency as another implementation computes it.

    `camviz.SCORES["coherency"]`, and with it ARCC, is the reading "camviz".

    Args:
        module: a network in eval mode that returns logits.
        x: float (B, 3, H, W), normalised.
        target: the explained classes, (B,) or one for all; None for the predicted ones.
        recipe: what makes the maps; its layers from the finest to the deepest.
        reading: a name in `COHERENCY_READINGS`.

    Returns:
        float32 (B,). For a map that is the same everywhere, before or after masking: 0 for "camviz", 0.5 for
        "grad-cam". For "research", NaN if a layer's map is so on the picture itself, or if the merge's highest value is
        below about 2e-5 before stretching: that code leaves the picture out. If only the second map is so, 0.5.

    Raises:
        ValueError: an unknown reading, method, rule or layer; a network in training mode; for "research", a rule that
            needs more than the maps.
    """
    if reading not in COHERENCY_READINGS:
        raise ValueError(f"unknown reading of coherency {reading!r}; choose from {', '.join(COHERENCY_READINGS)}")
    classes = capture(module, x, target, recipe.layers).target
    return COHERENCY_READINGS[reading].function(module, x, classes, recipe)


@reading(
    COHERENCY_READINGS,
    "camviz",
    "The whole recipe runs again on the masked picture; a map that is the same everywhere scores 0.",
    "camviz.SCORES['coherency']",
)
def _camviz(module: nn.Module, x: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    run = partial(explain, module, recipe=recipe)
    return coherency(x, run(x, target), target, run)[0]


@reading(
    COHERENCY_READINGS,
    "grad-cam",
    "The whole recipe runs again on the masked picture; a map that is the same everywhere scores 0.5.",
    "grad-cam 1.5.7, metrics/arcc.py",
)
def _grad_cam(module: nn.Module, x: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    maps = explain(module, x, target, recipe)
    return _scaled_pearson(explain(module, _masked(x, maps), target, recipe), maps)


@reading(
    COHERENCY_READINGS,
    "research",
    "Only the finest layer is explained again; the deeper layers keep their maps of the whole picture.",
    "https://github.com/liuktc/RefineCAM, commit 40c2603, metrics/coherency.py",
)
def _research(module: nn.Module, x: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    if recipe.rule in RULES and RULES[recipe.rule].needs != "maps":
        raise ValueError(f"the research code has no rule {recipe.rule!r}, which needs more than the maps")
    if recipe.mirror_averaged:
        raise ValueError("the research code does not average with the mirrored picture: leave `mirror_averaged` out")
    maps, _ = cam_with_notes(capture(module, x, target, recipe.layers), recipe.method, recipe.seed)
    merged = refine(maps, recipe.rule)
    finest = capture(module, _masked(x, merged), target, recipe.layers[:1])
    # On its own grid, and not again after upsampling, as for the picture itself.
    again = upsample(normalise(raw_maps(finest, recipe.method, recipe.seed)[0]), x.shape[-2:])
    score = _scaled_pearson(refine(torch.cat([again[None], maps[1:]]), recipe.rule), merged)
    low, high = heights(maps, recipe.rule)
    span = (high - low)[0]
    # It adds 1e-12 when it stretches, and refuses to mask with a map whose maximum is not 1 to the last digit.
    left_out = (maps.amax((2, 3)) == maps.amin((2, 3))).any(0) | (span / (span + 1e-12) != 1)
    return score.where(~left_out, torch.nan)


def _masked(x: Tensor, maps: Tensor) -> Tensor:
    return x * maps[:, None].to(x.dtype)


def _scaled_pearson(first: Tensor, second: Tensor) -> Tensor:
    """(Pearson + 1) / 2 of each pair of maps (B, H, W) -> (B,), with 1e-8 added to the product of the deviations."""
    first, second = (maps.flatten(1) - maps.flatten(1).mean(1, keepdim=True) for maps in (first, second))
    deviations = first.std(1) * second.std(1)
    return ((first * second).sum(1) / (first.shape[1] - 1) / (deviations + 1e-8) + 1) / 2
