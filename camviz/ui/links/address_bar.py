"""The address bar holds a page's state: when to read it, how to write it, and messages about its invalid parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from camviz.html.viewer import pack_link
from camviz.ui.links.link_format import PageState, State, left_out, read, write
from camviz.ui.panels import viewer
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot, came_by_history
from camviz.ui.session import LINK_LAST, LINK_LEFT_OUT, LINK_TOLD_AT, SessionKey


def place_of_notices() -> DeltaGenerator:
    """Make the place for messages about a page's link, at the page's top."""
    return st.container(key="link-notices")


def arrived(kind: type[State], page: str) -> State | None:
    """The state in the address, if the user has just opened it: at the start of a visit or by the browser's history.

    At any other time, the page wrote the address itself. It may even be an older one: a run after a click can still
    carry the address before the last one written.
    """
    address = st.query_params.to_dict()
    if LINK_LAST.is_set() and (not came_by_history() or LINK_LAST.get() == (page, address)):
        return None
    LINK_LAST.set((page, address))
    linked, ignored = read(kind, address)
    LINK_LEFT_OUT.set(ignored)
    LINK_TOLD_AT.pop()
    return linked if linked != kind() else None


def set_controls(linked: PageState, controls: Mapping[str, SessionKey[Any]]) -> None:
    """Set the controls to what a link says of their fields, before they are drawn."""
    for name, key in controls.items():
        value = getattr(linked, name)
        if value is not None:
            key.set(list(value) if isinstance(value, tuple) else value)


def get_controls(controls: Mapping[str, SessionKey[Any]]) -> dict[str, Any]:
    """What the controls hold, as a link's fields: the opposite of `set_controls`."""
    held = {name: key.get() for name, key in controls.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}


def leave_out(what: str) -> None:
    """Add a part of the link that this page does not know to the parts reported as left out."""
    LINK_LEFT_OUT.set([*LINK_LEFT_OUT.get([]), what])


def keep(found: State, page: str, where: DeltaGenerator | None) -> None:
    """Write a page's state into its address, and offer it as a link to copy.

    Args:
        found: the state.
        page: the page's path.
        where: where to offer the link.
    """
    address = write(found)
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)
    LINK_LAST.set((page, address))
    if where is not None:
        with where.popover("Link", icon=":material/link:", width="stretch"):
            st.caption("This link holds everything chosen here: anyone who opens it sees the same.")
            viewer.show(Slot(st.container()), "link", pack_link())


def tell(place: DeltaGenerator, now: object) -> None:
    """List the link's invalid parts until the user changes something; `now` is the page's current state."""
    ignored = LINK_LEFT_OUT.get([])
    if not ignored:
        return
    if not LINK_TOLD_AT.is_set():
        LINK_TOLD_AT.set(now)
    elif LINK_TOLD_AT.get() != now:
        LINK_LEFT_OUT.set([])
        return
    words, button = place.columns([24, 1], vertical_alignment="center")
    words.warning(left_out(ignored), icon=":material/link_off:")
    button.button(
        "",
        icon=":material/close:",
        key="dismiss-link-notice",
        help="Dismiss this notice",
        on_click=LINK_LEFT_OUT.set,
        args=([],),
        type="tertiary",
    )
