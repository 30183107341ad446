"""Filling the score chart, piece by piece: the cheap parts first, ROAD last."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from camviz.explain import Recipe
from camviz.methods import METHODS, Progress
from camviz.metrics.arcc import combine, complexity
from camviz.ui import controls, viewer
from camviz.ui.compute import Scene, get_coherency, get_road, has, merged, predict, sides
from camviz.ui.nets import expected_seconds
from camviz.ui.scores import TRUTH_COLUMNS, Kind, ScoreRow, scores_html
from camviz.ui.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.stripview import result_title, subject
from camviz.ui.truth import get_truth, get_truth_scores
from camviz.ui.words import on_truth, verdict

BASELINES = ("centre", "random")


# Session key: the slow recipe whose coherency was asked for.
_ASKED = "slow_scores"


@dataclass(frozen=True)
class _Entry:
    """One thing to score; `held_back` if its coherency would run a slow method that nobody asked for."""

    label: str
    kind: Kind
    recipe: Recipe
    held_back: bool


class ScorePlaces:
    """Where the scores stand: the chart, the words beside it, and what a slow score needs below those."""

    def __init__(self, parent: DeltaGenerator) -> None:
        chart, words = parent.columns([2.4, 1], gap="medium")
        beside = words.container(key="score-words")
        self.chart, self.words, self.below = Slot(chart), Slot(beside.container()), beside.container()
        self.spoken = Slot(beside.container())

    def hold(self, layers: int) -> None:
        """Keep the places while nothing is known yet."""
        kinds: list[tuple[Kind, int]] = [("result", 1), ("layer", layers), ("baseline", len(BASELINES))]
        rows = [ScoreRow("\u00a0", "", kind, (None,) * 4) for kind, count in kinds for _ in range(count)]
        self.chart.html(scores_html(rows))
        self.words.markdown(":gray[Scoring …]")


def show_waiting(places: ScorePlaces, scene: Scene, recipe: Recipe) -> None:
    """Show the chart without a number, while the maps themselves are still computed."""
    entries = _entries(scene, recipe)
    places.chart.html(scores_html([ScoreRow(e.label, _detail(e), e.kind, (None,) * 4) for e in entries]))
    places.words.markdown(":gray[The scores follow when the maps are there.]")


def show_scores(places: ScorePlaces, scene: Scene, recipe: Recipe, clean: Scene | None = None) -> list[ScoreRow]:
    """Draw the chart with what is at hand, then fill in coherency, then ROAD, row by row; return the rows.

    Where a noisy scene has its `clean` one, that is scored after it, and marked on the bars.
    """
    entries = _entries(scene, recipe)
    rows = [_row(scene, entry, clean) for entry in entries]
    places.chart.html(scores_html(rows))
    if any(row.values[3] is None for row in rows):
        places.words.markdown(":gray[Scoring …]")
    with places.below:
        progress = _slow_progress(scene, recipe, entries)
    for of in filter(None, (scene, clean)):
        for missing, compute in (
            (_lacks_coherency, partial(get_coherency, progress=progress)),
            (_lacks_road, get_road),
        ):
            for index, entry in enumerate(entries):
                if missing(of, entry):
                    compute(of, entry.recipe)
                    rows[index] = _row(scene, entry, clean)
                    places.chart.html(scores_html(rows))
        places.words.markdown(conclusion(scene, rows))
    _speak(places, scene, recipe, rows, clean)
    return rows


def _speak(places: ScorePlaces, scene: Scene, recipe: Recipe, rows: list[ScoreRow], clean: Scene | None) -> None:
    """Give each panel its score in the words that stand for it where it is not seen."""
    count = len(recipe.layers)
    maps = dict(zip([2 * count - 1, *range(count)], [row for row in rows if row.kind != "baseline"], strict=False))
    told = {subject(scene, recipe): {index: row.values[0] for index, row in maps.items()}}
    if clean is not None:
        told[subject(clean, recipe)] = {index: row.before[0] for index, row in maps.items()}
    known = {of: {i: score for i, score in some.items() if score is not None} for of, some in told.items()}
    viewer.show(places.spoken, "spoken", viewer.pack_scores(known))


def known_scores(scene: Scene, recipe: Recipe) -> ScoreRow:
    """What is at hand of a map's scores; the coherency of a slow method is only told where it was asked for."""
    return _row(scene, _Entry("", "layer", recipe, held_back=lacks_slow_score(scene, recipe)), None)


def known_rows(scene: Scene, recipe: Recipe) -> tuple[list[ScoreRow], str]:
    """The rows of the chart that are known, and what they mean, which is only said once all are."""
    entries = _entries(scene, recipe)
    known = [e for e in entries if not (_lacks_coherency(scene, e) or _lacks_road(scene, e))]
    rows = [_row(scene, entry, None) for entry in known]
    return rows, conclusion(scene, rows) if known == entries else ""


