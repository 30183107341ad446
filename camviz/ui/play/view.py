"""The Play page's parts: sliders, the two maps, and a table of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeVar

import streamlit as st
from torch import Tensor

from camviz.metrics import SCORES
from camviz.recipe import Recipe
from camviz.render import data_uri, overlay
from camviz.results.finding import averaged
from camviz.trust.evaluation import oriented
from camviz.trust.play import (
    SLOW,
    TRUTHS,
    WATCHED,
    Change,
    are_slow_scores_known,
    changed_map,
    scores_of_both,
    slow_scores_of_both,
)
from camviz.ui.links.link_format import MOST_BLUR, MOST_SHIFT, MOST_SHRINK, SHARPEN
from camviz.ui.panels.outlines import outline_of
from camviz.ui.panels.slow_progress import SlowProgress
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.session import PLAY_BLUR, PLAY_DOWN, PLAY_RIGHT, PLAY_SHARPEN, PLAY_SHRINK, PLAY_SLOW, SessionKey
from camviz.workbench.maps import get_view, merged
from camviz.workbench.pictures import Explained

HEADING = (
    '<h1 class="cv-title" hidden>What does a score notice?<small>Change a map with the sliders. Which of the two maps '
    "does each score prefer? If the true shape is known, you see who is right.</small></h1>"
)
_SAME = 0.005  # scores that differ less count as equal
_SLOW_PARTS = 4  # insertion, deletion, max-sensitivity, and both randomisation checks together
_UNCHANGED: dict[SessionKey[Any], float] = {
    PLAY_BLUR: 0,
    PLAY_SHRINK: 1.0,
    PLAY_SHARPEN: 1.0,
    PLAY_RIGHT: 0,
    PLAY_DOWN: 0,
}
_START = _UNCHANGED | {PLAY_RIGHT: 25}
Number = TypeVar("Number", int, float)
Scores = Mapping[str, tuple[float, float]]


def choose_change() -> Change:
    """Ask how the map is changed; at first it is moved, so that there is something to see."""
    for key, value in _START.items():
        if not key.is_set():
            key.set(value)
    blur = _slider("Blur", PLAY_BLUR, 0, MOST_BLUR, 1, "%d px")
    shrink = _slider("Shrink", PLAY_SHRINK, 1.0, MOST_SHRINK, 0.1, "%.1f ×")
    hint = "Raises every value to this power: above 1, only the hottest places remain; below 1, heat spreads."
    sharpen = _slider("Sharpen", PLAY_SHARPEN, *SHARPEN, 0.1, "power %.1f", hint)
    right = _slider("Shift right", PLAY_RIGHT, -MOST_SHIFT, MOST_SHIFT, 1, "%d %%")
    down = _slider("Shift down", PLAY_DOWN, -MOST_SHIFT, MOST_SHIFT, 1, "%d %%")
    st.button("Back to the map as it is", icon=":material/restart_alt:", on_click=_reset, width="stretch")
    return Change(blur, shrink, sharpen, right / 100, down / 100)


def _slider(
    label: str, key: SessionKey[Number], least: Number, most: Number, step: Number, form: str, hint: str | None = None
) -> Number:
    return st.slider(label, least, most, step=step, key=key.name, persist_state="session", format=form, help=hint)


def _reset() -> None:
    for key, value in _UNCHANGED.items():
        key.set(value)


def maps_html(of: Explained, recipe: Recipe, change: Change) -> str:
    """The picture's map and the changed one, side by side, with the outline of the true shape."""
    outline = outline_of(of)
    pairs = ((averaged("The map", recipe), merged(of, recipe)), ("Changed", changed_map(of, recipe, change)))
    return f'<div class="cv-pair" hidden>{"".join(_figure(of, title, map_[0], outline) for title, map_ in pairs)}</div>'


