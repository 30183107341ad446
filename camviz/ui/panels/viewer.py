"""The viewer on a page: a component that shows messages, and tells the page what was clicked or pasted."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

import streamlit as st

from camviz.html import viewer
from camviz.ui.server.streamlit_internals import Slot

# What is told the number of a region or of a button that was clicked.
OnPick = Callable[[int], None]
# What is told the name and the bytes of a picture from the clipboard; names are cut after so many letters.
OnPaste = Callable[[str, bytes], None]
_LONGEST = 200


@cache
def _component() -> Callable[..., Any]:
    code = f"{viewer.script()}\n{viewer.read_part('component.js')}"
    return st.components.v2.component("camviz_viewer", js=code, css=viewer.style(), isolate_styles=False)


def prepare() -> None:
    """Have the browser load the script while the first maps are still computed; shows nothing."""
    _component()(key="viewer-script", data=viewer.pack_scores({}))


def show(place: Slot, key: str, message: bytes, on_pick: OnPick | None = None, on_paste: OnPaste | None = None) -> None:
    """Send a message to a place of its own; what it shows stays until the new is drawn.

    Args:
        place: the place.
        key: of the component in the session.
        message: what `camviz.html.viewer` packed.
        on_pick: called with the number of a region or of a button that was clicked.
        on_paste: called with the name and the bytes of a picture from the clipboard.
    """

    def picked() -> None:
        if on_pick is not None:
            on_pick(int(st.session_state[key]["pick"]))

    def pasted() -> None:
        if on_paste is not None:
            came = st.session_state[key]["paste"]
            on_paste(str(came["name"])[:_LONGEST], base64.b64decode(came["data"]))

    hears = {"on_pick_change": picked if on_pick else None, "on_paste_change": pasted if on_paste else None}
    listening = {name: act for name, act in hears.items() if act is not None}
    place.mount(lambda: _component()(key=key, data=message, **listening))
