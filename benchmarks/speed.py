"""Timings of camviz compared with grad-cam, as ratios measured in one process.

Run from the repository's root: `python -m benchmarks.speed`. The two sides of a ratio take turns, A B A B ...,
after a warm-up of each, and their fastest runs are compared: other load can only slow a run down.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"  # grad-cam's Ablation-CAM draws a progress bar

import torch
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.refine_cam import RefineCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

import camviz
from benchmarks.memory import LAYERS
from benchmarks.speed_robustness import robustness_rows
from benchmarks.speed_scores import arcc_rows, imputation_rows, layout_rows, scorecam_rows
from benchmarks.timing import Case, Row, Run, in_turn, machine, make_case, ms, trained_lite
from camviz.methods import cam_with_notes


def main() -> None:
    """Measure the selected sections and print the results."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--device", default="cpu")
    options.add_argument("--repeat", type=int, default=20, help="runs of each side; the fastest counts")
    options.add_argument("--only", nargs="+", choices=[*SECTIONS, "memory"], default=[*SECTIONS, "memory"])
    args = options.parse_args()
    conditions = machine(args.device, args.repeat)
    print(conditions, flush=True)
    rows = []
    for row in measure(args.only, args.device, args.repeat):
        rows.append(row)
        print(f"{row.network:20} {row.what}: {row.found} {_verdict(row)}", flush=True)
    print("\n" + markdown(rows, conditions))


def measure(only: Sequence[str], device: str, repeat: int) -> Iterator[Row]:
    """Yield every row of the selected sections."""
    for section, rows in SECTIONS.items():
        if section in only:
            for name in ("resnet18", trained_lite()):
                yield from rows(make_case(name, device), repeat)
    if "memory" in only:
        yield from (memory_row(name, device) for name in LAYERS)


def refine_rows(case: Case, repeat: int) -> Iterator[Row]:
    """RefineCAM over four layers compared with grad-cam's, as users run it and as fast as it can run."""
    targets = [ClassifierOutputTarget(int(case.target))]
    frozen = copy.deepcopy(case.module)
    normal = RefineCAM(case.trainable, [case.trainable.get_submodule(n) for n in case.layers])
    lean = RefineCAM(frozen, [frozen.get_submodule(n) for n in case.layers])
    for base in lean.base_cam_per_layer:
        base.compute_input_gradient = True
    sides: list[Run] = [case.strip, partial(normal, case.x, targets), partial(lean, case.x, targets)]
    difference = float(abs(case.strip().cpu().numpy() - normal(case.x, targets)).max())
    ours, theirs, leanest = in_turn(sides, repeat)
    found = f"{theirs / ours:.1f} x as fast ({ms(ours)} vs {ms(theirs)}; maps differ by at most {difference:.0e})"
    yield Row("RefineCAM, four layers, against grad-cam", case.name, found, ">= 4 x", theirs / ours >= 4)
    found = f"{leanest / ours:.1f} x as fast ({ms(ours)} vs {ms(leanest)})"
    yield Row("RefineCAM, four layers, against grad-cam with frozen parameters", case.name, found)


