"""The GPU benchmark, rehearsed on the CPU: what it reports, and what it does where something is wrong or missing."""

import importlib
import os
import subprocess
import sys
import time
import warnings
import zipfile
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
from server import ROOT

import camviz
from benchmarks import gpu, gpu_memory, gpu_syncs, timing
from benchmarks.gpu_report import Options, OutOfTimeError, Section

NETWORK = "shapes-resnet18"
SMALL = ["--device", "cpu", "--only", "checks", "--networks", NETWORK, "--pictures", "1"]
BLOCKED = "import runpy, sys; sys.modules.update(streamlit=None, plotly=None); runpy.run_module('{}', {{}}, '__main__')"


def section():
    return Section("Trial", time.monotonic() + 60)


def cells(report, first):
    """The cells of the report's row that begins with some cell."""
    (line,) = [line for line in report.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_rehearsal_needs_neither_streamlit_nor_plotly(tmp_path):
    out = tmp_path / "made" / "gpu.md"
    command = [
        sys.executable,
        "-c",
        BLOCKED.format("benchmarks.gpu"),
        *SMALL,
        "--methods",
        "gradcam++",
        "--out",
        str(out),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = out.read_text()
    assert report.startswith("# Rehearsal on a CPU of the GPU benchmark: no GPU was measured\n")
    assert f"torch {version('torch')}" in report
    assert "- **Results against the CPU**" in report
    assert "1 of 1 within 0.001 (maps) and 0.01 (scores) with TF32 off" in report
    row = cells(report, f"{NETWORK} | gradcam++")
    assert row[2:6] == ["4", "1", "0e+00", "0e+00"]  # both sides ran on the CPU
    assert 0 < float(row[6]) < 1e-3  # against float64, rounding shows
    assert row[-2:] == ["yes", "yes"]


def test_a_wrong_map_is_a_failure(tmp_path, monkeypatch, capsys):
    calls = []

    def drifting(cap, seed, progress):  # noqa: ARG001
        calls.append(len(calls))
        maps = [activations.abs().sum(1) for activations in cap.activations]
        return [each.flip(2) if len(calls) > 2 else each for each in maps]  # right on the CPU, then mirrored

    monkeypatch.setitem(camviz.METHODS, "centre", replace(camviz.METHODS["centre"], finished=False, raw=drifting))
    out = tmp_path / "gpu.md"
    assert gpu.main([*SMALL, "--methods", "centre", "--out", str(out)]) == 1
    report = out.read_text()
    assert "0 of 1 within" in report
    assert cells(report, f"{NETWORK} | centre")[-2:] == ["NO", "NO"]
    (failure,) = [line for line in report.splitlines() if line.startswith("- Results against the CPU: ")]
    assert f"{NETWORK}, centre, TF32 off: maps off by up to " in failure
    assert "1 failures" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so(tmp_path, capsys):
    out = tmp_path / "gpu.md"
    assert gpu.main(["--out", str(out)]) == 1
    assert capsys.readouterr().out.count("\n") == 1
    assert not out.exists()


def test_a_broken_section_is_recorded_and_the_next_one_runs(tmp_path, monkeypatch):
    monkeypatch.setitem(gpu.SECTIONS, "rates", ("Throughput", "benchmarks.nowhere:rates", 9))
    monkeypatch.setitem(gpu.SECTIONS, "syncs", ("Synchronisations", "benchmarks.gpu_timings:timings", 9))
    monkeypatch.setattr("benchmarks.gpu_timings.find_spec", lambda name: None)
    out = tmp_path / "gpu.md"
    assert gpu.main(["--device", "cpu", "--only", "rates", "syncs", "--out", str(out)]) == 1
    report = out.read_text()
    assert "- Throughput: the whole section: ModuleNotFoundError: No module named 'benchmarks.nowhere'" in report
    assert "- Synchronisations: all timings: pytorch_grad_cam, ttach, efficientnet_lite_pytorch not installed" in report


def test_pieces_that_fail_or_come_too_late():
    trial, late = section(), Section("Late", time.monotonic() - 1)
    assert trial.attempt("fine", lambda: 3) == 3
    assert trial.attempt("broken", lambda: [][1]) is None
    assert trial.attempt("slow", late.tick) is None
    assert late.attempt("never", lambda: pytest.fail("ran")) is None
    assert trial.failures[0].startswith("broken: IndexError: list index out of range (test_gpu_benchmark.py, line ")
    assert (len(trial.failures), trial.skipped) == (1, ["slow: the time was up"])
    assert late.skipped == ["never: the time was up"]
    with pytest.raises(OutOfTimeError):
        late.tick(3, 8)


def passes_alone(net, on_gpu):  # noqa: ARG001
    """The cheapest piece of work of the full memory."""
    images = torch.arange(6.0).view(-1, 1, 1, 1).expand(-1, 3, 32, 32) / 6
    return {"images": lambda: camviz.network.batching.forward(net.module, images)}


def full(monkeypatch, works):
    monkeypatch.setattr(gpu_memory, "_works", works)
    found = section()
    gpu_memory.full_memory(found, Options("cpu"))
    return found


def test_full_memory_is_survived_in_smaller_batches(monkeypatch):
    found = full(monkeypatch, passes_alone)
    report = "\n".join(found.body)
    assert not found.failures
    assert cells(report, "1024 MiB")[3:5] == ["off by 0e+00", "4, 2"]
    assert cells(report, "64 MiB")[3:5] == ["off by 0e+00", "4, 2 x 3"]
    assert cells(report, "0 MiB")[3:5] == ["out of memory: OutOfMemoryError", "4, 2, 1"]
    assert found.summary == "2 of 3 gave a result, 1 ended in an out-of-memory error"


def test_a_wrong_result_in_a_full_memory_is_a_failure(monkeypatch):
    def works(net, on_gpu):
        count = iter(range(99))
        return {"images": lambda: passes_alone(net, on_gpu)["images"]() + (next(count) == 2)}

    assert full(monkeypatch, works).failures == ["images with 64 MiB left: off by 1e+00"]


def test_an_error_that_is_no_lack_of_memory_is_a_failure(monkeypatch):
    def works(net, on_gpu):
        count = iter(range(99))

        def run():
            if next(count) == 2:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return passes_alone(net, on_gpu)["images"]()

        return {"images": run}

    (failure,) = full(monkeypatch, works).failures
    assert failure.startswith("images with 64 MiB left: RuntimeError: CUDA error: an illegal memory access")


def test_no_room_where_there_should_be(monkeypatch):
    monkeypatch.setattr(gpu_memory, "REHEARSED_IMAGE", 2**40)
    found = full(monkeypatch, passes_alone)
    assert found.failures == ["images with 1024 MiB left: out of memory: OutOfMemoryError"]


def test_waits_are_counted_by_line(monkeypatch):
    merging = importlib.import_module("camviz.merging.running_merge")
    plain = merging.stretched

    def waiting(maps):
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", DeprecationWarning, stacklevel=1)
        return plain(maps)

    monkeypatch.setattr(merging, "stretched", waiting)
    maps = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    with pytest.warns((UserWarning, DeprecationWarning)):  # by the first run, which warms up
        found = gpu_syncs.count(lambda: [camviz.refine(maps), camviz.refine(maps)], on_gpu=False)
    ((line, times),) = found.items()
    path, number = line.split(":")
    assert (path, times) == ("camviz/merging/running_merge.py", 2)
    assert "stretched(_merge(" in (ROOT / path).read_text().splitlines()[int(number) - 1]


def test_missing_packages_come_from_wheels(tmp_path, monkeypatch):
    info = "camviz_trial-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "camviz_trial-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("camviz_trial.py", "VALUE = 7\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: camviz-trial\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setattr(gpu, "MODULES", {"camviz_trial": "trial", "camviz_nowhere": "such thing", "json": "reports"})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    found = section()
    gpu.add_missing_packages(found, tmp_path)
    assert importlib.import_module("camviz_trial").VALUE == 7
    assert os.environ["PYTHONPATH"].split(os.pathsep) == ["/somewhere", sys.path[-1]]  # for processes started later
    assert "installed from them: camviz_trial" in found.summary
    assert found.skipped == ["`camviz_nowhere` is not installed: without it, no such thing"]


def test_timings_without_the_imagenet_weights(monkeypatch):
    monkeypatch.setattr(timing, "find_spec", lambda name: None)
    name = timing.trained_lite()
    case = timing.make_case(name, "cpu")
    assert name == "shapes-efficientnet-lite0"
    assert case.strip().shape == (1, 224, 224)
    assert case.module.get_submodule("_bn1") is not None  # what grad-cam ablates in place of the last layer
