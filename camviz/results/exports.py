"""Results as files of numbers and pictures for other programs."""

from __future__ import annotations

import csv as tables
import hashlib
import io
import json
import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from camviz.heat_regions import SHARES, HotRegion, Hotspots, hotspots
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.models import list_models
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.render import COLORMAP, overlay
from camviz.results.finding import RESULT, Finding, as_png, running_merges
from camviz.results.manifest import described, plain

_FITS = {"crop": "cropped to the centre", "squeeze": "squeezed to a square", "pad": "with grey bars"}
HOTSPOT_COLUMNS = (
    *("map", "method", "rule", "mirror_averaged", "class", "share", "region"),
    *("x", "y", "width", "height", "centre_x", "centre_y"),
    *("pixels", "area", "threshold", "note"),
)


def npz(finding: Finding) -> bytes:
    """View, uint8 (h, w, 3), maps, float32 (L, h, w), and merged map, float32 (h, w), in NumPy's format.

    "metadata" is JSON text: settings, class, scores and versions. Nothing is pickled.
    """
    metadata = json.dumps(described(finding), indent=2, ensure_ascii=False, allow_nan=False)
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        allow_pickle=False,
        view=finding.view,
        maps=finding.maps,
        merged=finding.merged,
        metadata=np.array(metadata),
    )
    return stream.getvalue()


def csv(finding: Finding, averaging: bool = True) -> bytes:
    """The scores as a table in UTF-8: rows for the merged map, each layer (deepest to finest) and each blind guess.

    A cell is empty if nothing was computed.

    Args:
        finding: the result.
        averaging: whether the table has a column "mirror_averaged"; it has had one since bundles of version 3.
    """
    stream = io.StringIO()
    table = tables.writer(stream, lineterminator="\n")
    recipe, names = finding.settings.recipe, finding.score_names
    made = ("map", "method", "rule", "mirror_averaged")[: 4 if averaging else 3]
    table.writerow((*made, "class", *map(as_cell, names), "note"))
    maps = {key: finding.scores[key] for key in (RESULT, *reversed(recipe.layers)) if finding.scores}
    rows = [(_made(key, recipe), score) for key, score in maps.items()]
    rows += [(("baseline", method, "", ""), score) for method, score in finding.baselines.items()]
    for texts, score in rows:
        numbers = ("" if score[name] is None else repr(score[name]) for name in names)
        known = [*texts[: len(made)], finding.label]
        table.writerow([*map(as_cell, known), *numbers, as_cell(score.note)])
    return stream.getvalue().encode()


def _made(key: str, recipe: Recipe) -> tuple[str, str, str, str]:
    """How a map was made: its key, the method, the rule that merged it, and whether it is mirror-averaged."""
    return key, recipe.method, recipe.rule if key == RESULT else "", "yes" if recipe.mirror_averaged else "no"


def as_safe_csv(table: pd.DataFrame) -> str:
    """A table as CSV, in which no spreadsheet takes a stranger's text for a formula."""
    safe = table.map(lambda cell: as_cell(cell) if isinstance(cell, str) else cell)
    return safe.rename(columns=as_cell).to_csv(index=False)


def hotspots_of(finding: Finding, share: float) -> dict[str, Hotspots]:
    """The hottest share of each map's pixels: the merged map under `RESULT`, then each layer, deepest to finest."""
    layers = reversed(list(zip(finding.settings.recipe.layers, finding.maps, strict=True)))
    return {key: hotspots(map_, share) for key, map_ in ((RESULT, finding.merged), *layers)}


