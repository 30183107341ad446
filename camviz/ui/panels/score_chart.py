"""Filling the score chart piece by piece: free scores first, those that remove pixels last."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from camviz.html.score_chart import Kind, ScoreRow, scores_html
from camviz.html.viewer import pack_scores
from camviz.html.words import conclusion
from camviz.methods import METHODS, Progress
from camviz.metrics import SCORES, available
from camviz.recipe import Recipe
from camviz.results.finding import BASELINES, MapScores, result_title, size_title
from camviz.ui.panels import viewer
from camviz.ui.panels.layer_strip import subject
from camviz.ui.panels.more_scores import offer_more, shown_scores
from camviz.ui.panels.slow_progress import SlowProgress
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.session import SLOW_SCORES
from camviz.ui.sidebar import model_and_method
from camviz.workbench.findings import alone, as_finding, baselines
from camviz.workbench.maps import sizes
from camviz.workbench.networks import expected_seconds
from camviz.workbench.pictures import Explained
from camviz.workbench.scores import are_known, compute_scores, known_scores, runs_slow_method, score_names, stages
from camviz.workbench.true_shapes import get_true_shape

_SKIPPED = "coherency would have to run this slow method again"


@dataclass(frozen=True)
class _Entry:
    """A map to score; `held_back` if some of its scores would run a slow method without the user asking for it."""

    label: str
    kind: Kind
    recipe: Recipe
    held_back: bool

    def wanted(self, names: list[str]) -> list[str]:
        """The scores among these that are to be computed."""
        return [name for name in names if not (self.held_back and SCORES[name].runs_method)]


class ScorePlaces:
    """The places of the scores: the chart, the words next to it, and below them the controls for further scores."""

    def __init__(self, parent: DeltaGenerator) -> None:
        chart, side = parent.columns([2.4, 1], gap="medium")
        text = side.container(key="score-words")
        self.chart, self.words = Slot(chart), Slot(text.container())
        self.more, self.below = text.container(), text.container()
        self.spoken = Slot(text.container())

    def hold(self, layers: int) -> None:
        """Reserve the space while nothing is computed yet."""
        kinds: list[tuple[Kind, int]] = [("result", 1), ("layer", layers), ("baseline", len(BASELINES))]
        rows = [ScoreRow("\u00a0", "", kind) for kind, count in kinds for _ in range(count)]
        self.chart.html(scores_html(rows, available(mask=False)))
        self.words.markdown(":gray[Scoring …]")


def show_waiting(places: ScorePlaces, of: Explained, recipe: Recipe) -> None:
    """Show the chart without numbers while the maps are still being computed."""
    rows = [ScoreRow(entry.label, _detail(entry), entry.kind) for entry in _entries(of, recipe)]
    places.chart.html(scores_html(rows, shown_scores(of)))
    places.words.markdown(":gray[The scores appear when the maps are ready.]")


def show_scores(places: ScorePlaces, of: Explained, recipe: Recipe, clean: Explained | None = None) -> None:
    """Draw the chart with the scores known so far, then fill in the rest, stage by stage and row by row.

    If `clean` is given, `of` is its noisy copy; the clean picture is scored second and marked on the bars.
    """
    entries, names = _entries(of, recipe), shown_scores(of)
    for entry in entries:
        compute_scores(of, entry.recipe, stages(names)[0])  # costs nothing
    rows = [_row(of, entry, clean) for entry in entries]
    places.chart.html(scores_html(rows, names))
    if not all(are_known(of, entry.recipe, entry.wanted(names)) for entry in entries):
        places.words.markdown(":gray[Scoring …]")
    with places.below:
        progress = _slow_progress(of, recipe, entries)
    for each in filter(None, (of, clean)):
        for stage in stages(names):
            for index, entry in enumerate(entries):
                compute_scores(each, entry.recipe, entry.wanted(stage), progress)
                row = _row(of, entry, clean)
                if row != rows[index]:  # computed now, or meanwhile by another user's page
                    rows[index] = row
                    places.chart.html(scores_html(rows, names))
        sentences = conclusion(as_finding(of, recipe, names), rows)
        places.words.markdown("\n\n".join(sentences))
    offer_more(places.more, filter(None, (of, clean)))  # last, as it may time the network
    _speak(places, of, recipe, rows, clean, sentences[0].replace("**", ""))


def _speak(
    places: ScorePlaces, of: Explained, recipe: Recipe, rows: list[ScoreRow], clean: Explained | None, verdict: str
) -> None:
    """Add each panel's score to its description for screen readers, and the verdict to the result's."""
    count = len(recipe.layers)
    maps = dict(zip([2 * count - 1, *range(count)], [row for row in rows if row.kind != "baseline"], strict=False))
    scores = {subject(of, recipe): {index: row.value("arcc") for index, row in maps.items()}}
    if clean is not None:
        scores[subject(clean, recipe)] = {index: row.before["arcc"] for index, row in maps.items()}
    known = {name: {i: score for i, score in some.items() if score is not None} for name, some in scores.items()}
    viewer.show(places.spoken, "spoken", pack_scores(known, {subject(of, recipe): verdict}))


def row_of_map(of: Explained, recipe: Recipe) -> ScoreRow:
    """A map's scores known so far; missing ones that would run a slow method again are marked as skipped."""
    return _row(of, _Entry("", "layer", recipe, _is_held_back(of, recipe)), None)


