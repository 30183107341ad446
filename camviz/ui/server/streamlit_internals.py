"""Everything camviz uses of Streamlit beyond its documented API, in one place.

An upgrade of Streamlit may change any of it without notice. tests/test_streamlit_internals.py checks each part on the
installed version, in a test named after it; all other modules import from here, which that file checks too.

Four things cannot be in this file:

- assets/style.css and assets/viewer/viewer.css select Streamlit's elements by their classes (`.stHtml`) and test ids
  (`[data-testid="stSidebarHeader"]`), and assets/viewer/save.js reads the colour of `.stApp`. Classes that begin with
  `st-key-` are documented. tests/test_browser_selectors.py checks each selector on real pages.
- `camviz.ui.style` relies on `st.html` keeping the `hidden` attribute of an element, and on an element after the
  `<style>` making it a part of the page; tests/test_browser.py checks both.
- `camviz.ui.page_frame` relies on `st.switch_page("app.py")` leading to the app from a page that was run on its own;
  tests/test_browser_link.py opens such a page.
- Tests read Streamlit's messages, which are protobufs: tests/streamlit_messages.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit import runtime
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig
from streamlit.file_util import get_static_dir
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
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
    "inline_scripts",
    "runs_for_a_visitor",
    "session_id",
    "unmasked",
    "visits",
    "yield_point",
]

# The cookie with which the server protects each browser against forged requests.
XSRF_COOKIE = "_streamlit_xsrf"


def runs_for_a_visitor() -> bool:
    """Whether this is a run of the app's script, and not an import of it."""
    return get_script_run_ctx(suppress_warning=True) is not None


def inline_scripts() -> list[str]:
    """The scripts within Streamlit's page itself."""
    page = (Path(get_static_dir()) / "index.html").read_text(encoding="utf-8")
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def session_id() -> str | None:
    """The id of the session (one tab) whose script runs in this thread; None outside a run."""
    context = get_script_run_ctx(suppress_warning=True)
    return None if context is None else context.session_id


def came_by_history() -> bool:
    """Whether the browser's Back or Forward button caused this run."""
    context = get_script_run_ctx(suppress_warning=True)
    return context is not None and context.is_history_navigation


def browser_token() -> str | None:
    """The XSRF token of this run's browser, the same in all its tabs; None if it sent no cookie."""
    cookie = st.context.cookies.get(XSRF_COOKIE)
    return unmasked(cookie) if isinstance(cookie, str) else None


def unmasked(cookie: str) -> str:
    """The token in an XSRF cookie "2|mask|masked token|time", in hexadecimal; any other text unchanged.

    The server masks the token differently in each response, so two tabs of one browser may send different cookies.
    """
    match = re.fullmatch(r"2\|((?:[0-9a-f]{2})+)\|((?:[0-9a-f]{2})+)\|\d+", cookie)
    if match is None:
        return cookie
    mask, token = map(bytes.fromhex, match.groups())
    return bytes(byte ^ mask[index % len(mask)] for index, byte in enumerate(token)).hex()


def visits() -> tuple[int, int]:
    """How many tabs are open, and the bytes of all that was uploaded in them; without a server, none."""
    server = runtime.get_instance() if runtime.exists() else None
    sessions = getattr(server, "_session_mgr", None)  # a script under test runs in a server without any
    if server is None or sessions is None:
        return 0, 0
    uploads = server.uploaded_file_mgr
    assert isinstance(uploads, MemoryUploadedFileManager)  # noqa: S101
    files = [file for session in list(uploads.file_storage.values()) for file in list(session.values())]
    return sessions.num_active_sessions(), sum(len(file.data) for file in files)


def yield_point() -> None:
    """Let Streamlit end this run here if the user has changed something or closed the tab.

    Streamlit checks for that whenever a key is looked up in the session state, whether it exists or not.
    """
    st.session_state.get("yield_point")


class Slot:
    """Shows one thing after another in one place.

    `st.empty` would also work, but it clears what the previous run has left; a slot keeps that until there is something
    new. It draws on the return value of an element's call, which replaces the element. HTML that is already shown is
    not sent again.
    """

    def __init__(self, parent: DeltaGenerator) -> None:
        self._place = parent
        self._html: str | None = None  # the HTML shown now

    def html(self, body: str) -> None:
        """Show HTML instead of the old content."""
        if body != self._html:
            self._show(self._place.html(body))
            self._html = body

    def markdown(self, body: str) -> None:
        """Show Markdown instead of the old content."""
        self._show(self._place.markdown(body))

    def say(self, how: Literal["info", "success", "warning"], words: str, icon: str) -> None:
        """Show a message, in Markdown, instead of the old content."""
        self._show(getattr(self._place, how)(words, icon=icon))

    def mount(self, component: Callable[[], object]) -> None:
        """Show a component, once a run, instead of the old content."""
        with self._place:
            component()
        self._html = None

    def container(self, key: str) -> DeltaGenerator:
        """Show a container instead of the old content."""
        self._show(self._place.empty())
        return self._place.container(key=key)

    def _show(self, place: DeltaGenerator) -> None:
        self._place, self._html = place, None
