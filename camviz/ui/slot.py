"""A place on the page that is overwritten, and never empty in between, so that nothing flickers or jumps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from streamlit.delta_generator import DeltaGenerator


class Slot:
    """Shows one thing after another in one place.

    `st.empty` would do, but it clears what the run before has left; this keeps it until there is something new.
    """

    def __init__(self, parent: DeltaGenerator) -> None:
        self._place = parent

    def html(self, body: str) -> None:
        """Show HTML in place of what was there."""
        self._place = self._place.html(body)

    def markdown(self, body: str) -> None:
        """Show Markdown in place of what was there."""
        self._place = self._place.markdown(body)

    def say(self, how: Literal["info", "success", "warning"], words: str, icon: str) -> None:
        """Show a message, in Markdown, in place of what was there."""
        self._place = getattr(self._place, how)(words, icon=icon)

    def mount(self, component: Callable[[], object]) -> None:
        """Show a component, once a run, in place of what was there."""
        with self._place:
            component()

    def container(self, key: str) -> DeltaGenerator:
        """Show a container in place of what was there."""
        self._place = self._place.empty()
        return self._place.container(key=key)
