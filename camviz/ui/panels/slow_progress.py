"""The progress of slow work, with the time left and a button to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.sidebar.model_and_method import duration

# Seconds after which the speed so far predicts the time left better than the expected one.
_SETTLED = 2.0


class SlowProgress:
    """Shows how far slow work is and how long it still takes, with a button to stop it.

    Call it with (passes done, all passes). Work that consists of several parts counts again from the start for each.

    Args:
        title: what is being done.
        expected: seconds that all of it is expected to take; None if unknown.
        stop: the button's label.
        on_stop: called when the button is pressed.
        key: the button's key.
        parts: how many parts of about equal length there are.
    """

    def __init__(
        self, title: str, expected: float | None, stop: str, on_stop: Callable[[], None], key: str, parts: int = 1
    ) -> None:
        self._title, self._expected, self._parts = title, expected, parts
        self._part, self._done = 0, 0
        self._start = time.monotonic()
        self._bar = st.progress(0.0, self._words(0.0))
        st.button(stop, icon=":material/stop:", key=key, on_click=on_stop)

    def __call__(self, done: int, total: int) -> None:
        """Show the progress of the current part."""
        if done < self._done or done == self._done == total:  # it counts again: the next part
            self._part += 1
        self._done = done
        share = min(1.0, (self._part + done / total) / self._parts)
        self._bar.progress(share, self._words(share))

    def _words(self, share: float) -> str:
        spent = time.monotonic() - self._start
        left = spent * (1 - share) / share if share and spent > _SETTLED else self._expected
        return f"{self._title}: {share:.0%} done" + ("" if left is None else f", {duration(left)} left")


class MapsPlace(Slot):
    """A place for maps, over which slow work shows its progress: the maps from before stay, dimmed, until it is done.

    Where there are none, empty panels stand in.
    """

    def __init__(self, parent: DeltaGenerator, name: str) -> None:
        """Make the place; `name` tells it from others on the page."""
        held = parent.container(key=f"held-{name}")
        super().__init__(held.container())
        self._name, self._over = name, held.empty()
        self._waits = False

    def wait(
        self,
        panels: str,
        title: str,
        expected: float | None,
        on_stop: Callable[[], None],
        stop: str = "Stop",
        parts: int = 1,
    ) -> SlowProgress:
        """Show the progress of work until the next maps are shown, with empty panels (HTML) for the first time."""
        self._waits = True
        with self._over.container(key=f"slow-panels-{self._name}"):
            st.html(panels)
            with st.container(key=f"slow-progress-{self._name}"):
                return SlowProgress(title, expected, stop, on_stop, f"stop-{self._name}", parts)

    def mount(self, component: Callable[[], object]) -> None:
        """Show maps, once a run, instead of the old content."""
        super().mount(component)
        if self._waits:
            self._over.empty()
            self._waits = False