def compute_scores(scene: Scene, recipe: Recipe) -> None:
    """Compute what a map's scores lack, but for the coherency of a slow method."""
    if not METHODS[recipe.method].is_slow:
        get_coherency(scene, recipe)
    get_road(scene, recipe)


def are_known(scene: Scene, recipe: Recipe) -> bool:
    """Whether nothing is left to compute of a map's scores."""
    slow = METHODS[recipe.method].is_slow
    return has(scene, "road", recipe) and (slow or has(scene, "coherency", recipe))


def lacks_slow_score(scene: Scene, recipe: Recipe) -> bool:
    """Whether a slow method's coherency is missing, which `compute_scores` leaves out."""
    return METHODS[recipe.method].is_slow and not has(scene, "coherency", recipe)


def conclusion(scene: Scene, rows: list[ScoreRow]) -> str:
    """What the finished rows mean, in paragraphs (Markdown)."""
    layers, baselines = ([row for row in rows if row.kind == kind] for kind in ("layer", "baseline"))
    said = verdict(rows[0], layers, baselines, float(predict(scene)[scene.target]))
    truth = get_truth(scene)
    if truth is not None:
        said.insert(0, on_truth(rows[0], layers, truth.label, truth.explained, float(truth.mask.mean())))
    if any(value is not None for value in rows[0].before):
        said.append(":gray[Marks on the bars: the clean picture.]")
    return "\n\n".join(said)


def _lacks_coherency(scene: Scene, entry: _Entry) -> bool:
    return not entry.held_back and not has(scene, "coherency", entry.recipe)


def _lacks_road(scene: Scene, entry: _Entry) -> bool:
    return not has(scene, "road", entry.recipe)


def _slow_progress(scene: Scene, recipe: Recipe, entries: list[_Entry]) -> Progress | None:
    """Offer to score a slow method; once asked for, return what shows the progress, with a way to stop."""
    held = any(entry.held_back for entry in entries)
    if held:
        runs = 2 if len(recipe.layers) > 1 else 1  # the result's, and once more for all layers together
        seconds = runs * expected_seconds(scene.net, recipe.method, recipe.layers)
        st.button(
            f"Score it too · {controls.duration(seconds)}",
            on_click=lambda: st.session_state.update({_ASKED: (scene.key, recipe)}),
            help="Coherency runs the whole method again on the masked picture: for the result, and for each layer.",
        )
    slow = METHODS[recipe.method].is_slow
    if held or not slow or not any(_lacks_coherency(scene, entry) for entry in entries):
        return None
    bar = st.progress(0.0, "Running the method again on the masked picture")
    st.button("Stop scoring", icon=":material/stop:", on_click=lambda: st.session_state.pop(_ASKED, None))

    def show(done: int, total: int) -> None:
        bar.progress(done / total, f"Running the method again: {done / total:.0%}")

    return show


def _entries(scene: Scene, recipe: Recipe) -> list[_Entry]:
    """What is scored: the result, each of its layers from deep to shallow, and the baselines."""
    slow = METHODS[recipe.method].is_slow
    unasked = slow and st.session_state.get(_ASKED) != (scene.key, recipe)
    side = sides(scene)

    def entry(label: str, kind: Kind, one: Recipe) -> _Entry:
        return _Entry(label, kind, one, unasked and kind != "baseline" and not has(scene, "coherency", one))

    alone = [
        entry(f"{side[layer]}\u00a0×\u00a0{side[layer]} · {layer}", "layer", Recipe(recipe.method, (layer,)))
        for layer in reversed(recipe.layers)
    ]
    return [
        entry(result_title(recipe), "result", recipe),
        *(alone if len(alone) > 1 else []),
        *(entry(METHODS[name].title, "baseline", Recipe(name, recipe.layers[-1:])) for name in BASELINES),
    ]


def _detail(entry: _Entry) -> str:
    return "blind guess" if entry.kind == "baseline" else ""


def _row(scene: Scene, entry: _Entry, clean: Scene | None) -> ScoreRow:
    """Fill a row with what is at hand, of the scene and of the clean one before it."""
    recipe = entry.recipe
    map_ = merged(scene, recipe)
    coherence, note = get_coherency(scene, recipe) if has(scene, "coherency", recipe) else (None, "")
    known = get_truth_scores(scene, recipe)
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
        truth=tuple(known[name] for name, *_ in TRUTH_COLUMNS) if known else None,
        note="; ".join(filter(None, (note, removal.notes[0] if removal else ""))),
        skipped="coherency would run this slow method again" if entry.held_back else "",
        before=(None,) * 4 if clean is None else _row(clean, entry, None).values,
    )
