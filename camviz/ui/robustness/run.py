"""Starting, stopping and going on with a sweep, a slice at a time, so that the page stays alive."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from camviz.ui.robustness.sweep import Plan, done_copies, go_on, refusal, usable
from camviz.ui.sidebar.model_and_method import duration

# Seconds of work between two drawings of the results.
_SLICE = 2.0
# Session keys: the plan that runs, when that began, and how many copies were done by then.
_RUNNING, _BEGUN = "sweep_running", "sweep_begun"


def run_bar(plan: Plan) -> Callable[[], None] | None:
    """Show how far a sweep is, with a button to start, stop or go on.

    Returns:
        what does the next slice of work and draws the page anew; None if the sweep stands still.
    """
    for picture in plan.pictures:
        if reason := refusal(plan, picture):
            st.warning(f"**{picture.title}** is left out. {reason}", icon=":material/grid_off:")
    total, done = len(usable(plan)) * len(plan.points), done_copies(plan)
    running = st.session_state.get(_RUNNING) == plan.key and done < total
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(done / total if total else 0.0, _progress_words(plan, done, total, running))
    if running:
        right.button("Stop", icon=":material/stop:", on_click=_stop, width="stretch")
        return lambda: _work(plan)
    if done < total:
        word = "Resume" if done else "Start"
        right.button(
            word, icon=":material/play_arrow:", type="primary", on_click=_start, args=(plan, done), width="stretch"
        )
    return None


def _work(plan: Plan) -> None:
    if not go_on(plan, _SLICE):
        _stop()
    st.rerun()


def _start(plan: Plan, done: int) -> None:
    st.session_state[_RUNNING], st.session_state[_BEGUN] = plan.key, (time.monotonic(), done)


def _stop() -> None:
    st.session_state.pop(_RUNNING, None)


def _progress_words(plan: Plan, done: int, total: int, running: bool) -> str:
    """How much there is to do, and how long it takes."""
    pictures, methods = len(usable(plan)), len(plan.recipes)
    what = f"{pictures} pictures × {len(plan.points)} noisy copies, {methods} explanations of each"
    if not total:
        return "No picture that can be measured"
    if done >= total:
        return f"Done: {what}"
    left = plan.expected_seconds() * (total - done) / total
    if running:
        began, before = st.session_state[_BEGUN]
        if done - before >= min(20, total / 4):
            left = (time.monotonic() - began) * (total - done) / (done - before)
        return f"{done:,} of {total:,} noisy copies · {duration(left)} left"
    if done:
        return f"{done:,} of {total:,} noisy copies are already computed · {duration(left)} left"
    return f"{what}: {duration(left)}"
