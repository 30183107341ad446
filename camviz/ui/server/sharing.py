"""What all users of the server share: the cache, the networks, and one queue for heavy work."""

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

from camviz.decoding import GuardedReader, Reader
from camviz.given_back import keep_giving_back
from camviz.ui.server.streamlit_internals import Slot, browser_token, session_id, yield_point
from camviz.ui.session import QUEUE_NOTICE
from camviz.workbench.byte_cache import ByteCache, Value
from camviz.workbench.cache_keys import Key
from camviz.workbench.fair_queue import Turns
from camviz.workbench.host import NETWORK_BYTES, RESULT_BYTES

# Seconds of waiting before a notice appears.
_SHORT = 0.4


class SharedHost:
    """The workbench's host for all users of the server: one cache, the networks, and one queue for heavy work.

    Users who wait see a notice. If they change something meanwhile or close the tab, the wait ends and the work is
    dropped. Attributes are those of `camviz.workbench.host.Host` and:

    Attributes:
        queue: for all work that runs a network.
    """

    batch: int | None = 2  # copies at a time on a CPU: few, so that others get their turn soon

    def __init__(self) -> None:
        self.results, self.networks = ByteCache(RESULT_BYTES), ByteCache(NETWORK_BYTES)
        self.reader: Reader = GuardedReader()
        self.moved: set[str] = set()
        self.queue = Turns()

    def kept(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The cached value of a key, computed if missing; shows a notice while another user's page computes it."""
        notice = _Notice()
        value = self.results.get(key, compute, notice.show_same)
        notice.show("")
        return value

    def kept_network(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The same for networks."""
        return self.networks.get(key, compute, yield_point)

    @contextmanager
    def working(self) -> Iterator[Callable[[], None]]:
        """Wait for this user's turn at heavy work and hold it in this block, which must not wait for cached results."""
        notice = _Notice()
        with self.queue.turn(_user(), notice.show_position) as let_others_work:
            notice.begin()

            def give_way() -> None:
                yield_point()
                let_others_work()

            yield give_way
        notice.show("")


# Neither is kept by st.cache_resource: any visitor's browser may ask Streamlit to clear that.
_HOST = SharedHost()
_PREPARED = threading.Lock()  # taken by whoever comes first, and not given back


def shared_host() -> SharedHost:
    """The one host of this process."""
    return _HOST


def prepare_server() -> None:
    """Make the server respond quickly, once its libraries are loaded; what has been done is not done again.

    Networks leave one processor core to the page: to Streamlit, and to a browser on the same machine. If they used all
    cores, network and browser would wait for each other, and on two cores both would be slower. OMP_NUM_THREADS
    overrides this.

    The garbage collector skips everything loaded so far: Streamlit collects after every run of a page, which stops all
    other runs, and with the libraries' 430,000 objects that takes 0.2 s each time.
    """
    if not _PREPARED.acquire(blocking=False):
        return
    keep_giving_back()
    threading.Thread(target=_HOST.reader.forget, daemon=True).start()  # starts the process that reads pictures
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # otherwise one of the libraries complains at exit


def show_queue(place: Slot) -> None:
    """Set the place on the page where notices about waiting appear."""
    place.html(_notice_html(""))
    QUEUE_NOTICE.set(place)


@contextmanager
def queue_shown_here() -> Iterator[None]:
    """In this block, show notices about waiting in a place of its own: a fragment may draw in no other.

    Streamlit refuses a fragment that draws where only the whole page has drawn before.
    """
    before = QUEUE_NOTICE.get()
    show_queue(Slot(st.container()))
    try:
        yield
    finally:
        if before is not None:
            QUEUE_NOTICE.set(before)


class _Notice:
    """A notice for users who wait longer than a moment; `show_queue` removes what an ended run left."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._begun = False
        self._shown = ""

    def show_position(self, before: int) -> None:
        """Show how many pieces of work are ahead of this one."""
        yield_point()
        if self._begun:
            self.show("Taking turns with other users of this server")
        elif time.monotonic() - self._since > _SHORT:
            self.show("You are next" if before == 1 else f"Waiting for your turn: {before} ahead of you")

    def show_same(self) -> None:
        """Show that somebody else's page is already computing the same result."""
        yield_point()
        if time.monotonic() - self._since > _SHORT:
            self.show("Someone else is computing the same result: it will appear here")

    def begin(self) -> None:
        """The work begins."""
        self._begun = True
        self.show("")

    def show(self, words: str) -> None:
        """Show words, or nothing."""
        if words == self._shown:
            return  # before reading the session state, which could end the run and lose what was computed
        place = QUEUE_NOTICE.get()
        if place is not None:
            self._shown = words
            place.html(_notice_html(words))


def _notice_html(words: str) -> str:
    return f'<div class="cv-queue" role="status"{"" if words else " hidden"}>{words}</div>'


def _user() -> str | int:
    """The user: the browser, so that more tabs get no larger share; without its cookie the tab, or else the thread."""
    session = session_id()
    return threading.get_ident() if session is None else browser_token() or session
