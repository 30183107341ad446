"""The app's frame: pages belong into app.py, however they are reached."""

from __future__ import annotations

import streamlit as st

# Session keys: that app.py has run, and the page that was asked for before it had.
_FRAMED, _WANTED = "framed", "wanted_page"


def require_frame(page: str) -> None:
    """Go to a page through app.py if it was run by itself.

    Until app.py has run once on a server, Streamlit takes the folder "pages" for an app of its older kind, and a link
    to a page then runs that page alone, without the frame.
    """
    if _FRAMED not in st.session_state:
        st.session_state[_WANTED] = page
        st.switch_page("app.py", query_params=st.query_params.to_dict())


def enter_frame() -> str | None:
    """Say that app.py runs; return the page that was asked for before, if one was."""
    st.session_state[_FRAMED] = True
    return st.session_state.pop(_WANTED, None)
