"""The app's frame: every page runs inside app.py, however it is reached."""

from __future__ import annotations

import streamlit as st

# Session keys: that app.py has run, and the page that was requested before that.
_FRAMED, _WANTED = "framed", "wanted_page"


def require_frame(page: str) -> None:
    """If a page was run on its own, run it again through app.py.

    Until app.py has run once on a server, Streamlit treats the folder "pages" as its older kind of multipage app, and a
    link to a page runs only that page, without the frame.
    """
    if _FRAMED not in st.session_state:
        st.session_state[_WANTED] = page
        st.switch_page("app.py", query_params=st.query_params.to_dict())


def enter_frame() -> str | None:
    """Record that app.py has run; return the page that was requested before, if any."""
    st.session_state[_FRAMED] = True
    return st.session_state.pop(_WANTED, None)
