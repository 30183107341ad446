"""A host for the workbench: everything that differs between the app, the command line, a notebook and a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from camviz.decoding import DirectReader, Reader
from camviz.methods.registry import Progress
from camviz.workbench.byte_cache import ByteCache, Value
from camviz.workbench.cache_keys import Key

RESULT_BYTES = 160 * 2**20
NETWORK_BYTES = 2 * 2**30


class Host(Protocol):
    """Where results are cached, whose turn it is, where progress is reported and how work is cancelled.

    Attributes:
        results: pictures, and everything computed from them.
        networks: networks; the least recently used make room for new ones.
        reader: reads pictures from their bytes.
        moved: names of the networks that run on the CPU because the GPU's memory was too small.
        batch: how many noisy copies go through a network together; None for a number that suits the device.
    """

    results: ByteCache
    networks: ByteCache
    reader: Reader
    moved: set[str]
    batch: int | None

    def kept(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the value cached under a key, or compute and cache it."""
        ...

    def kept_network(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the network cached under a key, or compute and cache it."""
        ...

    def working(self) -> AbstractContextManager[Callable[[], None]]:
        """Wait for a turn at heavy work and hold it in this block, which must not wait for a cached result.

        Yields:
            a function that the work calls now and then: it lets others work, and raises to cancel the work.
        """
        ...


class PlainHost:
    """A host for one person: caches results in its own memory, never waits and never cancels work."""

    def __init__(self, batch: int | None = None) -> None:
        self.results = ByteCache(RESULT_BYTES)
        self.networks = ByteCache(NETWORK_BYTES)
        self.reader: Reader = DirectReader()
        self.moved: set[str] = set()
        self.batch = batch

    def kept(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the value cached under a key, or compute and cache it."""
        return self.results.get(key, compute)

    def kept_network(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the network cached under a key, or compute and cache it."""
        return self.networks.get(key, compute)

    @contextmanager
    def working(self) -> Iterator[Callable[[], None]]:
        """Start at once, and never give way."""
        yield lambda: None


def telling(progress: Progress | None, give_way: Callable[[], None]) -> Progress:
    """A progress callback that also lets others work in between."""

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total)
        give_way()

    return report
