"""One piece of heavy work at a time, fair by person."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Seconds after which who waits is told the place anew.
_TICK = 0.1

# Called with how many pieces of work come before; an exception that it raises leaves the queue.
Wait = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class _Ticket:
    """A place in the queue."""

    person: Hashable


class Turns:
    """A queue for work that would be slower side by side.

    One piece of work runs at a time. Who was served longest ago comes next, so that many requests of one person hold
    up nobody else's, and a long piece of work gives way now and then to those who wait.

    Args:
        slice_seconds: how long a piece of work runs before it gives way.
    """

    def __init__(self, slice_seconds: float = 0.5) -> None:
        self._slice = slice_seconds
        self._changed = threading.Condition()
        self._working: _Ticket | None = None
        self._waiting: list[_Ticket] = []  # by arrival
        self._ranks: dict[Hashable, int] = {}  # by person: the longer ago served, the lower
        self._last_rank = 0

    @property
    def waiting(self) -> int:
        """How many pieces of work wait."""
        with self._changed:
            return len(self._waiting)

    @contextmanager
    def turn(self, person: Hashable, wait: Wait) -> Iterator[Callable[[], None]]:
        """Wait for a turn, and hold it in this block.

        Args:
            person: who wants the work; it is fair between these.
            wait: called at once if it is not one's turn, and then every tenth of a second, with the number of pieces
                of work that come before.

        Yields:
            a function that long work calls now and then: if its time is up and others wait, it lets them work first.
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
            # Who was never served is as near to the front as anybody, and behind those who came before.
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
        """Begin to work as soon as it is this ticket's turn; False if that is not within the timeout."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._working and self._in_order()[0] is ticket, timeout):
                return False
            self._working = ticket
            self._waiting.remove(ticket)
            return True

    def _leave(self, ticket: _Ticket) -> None:
        """Let the next one work, if this ticket's work is under way."""
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
        """Who waits, in the order in which they will be served: everybody's first ticket, then the second ones."""
        seen: Counter[Hashable] = Counter()
        keys = {}
        for ticket in self._waiting:
            keys[ticket] = (seen[ticket.person], self._ranks[ticket.person])
            seen[ticket.person] += 1
        return sorted(self._waiting, key=keys.__getitem__)

    def _next_rank(self) -> int:
        self._last_rank += 1
        return self._last_rank
