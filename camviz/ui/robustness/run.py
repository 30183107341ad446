"""A sweep as work that can be started, stopped and resumed."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from camviz.html.words import counted
from camviz.ui.escaping import as_text
from camviz.ui.panels.run_bar import RunKeys, Work, show_run_bar
from camviz.ui.robustness.sweep import Plan, done_copies, go_on, refusal, usable
from camviz.ui.session import SWEEP_BEGUN, SWEEP_RUNNING

_KEYS = RunKeys(SWEEP_RUNNING, SWEEP_BEGUN)


def run_bar(plan: Plan) -> Callable[[], None] | None:
    """Show a sweep's progress, with a button to start, stop or resume it, and which pictures are left out.

    Returns:
        A function that does the next slice of work and draws the page again; None if the sweep is not running.
    """
    for picture in plan.pictures:
        if reason := refusal(plan, picture):
            st.warning(f"**{as_text(picture.title)}** is left out. {reason}", icon=":material/grid_off:")
    return show_run_bar(_work(plan), _KEYS)


def is_presentable(plan: Plan) -> bool:
    """Whether to show the results so far: those of this visit, or all of them."""
    return _KEYS.has_begun() or done_copies(plan) == len(usable(plan)) * len(plan.points)


def _work(plan: Plan) -> Work:
    pictures = len(usable(plan))
    copies = counted(len(plan.points), "noisy copy", "noisy copies")
    return Work(
        plan.key,
        f"{counted(pictures, 'picture')} × {copies}, {counted(len(plan.recipes), 'explanation')} of each",
        "noisy copies",
        pictures * len(plan.points),
        done_copies(plan),
        plan.expected_seconds(),
        lambda seconds: go_on(plan, seconds),
        "None of these pictures can be measured",
    )
