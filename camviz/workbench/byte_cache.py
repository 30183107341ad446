"""A cache bounded by bytes, shared by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from cachetools import Cache, LRUCache
from torch import Tensor, nn

Value = TypeVar("Value")
Key = tuple[Hashable, ...]

# What a small object costs beside its contents, about.
_OBJECT = 64
# Seconds after which who waits for another thread's computation is asked whether to go on.
_TICK = 0.1


@dataclass(frozen=True)
class _Kept(Generic[Value]):
    """A result, and how many seconds of its thread's work it took."""

    value: Value
    seconds: float


class ByteCache:
    """Keeps results until they take more than `max_bytes`, then drops those not used for longest.

    A result is computed once even if several threads ask for it together; if the computation fails, or is
    stopped, the next in line tries.

    Attributes:
        max_bytes: the bound.
        hits: how often a kept result was there at once.
        saved: seconds that computing all of these anew would have taken.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits, self.saved = 0, 0.0
        self._results: LRUCache[Key, _Kept[Any]] = LRUCache(max_bytes, getsizeof=nbytes)
        self._lock = threading.Lock()
        self._computing: dict[Key, tuple[threading.Lock, list[None]]] = {}

    def get(self, key: Key, compute: Callable[[], Value], wait: Callable[[], object] | None = None) -> Value:
        """Return the result kept under a key, computing it if there is none.

        Args:
            key: its name.
            compute: what to call for it.
            wait: called now and then while another thread computes the same; what it raises ends the waiting.
        """
        with self._lock:
            if key in self._results:
                return self._hit(key)
            turn, waiting = self._computing.setdefault(key, (threading.Lock(), []))
            waiting.append(None)
        try:
            _acquire(turn, wait)
            try:
                with self._lock:
                    if key in self._results:
                        return self._results[key].value
                start = time.thread_time()  # which stands still while other work has its turn
                value = compute()
                self._put(key, _Kept(value, time.thread_time() - start))
                return value
            finally:
                turn.release()
        finally:
            with self._lock:
                waiting.pop()
                if not waiting:
                    self._computing.pop(key, None)

    def put(self, key: Key, value: object) -> None:
        """Keep a result that came along with another, unless it alone is larger than the whole cache."""
        self._put(key, _Kept(value, 0.0))

    def find(self, key: Key) -> Any | None:  # noqa: ANN401
        """The result kept under a key; None where there is none."""
        with self._lock:
            return self._hit(key) if key in self._results else None

    def has(self, key: Key) -> bool:
        """Whether a result is kept under a key."""
        with self._lock:
            return key in self._results

    def forget(self, part: Hashable, place: int = 0) -> None:
        """Drop every result whose key has this part at this place."""
        with self._lock:
            for key in [key for key in self._results if key[place : place + 1] == (part,)]:
                del self._results[key]

    @property
    def size(self) -> int:
        """Bytes taken now."""
        with self._lock:
            return int(self._results.currsize)

    def holdings(self) -> dict[Key, int]:
        """What is kept now, and the bytes that each takes."""
        with self._lock:
            # The plain cache's look-up, as the other one's would make everything used last.
            return {key: nbytes(Cache.__getitem__(self._results, key)) for key in self._results}

    def _hit(self, key: Key) -> Any:  # noqa: ANN401
        kept = self._results[key]
        self.hits += 1
        self.saved += kept.seconds
        return kept.value

    def _put(self, key: Key, kept: _Kept[Any]) -> None:
        with self._lock:
            if nbytes(kept) <= self._results.maxsize:
                self._results[key] = kept


def _acquire(lock: threading.Lock, wait: Callable[[], object] | None) -> None:
    """Take a lock, calling `wait` now and then until it is free."""
    if wait is None:
        lock.acquire()
        return
    while not lock.acquire(timeout=_TICK):
        wait()


def nbytes(value: object) -> int:
    """Bytes that a result takes: tensors, arrays, text and bytes, in dataclasses, tuples, lists and dicts.

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
        return _OBJECT + sum(nbytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, dict):
        return _OBJECT + sum(nbytes(part) for pair in value.items() for part in pair)
    if isinstance(value, (tuple, list)):
        return _OBJECT + sum(nbytes(part) for part in value)
    return _OBJECT
