"""The robustness curve: how similar the explanation stays as the noise grows; a click on a point sets its level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from camviz.html.words import on_noise
from camviz.methods import METHODS
from camviz.noise import KINDS
from camviz.noise.measure import Outcome, Perturbation, perturbations
from camviz.noise.rank_overlap import chance
from camviz.recipe import Recipe
from camviz.results.finding import averaged, result_title
from camviz.study import parts
from camviz.ui.server.sharing import queue_shown_here, shared_host
from camviz.ui.session import CURVE_CHANGED_THE_PAGE, CURVE_CLICKS, SLOW_CURVE, SessionKey, curve_key
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.noise import STEP, set_level
from camviz.workbench.findings import alone
from camviz.workbench.maps import likeliest
from camviz.workbench.networks import expected_seconds
from camviz.workbench.noisy_copies import count_segments, get_segments, has_outcomes, outcomes, own_overlap
from camviz.workbench.pictures import Explained

LEVELS = tuple(round(STEP * step, 2) for step in range(1, round(1 / STEP) + 1))
# Copies computed between two updates of the curve; a slow method computes them one by one.
_PIECE = 2
# Seconds between two pieces, in which the page can respond.
_PAUSE = 0.1
_COLOURS = {"merged": "#d9692f", "single": "#8a857d"}

_HELP = (
    "How much the ranking of the picture's regions under noise overlaps with the clean ranking. A hollow point means "
    "that the prediction changed, so the map should change too. Click a point to go to its level."
)

Points = dict[str, list[Outcome]]


def show_curve(clean: Explained, recipe: Recipe, noise: Perturbation) -> None:
    """Draw the known part of the curve, then extend it piece by piece while the page stays usable.

    The curve explains what the network predicts, with and without noise, whatever class the page explains.
    """
    at = clean.explaining(likeliest(clean))
    try:
        get_segments(at)
    except ValueError as error:
        st.info(str(error), icon=":material/grid_off:")
        return
    recipes = curve_recipes(recipe)
    pieces = _pieces(recipe, noise)
    pending = not _complete(at, recipes, pieces)
    if pending and _is_slow(recipe) and not _is_asked(at, recipe, noise):
        _offer(at, recipe, noise)
        return
    st.fragment(_draw, run_every=_PAUSE if pending else None)(at, recipes, noise, pieces, pending)


def curve_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """The explanations in the chart: the merged map, and the method's map of the deepest layer alone."""
    merged = {"merged": recipe}
    return merged if len(recipe.layers) == 1 else {**merged, "single": alone(recipe, recipe.layers[-1])}


def _pieces(recipe: Recipe, noise: Perturbation) -> list[tuple[Perturbation, ...]]:
    """The curve's points in pieces, the one with the slider's level first."""
    points = perturbations([noise.kind], LEVELS, [noise.seed])
    pieces = parts(points, 1 if _is_slow(recipe) else _PIECE)
    return sorted(pieces, key=lambda piece: noise not in piece)


def _complete(at: Explained, recipes: Mapping[str, Recipe], pieces: Sequence[tuple[Perturbation, ...]]) -> bool:
    return all(_is_known(at, recipes, piece) for piece in pieces)


# The curve shows only overlaps.
_is_known = partial(has_outcomes, comparisons=False)
_measured = partial(outcomes, comparisons=False)


def _draw(
    at: Explained,
    recipes: Mapping[str, Recipe],
    noise: Perturbation,
    pieces: Sequence[tuple[Perturbation, ...]],
    pending: bool,
) -> None:
    """Compute one more piece and draw everything known; after the last piece, stop the updates."""
    if CURVE_CHANGED_THE_PAGE.pop():
        st.rerun()
    st.markdown("**Does the map follow the prediction?**", help=_HELP)
    if pending and _is_slow(recipes["merged"]):
        st.button("Stop drawing the curve", icon=":material/stop:", on_click=_stop)
    missing = [piece for piece in pieces if not _is_known(at, recipes, piece)]
    with queue_shown_here():
        for piece in missing[:1]:
            _measured(at, recipes, piece)
        points = _known_points(at, recipes, pieces)
        own = {name: own_overlap(at, r) for name, r in recipes.items()}
    chart = curve_key(CURVE_CLICKS.get(0))
    st.plotly_chart(
        figure(points, own, count_segments(at), noise, recipes),
        key=chart.name,
        on_select=partial(_go_to_click, chart),
        selection_mode="points",
        config={"displayModeBar": False},
    )
    st.markdown(_words(at, points, noise))
    if pending and len(missing) <= 1:
        st.rerun()


