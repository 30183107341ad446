"""Starting, stopping and resuming long work, a slice at a time, so that the page stays responsive."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

import streamlit as st

from camviz.ui.session import SessionKey
from camviz.ui.sidebar.model_and_method import duration

# Seconds of work between two updates of the results.
_SLICE = 2.0


@dataclass(frozen=True)
class RunKeys:
    """Where the session keeps a run: the key of the running work, and when it began with how much already done."""

    running: SessionKey[Hashable]
    begun: SessionKey[tuple[float, int]]

    def has_begun(self) -> bool:
        """Whether this visit has begun one; until then, others' unfinished results are none of its own."""
        return self.begun.is_set()


@dataclass(frozen=True)
class Work:
    """Long work in pieces, which are cached as they are done.

    Attributes:
        key: its identity.
        what: what is done, in a few words.
        unit: what a piece is called, in the plural.
        total: the number of pieces.
        done: how many are done.
        expected: seconds that all of it is expected to take.
        go_on: works for about this many seconds, at least one piece; returns whether there is more to do.
        impossible: what to say if there are no pieces.
    """

    key: Hashable
    what: str
    unit: str
    total: int
    done: int
    expected: float
    go_on: Callable[[float], bool]
    impossible: str


def show_run_bar(work: Work, keys: RunKeys) -> Callable[[], None] | None:
    """Show the progress, with a button to start, stop or resume.

    Returns:
        A function that does the next slice of work and draws the page again; None if the work is not running.
    """
    running = keys.running.get() == work.key and work.done < work.total
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(work.done / work.total if work.total else 0.0, _words(work, keys, running))
    if work.done >= work.total:
        return None
    # One button with one key: of two, the old one would stay beside the new one for as long as a slice takes.
    label = "Stop" if running else "Resume" if work.done and keys.has_begun() else "Start"
    right.button(
        label,
        icon=":material/stop:" if running else ":material/play_arrow:",
        key=f"{keys.running.name}-button",
        type="secondary" if running else "primary",
        on_click=keys.running.forget if running else partial(_start, work, keys),
        width="stretch",
    )
    st.caption(
        "The results stay in this server's memory: they are lost when it stops, and may make room for newer ones. "
        "Download those that you need."
    )
    return partial(_work, work, keys) if running else None


def _work(work: Work, keys: RunKeys) -> None:
    if not work.go_on(_SLICE):
        keys.running.forget()
    st.rerun()


def _start(work: Work, keys: RunKeys) -> None:
    keys.running.set(work.key)
    keys.begun.set((time.monotonic(), work.done))


def _words(work: Work, keys: RunKeys, running: bool) -> str:
    """The amount of work, what is done, and the time left."""
    total, done = work.total, work.done
    if not total:
        return work.impossible
    if done >= total:
        return f"Done: {work.what}"
    left = work.expected * (total - done) / total
    if running:
        began, before = keys.begun.require()
        if done - before >= min(20, total / 4):
            left = (time.monotonic() - began) * (total - done) / (done - before)
        return f"{done:,} of {total:,} {work.unit} · {duration(left)} left"
    if done:
        whose = "" if keys.has_begun() else " on this server"
        return f"{done:,} of {total:,} {work.unit} are already computed{whose} · {duration(left)} left"
    return f"{work.what}: {duration(left)}"
