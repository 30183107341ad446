"""The byte-bounded cache."""

import threading
import time

import numpy as np
import pytest
import torch

from camviz.network.capture import capture
from camviz.workbench.byte_cache import ByteCache, nbytes
from camviz.workbench.cache_keys import Key, Kind


def test_stays_under_its_bound_and_drops_what_was_not_used_for_longest():
    cache = ByteCache(10_000)
    for number in range(50):
        cache.get(("picture", number), lambda: np.zeros(1000, np.uint8))
        cache.get(("picture", 0), lambda: pytest.fail("the one in use was dropped"))
        assert cache.size <= 10_000
    assert cache.has(("picture", 49))
    assert not cache.has(("picture", 1))


def test_asking_for_a_result_keeps_it():
    cache = ByteCache(3 * 1200)
    for name in "abc":
        cache.put((name,), np.zeros(1000, np.uint8))
    assert cache.has(("a",))
    cache.put(("d",), np.zeros(1000, np.uint8))
    assert [name for name in "abcd" if cache.has((name,))] == ["a", "c", "d"]


def test_looking_at_what_is_kept_does_not_change_what_makes_room():
    cache = ByteCache(3 * 1200)
    for name in "abc":
        cache.put((name,), np.zeros(1000, np.uint8))
    cache.get(("a",), lambda: pytest.fail("it is kept"))
    assert len(cache.holdings()) == 3
    cache.put(("d",), np.zeros(1000, np.uint8))
    assert [cache.has((name,)) for name in "abcd"] == [True, False, True, True]


def test_a_result_larger_than_the_cache_is_returned_but_not_kept():
    cache = ByteCache(100)
    assert len(cache.get(("big",), lambda: np.zeros(1000, np.uint8))) == 1000
    assert cache.size == 0


def test_computes_once_for_many_threads_that_ask_together():
    cache, calls, gate = ByteCache(10_000), [], threading.Barrier(8)

    def compute():
        calls.append(None)
        return "result"

    def ask():
        gate.wait()
        assert cache.get(("key",), compute) == "result"

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_failed_computation_is_tried_again_and_leaves_nothing():
    cache = ByteCache(10_000)
    with pytest.raises(RuntimeError, match="stopped"):
        cache.get(("key",), lambda: (_ for _ in ()).throw(RuntimeError("stopped")))
    assert cache.get(("key",), lambda: 7) == 7
    assert cache._computing == {}


def test_a_result_that_needs_itself_is_refused():
    cache = ByteCache(10_000)
    with pytest.raises(RuntimeError, match="needed to compute itself"):
        cache.get(("a",), lambda: cache.get(("b",), lambda: cache.get(("a",), lambda: 1)))
    assert cache.get(("a",), lambda: cache.get(("b",), lambda: 2)) == 2
    assert not cache._computing


def test_forget_drops_all_of_one_picture_and_nothing_else():
    cache = ByteCache(10_000)
    for picture in ("mine", "other"):
        for kind in (Kind.VIEW, Kind.MAP):
            cache.put(Key(kind, picture), np.zeros(10))
    cache.forget(lambda key: key.picture == "mine")
    assert [cache.has(Key(Kind.MAP, picture)) for picture in ("mine", "other")] == [False, True]
    assert list(cache.holdings()) == [Key(Kind.VIEW, "other"), Key(Kind.MAP, "other")]
    assert cache.size == sum(cache.holdings().values())
    assert 80 * 2 < cache.size < 80 * 2 + 600


def test_thousands_of_inputs_from_eight_threads_stay_under_the_bound():
    cache, broken = ByteCache(50_000), []

    def work(seed):
        rng = np.random.RandomState(seed)
        for _ in range(500):
            number = int(rng.randint(4000))
            value = cache.get((number,), lambda number=number: np.full(1 + number % 300, number % 256, np.uint8))
            if cache.size > 50_000 or value[0] != number % 256:
                broken.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []


def test_tells_what_it_saved():
    cache = ByteCache(10_000)

    def work():
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        time.sleep(0.3)  # as while others have their turn: no work of its own
        return 7

    for _ in range(4):
        assert cache.get(("key",), work) == 7
    assert cache.hits == 3
    assert 3 * 0.02 <= cache.saved < 3 * 0.2


def test_who_waits_for_the_same_result_can_give_up():
    cache, begun, go_on = ByteCache(10_000), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(20)
        return "result"

    first = threading.Thread(target=cache.get, args=(("key",), slow))
    first.start()
    assert begun.wait(20)
    asked = []

    def wait():
        asked.append(None)
        if len(asked) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        cache.get(("key",), lambda: pytest.fail("computed twice"), wait)
    go_on.set()
    first.join()
    assert cache.get(("key",), lambda: pytest.fail("computed twice"), wait) == "result"
    assert cache._computing == {}


def test_counts_the_bytes_of_a_capture_and_of_its_network():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(256, 2)).eval()
    cap = capture(module, torch.rand(1, 3, 8, 8), layers=["0"])
    tensors = 4 * (3 * 64 + 2 + 2 * 4 * 64) + 8
    weights = 4 * (4 * 3 + 4 + 2 * 256 + 2)
    assert tensors + weights < nbytes(cap) < tensors + weights + 2000
