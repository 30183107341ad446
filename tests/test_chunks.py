"""Work in pieces: all of it, in order, whatever fits into memory."""

import gc
import weakref

import pytest
import torch
from small_networks import Plain, noise_images, seeded

import camviz
from camviz.metrics import imputation
from camviz.metrics.imputation import impute
from camviz.network.batching import _that_fit, chunk_size, forward, in_chunks, multiply_adds

SIMULATED = torch.OutOfMemoryError("simulated")


class Small:
    """A memory that holds so many items at once; `asked` is how many it was asked to hold."""

    def __init__(self, room, error=SIMULATED):
        self.room, self.error, self.asked = room, error, []

    def take(self, count):
        self.asked.append(count)
        if count > self.room:
            raise type(self.error)(*self.error.args)  # a new one, which holds nothing


@pytest.mark.parametrize(
    ("count", "size", "room", "asked"),
    [
        (10, 4, 99, [4, 4, 2]),
        (10, 4, 3, [4, 2, 2, 2, 2, 2]),
        (10, 8, 1, [8, 4, 2] + [1] * 10),
        (3, 64, 2, [3, 1, 1, 1]),
        (0, 4, 9, [0]),
    ],
)
def test_everything_is_done_in_order_with_what_memory_there_is(count, size, room, asked):
    memory, items = Small(room), torch.arange(count)

    def run(part):
        memory.take(part.stop - part.start)
        return items[part] * 2

    done = list(in_chunks(run, count, size))
    assert memory.asked == asked
    assert torch.cat([torch.arange(0), *(items[part] for part, _ in done)]).tolist() == list(range(count))
    assert torch.cat([torch.arange(0), *(found for _, found in done)]).tolist() == [2 * n for n in range(count)]


def test_one_item_that_does_not_fit():
    with pytest.raises(torch.OutOfMemoryError, match="simulated"):
        list(in_chunks(lambda part: Small(0).take(part.stop - part.start), 5, 4))


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("expected scalar type Float but found Double"), False),
    ],
    ids=str,
)
def test_only_a_lack_of_memory_is_tried_again(error, is_it):
    asked = []

    def run(part):
        asked.append(part.stop - part.start)
        if len(asked) == 1:
            raise error
        return torch.zeros(asked[-1])

    if is_it:
        assert sum(len(found) for _, found in in_chunks(run, 8, 8)) == 8
        assert asked == [8, 4, 4]
    else:
        with pytest.raises(RuntimeError) as raised:
            list(in_chunks(run, 8, 8))
        assert raised.value is error


def test_nothing_at_all():
    assert impute(torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8, dtype=torch.bool)).shape == (0, 3, 8, 8)
    assert forward(torch.nn.Flatten().eval(), torch.zeros(0, 3, 2, 2)).shape == (0, 12)


def test_what_a_failed_attempt_held_is_let_go():
    held = []

    def run(part):
        large = torch.zeros(1000)
        held.append(weakref.ref(large))
        Small(1).take(part.stop - part.start)
        gc.collect()
        assert all(ref() is None for ref in held[:-1])
        return large[:1].clone()

    assert len(list(in_chunks(run, 2, 2))) == 2
    assert len(held) == 3


class Viewing(Plain):
    """Calls `view` where feature maps with their channels last would need `reshape`; counts its runs."""

    runs = 0

    def forward(self, x):
        self.runs += 1
        x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        return x.view(len(x), -1)[:, :5]


def test_a_network_that_cannot_take_its_channels_last_gets_them_as_they_were():
    module, x = seeded(Viewing, dtype=torch.float32), noise_images(9, dtype=torch.float32)
    before = x.clone()
    with torch.no_grad():
        expected = module(x)
        for runs in (1 + 3, 3):  # three chunks, and one attempt that is not made again
            module.runs = 0
            assert torch.allclose(forward(module, x), expected, atol=1e-5)
            assert module.runs == runs
    assert torch.equal(x, before)


def test_other_faults_of_a_network_are_told():
    module = seeded(Plain, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="channels"):
        forward(module, torch.zeros(2, 4, 8, 8))


class Tight(torch.nn.Module):
    """A network on a machine with little memory; it changes its input in place before it fails."""

    def __init__(self, module, room, error=SIMULATED):
        super().__init__()
        self.module, self.memory = module, Small(room, error)

    def forward(self, x):
        x.mul_(2)
        self.memory.take(len(x))
        return self.module(x)


def test_forward_after_a_failure_sees_the_images_as_they_were():
    module, x = seeded(Plain, dtype=torch.float32), noise_images(11, dtype=torch.float32)
    before = x.clone()
    with torch.no_grad():
        assert torch.allclose(forward(Tight(module, 3).eval(), x), module(2 * x), atol=1e-5)
    assert torch.equal(x, before)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("simulated"), MemoryError()])
@pytest.mark.parametrize("room", [1, 3])
@pytest.mark.parametrize("method", ["scorecam", "ablationcam"])
def test_methods_of_many_passes_with_little_memory(method, room, error):
    """Down to a memory that holds one image."""
    module, x = seeded(Plain, dtype=torch.float32), noise_images(min(room, 2), dtype=torch.float32)
    target = list(range(len(x)))
    cap = camviz.capture(module, x, target, ["relu1", "relu2"])
    expected, told = camviz.cam(cap, method), []

    small = Tight(module, room, error).eval()
    tight = camviz.capture(small, x / 2, target, ["module.relu1", "module.relu2"])
    found = camviz.cam(tight, method, progress=lambda done, total: told.append((done, total)))
    assert (found - expected).abs().max() < 1e-4
    assert told[-1][0] == told[-1][1]


def test_imputation_with_little_memory(monkeypatch):
    images = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    removed = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(2)) > 0.3
    expected, memory, solve = impute(images, removed), Small(4), imputation._solve

    def tight(planes, *others):
        memory.take(planes.shape[1])
        return solve(planes, *others)

    monkeypatch.setattr(imputation, "_solve", tight)
    assert (impute(images, removed) - expected).abs().max() < 2e-3
    assert max(memory.asked) == 9
    assert memory.asked[-1] <= 4


def test_multiplications_are_counted():
    """By hand: 6 x 3 x 9 at 12 x 16 places, 8 x 6 x 9 at 6 x 8, 10 x 8 x 9 at 3 x 4, 40 x 16 and 16 x 5."""
    by_hand = 162 * 192 + 432 * 48 + 720 * 12 + 640 + 80
    module = seeded(Plain)
    assert multiply_adds(module, noise_images(1)) == by_hand
    assert multiply_adds(module, noise_images(3)) == 3 * by_hand
    assert not any(part._forward_hooks for part in module.modules())


@pytest.mark.parametrize(("work", "size"), [(0, 4), (10**9, 4), (7 * 10**9, 2), (16 * 10**9, 1), (10**12, 1)])
def test_chunks_of_slow_networks_are_small_on_a_cpu(work, size):
    assert chunk_size(torch.zeros(1, 3, 4, 4), work) == size


@pytest.mark.parametrize(
    ("gigabytes", "side", "size"), [(80, 224, 64), (1.5, 224, 32), (1.5, 448, 8), (0.01, 224, 1), (0, 224, 1)]
)
def test_chunks_fit_into_the_free_memory_of_a_gpu(gigabytes, side, size):
    assert _that_fit(int(gigabytes * 2**30), side**2) == size
