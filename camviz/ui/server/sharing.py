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

from camviz.ui.server.streamlit_internals import Slot, browser_token, session_id, yield_point
from camviz.workbench.byte_cache import ByteCache, Key, Value
from camviz.workbench.fair_queue import Turns
from camviz.workbench.host import NETWORK_BYTES, RESULT_BYTES

# Session key: where a person is told the place in the queue.
_NOTICE = "queue_notice"
# Seconds of waiting that need no telling.
_SHORT = 0.4


class SharedHost:
    """The workbench's host for all who use the server: one cache, the networks, and one queue for heavy work.

    Who waits is told so, and if they ask for something else meanwhile, or close the tab, the wait ends and the work is
    never done. Attributes as in `camviz.workbench.host.Host`, and beside them:

    Attributes:
        queue: for whatever runs a network.
    """

    batch: int | None = 2  # copies at a time on a CPU: few, so that whoever waits is served soon

    def __init__(self) -> None:
        self.results, self.networks = ByteCache(RESULT_BYTES), ByteCache(NETWORK_BYTES)
        self.moved: set[str] = set()
        self.queue = Turns()

    def kept(self, key: Key, compute: Callable[[], Value]) -> Value:
        """What is kept under a key, or else compute it; who waits while somebody else does so is told."""
        notice = _Notice()
        value = self.results.get(key, compute, notice.tell_same)
        notice.say("")
        return value

    def kept_network(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The same among the networks."""
        return self.networks.get(key, compute, yield_point)

    @contextmanager
    def working(self) -> Iterator[Callable[[], None]]:
        """Wait for one's turn at heavy work, and hold it in this block. Nothing in it may wait for a kept result."""
        notice = _Notice()
        with self.queue.turn(_person(), notice.tell) as let_others_work:
            notice.begin()

            def give_way() -> None:
                yield_point()
                let_others_work()

            yield give_way
        notice.say("")


@st.cache_resource(show_spinner=False)
def shared_host() -> SharedHost:
    """The one host of this server."""
    return SharedHost()


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
