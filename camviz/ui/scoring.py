"""Filling the score chart, piece by piece: the cheap parts first, ROAD last."""

from __future__ import annotations

import streamlit as st

from camviz.explain import Recipe
from camviz.methods import METHODS
from camviz.metrics.arcc import combine, complexity
from camviz.ui import controls
from camviz.ui.compute import (
    Scene,
    expected_seconds,
    get_capture,
    get_coherency,
    get_road,
    has_coherency,
    merged,
)
from camviz.ui.scores import Kind, ScoreRow, scores_html
from camviz.ui.stripview import result_title
from camviz.ui.words import verdict

BASELINES = ("centre", "random")


def show_scores(scene: Scene, recipe: Recipe, probability: float) -> None:
    """Draw the chart with what is known, then fill in coherency and complexity, then ROAD row by row."""
    wanted = _recipes(scene, recipe)
    slow = METHODS[recipe.method].cost == "many passes"
    chart, words = st.columns([2.1, 1], gap="medium")
    place, spoken = chart.empty(), words.empty()
    with words:
        held_back = slow and not _asked_for_slow_scores(scene, recipe)
    rows = {label: _row(scene, label, r, kind, None, held_back) for label, kind, r in wanted}
    place.html(scores_html(list(rows.values())))
    spoken.markdown(":gray[Scoring …]")
    for with_road in (False, True):
        for label, kind, one in wanted:
            rows[label] = _row(scene, label, one, kind, with_road, held_back)
            place.html(scores_html(list(rows.values())))
    result, *rest = rows.values()
    layers = [row for row in rest if row.kind == "layer"]
    centre = next(row for row in rest if row.label == METHODS["centre"].title)
    spoken.markdown("\n\n".join(verdict(result, layers, centre, probability)) or "")


def _recipes(scene: Scene, recipe: Recipe) -> list[tuple[str, Kind, Recipe]]:
    """What is scored: the result, each of its layers from deep to shallow, and the baselines."""
    deepest = recipe.layers[-1]
    sides = {layer: a.shape[-1] for layer, a in zip(scene.net.layers, get_capture(scene).activations, strict=True)}
    layers: list[tuple[str, Kind, Recipe]] = [
        (f"{sides[layer]} px · {layer}", "layer", Recipe(recipe.method, (layer,))) for layer in reversed(recipe.layers)
    ]
    baselines: list[tuple[str, Kind, Recipe]] = [
        (METHODS[name].title, "baseline", Recipe(name, (deepest,))) for name in BASELINES
    ]
    merged_row: list[tuple[str, Kind, Recipe]] = [(result_title(recipe), "result", recipe)]
    return [*merged_row, *(layers if len(layers) > 1 else []), *baselines]


def _row(scene: Scene, label: str, recipe: Recipe, kind: Kind, with_road: bool | None, held_back: bool) -> ScoreRow:
    """Score one recipe as far as asked: None nothing, False all but ROAD, True everything."""
    detail = "knows nothing" if kind == "baseline" else ""
    if with_road is None:
        return ScoreRow(label, detail, kind, (None,) * 4)
    map_ = merged(scene, recipe)
    dense = float(complexity(map_))
    skip = held_back and kind != "baseline"
    coherence, note = (None, "") if skip else get_coherency(scene, recipe)
    why = "coherency runs the slow method again" if skip else ""
    if not with_road:
        return ScoreRow(label, detail, kind, (None, coherence, 1 - dense, None), note=note)
    removal = get_road(scene, recipe)
    scaled = float((2 * removal.score).clamp(0, 1))
    raw = float(removal.score)
    if coherence is None:
        return ScoreRow(label, detail, kind, (None, None, 1 - dense, scaled), raw, removal.notes[0], why)
    score = combine(map_.new_tensor([coherence]), complexity(map_), removal, [note])
    values = (float(score.arcc), coherence, 1 - dense, scaled)
    return ScoreRow(label, detail, kind, values, raw, score.notes[0])


def _asked_for_slow_scores(scene: Scene, recipe: Recipe) -> bool:
    """Whether to run a slow method again for coherency: only if asked for, or if it was done before."""
    if has_coherency(scene, recipe):
        return True
    seconds = 2 * expected_seconds(scene.net, recipe.method, recipe.layers)
    return st.button(
        f"Score it too · {controls.duration(seconds)}",
        help="Coherency runs the whole method again on the masked picture: once for the result, once for each layer.",
    )
