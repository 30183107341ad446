"""What happens when the GPU's memory is nearly full: a section of `benchmarks.gpu`.

Plain allocations fill the memory until a given amount is left. The same work must then give the same result, in smaller
batches, or end in an error that camviz recognises as out of memory; and everything must work again once memory is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

import camviz
from benchmarks.gpu_checks import FULL, MAPS, SCORES, precision
from benchmarks.gpu_rates import METHOD
from benchmarks.gpu_report import Options, Section
from benchmarks.photos import PHOTOS
from benchmarks.tables import table
from camviz.network.batching import forward, is_out_of_memory

NETWORK = "shapes-resnet18"
MIB = 2**20
LEFT = (2048, 1024, 512, 256, 128, 64, 32, 0)  # MiB
MUST_FIT = 512  # MiB; with this much left, everything must work
BLOCK = 16 * MIB  # smaller requests come from blocks whose size torch's allocator chooses
IMAGES = 64
# A rehearsal on a CPU does less, and assumes this much memory per image.
REHEARSED_LEFT, REHEARSED_IMAGES, REHEARSED_IMAGE = (1024, 64, 0), 12, 24 * MIB


@dataclass
class Batches:
    """The sizes of the batches that a network was given."""

    sizes: list[int] = field(default_factory=list)
    most: float = float("inf")  # in a rehearsal, larger batches raise an error

    def __call__(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Record the size of a batch: a hook that runs before the network."""
        self.sizes.append(len(inputs[0]))
        if len(inputs[0]) > self.most:
            raise torch.OutOfMemoryError("rehearsed: out of memory")

    def __str__(self) -> str:
        """The sizes in order, with repeats counted."""
        groups = [(size, len(list(same))) for size, same in groupby(self.sizes)]
        sizes = ", ".join(f"{size} x {times}" if times > 1 else str(size) for size, times in groups[:8])
        return sizes + (f", ... ({len(self.sizes)} in all)" if len(groups) > 8 else "")


def full_memory(section: Section, options: Options) -> None:
    """Fill the memory step by step, run every task at each step, and check that everything works afterwards."""
    section.body.append(
        f"{NETWORK}, TF32 off. Each row: the result with this much memory left, compared with the result with all of "
        "it; the batches the network was given, in order (a batch that ran out of memory is followed by smaller ones); "
        f"and how many allocations failed. With {MUST_FIT} MiB or more left, everything must work."
    )
    on_gpu = options.device.startswith("cuda")
    net, batches = camviz.load_model(NETWORK, options.device), Batches()
    handle = net.module.register_forward_pre_hook(batches)
    rows: list[list[str]] = []
    try:
        with precision(FULL):
            works = _works(net, on_gpu)
            expected = {what: run() for what, run in works.items()}
            held = _allocated(options.device)
            for left in LEFT if on_gpu else REHEARSED_LEFT:
                section.tick()
                with nearly_full(options.device, left * MIB, batches) as free:
                    for what, run in works.items():
                        attempt = partial(_try, section, batches, left, what, run, expected[what], options.device)
                        row = section.attempt(f"{what} with {left} MiB left", attempt)
                        rows += [[f"{left} MiB", f"{free / MIB:.0f} MiB", what, *row]] if row else []
            _afterwards(section, works, expected, held, options.device)
    finally:
        handle.remove()
        section.body.append(table(("left", "actually free", "task", "result", "batches", "failed allocations"), rows))
        ended = sum("out of memory" in row[3] for row in rows)
        section.summary = f"{len(rows) - ended} of {len(rows)} gave a result, {ended} ended in an out-of-memory error"


