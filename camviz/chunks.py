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
        torch.OutOfMemoryError: a single item is too much.
    """
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
    except torch.OutOfMemoryError:
        if part.stop - part.start == 1:
            raise
    # The exception is gone by now, and with it what the tensors in its frames took.
    torch.cuda.empty_cache()
    return None