def _figure(of: Explained, title: str, map_: Tensor, outline: str) -> str:
    line = f'<img src="{outline}" alt="Outline of the true shape">' if outline else ""
    source = data_uri(overlay(get_view(of), map_))
    return (
        f'<figure><div class="cv-pic"><img src="{source}" alt="{escape(title)}">{line}</div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def scores_html(scores: Scores, names: Sequence[str]) -> str:
    """A row for each of these scores that is known: both maps, which of the two it prefers, and whether it is right."""
    truth = preferred(TRUTHS[0], scores[TRUTHS[0]]) if TRUTHS[0] in scores else None
    rows = "".join(_row(name, scores[name], truth) for name in names if name in scores)
    last = "<th>Right?</th>" if truth else ""
    return (
        '<table class="cv-played" hidden><thead><tr><th>Score</th><th>The map</th><th>Changed</th><th>Prefers</th>'
        f"{last}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(name: str, both: tuple[float, float], truth: str | None) -> str:
    score, prefers = SCORES[name], preferred(name, both)
    better = "high" if score.better == "higher" else "low"
    numbers = "".join(f"<td>{'–' if math.isnan(value) else f'{round(value, 2) + 0:.2f}'}</td>" for value in both)
    is_truth = score.needs_mask
    right = ""
    if truth is not None:
        right = f"<td>{'the truth' if is_truth else _judged(prefers, truth)}</td>"
    return (
        f'<tr{" class=cv-truth" if is_truth else ""} title="{escape(score.sentence)}"><th scope="row">'
        f"{escape(score.title)}<small>{better} is good</small></th>{numbers}<td>{prefers}</td>{right}</tr>"
    )


def _judged(prefers: str, truth: str) -> str:
    """Whether a score prefers the map that fits the mask better."""
    if "neither" in (prefers, truth):
        return "–"
    return "yes" if prefers == truth else "<b>fooled</b>"


def preferred(name: str, both: tuple[float, float]) -> str:
    """Which of two maps a score prefers: "the map", "changed", or "neither"."""
    before, after = (oriented(name) * value for value in both)
    if math.isnan(before + after) or abs(after - before) < _SAME:
        return "neither"
    return "changed" if after > before else "the map"


def in_words(scores: Scores) -> str:
    """What the table says, in a sentence."""
    if TRUTHS[0] not in scores:
        return (
            "No mask of this class is known for this picture, so nobody can say who is right: choose a drawn shape, "
            "and explain its own class."
        )
    truth = preferred(TRUTHS[0], scores[TRUTHS[0]])
    if truth == "neither":
        return "Both maps fit the true mask equally well."
    judged = {name: preferred(name, scores[name]) for name in WATCHED if name in scores}
    fooled = [SCORES[name].title for name, prefers in judged.items() if prefers not in (truth, "neither")]
    better = "The map as it is fits" if truth == "the map" else "The changed map fits"
    if not fooled:
        return f"{better} the true mask better, and none of these scores is fooled."
    return f"{better} the true mask better. Fooled: {', '.join(fooled)}."


def show_scores(place: Slot, of: Explained, recipe: Recipe, change: Change) -> None:
    """Show what the scores say, and below, folded away, those that are seldom looked at."""
    found, first = dict(scores_of_both(of, recipe, change)), (*TRUTHS, *WATCHED)
    place.html(f'<p class="cv-lead" role="status">{escape(in_words(found))}</p>{scores_html(found, first)}')
    are_known = are_slow_scores_known(of, recipe, change)
    if are_known:
        found |= slow_scores_of_both(of, recipe, change)
    with st.expander("All other scores"):
        st.html(scores_html(found, [name for name in found if name not in first]))
        if not are_known:
            _offer_slow_scores(of, recipe, change)


def _offer_slow_scores(of: Explained, recipe: Recipe, change: Change) -> None:
    """Offer to compute the scores that are too slow to follow a slider; once accepted, do so."""
    wanted = (of.key, recipe, change)
    if PLAY_SLOW.get() != wanted:
        titles = ", ".join(SCORES[name].title for name in SLOW)
        hint = f"{titles}. They run the network hundreds of times, so they do not follow the sliders."
        st.button("Compute the slow scores, too", help=hint, on_click=PLAY_SLOW.set, args=(wanted,))
        return
    progress = SlowProgress("Computing the slow scores", None, "Stop", PLAY_SLOW.forget, "stop-slow", _SLOW_PARTS)
    slow_scores_of_both(of, recipe, change, progress)
    PLAY_SLOW.forget()
    st.rerun()  # shows them instead of the bar