def _works(net: camviz.Net, on_gpu: bool) -> dict[str, Callable[[], Tensor]]:
    """The tasks, each with a result on the CPU; smaller ones for a rehearsal."""
    module, image = net.module, PHOTOS[0].load()
    method, seeds, count = ("scorecam", range(5), IMAGES) if on_gpu else ("scorecam-fast", range(1), REHEARSED_IMAGES)
    x = net.preprocess(image)
    target = module(x.clone()).argmax(1)
    many = x.cpu() + 0.01 * torch.arange(count).view(-1, 1, 1, 1) / count
    recipe = camviz.Recipe(METHOD, net.layers)

    def score_cam() -> Tensor:
        return camviz.cam_with_notes(camviz.capture(module, x, target, net.layers[-1:]), method)[0].cpu()

    def scores() -> Tensor:
        explain = partial(camviz.explain, module, recipe=recipe)
        score = camviz.arcc(module, x, explain(x, target), target, explain=explain)
        return torch.stack([score.arcc, score.road, score.coherency, score.complexity.to(x.device)]).cpu()

    def sweep() -> Tensor:
        table_ = camviz.robustness(net, image, "gaussian", (0.2, 0.4, 0.6, 0.8), METHOD, seeds=seeds).table
        return torch.tensor(table_[["overlap", "overlap_same", "probability"]].to_numpy())

    def passes() -> Tensor:
        with torch.no_grad():
            return forward(module, many.to(x.device)).softmax(1).cpu()

    return {
        camviz.METHODS[method].title: score_cam,
        "ARCC of RefineCAM": scores,
        f"captures of {4 * len(seeds)} noisy copies (robustness)": sweep,
        f"{count} images through the network": passes,
    }


def _try(
    section: Section, batches: Batches, left: int, what: str, run: Callable[[], Tensor], expected: Tensor, device: str
) -> list[str]:
    """Run one task: its result, the batches, and how many allocations failed."""
    batches.sizes.clear()
    before, ended, off_by = _failed_allocations(device), "", 0.0
    try:
        off_by = _difference(run(), expected)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        ended = f"out of memory: {type(error).__name__}"
        if not isinstance(error, torch.OutOfMemoryError):
            ended += f" ({str(error).splitlines()[0]})"
    if ended and left >= MUST_FIT:
        section.fail(f"{what} with {left} MiB left: {ended}")
    if not ended and off_by > _tolerance(what):
        section.fail(f"{what} with {left} MiB left: off by {off_by:.0e}")
    row = [ended or f"off by {off_by:.0e}", str(batches), str(_failed_allocations(device) - before)]
    print(f"  {left} MiB left: {what}: {' | '.join(row)}", flush=True)
    return row


def _tolerance(what: str) -> float:
    return MAPS if what.startswith("Score-CAM") else SCORES


def _afterwards(
    section: Section, works: dict[str, Callable[[], Tensor]], expected: dict[str, Tensor], held: int, device: str
) -> None:
    """With the memory free again, nothing must be left allocated, and everything must work as before."""
    kept = _allocated(device) - held
    if kept > MIB:
        section.fail(f"{kept / MIB:.1f} MiB more are allocated after the out-of-memory errors than before")
    errors = {what: _difference(run(), expected[what]) for what, run in works.items()}
    for what, error in errors.items():
        if error > _tolerance(what):
            section.fail(f"{what}, with the memory free again: off by {error:.0e}")
    section.body.append(
        f"With the memory free again: {kept / MIB:.1f} MiB more allocated than before; results are off by "
        f"at most {max(errors.values()):.0e}."
    )


@contextmanager
def nearly_full(device: str, leave: int, batches: Batches) -> Iterator[float]:
    """Fill a GPU's memory in this block, leaving `leave` bytes; yield how many are actually free.

    Without a GPU, batches that would not fit raise an error like a GPU's.
    """
    if not device.startswith("cuda"):
        batches.most = leave // REHEARSED_IMAGE
        try:
            yield leave
        finally:
            batches.most = float("inf")
        return
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    held: list[Tensor] = []
    try:
        _fill(held, leave, device)
        yield torch.cuda.mem_get_info()[0]
    finally:
        held.clear()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def _fill(held: list[Tensor], leave: int, device: str) -> None:
    """Allocate until only `leave` bytes are free, or no more can be allocated."""
    block = torch.cuda.mem_get_info()[0]
    while block >= BLOCK:
        size = min(block, torch.cuda.mem_get_info()[0] - leave)
        if size < BLOCK:
            return
        try:
            held.append(torch.empty(size // (2 * MIB) * (2 * MIB), dtype=torch.uint8, device=device))
        except torch.OutOfMemoryError:
            block = size // 2


def _failed_allocations(device: str) -> int:
    return int(torch.cuda.memory_stats().get("num_ooms", 0)) if device.startswith("cuda") else 0


def _allocated(device: str) -> int:
    return int(torch.cuda.memory_allocated()) if device.startswith("cuda") else 0


def _difference(result: Tensor, expected: Tensor) -> float:
    """The largest absolute difference; NaN in both counts as equal."""
    both_nan = torch.isnan(result) & torch.isnan(expected)
    return float(torch.where(both_nan, 0.0, result - expected).abs().nan_to_num(nan=torch.inf).max())
