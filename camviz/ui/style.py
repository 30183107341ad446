"""The page's style sheet."""

from __future__ import annotations

import streamlit as st

from camviz.html.style import sheet


def show_style() -> None:
    """Style the page.

    Streamlit draws pieces of HTML in any order, and a style sheet on its own often last. An element after the sheet
    makes it one of the pieces; and title, strip, scores and guide are `hidden` until the sheet shows them, so that
    nobody sees them unstyled.
    """
    st.html(f"<style>{sheet()}</style><i></i>")
