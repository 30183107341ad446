"""The page's style sheet."""

from __future__ import annotations

import streamlit as st

from camviz.html.style import sheet


def show_style() -> None:
    """Style the page.

    Streamlit draws each piece of HTML when it gets to it, in any order, and a sheet alone often last of all. So an
    element stands behind the sheet, which makes it one of the pieces; and title, strip, scores and guide are `hidden`
    until the sheet shows them, so that nobody sees them without style.
    """
    st.html(f"<style>{sheet()}</style><i></i>")
