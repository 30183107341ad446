"""The viewer on a page: a component that draws messages and reports what was clicked or pasted."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

import streamlit as st

from camviz.html import viewer
from camviz.ui.server.streamlit_internals import Slot

# Called with the number of the region or button that was clicked.
OnPick = Callable[[int], None]
# Called with the name and the bytes of a picture from the clipboard.
OnPaste = Callable[[str, bytes], None]
_LONGEST = 200  # characters of a pasted picture's name


@cache
def _component() -> Callable[..., Any]:
    code = "\n".join([viewer.script(), viewer.read_part("address.js"), viewer.read_part("component.js")])
    return st.components.v2.component("camviz_viewer", js=code, css=viewer.style(), isolate_styles=False)


def prepare() -> None:
    """Make the browser load the script while the first maps are still being computed; shows nothing."""
    _component()(key="viewer-script", data=viewer.pack_scores({}))


def announce(place: Slot, key: str, words: str) -> None:
    """Have screen readers say a sentence, once; `place` stays empty."""
    show(place, key, viewer.pack_announcement(words))


def show(place: Slot, key: str, message: bytes, on_pick: OnPick | None = None, on_paste: OnPaste | None = None) -> None:
    """Send a message to a place; the old content stays until the new one is drawn.

    Args:
        place: where to show it.
        key: the component's session key.
        message: packed by `camviz.html.viewer`.
        on_pick: called with the number of the region or button that was clicked.
        on_paste: called with the name and the bytes of a picture from the clipboard.
    """

    # Streamlit passes a component's events only through the session state, under the component's key, which depends on
    # what is shown. So this is the one place outside `camviz.ui.session` that reads it.
    def picked() -> None:
        if on_pick is not None:
            on_pick(int(st.session_state[key]["pick"]))

    def pasted() -> None:
        if on_paste is not None:
            file = st.session_state[key]["paste"]
            on_paste(str(file["name"])[:_LONGEST], base64.b64decode(file["data"]))

    handlers = {"on_pick_change": picked if on_pick else None, "on_paste_change": pasted if on_paste else None}
    callbacks = {name: handler for name, handler in handlers.items() if handler is not None}
    place.mount(lambda: _component()(key=key, data=message, **callbacks))
