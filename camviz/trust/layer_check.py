"""The layer check: does a layer's map harm the merge? Found on pictures with known masks, by leaving each layer out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from camviz.images import Fit
from camviz.merging import refine
from camviz.methods import Progress, cam_with_notes
from camviz.metrics.mask_scores import against_mask
from camviz.models import Net
from camviz.network.capture import capture, layer_names
from camviz.recipe import Recipe, ready_for
from camviz.statistics import Interval
from camviz.trust.evaluation import MERGED, Case, Rows, rows_of_cases
from camviz.trust.resampling import LEAST_FOR_WINNER, interval

_SCORES = ("auc", "best_iou")
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
            "gain" at 95 % for all layers together (Bonferroni).
        merged: the best IoU of the merge of all layers, with its 95 % interval, and the number of pictures.
        rows: a row for each picture and map: "picture" (the case's number), "map" (a layer's name, "merged", or
            "without" and a layer's name), "auc", "best_iou" and "blank".
        left_out: the numbers of cases left out, each with the reason.
    """

    sentences: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    merged: Interval
    rows: pd.DataFrame = field(repr=False)
    left_out: list[tuple[int, str]]


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
) -> LayerCheck:
    """Find the layers whose maps harm the merge: without them, it fits the masks better.

    In a product, a map that is dark on the object vetoes it, however right the other layers are. A layer harms if the
    gain from leaving it out, alone, has an interval above 0. There is no verdict from fewer than 30 pictures.

    Cases are left out as by `camviz.evaluate`: if the network does not predict their class, or the mask is empty or
    everything in the network's view. A mask can also be a tile of a mosaic.

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

    Raises:
        ValueError: fewer than two layers; an unknown layer, method or rule; a mask that is not bool or not of the
            picture's size; a label that is no class of the network.
    """
    names = layer_names(net.layers if layers is None else layers)
    if len(names) < 2:
        raise ValueError(f"a layer can only be left out of a merge of two or more, got {list(names)}")

    recipe = Recipe(method, names, rule, seed, mirror_averaged)

    def rows_of(x: Tensor, mask: Tensor, logits: Tensor) -> Rows:
        return _rows(net, x, mask, logits, recipe)

    rows, left_out = rows_of_cases(net, cases, rows_of, fit, progress)
    found = pd.DataFrame(rows, columns=["picture", "map", *_SCORES, "blank"])
    table, merged = _summary(found, names, seed)
    return LayerCheck(_verdict(table, merged), table, merged, found, left_out)


def _rows(net: Net, x: Tensor, mask: Tensor, logits: Tensor, recipe: Recipe) -> Rows:
    """The scores of the maps and merges of one picture, x (1, 3, h, w), whose mask is bool (1, h, w)."""
    layers, rule = recipe.layers, recipe.rule
    cap = ready_for(capture(net.module, x, logits.argmax(1), layers), [recipe])
    maps, _ = cam_with_notes(cap, recipe.method, recipe.seed)
    made = dict(zip(layers, maps, strict=True)) | {MERGED: refine(maps, rule, cap)}
    for index, layer in enumerate(layers):
        others = [other for other in range(len(layers)) if other != index]
        made[_without(layer)] = refine(maps[others], rule, cap.select([layers[other] for other in others]))
    stacked = torch.cat(list(made.values()))
    masks = mask.to(stacked.device).expand(stacked.shape)
    values = {name: against_mask(name, stacked, masks).tolist() for name in _SCORES}
    values["blank"] = (stacked.amax((1, 2)) == 0).tolist()
    return [{"map": name} | {key: column[number] for key, column in values.items()} for number, name in enumerate(made)]


def _without(layer: str) -> str:
    return f"without {layer}"


def _summary(rows: pd.DataFrame, layers: Sequence[str], seed: int) -> tuple[pd.DataFrame, Interval]:
    """The table of a `LayerCheck`, and the merge's best IoU."""
    of = {name: rows[rows["map"] == name] for name in (*layers, MERGED, *map(_without, layers))}
    ious = {name: found["best_iou"].to_numpy(dtype=float) for name, found in of.items()}
    table = {}
    for layer in layers:
        gain = ious[_without(layer)] - ious[MERGED]
        intervals = {
            "auc": interval(of[layer]["auc"].to_numpy(dtype=float), seed=seed),
            "best_iou": interval(ious[layer], seed=seed),
            "without": interval(ious[_without(layer)], seed=seed),
            "gain": interval(gain, level=1 - 0.05 / len(layers), seed=seed),
        }
        row: dict[str, object] = {}
        for name, found in intervals.items():
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        row["blank"] = int(of[layer]["blank"].sum())
        row["harms"] = len(gain) >= LEAST_FOR_WINNER and intervals["gain"].low > 0
        table[layer] = row
    return pd.DataFrame.from_dict(table, orient="index"), interval(ious[MERGED], seed=seed)


def _verdict(table: pd.DataFrame, merged: Interval) -> tuple[str, ...]:
    """The sentences of a `LayerCheck`."""
    if merged.n < LEAST_FOR_WINNER:
        pictures = "1 picture" if merged.n == 1 else f"{merged.n} pictures"
        return (f"No verdict from {pictures}: at least {LEAST_FOR_WINNER} are needed.",)
    harmful = table[table["harms"].astype(bool)].sort_values("gain", ascending=False)
    if harmful.empty:
        return (
            f"No layer is seen to harm the merge on {merged.n} pictures: its best IoU is {merged.value:.2f}, and at "
            f"most {table['without'].max():.2f} without one of the layers.",
        )
    return tuple(_sentence(str(layer), row, merged) for layer, row in harmful.iterrows())


def _sentence(layer: str, row: pd.Series, merged: Interval) -> str:
    """What is said of a layer that harms the merge."""
    blank = f", blank on {row['blank']} of {merged.n} pictures" if row["blank"] else ""
    if row["auc_high"] < _CHANCE:
        fits = f"worse than chance (AUC {row['auc']:.2f}{blank}):"
    elif row["auc_low"] <= _CHANCE:
        fits = f"no better than chance (AUC {row['auc']:.2f}{blank}):"
    else:
        fits = f"better than chance (AUC {row['auc']:.2f}{blank}), but"
    instead = f"without it the merge's best IoU is {row['without']:.2f} instead of {merged.value:.2f}"
    return f"The map of {layer} fits {fits} {instead}."
