"""Networks by name: `list_models` and `load_model`."""

from __future__ import annotations

import difflib

import torch

from camviz.models import bundled, torchvision
from camviz.models.download import DownloadError, Progress
from camviz.models.registry import ModelError, ModelInfo, Net, Preprocessing, default_device

__all__ = [
    "DEFAULT_MODEL",
    "DownloadError",
    "ModelError",
    "ModelInfo",
    "Net",
    "Preprocessing",
    "default_device",
    "list_models",
    "load_model",
    "needs_download",
]

DEFAULT_MODEL = "efficientnet-lite0"


def list_models() -> list[ModelInfo]:
    """Every network that `load_model` knows, the bundled ones first, then torchvision's featured ones."""
    return [*bundled.MODELS.values(), *torchvision.models().values()]


def load_model(name: str, device: torch.device | str | None = None, progress: Progress | None = None) -> Net:
    """Load a network by name, in eval mode and with its parameters frozen.

    Args:
        name: a name from `list_models`.
        device: where to put it; None takes cuda, else mps, else cpu.
        progress: called with (bytes done, bytes in all) while weights are downloaded.

    Raises:
        ValueError: an unknown name.
        DownloadError: its weights must be downloaded and cannot be.
        ModelError: its stored weights are damaged.
    """
    infos = {info.name: info for info in list_models()}
    if name not in infos:
        near = difflib.get_close_matches(name, infos, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; see camviz.list_models()"
        raise ValueError(f"unknown model {name!r}{hint}")
    where = torch.device(device) if device is not None else default_device()
    with torch.inference_mode(False):  # weights made in inference mode could never carry a gradient
        if infos[name].source == "bundled":
            return bundled.load(infos[name], where)
        return torchvision.load(infos[name], where, progress)


def needs_download(info: ModelInfo) -> bool:
    """Whether loading this network would download its weights first."""
    return info.source == "torchvision" and not torchvision.is_downloaded(info)
