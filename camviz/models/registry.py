"""Networks that can be explained, each with its labels, layers and preprocessing."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from camviz.images import Fit, Pixel, fit_view

Source = Literal["bundled", "torchvision", "checkpoint"]
IMAGENET, SHAPES = "ImageNet", "synthetic shapes"


# Exceptions of torch.load on files in other formats or damaged ones.
UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)


class ModelError(RuntimeError):
    """A network cannot be loaded; the message says what to do."""


@dataclass(frozen=True)
class ModelInfo:
    """Information about a network that is available before it is loaded.

    Attributes:
        name: the name that `load_model` takes.
        title: its display name.
        family: the kind of architecture.
        source: where it comes from.
        data: what it was trained on, which determines its classes.
        accuracy: in percent; on ImageNet's validation set as reported by its authors, or for a checkpoint on the
            unseen samples described in its card.
        parameters: number of weights, in millions.
        download: size of the weights file in MB; 0 for a bundled network.
    """

    name: str
    title: str
    family: str
    source: Source
    data: str
    accuracy: float
    parameters: float
    download: float


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input: shorter side to `resize`, centre crop of `size`, normalise."""

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Image.Resampling

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalise pixels: uint8 (B, 3, H, W) -> float32, minus the mean, divided by the standard deviation."""
        mean = torch.tensor(self.mean, device=pixels.device)[:, None, None]
        std = torch.tensor(self.std, device=pixels.device)[:, None, None]
        return (pixels / 255).sub_(mean).div_(std)


@dataclass(frozen=True, eq=False)
class Net:
    """A network ready to be explained: in eval mode, on its device, its parameters frozen.

    Attributes:
        info: its entry in the registry.
        module: the network; float (B, 3, size, size) -> logits (B, classes), or one logit (B,) or (B, 1).
        labels: class names in logit order; for one logit, of its negative and its positive side.
        layers: default layer names for refining, from finest to deepest.
        preprocessing: how a picture becomes its input.
        device: the device it is on.
    """

    info: ModelInfo
    module: nn.Module = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    layers: tuple[str, ...]
    preprocessing: Preprocessing
    device: torch.device

    def view(self, image: NDArray[Pixel], fit: Fit = "crop") -> NDArray[Pixel]:
        """Return what the network sees of an image: uint8 (H, W, 3) -> uint8 (size, size, 3).

        "crop" fits as in training, "squeeze" and "pad" show the whole picture; a picture of the input size is not
        changed. A boolean mask (H, W) is fitted likewise, with nearest sampling.
        """
        how = self.preprocessing
        return fit_view(image, how.size, how.resize, fit, how.resample)

    def preprocess(self, image: NDArray[np.uint8], fit: Fit = "crop") -> Tensor:
        """Return the normalised view of an image: uint8 (H, W, 3) -> float32 (1, 3, size, size), on the device."""
        return self.inputs(self.view(image, fit)[None])

    def inputs(self, views: NDArray[np.uint8]) -> Tensor:
        """Normalise views: uint8 (B, size, size, 3) -> float32 (B, 3, size, size), on the device."""
        pixels = torch.tensor(np.ascontiguousarray(views.transpose(0, 3, 1, 2)), device=self.device)
        return self.preprocessing.normalised(pixels)


def default_device() -> torch.device:
    """The best available device: cuda, else mps, else cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def as_device(device: torch.device | str | None) -> torch.device:
    """The device asked for, or the best available one for None.

    Raises:
        ModelError: this machine has no such device, or there is none of that name.
    """
    if device is None:
        return default_device()
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"There is no device {str(device)!r}: use cpu, cuda or mps.") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        has = f"{torch.cuda.device_count()} CUDA device(s)" if torch.cuda.is_available() else "no CUDA device"
        raise ModelError(f"{str(found)!r} cannot be used, as this machine has {has}: use cpu.")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("'mps' cannot be used, as this is no Mac with Apple silicon: use cpu.")
    return found


def use_full_precision() -> None:
    """Make GPU convolutions compute in float32, for the whole process.

    By default cuDNN rounds their inputs to TF32, which keeps 10 bits after the leading one: on an H100 that changed
    some pixels of a map by up to 1.0, and coherency by up to 0.7 (benchmarks/gpu.md).
    """
    torch.backends.cudnn.allow_tf32 = False


def make_net(
    info: ModelInfo,
    module: nn.Module,
    labels: tuple[str, ...],
    layers: tuple[str, ...],
    preprocessing: Preprocessing,
    device: torch.device,
) -> Net:
    """Freeze a network, put it into eval mode, move it to its device, and wrap it in a Net.

    A network with one label answers a question with yes or no: its labels are the label's absence and presence, as
    `camviz.network.logits.logits_of` orders them.
    """
    if len(labels) == 1:
        labels = (f"not {labels[0]}", labels[0])
    if device.type == "cuda":
        use_full_precision()
    module = module.eval().requires_grad_(False).to(device)
    return Net(info, module, labels, layers, preprocessing, device)


def probe_input(size: int) -> Tensor:
    """A fixed random input (1, 3, size, size) for finding a network's layers."""
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
