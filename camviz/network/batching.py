"""Process many images in batches that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn

from camviz.network.hooks import layer_hooks, require_eval
from camviz.network.logits import logits_of

Value = TypeVar("Value")

# Memory for a 224 x 224 image on its way through a network. VGG-16, the largest of the common ones, takes 34 MB.
_IMAGE_BYTES = 48 * 2**20
# Multiply-adds per chunk on a CPU, half a second on two cores, so that a stop takes effect soon. Counted rather than
# timed, so that the same work is always split into the same chunks: their size affects the last digits.
_WORK = 2 * 10**10


def chunk_size(x: Tensor, work: int = 0) -> int:
    """How many images go through the network together.

    On a CUDA GPU, as many as fit in its free memory, up to 64. Elsewhere 4, because larger batches do not fit a CPU's
    caches and are slower, and fewer if one image is a lot of work.

    Args:
        x: the images (B, 3, H, W), or others of the same size.
        work: `multiply_adds` of one of them.
    """
    if x.is_cuda:
        return _that_fit(_free_bytes(x.device), x.shape[-2] * x.shape[-1])
    return max(1, min(4, _WORK // max(1, work)))


def copies(activation: Tensor) -> int:
    """How many copies of a layer's output for one image (K, h, w) go through the rest of the network together.

    As many as fit a memory budget: deep layers are small, so the part of the network before them runs rarely.
    """
    budget = min(2**28, _free_bytes(activation.device) // 16) if activation.is_cuda else 2**24
    return max(1, budget // (activation.numel() * activation.element_size()))


def multiply_adds(module: nn.Module, x: Tensor) -> int:
    """Count the multiply-adds in a network's convolutions and linear layers for images x.

    Raises:
        ValueError: a network in training mode, as the pass would change its statistics.
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
    """How many images of this many pixels fit into `free` bytes: 1 to 64."""
    return max(1, min(64, free * 224**2 // (_IMAGE_BYTES * pixels)))


def _free_bytes(device: torch.device) -> int:
    """The GPU memory still available: free memory plus what PyTorch has reserved but not allocated."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def forward(module: nn.Module, x: Tensor, done: Callable[[int], object] | None = None) -> Tensor:
    """Logits (B, classes) of images x (B, 3, H, W) for any B, however large; x is not changed.

    `done` is called after each chunk with the number of images done; an exception from it stops the work.

    Raises:
        ValueError: a network in training mode.
    """
    chunks = []
    for part, logits in in_chunks(lambda part: run_network(module, x[part]), len(x), chunk_size(x)):
        chunks.append(logits)
        if done is not None:
            done(part.stop)
    return torch.cat(chunks)


# Networks that turned out to need images in the usual memory format.
_USUAL_ORDER: WeakSet[nn.Module] = WeakSet()


def run_network(module: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, classes) of images x (B, 3, H, W), which are not changed.

    Raises:
        ValueError: a network in training mode, as the pass would change its statistics, or one that returns no logits.
    """
    require_eval(module)
    return in_fast_order(module, x, lambda x: logits_of(module(x), len(x)))


def in_fast_order(module: nn.Module, x: Tensor, run: Callable[[Tensor], Value]) -> Value:
    """Call `run`, which passes its argument to a network, with a copy of images x (B, 3, H, W) and return its result.

    On a CPU the copy is channels-last, which makes most networks up to a fourth faster (`python -m benchmarks.speed
    --only layout`). A network that cannot handle this, because it calls `view` on its feature maps, gets the usual
    memory format.
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
    """Call `run` on `count` items, `size` at a time; halve `size` when memory runs out.

    Yields:
        a slice of the items and its result.

    Raises:
        RuntimeError, MemoryError: a single item does not fit in memory (`is_out_of_memory`).
    """
    if count == 0:
        yield slice(0, 0), run(slice(0, 0))
    start = 0
    while start < count:
        part = slice(start, min(start + size, count))
        result = _attempt(run, part)
        if result is None:
            size = (part.stop - part.start) // 2
            continue
        yield part, result
        start = part.stop


def _attempt(run: Callable[[slice], Value], part: slice) -> Value | None:
    """The result for some items; None if memory runs out and fewer may fit."""
    try:
        return run(part)
    except (RuntimeError, MemoryError) as error:
        if part.stop - part.start <= 1 or not is_out_of_memory(error):
            raise
    # By now the exception is gone, and so is the memory held by tensors in its frames.
    torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on any device; parts of torch say so only in the message."""
    phrases = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(phrase in str(error) for phrase in phrases)
