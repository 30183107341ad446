"""Downloads of what Compare shows: scores and maps of the whole grid, or one map in every format."""

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
from camviz.ui.panels.more_scores import shown_scores
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.workbench.findings import as_finding
from camviz.workbench.maps import is_ready


def offer_grid(place: DeltaGenerator, grid: Grid) -> None:
    """Offer the grid as files, and one of its maps; differences are left out, as they follow from the maps."""
    cells = [c for row in grid.rows for c in row.cells if c.against is None and is_ready(c.of, c.recipe)]
    if not cells:
        return
    with place:
        offer_files(
            (
                ("All scores, CSV", "One row per map", "camviz-compare.csv", lambda: scores_csv(cells)),
                ("All maps, NPZ", "NumPy arrays, with all settings", "camviz-compare.npz", lambda: maps_npz(cells)),
            )
        )
        named = {_name(cell): cell for cell in cells}
        chosen = named[st.selectbox("One map", list(named), key="take_cell")]
    offer(place, chosen.of, chosen.recipe)


def _name(cell: Cell) -> str:
    """A name for a map that is unique in the grid, even if two layers have the same size."""
    layers = cell.recipe.layers
    return " · ".join([*describe(cell), *(layers if len(layers) == 1 else ())])


def scores_csv(cells: list[Cell]) -> bytes:
    """A CSV table in UTF-8, one row per map: its settings, its scores, and those against a known mask."""
    return pd.DataFrame([_row(cell) for cell in cells]).to_csv(index=False).encode()


def _row(cell: Cell) -> dict[str, str | float | int | None]:
    finding = _finding(cell)
    noise, recipe, scores = finding.settings.noise, cell.recipe, finding.scores[RESULT]
    return {
        "picture": as_cell(finding.name),
        "model": as_cell(finding.settings.model),
        "class": as_cell(finding.label),
        "probability": finding.probability,
        "noise": noise.kind if noise else "",
        "level": noise.level if noise else 0.0,
        "draw": noise.seed if noise else "",
        "fit": finding.settings.fit,
        "method": recipe.method,
        "layers": as_cell(" ".join(recipe.layers)),
        "rule": recipe.rule,
        "mirror_averaged": recipe.mirror_averaged,
        **scores.values,
        "note": as_cell(scores.note),
    }


def _finding(cell: Cell) -> Finding:
    return as_finding(cell.of, cell.recipe, shown_scores(cell.of))


def maps_npz(cells: list[Cell]) -> bytes:
    """For each map, its picture as "view_0", uint8 (h, w, 3), and the map as "map_0", float32 (h, w), in NPZ format.

    The text under "metadata" is a JSON list of settings, class, scores and versions, in the same order.
    """
    findings = [_finding(cell) for cell in cells]
    views = {f"view_{index}": finding.view for index, finding in enumerate(findings)}
    maps = {f"map_{index}": finding.merged for index, finding in enumerate(findings)}
    metadata = json.dumps([described(finding) for finding in findings], indent=2, ensure_ascii=False, allow_nan=False)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, metadata=np.array(metadata), **views, **maps)
    return stream.getvalue()
