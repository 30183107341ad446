"""A cache bounded by bytes, shared by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from cachetools import Cache, LRUCache
from torch import Tensor, nn

from camviz.workbench.cache_keys import Key

Value = TypeVar("Value")

# Approximate bytes of a small object without its contents.
_OBJECT = 64
# Seconds between checks whether to keep waiting for another thread's computation.
_TICK = 0.1


@dataclass(frozen=True)
class _Entry(Generic[Value]):
    """A result, and the seconds of thread time that it took."""

    value: Value
    seconds: float


@dataclass(eq=False)
class _Turn:
    """Whose turn it is to compute a result: how many threads want it, and which one computes it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: int = 0
    owner: int | None = None


class ByteCache:
    """Keeps results until they take more than `max_bytes`, then drops the least recently used.

    A result is computed once even if several threads request it at the same time; if the computation fails or is
    stopped, the next waiting thread tries.

    Attributes:
        max_bytes: the limit.
        hits: how often a cached result was returned at once.
        saved: the seconds that computing these again would have taken.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits, self.saved = 0, 0.0
        self._results: LRUCache[Key, _Entry[Any]] = LRUCache(max_bytes, getsizeof=nbytes)
        self._lock = threading.Lock()
        self._computing: dict[Key, _Turn] = {}

    def get(self, key: Key, compute: Callable[[], Value], wait: Callable[[], object] | None = None) -> Value:
        """Return the result cached under a key; compute it if there is none.

        Args:
            key: its key.
            compute: computes it.
            wait: called now and then while another thread computes it; an exception from it ends the wait.

        Raises:
            RuntimeError: this thread is computing it already, so it would wait for itself.
        """
        with self._lock:
            if key in self._results:
                return self._hit(key)
            turn = self._computing.setdefault(key, _Turn())
            if turn.owner == threading.get_ident():
                raise RuntimeError(f"the result {key} is needed to compute itself")
            turn.threads += 1
        try:
            _acquire(turn.lock, wait)
            try:
                turn.owner = threading.get_ident()
                with self._lock:
                    if key in self._results:
                        return self._results[key].value
                start = time.thread_time()  # does not advance while other work has its turn
                value = compute()
                self._put(key, _Entry(value, time.thread_time() - start))
                return value
            finally:
                turn.owner = None
                turn.lock.release()
        finally:
            with self._lock:
                turn.threads -= 1
                if not turn.threads:
                    self._computing.pop(key, None)

    def put(self, key: Key, value: object) -> None:
        """Cache a result that was computed along with another, unless it is larger than the whole cache."""
        self._put(key, _Entry(value, 0.0))

    def find(self, key: Key) -> Any | None:  # noqa: ANN401
        """The result cached under a key; None if there is none."""
        with self._lock:
            return self._hit(key) if key in self._results else None

    def has(self, key: Key) -> bool:
        """Whether a result is cached under a key; who asks wants to use it, so others make room first."""
        with self._lock:
            return self._results.get(key) is not None

    def forget(self, matches: Callable[[Key], bool]) -> None:
        """Drop every result whose key matches."""
        with self._lock:
            for key in [key for key in self._results if matches(key)]:
                del self._results[key]

    @property
    def size(self) -> int:
        """Bytes in use."""
        with self._lock:
            return int(self._results.currsize)

    def holdings(self) -> dict[Key, int]:
        """The keys of all cached results, and the bytes of each."""
        with self._lock:
            # The base class's look-up: LRUCache's would mark every result as recently used.
            return {key: nbytes(Cache.__getitem__(self._results, key)) for key in self._results}

    def _hit(self, key: Key) -> Any:  # noqa: ANN401
        entry = self._results[key]
        self.hits += 1
        self.saved += entry.seconds
        return entry.value

    def _put(self, key: Key, entry: _Entry[Any]) -> None:
        with self._lock:
            if nbytes(entry) <= self._results.maxsize:
                self._results[key] = entry


def _acquire(lock: threading.Lock, wait: Callable[[], object] | None) -> None:
    """Take a lock, calling `wait` now and then until it is free."""
    if wait is None:
        lock.acquire()
        return
    while not lock.acquire(timeout=_TICK):
        wait()


def nbytes(value: object) -> int:
    """Approximate bytes of a result: tensors, arrays, text and bytes, in dataclasses, tuples, lists and dicts.

    A network counts by its parameters and buffers.
    """
    if isinstance(value, nn.Module):
        return _OBJECT + sum(nbytes(tensor) for tensor in (*value.parameters(), *value.buffers()))
    if isinstance(value, Tensor):
        return _OBJECT + value.numel() * value.element_size()
    if isinstance(value, np.ndarray):
        return _OBJECT + value.nbytes
    if isinstance(value, (bytes, str)):
        return _OBJECT + len(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _OBJECT + sum(nbytes(getattr(value, part.name)) for part in fields(value))
    if isinstance(value, dict):
        return _OBJECT + sum(nbytes(part) for pair in value.items() for part in pair)
    if isinstance(value, (tuple, list)):
        return _OBJECT + sum(nbytes(part) for part in value)
    return _OBJECT
