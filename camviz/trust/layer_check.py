"""The layer check: does a layer's map harm the merge? Found by leaving each layer out where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from camviz.images import Fit
from camviz.merging import refine
from camviz.methods import Progress, cam_with_notes
from camviz.metrics.mask_scores import against_mask
from camviz.models import Net
from camviz.network.capture import capture, layer_names
from camviz.recipe import Recipe, ready_for
from camviz.statistics import Interval
from camviz.trust.evaluation import MASS, TRUTH, Case, Rows, rows_of_cases, truth_of
from camviz.trust.ranked_maps import MERGED
from camviz.trust.resampling import LEAST_FOR_WINNER, interval

# What is measured of every map, and what a merge is said to have, by the truth.
_SCORES = {TRUTH: ("auc", TRUTH), MASS: (MASS,)}
_NAMES = {TRUTH: "best IoU", MASS: "share of heat inside"}
_CHANCE = 0.5  # a map's AUC if it says nothing about the mask


@dataclass(frozen=True, eq=False)
class LayerCheck:
    """What each layer's map does to the merge of all layers.

    Attributes:
        sentences: the verdict: a sentence for each layer that harms the merge, the worst first; or one that says that
            none does, or that there are too few pictures.
        table: a row for each layer, in the order of the layers: "auc" and "best_iou" of its map, "without" (the best
            IoU of the merge without this layer), "gain" ("without" - the merge of all layers, within each picture),
            each a mean over pictures with its interval, for instance "auc_low" and "auc_high" (NaN with fewer than 12
            pictures); "blank" (on how many pictures its map is blank) and "harms". The intervals hold at 95 %; those of
            "gain" at 95 % for all layers together (Bonferroni). Where the truth is "mass", "mass" and "above_chance"
            stand in place of "auc" and "best_iou": the share of heat inside the mask, and how far it is above "chance",
            the mask's share of the picture (0 where the map is blank); "without" and "gain" are shares of heat.
        merged: the best IoU (the share of heat) of the merge of all layers, with its 95 % interval, and the number of
            pictures.
        rows: a row for each picture and map: "picture" (the case's number), "map" (a layer's name, "merged", or
            "without" and a layer's name), "auc" and "best_iou", or "mass" and "chance", and "blank".
        left_out: the numbers of cases left out, each with the reason.
        truth: what the merge is held against, "best_iou" or "mass".
    """

    sentences: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    merged: Interval
    rows: pd.DataFrame = field(repr=False)
    left_out: list[tuple[int, str]]
    truth: str


def layer_check(
    net: Net,
    cases: Sequence[Case],
    method: str = "gradcam++",
    layers: Sequence[str] | None = None,
    rule: str = "product",
    seed: int = 0,
    progress: Progress | None = None,
    *,
    fit: Fit = "crop",
    mirror_averaged: bool = False,
    truth: str | None = None,
) -> LayerCheck:
    """Find the layers whose maps harm the merge: without them, it fits the masks better.

    In a product, a map that is dark on the object vetoes it, however right the other layers are. A layer harms if the
    gain from leaving it out, alone, has an interval above 0. There is no verdict from fewer than 30 pictures.

    Cases are explained and left out as by `camviz.evaluate`. In mosaics, a merge that fits better has more of its heat
    in the right quarter.

    Args:
        net: the network.
        cases: the pictures with their masks.
        method: a name in `camviz.METHODS`.
        layers: two or more layers, from the finest to the deepest; None for the network's own.
        rule: a name in `camviz.RULES`.
        seed: seed of all random draws.
        progress: called with (cases done, all cases); an exception from it stops the work.
        fit: how pictures and masks are fitted into the network's view.
        mirror_averaged: as in `camviz.Recipe`.
        truth: how well a map fits its mask, "best_iou" or "mass"; None for what the cases say, as in `camviz.evaluate`.

    Raises:
        ValueError: fewer than two layers; an unknown layer, method, rule or truth; a mask that is not bool or not of
            the picture's size; a label or target that is no class of the network; mosaics with "best_iou", or among
            other cases without a `truth`.
    """
    names = layer_names(net.layers if layers is None else layers)
    if len(names) < 2:
        raise ValueError(f"a layer can only be left out of a merge of two or more, got {list(names)}")

    recipe = Recipe(method, names, rule, seed, mirror_averaged)
    truth = truth_of(cases, truth)

    def rows_of(x: Tensor, mask: Tensor, _: Tensor, target: Tensor) -> Rows:
        return _rows(net, x, mask, target, recipe, truth)

    rows, left_out = rows_of_cases(net, cases, rows_of, fit, progress)
    chance = ["chance"] if truth == MASS else []
    found = pd.DataFrame(rows, columns=["picture", "map", *_SCORES[truth], *chance, "blank"])
    table, merged = _summary(found, names, truth, seed)
    return LayerCheck(_verdict(table, merged, truth), table, merged, found, left_out, truth)


def _rows(net: Net, x: Tensor, mask: Tensor, target: Tensor, recipe: Recipe, truth: str) -> Rows:
    """The scores of the maps and merges of one class (1,) in one picture, x (1, 3, h, w), with its mask, (1, h, w)."""
    layers, rule = recipe.layers, recipe.rule
    cap = ready_for(capture(net.module, x, target, layers), [recipe])
    maps, _ = cam_with_notes(cap, recipe.method, recipe.seed)
    made = dict(zip(layers, maps, strict=True)) | {MERGED: refine(maps, rule, cap)}
    for index, layer in enumerate(layers):
        others = [other for other in range(len(layers)) if other != index]
        made[_without(layer)] = refine(maps[others], rule, cap.select([layers[other] for other in others]))
    stacked = torch.cat(list(made.values()))
    masks = mask.to(stacked.device).expand(stacked.shape)
    values = {name: against_mask(name, stacked, masks).tolist() for name in _SCORES[truth]}
    if truth == MASS:
        values["chance"] = masks.double().mean((1, 2)).tolist()
    values["blank"] = (stacked.amax((1, 2)) == 0).tolist()
    return [{"map": name} | {key: column[number] for key, column in values.items()} for number, name in enumerate(made)]


def _without(layer: str) -> str:
    return f"without {layer}"


def _summary(rows: pd.DataFrame, layers: Sequence[str], truth: str, seed: int) -> tuple[pd.DataFrame, Interval]:
    """The table of a `LayerCheck`, and the truth of the merge."""
    of = {name: rows[rows["map"] == name] for name in (*layers, MERGED, *map(_without, layers))}
    truths = {name: found[truth].to_numpy(dtype=float) for name, found in of.items()}
    table = {}
    for layer in layers:
        gain = truths[_without(layer)] - truths[MERGED]
        values = _of_layer(of[layer], truth) | {"without": truths[_without(layer)]}
        intervals = {name: interval(column, seed=seed) for name, column in values.items()}
        intervals["gain"] = interval(gain, level=1 - 0.05 / len(layers), seed=seed)
        row: dict[str, object] = {}
        for name, found in intervals.items():
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        if truth == MASS:
            row["chance"] = of[layer]["chance"].mean()
        row["blank"] = int(of[layer]["blank"].sum())
        row["harms"] = len(gain) >= LEAST_FOR_WINNER and intervals["gain"].low > 0
        table[layer] = row
    return pd.DataFrame.from_dict(table, orient="index"), interval(truths[MERGED], seed=seed)


def _of_layer(rows: pd.DataFrame, truth: str) -> dict[str, NDArray[np.float64]]:
    """What is measured of a layer's own map, from its rows: a value for each picture, by the table's columns."""
    values = {name: rows[name].to_numpy(dtype=float) for name in _SCORES[truth]}
    if truth == MASS:
        above = values[MASS] - rows["chance"].to_numpy(dtype=float)
        values["above_chance"] = np.where(rows["blank"].to_numpy(dtype=bool), 0, above)  # a blank map says nothing
    return values


def _verdict(table: pd.DataFrame, merged: Interval, truth: str) -> tuple[str, ...]:
    """The sentences of a `LayerCheck`."""
    if merged.n < LEAST_FOR_WINNER:
        pictures = "1 picture" if merged.n == 1 else f"{merged.n} pictures"
        return (f"No verdict from {pictures}: at least {LEAST_FOR_WINNER} are needed.",)
    harmful = table[table["harms"].astype(bool)].sort_values("gain", ascending=False)
    if harmful.empty:
        return (
            f"No layer is seen to harm the merge on {merged.n} pictures: its {_NAMES[truth]} is {merged.value:.2f}, "
            f"and at most {table['without'].max():.2f} without one of the layers.",
        )
    return tuple(_sentence(str(layer), row, merged, truth) for layer, row in harmful.iterrows())


def _sentence(layer: str, row: pd.Series, merged: Interval, truth: str) -> str:
    """What is said of a layer that harms the merge."""
    if truth == MASS:
        measure, chance = "above_chance", 0.0
        numbers = f"{_NAMES[MASS]} {row[MASS]:.2f}, chance {row['chance']:.2f}"
    else:
        measure, chance, numbers = "auc", _CHANCE, f"AUC {row['auc']:.2f}"
    if row["blank"]:
        numbers += f", blank on {row['blank']} of {merged.n} pictures"
    if row[f"{measure}_high"] < chance:
        fits = f"worse than chance ({numbers}):"
    elif row[f"{measure}_low"] <= chance:
        fits = f"no better than chance ({numbers}):"
    else:
        fits = f"better than chance ({numbers}), but"
    instead = f"without it the merge's {_NAMES[truth]} is {row['without']:.2f} instead of {merged.value:.2f}"
    return f"The map of {layer} fits {fits} {instead}."