def hotspots_csv(finding: Finding) -> bytes:
    """Where the hottest 5, 10 and 20 % of each map's pixels are, as a table in UTF-8.

    Each map and share has a row with "all" as the region, then one row per region, the largest first. Positions are
    pixels of the view, as in `camviz.HotRegion`. A cell is empty if it does not apply.
    """
    stream = io.StringIO()
    table = tables.writer(stream, lineterminator="\n")
    table.writerow(HOTSPOT_COLUMNS)
    recipe = finding.settings.recipe
    for share in SHARES:
        for key, spots in hotspots_of(finding, share).items():
            start = [*map(as_cell, (*_made(key, recipe), finding.label)), repr(share)]
            table.writerow([*start, "all", *[""] * 4, *_numbers(spots), _number(spots.threshold), spots.note])
            for number, region in enumerate(spots.regions, 1):
                table.writerow([*start, number, *region.box, *_numbers(region), "", ""])
    return stream.getvalue().encode()


def _numbers(spot: Hotspots | HotRegion) -> list[str]:
    return [*map(_number, spot.centre), str(spot.pixels), repr(spot.area)]


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def settings_in_words(finding: Finding) -> dict[str, str]:
    """The choices that reproduce this result, by name."""
    settings, recipe = finding.settings, finding.settings.recipe
    return {
        "Picture": f"{finding.name}, {_FITS[settings.fit]}",
        "Model": model_title(settings.model),
        "Class": f"{finding.label}, number {settings.target}",
        "Method": METHODS[recipe.method].title,
        "Layers": ", ".join(reversed(recipe.layers)),
        "Merging rule": RULES[recipe.rule].title,
        "Mirror-averaged": "yes" if recipe.mirror_averaged else "no",
        "Noise": "none" if settings.noise is None else _noise_in_words(settings.noise),
        "Seed": str(recipe.seed),
    }


def _noise_in_words(noise: Perturbation) -> str:
    kind = KINDS[noise.kind]
    repeat = f", repeat {noise.seed + 1}" if kind.seeded else ""
    return f"{kind.title}, {kind.strength(noise.level)}, level {noise.level}{repeat}"


def facts(finding: Finding) -> dict[str, str]:
    """Everything needed to reproduce and check the result, in words."""
    recipe, model = finding.settings.recipe, finding.settings.model
    return {
        **settings_in_words(finding),
        "Model": f"{model_title(model)} ({model})",
        "Probability": f"{finding.probability:.4f}",
        "Paper": METHODS[recipe.method].reference,
        "Picture's SHA-256": hashlib.sha256(finding.picture).hexdigest(),
        "Computed with": ", ".join(f"{name} {version}" for name, version in finding.versions.items()),
        "On": finding.device,
    }


def model_title(name: str) -> str:
    """A network's title, or its name if it is not one of camviz's."""
    return next((info.title for info in list_models() if info.name == name), name)


def as_cell(text: str) -> str:
    """Text that no spreadsheet interprets as a formula."""
    text = plain(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def panels(finding: Finding, colormap: str = COLORMAP) -> dict[str, bytes]:
    """The pictures of the layer strip as PNG, by file name: the view and, over it, each map, each merge and the result.

    Layers are numbered from the deepest, in merging order. `colormap` is a name in `camviz.render.COLORMAPS`.
    """
    contents = [as_png(finding.view), laid_over(finding, finding.merged, colormap)]
    for map_, merge in reversed(list(zip(finding.maps, running_merges(finding), strict=True))):
        contents += [laid_over(finding, map_, colormap), laid_over(finding, merge, colormap)]
    return dict(zip(panel_names(finding.settings.recipe.layers), contents, strict=True))


def panel_names(layers: Sequence[str]) -> list[str]:
    """The file names of `panels`, for layers in the order in which the network reaches them."""
    names = ["view.png", "result.png"]
    for number, layer in enumerate(reversed(layers), 1):
        name = f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]', '-', layer)[:80]}.png"
        names += [f"layer-{name}", f"merge-{name}"]
    return names


def laid_over(finding: Finding, map_: NDArray[np.float32], colormap: str = COLORMAP) -> bytes:
    """A map (h, w) over the grey view, as PNG."""
    return as_png(overlay(finding.view, torch.tensor(map_), colormap))
