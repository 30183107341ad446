"""Filling the score chart, piece by piece: the cheap parts first, ROAD last."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

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


class ScorePlaces:
    """Where the scores stand: the chart, the words beside it, and a button below those."""

    def __init__(self, parent: DeltaGenerator) -> None:
        chart, words = parent.columns([2.4, 1], gap="medium")
        self.chart, self.words, self.button = Slot(chart), Slot(words.container()), words.container()


def show_waiting(places: ScorePlaces, scene: Scene, recipe: Recipe) -> None:
    """Show the chart without a number, while the maps themselves are still computed."""
    entries = _entries(scene, recipe, held_back=False)
    places.chart.html(scores_html([ScoreRow(e.label, _detail(e), e.kind, (None,) * 4) for e in entries]))
    places.words.markdown(":gray[The scores follow when the maps are there.]")


def show_scores(places: ScorePlaces, scene: Scene, recipe: Recipe, probability: float) -> None:
    """Draw the chart with what is at hand, then fill in coherency, then ROAD, row by row."""
    with places.button:
        slow = METHODS[recipe.method].cost == "many passes"
        entries = _entries(scene, recipe, held_back=slow and not _asked_for_slow_scores(scene, recipe))
    rows = [_row(scene, entry) for entry in entries]
    places.chart.html(scores_html(rows))
    if any(row.values[3] is None for row in rows):
        places.words.markdown(":gray[Scoring …]")
    for missing, compute in ((_lacks_coherency, get_coherency), (_lacks_road, get_road)):
        for index, entry in enumerate(entries):
            if missing(scene, entry):
                compute(scene, entry.recipe)
                rows[index] = _row(scene, entry)
                places.chart.html(scores_html(rows))
    layers = [row for row in rows if row.kind == "layer"]
    centre = rows[-len(BASELINES)]
    places.words.markdown("\n\n".join(verdict(rows[0], layers, centre, probability)))


def _lacks_coherency(scene: Scene, entry: _Entry) -> bool:
    return not entry.held_back and not has(scene, "coherency", entry.recipe)


def _lacks_road(scene: Scene, entry: _Entry) -> bool:
    return not has(scene, "road", entry.recipe)


def _entries(scene: Scene, recipe: Recipe, held_back: bool) -> list[_Entry]:
    """What is scored: the result, each of its layers from deep to shallow, and the baselines."""
    sides = {layer: a.shape[-1] for layer, a in zip(scene.net.layers, get_capture(scene).activations, strict=True)}
    alone = [
        _Entry(f"{sides[layer]} × {sides[layer]} · {layer}", "layer", Recipe(recipe.method, (layer,)), held_back)
        for layer in reversed(recipe.layers)
    ]
    return [
        _Entry(result_title(recipe), "result", recipe, held_back),
        *(alone if len(alone) > 1 else []),
        *(_Entry(METHODS[name].title, "baseline", Recipe(name, recipe.layers[-1:]), False) for name in BASELINES),
    ]


def _detail(entry: _Entry) -> str:
    return "blind guess" if entry.kind == "baseline" else ""


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
        detail=_detail(entry),
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
