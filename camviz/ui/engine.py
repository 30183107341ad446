"""What all who use the server share: the cache, the networks, and one queue for heavy work."""

from __future__ import annotations

import atexit
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st
import torch

from camviz.cache import ByteCache, Key, Value
from camviz.turns import Turns
from camviz.ui.streamlit_internals import Slot, browser_token, session_id, yield_point

CACHE_BYTES = 512 * 2**20
NETS_BYTES = 2 * 2**30
# Session key: where a person is told the place in the queue.
_NOTICE = "queue_notice"
# Seconds of waiting that need no telling.
_SHORT = 0.4


@st.cache_resource(show_spinner=False)
def cache() -> ByteCache:
    """Pictures, and what was computed from them."""
    return ByteCache(CACHE_BYTES)


@st.cache_resource(show_spinner=False)
def nets() -> ByteCache:
    """Networks; those not used for longest make room for new ones."""
    return ByteCache(NETS_BYTES)


@st.cache_resource(show_spinner=False)
def turns() -> Turns:
    """The queue for whatever runs a network."""
    return Turns()


@st.cache_resource(show_spinner=False)
def prepare_server() -> None:
    """Have the server answer quickly, once its libraries are loaded.

    Networks leave one processor core to the page: to Streamlit, and to a browser on the same machine. With all of them
    the network waits for the browser and the browser for the network, and on two cores both are slower. Who sets
    OMP_NUM_THREADS decides otherwise.

    The garbage collector passes over what is loaded by now: Streamlit collects after every run of a page, in which
    nobody else's can go on, and among the 430,000 objects of the libraries that takes 0.2 s each time.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or else one of them complains at the end


def show_queue(place: Slot) -> None:
    """Say where on the page a person is told to be waiting."""
    place.html(_notice_html(""))
    st.session_state[_NOTICE] = place


@contextmanager
def heavy() -> Iterator[Callable[[], None]]:
    """Wait for one's turn at heavy work, and hold it in this block. Nothing in it may wait for a cached result.

    While it waits the person is told, and if something else is asked for meanwhile, or the tab is closed, the wait ends
    and the block is never run.

    Yields:
        a function that long work calls now and then, to give way to others.
    """
    notice = _Notice()
    with turns().turn(_person(), notice.tell) as give_way:
        notice.begin()
        yield give_way
    notice.say("")


def kept(key: Key, compute: Callable[[], Value]) -> Value:
    """What the cache keeps under a key, or else compute it; who waits while somebody else does so is told."""
    notice = _Notice()
    value = cache().get(key, compute, notice.tell_same)
    notice.say("")
    return value


class _Notice:
    """Tells a person who waits for longer than a moment; `show_queue` takes away what an ended run left."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._begun = False
        self._said = ""

    def tell(self, before: int) -> None:
        """Say how many pieces of work come before this one."""
        yield_point()
        if self._begun:
            self.say("Taking turns with others who use this server")
        elif time.monotonic() - self._since > _SHORT:
            self.say("You are next" if before == 1 else f"Waiting for your turn: {before} before you")

    def tell_same(self) -> None:
        """Say that the very same is being computed already."""
        yield_point()
        if time.monotonic() - self._since > _SHORT:
            self.say("Somebody else has just asked for the same: it is on its way")

    def begin(self) -> None:
        """The work begins."""
        self._begun = True
        self.say("")

    def say(self, words: str) -> None:
        """Show words, or nothing."""
        if words == self._said:
            return  # without a look at the state, which could end the run and lose what was computed
        place: Slot | None = st.session_state.get(_NOTICE)
        if place is not None:
            self._said = words
            place.html(_notice_html(words))


def _notice_html(words: str) -> str:
    return f'<div class="cv-queue" role="status"{"" if words else " hidden"}>{words}</div>'


def _person() -> str | int:
    """Who asks: the browser, so that more tabs get no larger share; without its cookie the tab, or else the thread."""
    session = session_id()
    return threading.get_ident() if session is None else browser_token() or session
