"""Everything that camviz uses of Streamlit beyond its documented API, in one place.

An upgrade of Streamlit may change any of it without notice. tests/test_streamlit_internals.py tries each part on the
installed version, in a test that bears its name; all other modules import from here, which that file checks too.

Four things cannot stand in this file:

- assets/style.css and assets/viewer/viewer.css select Streamlit's elements by their classes (`.stHtml`) and test ids
  (`[data-testid="stSidebarHeader"]`), and assets/viewer/save.js reads the colour of `.stApp`. Classes that begin with
  `st-key-` are documented. tests/test_browser_selectors.py tries each selector on real pages.
- `camviz.ui.style` relies on the `hidden` attribute of an element passing through `st.html`, and on an element behind
  the `<style>` making it a part of the page; tests/test_browser.py tries both.
- `camviz.ui.page_frame` relies on `st.switch_page("app.py")` leading from a page that was run by itself to the app;
  tests/test_browser_link.py opens such a page.
- Tests read Streamlit's messages, which are protobufs: tests/streamlit_messages.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

__all__ = [
    "XSRF_COOKIE",
    "ColumnConfig",
    "DeltaGenerator",
    "Slot",
    "UploadedFile",
    "browser_token",
    "came_by_history",
    "session_id",
    "unmasked",
    "yield_point",
]

# The cookie that the server gives each browser against forged requests.
XSRF_COOKIE = "_streamlit_xsrf"


def session_id() -> str | None:
    """The id of the session (one tab) whose script runs in this thread; None outside of a run."""
    context = get_script_run_ctx(suppress_warning=True)
    return None if context is None else context.session_id


def came_by_history() -> bool:
    """Whether the browser's Back or Forward button asked for this run."""
    context = get_script_run_ctx(suppress_warning=True)
    return context is not None and context.is_history_navigation


def browser_token() -> str | None:
    """The XSRF token of the browser that asked for this run, the same in all its tabs; None if it sent no cookie."""
    cookie = st.context.cookies.get(XSRF_COOKIE)
    return unmasked(cookie) if isinstance(cookie, str) else None


def unmasked(cookie: str) -> str:
    """The token in an XSRF cookie "2|mask|masked token|time", in hexadecimal; any other text as it is.

    The server masks the token anew with each answer, so two tabs of one browser may send different cookies.
    """
    found = re.fullmatch(r"2\|((?:[0-9a-f]{2})+)\|((?:[0-9a-f]{2})+)\|\d+", cookie)
    if found is None:
        return cookie
    mask, token = map(bytes.fromhex, found.groups())
    return bytes(byte ^ mask[place % len(mask)] for place, byte in enumerate(token)).hex()


def yield_point() -> None:
    """Let Streamlit end this run here if the person has asked for something else or closed the tab.

    Streamlit checks for that in every look-up of a key in the session state, found or not.
    """
    st.session_state.get("yield_point")


class Slot:
    """Shows one thing after another in one place.

    `st.empty` would do, but it clears what the run before has left; this keeps it until there is something new.
    What an element's own call returned can be drawn on again, and then replaces the element. HTML that is there already
    isn't sent again.
    """

    def __init__(self, parent: DeltaGenerator) -> None:
        self._place = parent
        self._html: str | None = None  # the HTML shown now

    def html(self, body: str) -> None:
        """Show HTML in place of what was there."""
        if body != self._html:
            self._show(self._place.html(body))
            self._html = body

    def markdown(self, body: str) -> None:
        """Show Markdown in place of what was there."""
        self._show(self._place.markdown(body))

    def say(self, how: Literal["info", "success", "warning"], words: str, icon: str) -> None:
        """Show a message, in Markdown, in place of what was there."""
        self._show(getattr(self._place, how)(words, icon=icon))

    def mount(self, component: Callable[[], object]) -> None:
        """Show a component, once a run, in place of what was there."""
        with self._place:
            component()
        self._html = None

    def container(self, key: str) -> DeltaGenerator:
        """Show a container in place of what was there."""
        self._show(self._place.empty())
        return self._place.container(key=key)

    def _show(self, place: DeltaGenerator) -> None:
        self._place, self._html = place, None
