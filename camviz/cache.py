"""A cache bounded by bytes, shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from cachetools import LRUCache
from torch import Tensor, nn

Value = TypeVar("Value")
Key = tuple[Hashable, ...]

# What a small object costs beside its contents, about.
_OBJECT = 64


class ByteCache:
    """Keeps results until they take more than `max_bytes`, then drops those not used for longest.

    A result is computed once even if several threads ask for it together; if the computation fails, or is
    stopped, the next in line tries.
    """

    def __init__(self, max_bytes: int) -> None:
        self._results: LRUCache[Key, Any] = LRUCache(max_bytes, getsizeof=nbytes)
        self._lock = threading.Lock()
        self._computing: dict[Key, tuple[threading.Lock, list[None]]] = {}

    def get(self, key: Key, compute: Callable[[], Value]) -> Value:
        """Return the result kept under a key, computing it if there is none."""
        with self._lock:
            if key in self._results:
                return self._results[key]
            turn, waiting = self._computing.setdefault(key, (threading.Lock(), []))
            waiting.append(None)
        try:
            with turn:
                with self._lock:
                    if key in self._results:
                        return self._results[key]
                value = compute()
                self.put(key, value)
                return value
        finally:
            with self._lock:
                waiting.pop()
                if not waiting:
                    self._computing.pop(key, None)

    def put(self, key: Key, value: object) -> None:
        """Keep a result, unless it alone is larger than the whole cache."""
        with self._lock:
            if nbytes(value) <= self._results.maxsize:
                self._results[key] = value

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