def _known_points(at: Explained, recipes: Mapping[str, Recipe], pieces: Sequence[tuple[Perturbation, ...]]) -> Points:
    """The outcomes known so far, by explanation, in ascending order of level."""
    points: Points = {name: [] for name in recipes}
    for piece in pieces:
        if _is_known(at, recipes, piece):
            for name, some in _measured(at, recipes, piece).items():
                points[name].extend(some)
    return {name: sorted(some, key=lambda outcome: outcome.level) for name, some in points.items()}


def _words(at: Explained, points: Points, noise: Perturbation) -> str:
    here = next((o for o in points["merged"] if math.isclose(o.level, noise.level)), None)
    if here is None:
        return ":gray[Measuring …]"
    labels = at.net.labels
    return on_noise(here, points["merged"], labels[at.target], labels[here.predicted], chance(count_segments(at)))


def figure(
    points: Points, own: Mapping[str, float], segments: int, noise: Perturbation, recipes: Mapping[str, Recipe]
) -> go.Figure:
    """The chart: overlap by noise level, one line per explanation, changed predictions hollow, a line at the slider."""
    chart = go.Figure()
    for name in reversed(points):
        recipe = recipes[name]
        deepest = averaged(f"{METHODS[recipe.method].title}, deepest layer", recipe)
        title = result_title(recipe) if name == "merged" else deepest
        outcomes_ = points[name]
        flipped = [False, *(o.flipped for o in outcomes_)]
        chart.add_scatter(
            x=[0.0, *(o.level for o in outcomes_)],
            y=[own[name], *(o.overlap for o in outcomes_)],
            name=title,
            mode="lines+markers",
            line={"color": _COLOURS[name], "width": 2.5 if name == "merged" else 1.5},
            marker={
                "size": 9 if name == "merged" else 7,
                "color": _COLOURS[name],
                "symbol": ["circle-open" if flip else "circle" for flip in flipped],
                "line": {"width": 2, "color": _COLOURS[name]},
            },
            unselected={"marker": {"opacity": 1}},
            customdata=[KINDS[noise.kind].strength(level) for level in [0.0, *(o.level for o in outcomes_)]],
            text=["", *("prediction changed" if o.flipped else "prediction kept" for o in outcomes_)],
            hovertemplate="%{customdata}<br>overlap %{y:.2f}<br>%{text}<extra></extra>",
        )
    chart.add_vline(noise.level, line={"color": _COLOURS["merged"], "width": 1, "dash": "dot"})
    chart.add_hline(
        chance(segments),
        line={"color": _COLOURS["single"], "width": 1, "dash": "dash"},
        annotation={"text": "chance", "font": {"size": 11}},
        annotation_position="bottom left",
    )
    chart.update_layout(
        height=235,
        margin={"l": 8, "r": 8, "t": 6, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "reversed"},
        xaxis={"title": {"text": "noise level", "standoff": 4}, "range": [-0.03, 1.04], "fixedrange": True},
        yaxis={"title": {"text": "overlap", "standoff": 4}, "range": [0, 1.05], "fixedrange": True},
        hovermode="closest",
        dragmode=False,
        clickmode="event+select",
    )
    return chart


def _go_to_click(chart: SessionKey[Any]) -> None:
    """Move the slider to the clicked point; the next chart gets a new key, so that nothing is selected in it."""
    chosen = chart.require().selection.points
    if chosen:
        CURVE_CLICKS.set(CURVE_CLICKS.get(0) + 1)
        CURVE_CHANGED_THE_PAGE.set(True)
        set_level(chosen[0]["x"])


def _is_slow(recipe: Recipe) -> bool:
    return METHODS[recipe.method].is_slow


def _stop() -> None:
    """Stop computing a slow method's curve."""
    SLOW_CURVE.pop()
    CURVE_CHANGED_THE_PAGE.set(True)


def _is_asked(at: Explained, recipe: Recipe, noise: Perturbation) -> bool:
    return SLOW_CURVE.get() == (at.key, recipe, noise.kind, noise.seed)


def _offer(at: Explained, recipe: Recipe, noise: Perturbation) -> None:
    """Offer the curve of a slow method, which runs it many times."""
    once = sum(expected_seconds(shared_host(), at.net, each) for each in curve_recipes(recipe).values())
    seconds = len(LEVELS) * once
    st.markdown("**Does the map follow the prediction?**", help=_HELP)
    st.caption(f"{METHODS[recipe.method].title} is slow, and the curve needs it at {len(LEVELS)} noise levels.")
    st.button(
        f"Draw the curve · {model_and_method.duration(seconds)}",
        on_click=lambda: SLOW_CURVE.set((at.key, recipe, noise.kind, noise.seed)),
    )
