"""One heavy task at a time, shared fairly between people."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Seconds between reports of a waiting task's position.
_TICK = 0.1

# Called with the number of tasks ahead; an exception from it leaves the queue.
Wait = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class _Ticket:
    """A place in the queue."""

    person: Hashable


class Turns:
    """A queue for tasks that would be slower in parallel.

    One task runs at a time. The person served longest ago comes next, so that one person's many requests delay nobody
    else, and a long task gives way to waiting ones now and then.

    Args:
        slice_seconds: how long a task runs before it gives way.
    """

    def __init__(self, slice_seconds: float = 0.5) -> None:
        self._slice = slice_seconds
        self._changed = threading.Condition()
        self._working: _Ticket | None = None
        self._waiting: list[_Ticket] = []  # by arrival
        self._ranks: dict[Hashable, int] = {}  # by person: lower if served longer ago
        self._last_rank = 0

    @property
    def waiting(self) -> int:
        """The number of waiting tasks."""
        with self._changed:
            return len(self._waiting)

    @contextmanager
    def turn(self, person: Hashable, wait: Wait) -> Iterator[Callable[[], None]]:
        """Wait for a turn, and hold it in this block.

        Args:
            person: who requested the task; turns are shared fairly between people.
            wait: called with the number of tasks ahead: at once if it is not yet this task's turn, then every tenth of
                a second.

        Yields:
            a function that a long task calls now and then: if its time is up and others wait, it lets them run first.
        """
        ticket = _Ticket(person)
        self._enter(ticket, wait)
        since = time.monotonic()

        def give_way() -> None:
            nonlocal since
            if self.waiting and time.monotonic() - since > self._slice:
                self._leave(ticket)
                self._enter(ticket, wait)
                since = time.monotonic()

        try:
            yield give_way
        finally:
            self._leave(ticket)

    def _enter(self, ticket: _Ticket, wait: Wait) -> None:
        """Wait until it is this ticket's turn."""
        with self._changed:
            # A new person gets the best rank among those waiting, behind earlier arrivals with that rank.
            ranks = [self._ranks[other.person] for other in self._waiting] or self._ranks.values()
            self._ranks.setdefault(ticket.person, min(ranks, default=0))
            self._waiting.append(ticket)
        try:
            pause = 0.0
            while not self._begin(ticket, pause):
                wait(self._before(ticket))
                pause = _TICK
        except BaseException:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            raise

    def _begin(self, ticket: _Ticket, timeout: float) -> bool:
        """Start as soon as it is this ticket's turn; False if that takes longer than the timeout."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._working and self._in_order()[0] is ticket, timeout):
                return False
            self._working = ticket
            self._waiting.remove(ticket)
            return True

    def _leave(self, ticket: _Ticket) -> None:
        """If this ticket is running, end its turn and let the next one run."""
        with self._changed:
            if self._working is not ticket:
                return
            self._working = None
            self._ranks[ticket.person] = self._next_rank()
            if not self._waiting:
                self._ranks.clear()
            self._changed.notify_all()

    def _before(self, ticket: _Ticket) -> int:
        with self._changed:
            return self._in_order().index(ticket) + (self._working is not None)

    def _in_order(self) -> list[_Ticket]:
        """The waiting tickets in the order of their turns: everybody's first ticket, then everybody's second."""
        counts: Counter[Hashable] = Counter()
        keys = {}
        for ticket in self._waiting:
            keys[ticket] = (counts[ticket.person], self._ranks[ticket.person])
            counts[ticket.person] += 1
        return sorted(self._waiting, key=keys.__getitem__)

    def _next_rank(self) -> int:
        self._last_rank += 1
        return self._last_rank
