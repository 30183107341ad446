"""Every row of `benchmarks.speed`, measured on this device: a section of `benchmarks.gpu`."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

from benchmarks.gpu_report import Options, Section


def timings(section: Section, options: Options) -> None:
    """Time camviz against grad-cam 1.5.7; a failing part of `benchmarks.speed` does not stop the others."""
    missing = [name for name in ("pytorch_grad_cam", "ttach", "efficientnet_lite_pytorch") if find_spec(name) is None]
    if missing:
        section.skip(f"all timings: {', '.join(missing)} not installed")
        section.summary = "skipped"
        return
    from benchmarks import speed  # imports grad-cam
    from benchmarks.timing import Row, machine, make_case, trained_lite

    rows: list[Row] = []
    parts = [(name, network) for name in speed.SECTIONS for network in ("resnet18", trained_lite())]

    def run(part: str, network: str) -> None:
        for row in speed.SECTIONS[part](make_case(network, options.device), options.repeat):
            rows.append(row)
            print(f"  {row.network}: {row.what}: {row.found}", flush=True)
            section.tick()

    try:
        for part, network in parts:
            section.attempt(f"{part}, {network}", partial(run, part, network))
        for network in speed.LAYERS:
            row = section.attempt(f"memory, {network}", partial(speed.memory_row, network, options.device))
            rows += [row] if row else []
    finally:
        section.body.append(speed.markdown(rows, machine(options.device, options.repeat)))
        missed = sum(row.met is False for row in rows)
        section.summary = f"{len(rows)} figures; {missed} miss their target"
