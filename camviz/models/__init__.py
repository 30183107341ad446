"""Networks by name: `list_models` and `load_model`."""

from __future__ import annotations

import difflib
from pathlib import Path

import torch

from camviz.models import bundled, checkpoint, torchvision
from camviz.models.checkpoint import Card
from camviz.models.download import DownloadError, Progress
from camviz.models.registry import (
    IMAGENET,
    SHAPES,
    ModelError,
    ModelInfo,
    Net,
    Preprocessing,
    as_device,
    default_device,
)

__all__ = [
    "DEFAULT_MODEL",
    "IMAGENET",
    "SHAPES",
    "DownloadError",
    "ModelError",
    "ModelInfo",
    "Net",
    "Preprocessing",
    "default_device",
    "list_models",
    "load_model",
    "needs_download",
    "read_card",
]

DEFAULT_MODEL = "efficientnet-lite0"


def list_models() -> list[ModelInfo]:
    """Every network that `load_model` knows: the bundled ones, then torchvision's, with the featured ones first."""
    return [*bundled.models().values(), *torchvision.models().values()]


def load_model(name: str | Path, device: torch.device | str | None = None, progress: Progress | None = None) -> Net:
    """Load a network by name, in eval mode and with its parameters frozen.

    Args:
        name: a name from `list_models`, or the path of a checkpoint that `python -m camviz.train` wrote, which ends in
            .safetensors.
        device: the device to load it on; None for cuda, else mps, else cpu.
        progress: called with (bytes done, total) while weights are downloaded.

    Raises:
        ValueError: an unknown name.
        DownloadError: the weights must be downloaded, but cannot be.
        ModelError: the stored weights are damaged, or this machine has no such device.
    """
    target = as_device(device)
    with torch.inference_mode(False):  # weights made in inference mode could never carry a gradient
        if str(name).endswith(checkpoint.SUFFIX):
            path = Path(name)
            return checkpoint.load(path, checkpoint.info_of(path, path.stem), target)
        info = _find(str(name))
        if info.source == "bundled":
            return bundled.load(info, target)
        return torchvision.load(info, target, progress)


def read_card(info: ModelInfo) -> Card | None:
    """The card of a network trained on shapes; None for any other network."""
    return bundled.read_card(info)


def follows_tags(info: ModelInfo) -> bool:
    """Whether a network has learnt the tag in a corner of its samples, and not the shape."""
    card = read_card(info)
    return card is not None and card.accuracy.is_of_tags


def _find(name: str) -> ModelInfo:
    infos = {info.name: info for info in list_models()}
    if name not in infos:
        near = difflib.get_close_matches(name, infos, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; see camviz.list_models()"
        raise ValueError(f"unknown model {name!r}{hint}")
    return infos[name]


def needs_download(info: ModelInfo) -> bool:
    """Whether loading this network has to download its weights first."""
    return info.source == "torchvision" and not torchvision.is_downloaded(info)