def pass_of(case: Case) -> tuple[Tensor, ...]:
    """The minimum for activations and gradients: one forward and one backward pass onto the same layers."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
        outputs.append(output if output.requires_grad else output.requires_grad_())

    handles = [case.module.get_submodule(name).register_forward_hook(keep) for name in case.layers]
    score = case.module(case.x)[0, case.target[0]]
    for handle in handles:
        handle.remove()
    return torch.autograd.grad(score, outputs)


def overhead_rows(case: Case, repeat: int) -> Iterator[Row]:
    """The overhead of the capture, and of the whole strip, over one forward and one backward pass."""
    only = partial(camviz.capture, case.module, case.x, case.target, case.layers)
    base, captured, ours = in_turn([partial(pass_of, case), only, case.strip], repeat)
    yield Row("capture: overhead over forward + backward", case.name, f"{captured / base - 1:+.0%} (of {ms(base)})")
    found = f"{ours / base - 1:+.0%} (of {ms(base)})"
    yield Row("whole strip: overhead over forward + backward", case.name, found, "<= 25 %", ours / base <= 1.25)


def method_rows(case: Case, repeat: int) -> Iterator[Row]:
    """The maps of four layers by another method from the same capture."""
    cap = camviz.capture(case.module, case.x, case.target, case.layers)
    names = [name for name, method in camviz.METHODS.items() if not method.is_slow]
    again = [lambda name=name: cam_with_notes(cap, name) for name in names]
    base, *times = in_turn([partial(pass_of, case), *again], repeat)
    for name, seconds in zip(names, times, strict=True):
        found = f"{seconds / base:.1%} ({ms(seconds)} of {ms(base)})"
        yield Row(f"another method: {name}", case.name, found, "<= 5 %", seconds / base <= 0.05)


class _Ablated(AblationLayer):
    """grad-cam's layer, which cannot be called with keyword arguments, as EfficientNet calls its blocks."""

    def __call__(self, x: Tensor, **_: Any) -> Tensor:
        return super().__call__(x)


def ablation_rows(case: Case, _: int) -> Iterator[Row]:
    """Ablation-CAM on the last stage; grad-cam's side runs once, between two runs of ours."""
    targets = [ClassifierOutputTarget(int(case.target))]
    pairs = [(case.layers[-1], case.layers[-1])]
    if case.name == trained_lite():
        # The default last layer is called twice, which grad-cam cannot ablate; the module that feeds its last call
        # is as large, and pushing one of its channels far below 0 before ReLU6 has the same effect.
        pairs.append(("_swish", "_bn1"))
    for layer, their_layer in pairs:
        model = copy.deepcopy(case.module)
        peer = AblationCAM(model, [model.get_submodule(their_layer)], ablation_layer=_Ablated())
        maps: list[Any] = []

        def ours(layer: str = layer) -> Tensor:
            return camviz.cam(camviz.capture(case.module, case.x, case.target, [layer]), "ablationcam")

        def theirs(peer: AblationCAM = peer, maps: list[Any] = maps) -> None:
            maps.append(peer(case.x, targets))

        our_map = ours()[0].cpu().numpy()  # also a warm-up
        before, slow, after = in_turn([ours, theirs, ours], 1, warm_up=0)
        fast = min(before, after)
        difference = abs(our_map - maps[0]).max()
        found = f"{slow / fast:.1f} x as fast ({ms(fast)} vs {ms(slow)}; maps differ by at most {difference:.0e})"
        yield Row(f"Ablation-CAM, {layer}", case.name, found, ">= 10 x", slow / fast >= 10)


SECTIONS = {
    "overhead": overhead_rows,  # these two don't need grad-cam; a process that has run it is often slower
    "methods": method_rows,
    "refine": refine_rows,
    "ablation": ablation_rows,
    "imputation": imputation_rows,
    "arcc": arcc_rows,
    "scorecam": scorecam_rows,
    "layout": layout_rows,
    "robustness": robustness_rows,
}


def memory_row(name: str, device: str) -> Row:
    """Peak memory of one capture, in a separate process."""
    command = [sys.executable, "-m", "benchmarks.memory", name, device]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    peak = float(done.stdout)
    return Row("peak memory of one capture above the model", name, f"{peak:.0f} MB", "< 300 MB", peak < 300)


def markdown(rows: Sequence[Row], conditions: str) -> str:
    """The rows as a Markdown table, and the conditions."""
    lines = ["| | network | measured | target | met |", "|---|---|---|---|---|"]
    lines += [f"| {r.what} | {r.network} | {r.found} | {r.target or '–'} | {_verdict(r) or '–'} |" for r in rows]
    return "\n".join([*lines, "", conditions])


def _verdict(row: Row) -> str:
    return "" if row.met is None else "yes" if row.met else "NO"


if __name__ == "__main__":
    main()
