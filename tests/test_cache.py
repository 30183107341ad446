"""The byte-bounded cache."""

import threading

import numpy as np
import pytest
import torch

from camviz.cache import ByteCache, nbytes
from camviz.capture import capture


def test_stays_under_its_bound_and_drops_what_was_not_used_for_longest():
    cache = ByteCache(10_000)
    for number in range(50):
        cache.get(("picture", number), lambda: np.zeros(1000, np.uint8))
        cache.get(("picture", 0), lambda: pytest.fail("the one in use was dropped"))
        assert cache.size <= 10_000
    assert cache.has(("picture", 49))
    assert not cache.has(("picture", 1))


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


def test_forget_drops_all_of_one_picture_and_nothing_else():
    cache = ByteCache(10_000)
    for picture in ("mine", "other"):
        for part in ("view", "map"):
            cache.put((picture, part), np.zeros(10))
    cache.forget("mine")
    assert [cache.has((picture, "map")) for picture in ("mine", "other")] == [False, True]
    assert cache.size == nbytes(np.zeros(10)) * 2


def test_thousands_of_inputs_from_eight_threads_stay_under_the_bound():
    cache, broken = ByteCache(50_000), []

    def work(seed):
        rng = np.random.RandomState(seed)
        for _ in range(500):
            number = int(rng.randint(300))
            value = cache.get((number,), lambda number=number: np.full(1 + number, number % 256, np.uint8))
            if cache.size > 50_000 or value[0] != number % 256:
                broken.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []


def test_counts_the_bytes_of_a_capture_and_of_its_network():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Flatten(), torch.nn.Linear(256, 2)).eval()
    cap = capture(module, torch.rand(1, 3, 8, 8), layers=["0"])
    tensors = 4 * (3 * 64 + 2 + 2 * 4 * 64) + 8
    weights = 4 * (4 * 3 + 4 + 2 * 256 + 2)
    assert tensors + weights < nbytes(cap) < tensors + weights + 2000
