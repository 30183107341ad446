"""The address bar holds a page's state: when to read it, how to write it, and messages about its invalid parts."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import streamlit as st

from camviz.ui.links.link_format import State, left_out, read, write
from camviz.ui.server.streamlit_internals import DeltaGenerator, came_by_history

# Session keys: the page and address read or written last; a link's invalid parts; and the state when these were shown:
# once it differs, the user has changed something.
_LAST, _LEFT_OUT, _TOLD_AT = "link_last", "link_left_out", "link_told_at"


def arrived(kind: type[State], page: str) -> State | None:
    """The state in the address, if the user has just opened it: at the start of a visit or by the browser's history.

    At any other time, the page wrote the address itself. It may even be an older one: a run after a click can still
    carry the address before the last one written.
    """
    state, address = st.session_state, st.query_params.to_dict()
    if _LAST in state and (not came_by_history() or state[_LAST] == (page, address)):
        return None
    state[_LAST] = page, address
    linked, ignored = read(kind, address)
    state[_LEFT_OUT] = ignored
    state.pop(_TOLD_AT, None)
    return linked if linked != kind() else None


def leave_out(what: str) -> None:
    """Add a part of the link that this page does not know to the parts reported as left out."""
    st.session_state[_LEFT_OUT] = [*st.session_state.get(_LEFT_OUT, []), what]


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
    st.session_state[_LAST] = page, address
    if where is not None:
        with where.popover("Link", icon=":material/link:", width="stretch"):
            st.caption("This link holds everything chosen here: anyone who opens it sees the same.")
            st.code(_url(page, address), language=None, wrap_lines=True)


def tell(place: DeltaGenerator, now: object) -> None:
    """List the link's invalid parts until the user changes something; `now` is the page's current state."""
    state = st.session_state
    ignored: Sequence[str] = state.get(_LEFT_OUT, [])
    if not ignored:
        return
    if state.setdefault(_TOLD_AT, now) != now:
        state[_LEFT_OUT] = []
        return
    place.warning(left_out(ignored), icon=":material/link_off:")


def _url(page: str, address: dict[str, str]) -> str:
    """The complete URL."""
    return f"{(st.context.url or '').rstrip('/')}/{page}?{urlencode(address)}"
