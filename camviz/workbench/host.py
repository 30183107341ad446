"""What differs between the app, the command line, a notebook and a script: a host for the workbench's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from camviz.methods.registry import Progress
from camviz.workbench.byte_cache import ByteCache, Key, Value

RESULT_BYTES = 512 * 2**20
NETWORK_BYTES = 2 * 2**30


class Host(Protocol):
    """Where results are kept, whose turn it is, who is told the progress, and how work is cancelled.

    Attributes:
        results: pictures, and what was computed from them.
        networks: networks; those not used for longest make room for new ones.
        moved: names of the networks that run on the CPU because a GPU's memory did not suffice.
        batch: noisy copies that go through a network together; None for as many as the device takes well.
    """

    results: ByteCache
    networks: ByteCache
    moved: set[str]
    batch: int | None

    def kept(self, key: Key, compute: Callable[[], Value]) -> Value:
        """What is kept under a key, or else compute it and keep it."""
        ...

    def kept_network(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The same among the networks."""
        ...

    def working(self) -> AbstractContextManager[Callable[[], None]]:
        """Wait for one's turn at heavy work, and hold it in this block, which must not wait for a kept result.

        Yields:
            a function that the work calls now and then: it lets others work in between, and raises to cancel the work.
        """
        ...


class PlainHost:
    """A host for one person: keeps results in its own memory, never waits, and cancels nothing by itself."""

    def __init__(self, batch: int | None = None) -> None:
        self.results = ByteCache(RESULT_BYTES)
        self.networks = ByteCache(NETWORK_BYTES)
        self.moved: set[str] = set()
        self.batch = batch

    def kept(self, key: Key, compute: Callable[[], Value]) -> Value:
        """What is kept under a key, or else compute it and keep it."""
        return self.results.get(key, compute)

    def kept_network(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The same among the networks."""
        return self.networks.get(key, compute)

    @contextmanager
    def working(self) -> Iterator[Callable[[], None]]:
        """Work at once, and never give way."""
        yield lambda: None


def telling(progress: Progress | None, give_way: Callable[[], None]) -> Progress:
    """What tells a progress, and lets others work in between."""

    def told(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total)
        give_way()

    return told
