"""Take away what Compare shows: the numbers and the maps of the whole grid, or one map in every form."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import streamlit as st

from camviz.results.exports import as_cell
from camviz.results.finding import RESULT, Finding
from camviz.results.manifest import described
from camviz.ui.compare.grid import Cell, Grid, describe
from camviz.ui.panels.downloads import offer, offer_files
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.workbench.findings import as_finding
from camviz.workbench.maps import is_ready
from camviz.workbench.scores import score_names


def offer_grid(place: DeltaGenerator, grid: Grid) -> None:
    """Offer the grid as files, and one of its maps; differences follow from the maps and are left out."""
    cells = [c for row in grid.rows for c in row.cells if c.against is None and is_ready(c.of, c.recipe)]
    if not cells:
        return
    with place:
        offer_files(
            (
                ("All scores, CSV", "A row for each map", "camviz-compare.csv", lambda: scores_csv(cells)),
                ("All maps, NPZ", "NumPy's format, with all settings", "camviz-compare.npz", lambda: maps_npz(cells)),
            )
        )
        named = {_name(cell): cell for cell in cells}
        chosen = named[st.selectbox("One map", list(named), key="take_cell")]
    offer(place, chosen.of, chosen.recipe)


def _name(cell: Cell) -> str:
    """What tells a map from the others of a grid, whose layers may be of one size."""
    layers = cell.recipe.layers
    return " · ".join([*describe(cell), *(layers if len(layers) == 1 else ())])


def scores_csv(cells: list[Cell]) -> bytes:
    """A table in UTF-8 with a row for each map: what it is, its scores, and those against a known mask."""
    return pd.DataFrame([_row(cell) for cell in cells]).to_csv(index=False).encode()


def _row(cell: Cell) -> dict[str, str | float | int | None]:
    found = _finding(cell)
    noise, recipe, scores = found.settings.noise, cell.recipe, found.scores[RESULT]
    return {
        "picture": as_cell(found.name),
        "model": as_cell(found.settings.model),
        "class": as_cell(found.label),
        "probability": found.probability,
        "noise": noise.kind if noise else "",
        "level": noise.level if noise else 0.0,
        "draw": noise.seed if noise else "",
        "fit": found.settings.fit,
        "method": recipe.method,
        "layers": as_cell(" ".join(recipe.layers)),
        "rule": recipe.rule,
        **scores.values,
        "note": as_cell(scores.note),
    }


def _finding(cell: Cell) -> Finding:
    return as_finding(cell.of, cell.recipe, score_names(cell.of))


def maps_npz(cells: list[Cell]) -> bytes:
    """For each map its picture, "view_0", uint8 (h, w, 3), and the map itself, "map_0", float32 (h, w).

    The text under "metadata" is a JSON list of settings, class, scores and versions, in the same order.
    """
    found = [_finding(cell) for cell in cells]
    views = {f"view_{index}": each.view for index, each in enumerate(found)}
    maps = {f"map_{index}": each.merged for index, each in enumerate(found)}
    metadata = json.dumps([described(each) for each in found], indent=2, ensure_ascii=False, allow_nan=False)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, metadata=np.array(metadata), **views, **maps)
    return stream.getvalue()
