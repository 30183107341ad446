"""The queue for heavy work: one at a time, fair by person, and left by whoever goes."""

import threading
import time

import pytest

from camviz.workbench.fair_queue import Turns


class Line:
    """Threads that wait in a queue behind a piece of work that is held until they all stand there."""

    def __init__(self, **options):
        self.turns, self.served, self.threads = Turns(**options), [], []

    def add(self, person, work=lambda give_way: None, wait=lambda before: None):
        """Let a person ask for work, and go on once that stands in the queue."""

        def run():
            with self.turns.turn(person, wait) as give_way:
                self.served.append(person)
                work(give_way)

        before = self.turns.waiting
        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)
        wait_for(lambda: self.turns.waiting == before + 1)

    def finish(self):
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def no_waiting(before):
    pytest.fail(f"{before} before")


def test_everybodys_first_request_comes_before_anybodys_second():
    line = Line()
    with line.turns.turn("teacher", no_waiting):
        for person in ("ann", "ann", "ann", "bob", "teacher", "cid", "bob"):
            line.add(person)
    line.finish()
    # The teacher has just been served, and so comes after those who have not.
    assert line.served == ["ann", "bob", "cid", "teacher", "ann", "bob", "ann"]


def test_who_was_served_longest_ago_comes_next():
    line = Line()
    with line.turns.turn("teacher", no_waiting):
        line.add("ann")
        line.add("bob", work=lambda give_way: [line.add(person) for person in ("ann", "dan", "bob")])
    line.finish()
    assert line.served == ["ann", "bob", "ann", "dan", "bob"]


def test_a_newcomer_is_not_overtaken_by_those_who_come_later():
    line = Line()
    with line.turns.turn("teacher", no_waiting):
        line.add("ann", work=lambda give_way: [line.add(person) for person in ("new", "teacher", "ann")])
    line.finish()
    assert line.served == ["ann", "new", "teacher", "ann"]


def test_one_works_at_a_time_and_each_is_told_the_place():
    line, busy, crowds, told = Line(), [], [], {}

    def work(_):
        busy.append(None)
        crowds.append(len(busy))
        time.sleep(0.002)
        busy.pop()

    with line.turns.turn("teacher", no_waiting):
        for number in range(30):
            line.add(number, work, wait=told.setdefault(number, []).append)
    line.finish()
    assert line.served == list(range(30))
    assert set(crowds) == {1}
    for number, places in told.items():
        assert places[0] == number + 1
        assert places == sorted(places, reverse=True)


def test_long_work_gives_way_and_goes_on():
    line, done = Line(slice_seconds=0.01), []

    def long(give_way):
        for step in range(20):
            time.sleep(0.005)
            done.append(step)
            give_way()
        done.append("long")

    with line.turns.turn("teacher", no_waiting):
        line.add("ann", long)
        for _ in range(3):
            line.add("bob", lambda give_way: done.append("short"))
    line.finish()
    assert [step for step in done if isinstance(step, int)] == list(range(20))
    assert done[-1] == "long"
    assert done.count("short") == 3
    first, last = done.index("short"), len(done) - 1 - done[::-1].index("short")
    assert last - first > 2, "between one person's requests the other goes on"


def test_work_that_nobody_waits_for_keeps_its_turn():
    turns = Turns(slice_seconds=0)
    with turns.turn("ann", no_waiting) as give_way:
        for _ in range(3):
            give_way()


def test_whoever_goes_leaves_no_gap():
    line = Line()

    def go(_):
        if gone.is_set():
            raise InterruptedError

    gone = threading.Event()
    left = []

    def leave():
        with pytest.raises(InterruptedError), line.turns.turn("gone", go):
            pytest.fail("its turn came")
        left.append(None)

    with line.turns.turn("teacher", no_waiting):
        thread = threading.Thread(target=leave)
        thread.start()
        wait_for(lambda: line.turns.waiting == 1)
        line.add("ann")
        gone.set()
        thread.join(20)
        assert left == [None]
        assert line.turns.waiting == 1
    line.finish()
    assert line.served == ["ann"]


def test_who_goes_in_the_middle_of_long_work_frees_the_turn():
    line = Line(slice_seconds=0)

    def gone(_):
        raise InterruptedError

    def work():
        with line.turns.turn("ann", gone) as give_way:
            line.add("bob", lambda _: time.sleep(0.05))
            give_way()

    with pytest.raises(InterruptedError):
        work()
    line.finish()
    assert line.served == ["bob"]
    with line.turns.turn("cid", no_waiting):
        pass


def test_failing_work_frees_the_turn():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn("ann", no_waiting):
        _ = 1 / 0
    with turns.turn("bob", no_waiting):
        pass
