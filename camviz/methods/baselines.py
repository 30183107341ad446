"""Blind guesses: baselines that a method's score must beat to mean anything."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from camviz.maps import normalise
from camviz.methods.registry import Progress, method
from camviz.network.capture import Capture

# Standard deviation of the centred Gaussian, as a share of the picture's side.
CENTRE_SIGMA = 0.25


@method(
    "random",
    "Random",
    "Noise on the layer's grid, different for every image: a map that explains nothing.",
    "baseline",
    class_specific=False,
    uses_gradient=False,
)
def random(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """Uniform noise (B, h, w), seeded by the image's content, the layer's name and the seed."""
    shape = cap.activations[index].shape[-2:]
    maps = []
    for checksum in cap.checksums:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {cap.layers[index]}".encode(), checksum))
        maps.append(torch.rand(shape, generator=generator))
    return torch.stack(maps).to(cap.x.device)


@method(
    "centre",
    "Centre",
    "A blob in the middle of every image: photographers centre their subjects, so it often looks right.",
    "baseline",
    class_specific=False,
    uses_gradient=False,
    finished=True,
)
def centre(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """A centred Gaussian (B, H, W) in [0, 1] with a standard deviation of a quarter of each side."""
    profiles = []
    for side in cap.x.shape[-2:]:
        offset = (torch.arange(side, device=cap.x.device) + 0.5) / side - 0.5
        profiles.append(torch.exp(-0.5 * (offset / CENTRE_SIGMA) ** 2))
    blob = profiles[0][:, None] * profiles[1][None, :]
    return normalise(blob).expand(len(cap.x), -1, -1)


@method(
    "uniform",
    "Uniform",
    "The same everywhere: every pixel counts equally.",
    "baseline",
    class_specific=False,
    uses_gradient=False,
    finished=True,
)
def uniform(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """All ones (B, H, W): exempt from stretching, which would make a constant map blank."""
    return torch.ones_like(cap.x[:, 0], dtype=torch.float32)
