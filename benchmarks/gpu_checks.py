"""Maps and scores on the GPU compared with the CPU's: a section of `benchmarks.gpu`.

Each method's maps and ARCC are computed once on the CPU and twice on the GPU: with torch's default precision, in which
convolutions use TF32, and with TF32 off, as in camviz. A map error above the tolerance with TF32 off is a failure,
unless both devices agree in float64: then the error is only rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import camviz
from benchmarks.gpu_report import Options, Section
from benchmarks.tables import table
from camviz.samples import SAMPLES

MAPS, SCORES = 1e-3, 1e-2
# Tolerance between the devices with the network in float64; methods compute in float32 all the same.
EXACT = 1e-5
PARTS = ("arcc", "road", "coherency", "complexity", "road_raw", "probability")
DEFAULT, FULL = "default", "TF32 off"
HEAD = (
    *("network", "method", "layers", "pictures", f"map error, {DEFAULT}", f"map error, {FULL}"),
    *("CPU's map error against float64", "map error, both in float64"),
    *(f"score error, {DEFAULT}", f"score error, {FULL}", f"within, {DEFAULT}", "within"),
)


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs of one network, which is loaded on the CPU and on the device.

    Attributes:
        name: the network's name.
        net: the network on the CPU.
        other: the same network on the device.
        x: the pictures, (B, 3, H, W), on the CPU.
        target: the classes that the CPU predicts, (B,).
    """

    name: str
    net: camviz.Net
    other: camviz.Net
    x: Tensor
    target: Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """Layer maps and merged maps, (L + 1, B, H, W), and scores of the merged maps, (parts, B); on the CPU."""

    maps: Tensor
    scores: Tensor


@contextmanager
def precision(name: str) -> Iterator[None]:
    """In this block, let convolutions use TF32, as torch does by default, or not, as in camviz."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = name == DEFAULT
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def checks(section: Section, options: Options) -> None:
    """Compare every method on every bundled network, cheap methods first."""
    section.body.append(_settings())
    loaded = [inputs for name in _names(options) if (inputs := _load(section, options, name))]
    head = ("network", "predictions that agree", "input error", f"logit error, {DEFAULT}", f"logit error, {FULL}")
    section.body.append(table(head, [_network_row(section, inputs) for inputs in loaded]))
    methods = [m for m in camviz.METHODS.values() if options.methods is None or m.name in options.methods]
    methods.sort(key=lambda method: (method.is_slow, method.channels is None))
    rows: list[list[str]] = []
    map_errors: list[tuple[float, float]] = []
    try:
        for method in methods:
            for inputs in loaded:
                run = partial(compare, section, inputs, method)
                if (compared := section.attempt(f"{inputs.name}, {method.name}", run)) is not None:
                    rows.append(compared[0])
                    map_errors.append(compared[1])
                    print(f"  {' | '.join(compared[0])}", flush=True)
    finally:
        section.body.append(table(HEAD, rows))
        within, rounded = (sum(row[-1] == word for row in rows) for word in ("yes", "rounding"))
        over = sum(row[-2] != "yes" for row in rows)
        worst = [max((errors[index] for errors in map_errors), default=0.0) for index in (0, 1)]
        section.summary = (
            f"{within} of {len(rows)} within {MAPS:g} (maps) and {SCORES:g} (scores) with TF32 off; {rounded} more "
            f"differ only by rounding (they agree to {EXACT:g} in float64); with torch's default precision {over} "
            f"are outside, and maps are off by up to {worst[0]:.0e} (TF32 off: {worst[1]:.0e})"
        )


def _settings() -> str:
    return (
        "By default torch uses TF32 for convolutions but not for matrix products; camviz switches TF32 off when it "
        "loads a network onto a GPU. Each error is the largest absolute difference from the CPU's result; only the "
        f"columns with TF32 off count as failures. A map is marked *rounding* if it is off by more than {MAPS:g} in "
        f'float32 although both devices agree to {EXACT:g} in float64; "CPU\'s map error against float64" shows how '
        "far rounding moves the CPU's own maps. Slow methods are checked on one picture and the deepest layer, and "
        "only in float32. The baseline `random` is seeded by the bits of its input, which differ for the masked "
        "picture of coherency: its coherency and ARCC are not compared."
    )


def _names(options: Options) -> list[str]:
    bundled = [info.name for info in camviz.list_models() if info.source == "bundled"]
    return bundled if options.networks is None else [name for name in bundled if name in options.networks]


def _load(section: Section, options: Options, name: str) -> Inputs | None:
    """A network on both devices, with its pictures; None, with a note, if its package is missing."""
    try:
        net, other = camviz.load_model(name, "cpu"), camviz.load_model(name, options.device)
    except ModuleNotFoundError as error:
        section.skip(f"{name}: the package `{error.name}` is not installed")
        return None
    x = net.inputs(np.stack([net.view(_picture(index)) for index in range(options.pictures)]))
    with torch.no_grad():
        return Inputs(name, net, other, x, net.module(x.clone()).argmax(1))


def _picture(index: int) -> NDArray[np.uint8]:
    """Alternately a photograph and a synthetic shape."""
    number, is_shape = divmod(index, 2)
    return camviz.shapes.sample(number).image if is_shape else camviz.load_image(list(SAMPLES.values())[number].path)


def _network_row(section: Section, inputs: Inputs) -> list[str]:
    """The errors of inputs and logits, and how many predictions agree."""
    pixels = torch.randint(
        0, 256, (1, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ).numpy()
    input_error = _difference(inputs.net.inputs(pixels), inputs.other.inputs(pixels).cpu())
    with torch.no_grad():
        logits, errors = inputs.net.module(inputs.x.clone()), []
        for name in (DEFAULT, FULL):
            with precision(name):
                there = inputs.other.module(inputs.x.to(inputs.other.device)).cpu()
            errors.append(f"{_difference(logits, there):.0e}")
    agreeing = int((there.argmax(1) == inputs.target).sum())
    if agreeing < len(inputs.target):
        section.fail(f"{inputs.name}: only {agreeing} of {len(inputs.target)} predicted classes agree with the CPU's")
    return [inputs.name, f"{agreeing} of {len(inputs.target)}", f"{input_error:.0e}", *errors]


def compare(section: Section, inputs: Inputs, method: camviz.Method) -> tuple[list[str], tuple[float, float]]:
    """Compare one method on one network: its row, and its map errors with default and with full precision."""
    layers, count = (inputs.net.layers[-1:], 1) if method.is_slow else (inputs.net.layers, len(inputs.x))
    recipe = camviz.Recipe(method.name, layers)
    x, target = inputs.x[:count], inputs.target[:count]
    ours = answer(inputs.net, x, target, recipe, section)
    theirs = {}
    for name in (DEFAULT, FULL):
        with precision(name):
            theirs[name] = answer(inputs.other, x, target, recipe, section)
    maps = {name: _difference(ours.maps, there.maps) for name, there in theirs.items()}
    scores = {name: _difference(ours.scores, there.scores) for name, there in theirs.items()}
    within = {name: "yes" if maps[name] <= MAPS and scores[name] <= SCORES else "NO" for name in theirs}
    exact = None if method.is_slow or method.is_baseline else _in_float64(inputs, method, ours)
    if exact is not None and within[FULL] == "NO" and exact[1] <= EXACT:
        within[FULL] = "rounding"
    if within[FULL] == "NO":
        section.fail(f"{inputs.name}, {method.name}, {FULL}: {_explained(ours, theirs[FULL], layers)}")
    row = [
        *(inputs.name, method.name, str(len(layers)), str(count)),
        *(f"{maps[name]:.0e}" for name in theirs),
        *(("–", "–") if exact is None else (f"{error:.0e}" for error in exact)),
        *(_worst_score(ours, there) for there in theirs.values()),
        *within.values(),
    ]
    return row, (maps[DEFAULT], maps[FULL])


def answer(net: camviz.Net, x: Tensor, target: Tensor, recipe: camviz.Recipe, section: Section) -> Answer:
    """Maps and scores on the network's device, from the same input on both devices."""
    x, target = x.to(net.device), target.to(net.device)
    cap = camviz.capture(net.module, x, target, recipe.layers)
    maps, _ = camviz.cam_with_notes(cap, recipe.method, recipe.seed, section.tick)
    merged = camviz.refine(maps, recipe.rule)
    explain = partial(camviz.explain, net.module, recipe=recipe, progress=section.tick)
    score = camviz.arcc(net.module, x, merged, target, explain=explain)
    parts = torch.stack([getattr(score, part).float().cpu() for part in PARTS])
    if recipe.method == "random":
        parts[[PARTS.index("arcc"), PARTS.index("coherency")]] = 0
    return Answer(torch.cat([maps, merged[None]]).cpu(), parts)


