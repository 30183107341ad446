"""Work on many images, some at a time: as many as memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


def chunk_size(x: Tensor) -> int:
    """How many images go through the network together: few on a CPU, where larger batches are slower."""
    return 64 if x.is_cuda else 8


def forward(module: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, classes) of images x (B, 3, H, W), of which B may be large; x stays as it is."""
    # Some networks normalise their input in place.
    return torch.cat([logits for _, logits in in_chunks(lambda part: module(x[part].clone()), len(x), chunk_size(x))])


def in_chunks(run: Callable[[slice], Tensor], count: int, size: int) -> Iterator[tuple[slice, Tensor]]:
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


def _attempt(run: Callable[[slice], Tensor], part: slice) -> Tensor | None:
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
