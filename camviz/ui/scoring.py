"""Filling the score chart, piece by piece: the cheap parts first, ROAD last."""

from __future__ import annotations

from dataclasses import dataclass

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
    has,
    merged,
)
from camviz.ui.scores import Kind, ScoreRow, scores_html
from camviz.ui.slot import Slot
from camviz.ui.stripview import result_title
from camviz.ui.words import verdict

BASELINES = ("centre", "random")


@dataclass(frozen=True)
class _Entry:
    """One thing to score; `held_back` if its coherency would run a slow method that nobody asked for."""

    label: str
    kind: Kind
    recipe: Recipe
    held_back: bool


def show_scores(scene: Scene, recipe: Recipe, probability: float) -> None:
    """Draw the chart with what is at hand, then fill in coherency, then ROAD, row by row."""
    chart, words = st.columns([2.1, 1], gap="medium")
    with words:
        slow = METHODS[recipe.method].cost == "many passes"
        entries = _entries(scene, recipe, held_back=slow and not _asked_for_slow_scores(scene, recipe))
    place, spoken = Slot(chart), Slot(words)
    rows = [_row(scene, entry) for entry in entries]
    place.html(scores_html(rows))
    if any(row.values[3] is None for row in rows):
        spoken.markdown(":gray[Scoring …]")
    for missing, compute in ((_lacks_coherency, get_coherency), (_lacks_road, get_road)):
        for index, entry in enumerate(entries):
            if missing(scene, entry):
                compute(scene, entry.recipe)
                rows[index] = _row(scene, entry)
                place.html(scores_html(rows))
    layers = [row for row in rows if row.kind == "layer"]
    centre = rows[-len(BASELINES)]
    spoken.markdown("\n\n".join(verdict(rows[0], layers, centre, probability)))


def _lacks_coherency(scene: Scene, entry: _Entry) -> bool:
    return not entry.held_back and not has(scene, "coherency", entry.recipe)


def _lacks_road(scene: Scene, entry: _Entry) -> bool:
    return not has(scene, "road", entry.recipe)


def _entries(scene: Scene, recipe: Recipe, held_back: bool) -> list[_Entry]:
    """What is scored: the result, each of its layers from deep to shallow, and the baselines."""
    sides = {layer: a.shape[-1] for layer, a in zip(scene.net.layers, get_capture(scene).activations, strict=True)}
    alone = [
        _Entry(f"{sides[layer]} px · {layer}", "layer", Recipe(recipe.method, (layer,)), held_back)
        for layer in reversed(recipe.layers)
    ]
    return [
        _Entry(result_title(recipe), "result", recipe, held_back),
        *(alone if len(alone) > 1 else []),
        *(_Entry(METHODS[name].title, "baseline", Recipe(name, recipe.layers[-1:]), False) for name in BASELINES),
    ]


def _row(scene: Scene, entry: _Entry) -> ScoreRow:
    """Fill a row with what is at hand."""
    recipe = entry.recipe
    map_ = merged(scene, recipe)
    coherence, note = get_coherency(scene, recipe) if has(scene, "coherency", recipe) else (None, "")
    removal = get_road(scene, recipe) if has(scene, "road", recipe) else None
    scaled = None if removal is None else float((2 * removal.score).clamp(0, 1))
    score = None
    if coherence is not None and removal is not None:
        score = float(combine(map_.new_tensor([coherence]), complexity(map_), removal).arcc)
    return ScoreRow(
        label=entry.label,
        detail="knows nothing" if entry.kind == "baseline" else "",
        kind=entry.kind,
        values=(score, coherence, 1 - float(complexity(map_)), scaled),
        road_raw=None if removal is None else float(removal.score),
        note="; ".join(filter(None, (note, removal.notes[0] if removal else ""))),
        skipped="coherency runs the slow method again" if entry.held_back else "",
    )


def _asked_for_slow_scores(scene: Scene, recipe: Recipe) -> bool:
    """Whether to run a slow method again for coherency: only if asked for, or if it was done before."""
    if has(scene, "coherency", recipe):
        return True
    seconds = 2 * expected_seconds(scene.net, recipe.method, recipe.layers)
    return st.button(
        f"Score it too · {controls.duration(seconds)}",
        help="Coherency runs the whole method again on the masked picture: once for the result, once for each layer.",
    )
