"""Starting, stopping and resuming a sweep, a slice at a time, so that the page stays responsive."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from camviz.html.words import counted
from camviz.ui.escaping import as_text
from camviz.ui.robustness.sweep import Plan, done_copies, go_on, refusal, usable
from camviz.ui.session import SWEEP_BEGUN, SWEEP_RUNNING
from camviz.ui.sidebar.model_and_method import duration

# Seconds of work between two updates of the results.
_SLICE = 2.0


def run_bar(plan: Plan) -> Callable[[], None] | None:
    """Show a sweep's progress, with a button to start, stop or resume it.

    Returns:
        A function that does the next slice of work and draws the page again; None if the sweep is not running.
    """
    for picture in plan.pictures:
        if reason := refusal(plan, picture):
            st.warning(f"**{as_text(picture.title)}** is left out. {reason}", icon=":material/grid_off:")
    total, done = len(usable(plan)) * len(plan.points), done_copies(plan)
    running = SWEEP_RUNNING.get() == plan.key and done < total
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(done / total if total else 0.0, _progress_words(plan, done, total, running))
    if running:
        right.button("Stop", icon=":material/stop:", on_click=_stop, width="stretch")
        return lambda: _work(plan)
    if done < total:
        label = "Resume" if done and has_begun() else "Start"
        right.button(
            label, icon=":material/play_arrow:", type="primary", on_click=_start, args=(plan, done), width="stretch"
        )
        st.caption(
            "The results stay in this server's memory: they are lost when it stops, and may make room for newer ones. "
            "Download those that you need."
        )
    return None


def has_begun() -> bool:
    """Whether this visit has begun a sweep; until then, others' unfinished results are none of its own."""
    return SWEEP_BEGUN.is_set()


def is_presentable(plan: Plan) -> bool:
    """Whether to show the results so far: those of this visit, or all of them."""
    return has_begun() or done_copies(plan) == len(usable(plan)) * len(plan.points)


def _work(plan: Plan) -> None:
    if not go_on(plan, _SLICE):
        _stop()
    st.rerun()


def _start(plan: Plan, done: int) -> None:
    SWEEP_RUNNING.set(plan.key)
    SWEEP_BEGUN.set((time.monotonic(), done))


def _stop() -> None:
    SWEEP_RUNNING.pop()


def _progress_words(plan: Plan, done: int, total: int, running: bool) -> str:
    """The amount of work, what is done, and the time left."""
    pictures, methods = len(usable(plan)), len(plan.recipes)
    copies = counted(len(plan.points), "noisy copy", "noisy copies")
    work = f"{counted(pictures, 'picture')} × {copies}, {counted(methods, 'explanation')} of each"
    if not total:
        return "None of these pictures can be measured"
    if done >= total:
        return f"Done: {work}"
    left = plan.expected_seconds() * (total - done) / total
    if running:
        began, before = SWEEP_BEGUN.require()
        if done - before >= min(20, total / 4):
            left = (time.monotonic() - began) * (total - done) / (done - before)
        return f"{done:,} of {total:,} noisy copies · {duration(left)} left"
    if done:
        whose = "" if has_begun() else " on this server"
        return f"{done:,} of {total:,} noisy copies are already computed{whose} · {duration(left)} left"
    return f"{work}: {duration(left)}"
