"""The sections of `benchmarks.gpu`, and the report made from them."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import torch

Value = TypeVar("Value")


class OutOfTimeError(Exception):
    """A section is out of time."""


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        device: "cuda", or "cpu" for a rehearsal.
        networks: the bundled networks to check; None for all.
        methods: the methods to check; None for all.
        pictures: how many pictures to check, alternating photographs and synthetic shapes.
        repeat: runs per timing; the median counts.
    """

    device: str
    networks: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    pictures: int = 4
    repeat: int = 20


@dataclass
class Section:
    """One part of the report, filled in while it runs, so that nothing is lost if it stops halfway.

    Attributes:
        title: its heading.
        end: its deadline, on the clock of `time.monotonic`.
        body: paragraphs and tables, in Markdown.
        summary: its result in one sentence.
        failures: what failed.
        skipped: what was skipped, and why.
        seconds: how long it took.
    """

    title: str
    end: float
    body: list[str] = field(default_factory=list)
    summary: str = ""
    failures: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def is_over(self) -> bool:
        """Whether the section's time is up."""
        return time.monotonic() > self.end

    def tick(self, *_: object) -> None:
        """Stop once the time is up: a progress callback for slow methods."""
        if self.is_over():
            raise OutOfTimeError

    def attempt(self, what: str, run: Callable[[], Value]) -> Value | None:
        """Run one part of the section; None if the time was up or it raised an exception, which is recorded.

        A failure must not cost the rest of the report: the GPU may be available for only a few minutes.
        """
        try:
            self.tick()
            return run()
        except OutOfTimeError:
            self.skip(f"{what}: the time was up")
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}, line {place.lineno}"
            self.fail(f"{what}: {type(error).__name__}: {error} ({where})")
        return None

    def fail(self, what: str) -> None:
        """Record a failure."""
        self.failures.append(what)
        print(f"  FAILED: {what}", flush=True)

    def skip(self, what: str) -> None:
        """Record something that was skipped."""
        self.skipped.append(what)
        print(f"  skipped: {what}", flush=True)


def conditions(device: str) -> list[str]:
    """The machine and the versions, one line each."""
    packages = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "grad-cam", "efficientnet-lite-pytorch")
    return [
        *(_gpu() if device.startswith("cuda") else ["Device: CPU (no GPU was used)"]),
        f"CPU: {_cpu()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}",
        f"Versions: Python {platform.python_version()}, {', '.join(f'{name} {_version(name)}' for name in packages)}",
        f"Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
    ]


def _gpu() -> list[str]:
    gpu = torch.cuda.get_device_properties(0)
    kind = f"{gpu.name}, {gpu.total_memory / 2**30:.1f} GiB, compute capability {gpu.major}.{gpu.minor}"
    libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return [f"Device: {kind}", f"Driver {_driver()}, {libraries}"]


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown (nvidia-smi is not installed)"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    return done.stdout.strip() or f"unknown ({done.stderr.strip()})"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return match[1] if match else platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def markdown(sections: Sequence[Section], about: Sequence[str], device: str) -> str:
    """The whole report."""
    rehearsal = not device.startswith("cuda")
    title = "Rehearsal on a CPU of the GPU benchmark: no GPU was measured" if rehearsal else "camviz on a GPU"
    lines = [f"# {title}", "", "Output of `python -m benchmarks.gpu`.", "", *(f"- {line}" for line in about), ""]
    lines += ["## Summary", ""]
    for section in sections:
        result = section.summary or "no summary: it did not finish"
        lines.append(f"- **{section.title}** ({section.seconds:.0f} s): {result}")
    for heading, kind in (("Failures", "failures"), ("Skipped", "skipped")):
        entries = [(section.title, what) for section in sections for what in getattr(section, kind)]
        lines += ["", f"## {heading}", "", *(f"- {title}: {what}" for title, what in entries or [("All", "none")])]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        lines.append("\n\n".join(section.body) or "Nothing was measured.")
    return "\n".join(lines) + "\n"