def _in_float64(inputs: Inputs, method: camviz.Method, ours: Answer) -> tuple[float, float]:
    """The difference of the CPU's float32 and float64 maps, and of both devices' float64 maps."""
    here, there = (_exact_maps(net, inputs, method) for net in (inputs.net, inputs.other))
    return _difference(ours.maps, here), _difference(here, there)


def _exact_maps(net: camviz.Net, inputs: Inputs, method: camviz.Method) -> Tensor:
    """Layer maps and merged maps, (L + 1, B, H, W), from the network in float64; on the CPU."""
    module = copy.deepcopy(net.module).double()
    cap = camviz.capture(module, inputs.x.double().to(net.device), inputs.target.to(net.device), net.layers)
    maps, _ = camviz.cam_with_notes(cap, method.name)
    return torch.cat([maps, camviz.refine(maps)[None]]).cpu()


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest absolute difference; infinite if either holds NaN."""
    return float((one - other).abs().nan_to_num(nan=torch.inf).max())


def _worst_score(ours: Answer, theirs: Answer) -> str:
    errors = (ours.scores - theirs.scores).abs().nan_to_num(nan=torch.inf).amax(1)
    return f"{float(errors.max()):.0e} ({PARTS[int(errors.argmax())]})"


def _explained(ours: Answer, theirs: Answer, layers: tuple[str, ...]) -> str:
    """Where the errors of maps and scores are largest."""
    errors = (ours.maps - theirs.maps).abs().nan_to_num(nan=torch.inf)
    index, picture = divmod(int(errors.amax((2, 3)).flatten().argmax()), errors.shape[1])
    share = float((errors[index, picture] > MAPS).float().mean())
    name = f"layer {layers[index]}" if index < len(layers) else "the merged map"
    where = f"{name}, picture {picture}: {share:.2%} of its pixels are off by more than {MAPS:g}"
    return f"maps off by up to {float(errors.max()):.0e} ({where}); scores off by {_worst_score(ours, theirs)}"
