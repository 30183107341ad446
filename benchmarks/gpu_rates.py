"""Throughput on the GPU and on the CPU of the same machine: a section of `benchmarks.gpu`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

import camviz
from benchmarks.gpu_report import Options, Section
from benchmarks.photos import PHOTOS
from benchmarks.tables import table
from benchmarks.timing import Case, Run, in_turn, make_case, ms, trained_lite

METHOD = "gradcam++"
BATCHES = (1, 8, 64)
CPU_REPEAT = 2
LEVELS, SEEDS = (0.2, 0.4, 0.6, 0.8, 1.0), (0, 1, 2, 3)


@dataclass(frozen=True)
class Work:
    """A task to time: its title, how many units one run processes, and a function that prepares a run for a network.

    `trained` tasks make sense only with a trained network.
    """

    title: str
    count: int
    unit: str
    prepare: Callable[[Case], Run]
    trained: bool = False


def rates(section: Section, options: Options) -> None:
    """RefineCAM by batch size, ARCC, and a robustness sweep of 20 noisy copies."""
    section.body.append(
        f"RefineCAM merges {METHOD} over four layers, from the input to the merged map. ARCC includes computing the "
        f"maps that it scores. A sweep includes noise and segments, which are computed on the CPU. Inputs are "
        f"224 x 224. Median of {options.repeat} runs on the device and of {CPU_REPEAT} on the CPU with "
        f"{torch.get_num_threads()} threads."
    )
    rows: list[list[str]] = []
    gains: list[tuple[float, str]] = []
    try:
        for network in ("resnet18", trained_lite()):
            cases = section.attempt(f"loading {network}", partial(_both, network, options.device))
            if cases is None:
                continue
            for work in works():
                if work.trained and network != trained_lite():
                    continue
                what = f"{work.title}, {network}"
                seconds = section.attempt(what, partial(measure, work, cases, options.repeat))
                if seconds is not None:
                    rows.append(_row(work, network, *seconds))
                    gains.append((seconds[1] / seconds[0], what))
                    print(f"  {' | '.join(rows[-1])}", flush=True)
    finally:
        head = ("task", "network", "device", "one run", "CPU", "one run", "speed-up over CPU")
        section.body.append(table(head, rows))
        gain, what = max(gains, default=(0.0, "nothing was measured"))
        section.summary = f"up to {gain:.1f} x as fast as the CPU ({what})"


def _both(network: str, device: str) -> tuple[Case, Case]:
    return make_case(network, device), make_case(network, "cpu")


def measure(work: Work, cases: tuple[Case, Case], repeat: int) -> tuple[float, float]:
    """Seconds of a run on the device, and on the CPU."""
    on_device, on_cpu = cases
    (fast,) = in_turn([work.prepare(on_device)], repeat)
    (slow,) = in_turn([work.prepare(on_cpu)], min(CPU_REPEAT, repeat), warm_up=1)
    return fast, slow


def works() -> list[Work]:
    """All tasks, the most important first."""
    return [
        *(Work(f"RefineCAM, batch of {size}", size, "images", partial(refine_run, size)) for size in BATCHES),
        Work("robustness sweep of 20 copies", len(LEVELS) * len(SEEDS), "copies", sweep_run, trained=True),
        Work("ARCC of RefineCAM", 1, "maps", partial(arcc_run, 1, False)),
        Work("ARCC of RefineCAM and its four layers", 5, "maps", partial(arcc_run, 1, True)),
        Work("ARCC of RefineCAM, batch of 8", 8, "maps", partial(arcc_run, 8, False)),
    ]


def refine_run(batch: int, case: Case) -> Run:
    """Capture, maps of four layers and RefineCAM for a batch."""
    x, target = case.x.repeat(batch, 1, 1, 1), case.target.repeat(batch)
    return partial(camviz.explain, case.module, x, target, camviz.Recipe(METHOD, case.layers))


def arcc_run(batch: int, with_layers: bool, case: Case) -> Run:
    """Maps of a batch and their ARCC: for RefineCAM, and optionally for each of its layers."""
    recipes = [camviz.Recipe(METHOD, case.layers)]
    recipes += [camviz.Recipe(METHOD, (layer,)) for layer in case.layers if with_layers]
    explains = [partial(camviz.explain, case.module, recipe=recipe) for recipe in recipes]
    x, target = case.x.repeat(batch, 1, 1, 1), case.target.repeat(batch)

    def run() -> list[camviz.Arcc]:
        maps = torch.stack([explain(x, target) for explain in explains])
        return camviz.arccs(case.module, x, maps, target, explains=explains)

    return run


def sweep_run(case: Case) -> Run:
    """A robustness sweep of RefineCAM over twenty noisy copies of a photograph."""
    net = camviz.load_model(case.name, str(case.x.device))
    image = PHOTOS[0].load()
    return partial(camviz.robustness, net, image, "gaussian", LEVELS, METHOD, case.layers, SEEDS, comparisons=False)


def _row(work: Work, network: str, on_device: float, on_cpu: float) -> list[str]:
    rates_ = [f"{work.count / seconds:,.1f} {work.unit}/s" for seconds in (on_device, on_cpu)]
    return [work.title, network, rates_[0], ms(on_device), rates_[1], ms(on_cpu), f"{on_cpu / on_device:.1f} x"]