def compute_fast_scores(of: Explained, recipe: Recipe) -> None:
    """Compute a map's missing scores, except those that run a slow method again."""
    compute_scores(of, recipe, fast_scores(of, recipe))


def are_fast_scores_known(of: Explained, recipe: Recipe) -> bool:
    """Whether `compute_fast_scores` has nothing left to do."""
    return are_known(of, recipe, fast_scores(of, recipe))


def fast_scores(of: Explained, recipe: Recipe) -> list[str]:
    """The scores of a map that do not run a slow method again."""
    return [name for name in shown_scores(of) if not runs_slow_method(recipe, name)]


def lacks_slow_score(of: Explained, recipe: Recipe) -> bool:
    """Whether any missing score would run a slow method again."""
    slow = [name for name in score_names(of) if runs_slow_method(recipe, name)]
    return not are_known(of, recipe, slow)


def _is_held_back(of: Explained, recipe: Recipe) -> bool:
    return METHODS[recipe.method].is_slow and lacks_slow_score(of, recipe)


def _slow_progress(of: Explained, recipe: Recipe, entries: list[_Entry]) -> Progress | None:
    """Offer to score a slow method; once accepted, show a stop button and return a callback for the progress."""
    held = any(entry.held_back for entry in entries)
    if held:
        runs = 2 if len(recipe.layers) > 1 else 1  # one for the result, one for all layers together
        seconds = runs * expected_seconds(shared_host(), of.net, recipe)
        st.button(
            f"Score it anyway · {model_and_method.duration(seconds)}",
            on_click=lambda: SLOW_SCORES.set((of.key, recipe)),
            help="Coherency runs the whole method again on the masked picture, for the result and for each layer.",
        )
    missing = sum(lacks_slow_score(of, entry.recipe) for entry in entries)
    if held or not METHODS[recipe.method].is_slow or not missing:
        return None
    return SlowProgress(
        "Running the method again on the masked picture",
        None,
        "Stop scoring",
        _stop_scoring,
        "stop-scoring",
        parts=missing,
    )


def _stop_scoring() -> None:
    SLOW_SCORES.pop()


def _entries(of: Explained, recipe: Recipe) -> list[_Entry]:
    """The maps to score: the result, each of its layers from deepest to finest, and the baselines."""
    hold_back = SLOW_SCORES.get() != (of.key, recipe)
    size = sizes(of)

    def entry(label: str, kind: Kind, single: Recipe) -> _Entry:
        return _Entry(label, kind, single, hold_back and _is_held_back(of, single))

    layers = [
        entry(f"{size_title(size[layer])} · {layer}", "layer", alone(recipe, layer))
        for layer in reversed(recipe.layers)
    ]
    return [
        entry(result_title(recipe), "result", recipe),
        *(layers if len(layers) > 1 else []),
        *(entry(METHODS[name].title, "baseline", each) for name, each in baselines(recipe).items()),
    ]


def _detail(entry: _Entry) -> str:
    return "blind guess" if entry.kind == "baseline" else ""


def _row(of: Explained, entry: _Entry, clean: Explained | None) -> ScoreRow:
    """A row with the scores known so far, of the picture and, if given, of the clean one."""
    truth = get_true_shape(of)
    return ScoreRow(
        label=entry.label,
        detail=_detail(entry),
        kind=entry.kind,
        scores=known_scores(of, entry.recipe, shown_scores(of)),
        skipped=_SKIPPED if entry.held_back else "",
        before=MapScores({}) if clean is None else known_scores(clean, entry.recipe, shown_scores(clean)),
        explained=truth is None or truth.explained,
    )
