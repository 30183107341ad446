"""Peak memory of a network's first capture; each figure needs a fresh process.

`python -m benchmarks.memory resnet18 cpu` prints it in MB. `speed.py` runs it for its table.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

import camviz

# Modules that are called once: for others grad-cam uses the first call, and the two would differ.
LAYERS = {
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
    "efficientnet-lite0": ("_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15"),
    "vgg16": ("features.9", "features.16", "features.23", "features.30"),
}


def untrained(name: str) -> nn.Module:
    """A network with seeded random weights, whose values affect neither time nor memory."""
    torch.manual_seed(0)
    if name.startswith("efficientnet-lite"):
        return EfficientNet.from_name(name).eval().requires_grad_(False)
    return torchvision.models.get_model(name).eval().requires_grad_(False)


def peak_memory(name: str, device: str) -> float:
    """Peak memory (MB, 10^6 bytes) of the first capture above what was held before it.

    On a CPU this is the process's resident memory, on a GPU the memory allocated by torch. The input is not counted.
    """
    module = untrained(name).to(device)
    small = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2)).eval().to(device)
    camviz.capture(small, torch.zeros(1, 3, 8, 8, device=device), 0, ["0"])  # warms up torch, but not the network
    x = torch.zeros(1, 3, 224, 224, device=device)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        camviz.capture(module, x, None, LAYERS[name])
        return (torch.cuda.max_memory_allocated() - held) / 1e6
    ctypes.CDLL(None).malloc_trim(0)  # or memory freed while building the network would be reused, unnoticed
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    held = _status("VmRSS")
    camviz.capture(module, x, None, LAYERS[name])
    return (_status("VmHWM") - held) / 1e6


def _status(key: str) -> int:
    """A figure of this process, in bytes (Linux)."""
    match = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


if __name__ == "__main__":
    print(peak_memory(sys.argv[1], sys.argv[2]))
