"""Where the CPU waits for the GPU, counted by torch's own warnings: a section of `benchmarks.gpu`."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import torch

import camviz
from benchmarks.gpu_rates import METHOD, arcc_run, sweep_run
from benchmarks.gpu_report import Options, Section
from benchmarks.tables import table
from benchmarks.timing import Case, Run, make_case, trained_lite

ROOT = Path(camviz.__file__).parents[1]
WARNING = "synchronizing CUDA operation"


def syncs(section: Section, options: Options) -> None:
    """Count the waits of each task, after a warm-up run."""
    section.body.append(
        "Each blocking copy to or from the GPU, and each `bool`, `int`, `float`, `tolist` or mask index of a tensor on "
        "the GPU, makes the CPU wait until the GPU is done. One run each, counted by `torch.cuda.set_sync_debug_mode`; "
        "the lines are the innermost ones of camviz."
    )
    on_gpu = options.device.startswith("cuda")
    if not on_gpu:
        section.skip("counts are all 0 in a rehearsal without a GPU")
    rows: list[list[str]] = []
    totals: list[str] = []
    try:
        for network in ("resnet18", trained_lite()):
            case = make_case(network, options.device)
            for what, run in works(case).items():
                waits = section.attempt(f"{what}, {network}", partial(count, run, on_gpu))
                if waits is not None:
                    lines = "; ".join(f"{line} ({times})" for line, times in waits.most_common())
                    rows.append([what, network, str(waits.total()), lines or "–"])
                    totals.append(f"{what} on {network}: {waits.total()}")
                    print(f"  {' | '.join(rows[-1])}", flush=True)
    finally:
        section.body.append(table(("task", "network", "waits", "lines (waits)"), rows))
        section.summary = "; ".join(totals) or "nothing was counted"


def works(case: Case) -> dict[str, Run]:
    """The tasks, each with its prerequisites already computed."""
    cap = camviz.capture(case.module, case.x, case.target, case.layers)
    maps, _ = camviz.cam_with_notes(cap, METHOD)
    recipe = camviz.Recipe(METHOD, case.layers)
    tasks: dict[str, Run] = {
        "capture": partial(camviz.capture, case.module, case.x, case.target, case.layers),
        f"{METHOD}, four layers": partial(camviz.cam_with_notes, cap, METHOD),
        "eigencam, four layers": partial(camviz.cam_with_notes, cap, "eigencam"),
        "refine": partial(camviz.refine, maps),
        "explain": partial(camviz.explain, case.module, case.x, case.target, recipe),
        "five maps and their ARCC": arcc_run(1, True, case),
    }
    if case.name == trained_lite():  # noise makes sense only for a trained network
        tasks["robustness sweep of 20 copies"] = sweep_run(case)
    return tasks


def count(run: Run, on_gpu: bool) -> Counter[str]:
    """How often a run waits for the GPU, by line."""
    run()
    with _counted(on_gpu) as waits:
        run()
    return waits


@contextmanager
def _counted(on_gpu: bool) -> Iterator[Counter[str]]:
    """Count torch's warnings about waits in this block, by the line of camviz that caused them."""
    waits: Counter[str] = Counter()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if WARNING in str(message):
            waits[_line(sys._getframe(1))] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")


def _line(frame: FrameType | None) -> str:
    """The innermost line of camviz in a stack."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / "camviz"):
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside camviz"
