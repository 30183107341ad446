"""Work on many images, some at a time: as many as memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn

from camviz.network.hooks import layer_hooks, require_eval

Value = TypeVar("Value")

# What an image of 224 x 224 takes on its way through a network. VGG-16, the largest of the usual ones, takes 34 MB.
_IMAGE_BYTES = 48 * 2**20
# Multiplications and additions of a chunk on a CPU, half a second on two cores, so that a stop acts soon. Counted and
# not timed: the same work is always cut into the same chunks, as their size shows in the last digits.
_WORK = 2 * 10**10


def chunk_size(x: Tensor, work: int = 0) -> int:
    """How many images go through the network together.

    On a CUDA GPU as many as its free memory holds, 64 at most. Elsewhere 4, as larger batches leave a CPU's caches and
    are slower, and fewer where one image is much work.

    Args:
        x: the images (B, 3, H, W), or some of that size.
        work: `multiply_adds` of one of them.
    """
    if x.is_cuda:
        return _that_fit(_free_bytes(x.device), x.shape[-2] * x.shape[-1])
    return max(1, min(4, _WORK // max(1, work)))


def copies(activation: Tensor) -> int:
    """How many copies of a layer's output for one image (K, h, w) go through the rest of the network together.

    As many as fit a budget of bytes: deep layers are small, so that the part before them runs seldom.
    """
    budget = min(2**28, _free_bytes(activation.device) // 16) if activation.is_cuda else 2**24
    return max(1, budget // (activation.numel() * activation.element_size()))


def multiply_adds(module: nn.Module, x: Tensor) -> int:
    """Count the multiplications, each with its addition, in a network's convolutions and linear layers on images x.

    Raises:
        ValueError: a network in training mode, whose statistics the pass would change.
    """
    require_eval(module)
    total = 0

    def count(weight: Tensor, output: Tensor) -> Tensor:
        nonlocal total
        total += output.numel() * weight[0].numel()
        return output

    parts = {name: part for name, part in module.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear))}
    with layer_hooks(module, {name: partial(count, part.weight) for name, part in parts.items()}):
        module(x.clone())
    return total


def _that_fit(free: int, pixels: int) -> int:
    """How many images of so many pixels fit into so many bytes: 1 to 64."""
    return max(1, min(64, free * 224**2 // (_IMAGE_BYTES * pixels)))


def _free_bytes(device: torch.device) -> int:
    """What a GPU's memory can still hold: what nobody has, and what PyTorch has set aside."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def forward(module: nn.Module, x: Tensor, done: Callable[[int], object] | None = None) -> Tensor:
    """Logits (B, classes) of images x (B, 3, H, W), of which B may be large; x stays as it is.

    `done` is called with how many are done, now and then; an exception that it raises stops the work.

    Raises:
        ValueError: a network in training mode.
    """
    found = []
    for part, logits in in_chunks(lambda part: run_network(module, x[part]), len(x), chunk_size(x)):
        found.append(logits)
        if done is not None:
            done(part.stop)
    return torch.cat(found)


# Networks that were found to want their images in the usual order.
_USUAL_ORDER: WeakSet[nn.Module] = WeakSet()


def run_network(module: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, classes) of images x (B, 3, H, W), which stay as they are.

    Raises:
        ValueError: a network in training mode, whose statistics the pass would change.
    """
    require_eval(module)
    return in_fast_order(module, x, module)


def in_fast_order(module: nn.Module, x: Tensor, run: Callable[[Tensor], Value]) -> Value:
    """What `run` makes of a copy of images x (B, 3, H, W), which it gives to a network.

    On a CPU the images' channels come last, with which most networks are up to a fourth faster (`python -m
    benchmarks.speed --only layout`). A network that cannot take that, as it calls `view` on its feature maps, gets
    them in the usual order.
    """
    if x.device.type == "cpu" and module not in _USUAL_ORDER:
        try:
            return run(x.clone(memory_format=torch.channels_last))
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            _USUAL_ORDER.add(module)
    return run(x.clone())  # some networks change their input in place


def in_chunks(run: Callable[[slice], Value], count: int, size: int) -> Iterator[tuple[slice, Value]]:
    """Run something on `count` items, `size` at a time; half as many where the GPU's memory does not suffice.

    Yields:
        which items, and what came of them.

    Raises:
        RuntimeError: a single item is too much (`is_out_of_memory`).
    """
    if count == 0:
        yield slice(0, 0), run(slice(0, 0))
    start = 0
    while start < count:
        part = slice(start, min(start + size, count))
        found = _attempt(run, part)
        if found is None:
            size = (part.stop - part.start) // 2
            continue
        yield part, found
        start = part.stop


def _attempt(run: Callable[[slice], Value], part: slice) -> Value | None:
    """What comes of some items; None where memory runs out, and fewer may fit."""
    try:
        return run(part)
    except RuntimeError as error:
        if part.stop - part.start <= 1 or not is_out_of_memory(error):
            raise
    # The exception is gone by now, and with it what the tensors in its frames took.
    torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out, of whatever device; some of torch's parts say so in words only."""
    told = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in told)
