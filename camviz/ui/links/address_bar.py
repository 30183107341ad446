"""The address bar holds a page's state: when it is read, how it is written, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import streamlit as st

from camviz.ui.links.link_format import State, left_out, read, write
from camviz.ui.server.streamlit_internals import DeltaGenerator, came_by_history

# Session keys: page and address that were read or written last; what of a link was left out, and the address that was
# written then: once it is another, the person has gone on.
_LAST, _LEFT_OUT, _TOLD_AT = "link_last", "link_left_out", "link_told_at"


def arrived(kind: type[State], page: str) -> State | None:
    """What the address says, if a person came to it: at the start of a visit, or by the browser's history.

    At any other time it is what the page wrote itself, or even what it wrote before that: a run that a person's click
    asks for may bear the address from before the last one was written.
    """
    state, said = st.session_state, st.query_params.to_dict()
    if _LAST in state and (not came_by_history() or state[_LAST] == (page, said)):
        return None
    state[_LAST] = page, said
    found, ignored = read(kind, said)
    state[_LEFT_OUT] = ignored
    state.pop(_TOLD_AT, None)
    return found if found != kind() else None


def leave_out(what: str) -> None:
    """Tell of one more thing that a link says and this page does not know."""
    st.session_state[_LEFT_OUT] = [*st.session_state.get(_LEFT_OUT, []), what]


def keep(found: State, page: str, where: DeltaGenerator | None) -> None:
    """Write a page's state into its address, and offer it as a link to copy.

    Args:
        found: the state.
        page: the page's path.
        where: the place of the offer.
    """
    said = write(found)
    if st.query_params.to_dict() != said:
        st.query_params.from_dict(said)
    st.session_state[_LAST] = page, said
    if where is not None:
        with where.popover("Link", icon=":material/link:", width="stretch"):
            st.caption("The address bar holds all that is chosen here. Who opens this link sees the same.")
            st.code(_whole(page, said), language=None, wrap_lines=True)


def tell(place: DeltaGenerator, now: object) -> None:
    """Say what of a link was left out, until the person changes something; `now` tells what is chosen."""
    state = st.session_state
    ignored: Sequence[str] = state.get(_LEFT_OUT, [])
    if not ignored:
        return
    if state.setdefault(_TOLD_AT, now) != now:
        state[_LEFT_OUT] = []
        return
    place.warning(left_out(ignored), icon=":material/link_off:")


def _whole(page: str, said: dict[str, str]) -> str:
    """The whole address."""
    return f"{(st.context.url or '').rstrip('/')}/{page}?{urlencode(said)}"
