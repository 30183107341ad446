"""torchvision's ImageNet classifiers, downloaded on first use."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from camviz.models.download import Progress, download, is_cached
from camviz.models.layers import stage_layers
from camviz.models.registry import (
    IMAGENET,
    UNREADABLE,
    ModelError,
    ModelInfo,
    Net,
    Preprocessing,
    make_net,
    probe_input,
)

# The networks that menus show first: torchvision's name -> display name, family.
FEATURED = {
    "resnet18": ("ResNet-18", "ResNet"),
    "resnet50": ("ResNet-50", "ResNet"),
    "vgg11": ("VGG-11", "VGG"),
    "vgg16": ("VGG-16", "VGG"),
    "densenet121": ("DenseNet-121", "DenseNet"),
    "mobilenet_v3_large": ("MobileNetV3-Large", "MobileNet"),
    "convnext_tiny": ("ConvNeXt-Tiny", "ConvNeXt"),
    "efficientnet_b0": ("EfficientNet-B0", "EfficientNet"),
    "regnet_y_400mf": ("RegNet-Y-400MF", "RegNet"),
}

# What torchvision says of its classifiers, written by `tests/torchvision_facts.py`. torchvision itself takes as long to
# import as torch, so that is done only to build a network.
_FACTS = Path(__file__).parents[2] / "assets/torchvision.json"


@cache
def models() -> dict[str, ModelInfo]:
    """Every torchvision classifier with ImageNet weights, the featured ones first."""
    ordered = [*FEATURED, *(name for name in sorted(_facts()["networks"]) if name not in FEATURED)]
    return {name: _info(name) for name in ordered}


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1,000 classes of ImageNet, in logit order."""
    return tuple(_facts()["classes"])


def load(info: ModelInfo, device: torch.device, progress: Progress | None = None) -> Net:
    """Load a torchvision classifier, downloading its weights if necessary.

    Args:
        info: one of `models()`.
        device: the device to load it on.
        progress: called with (bytes done, total) during a download; an exception from it stops the download.

    Raises:
        DownloadError: the weights cannot be downloaded.
        ModelError: the stored weights are damaged, or the installed torchvision has others.
    """
    from torchvision.models import get_model, get_model_weights

    weights: Any = get_model_weights(info.name)["DEFAULT"]
    if weights.url != _url(info):
        raise ModelError(
            f"The installed torchvision has other weights for {info.title} than camviz knows: install the version that "
            "camviz's requirements name."
        )
    stored = fetch(info, progress)
    try:
        # Rejects a file that would run code: torchvision itself loads the cached file unchecked.
        torch.load(stored, map_location="cpu", weights_only=True)
        # torchvision finds the file in the cache, and knows how to rename the keys of old ones.
        module = get_model(info.name, weights=weights, progress=False)
    except UNREADABLE as error:
        raise ModelError(
            f"The stored weights of {info.title} cannot be read. Delete {stored.name} from PyTorch's download "
            "folder (TORCH_HOME) and load the model again."
        ) from error
    preset = weights.transforms()
    preprocessing = Preprocessing(
        size=preset.crop_size[0],
        resize=preset.resize_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        resample=Image.Resampling[preset.interpolation.name],
    )
    layers = stage_layers(info.name, module.eval(), probe_input(preprocessing.size))
    return make_net(info, module, imagenet_classes(), layers, preprocessing, device)


def fetch(info: ModelInfo, progress: Progress | None = None) -> Path:
    """Download the weights of a torchvision classifier, unless they are cached.

    Args:
        info: one of `models()`.
        progress: called with (bytes done, total); an exception from it stops the download.

    Raises:
        DownloadError: the weights cannot be downloaded.
    """
    return download(_url(info), f"{info.title} ({info.download:.0f} MB)", progress)


def is_downloaded(info: ModelInfo) -> bool:
    """Whether the weights of a torchvision classifier are already on this machine."""
    return is_cached(_url(info))


@cache
def _facts() -> dict[str, Any]:
    return json.loads(_FACTS.read_text(encoding="utf-8"))


def _url(info: ModelInfo) -> str:
    return _facts()["networks"][info.name]["url"]


def _info(name: str) -> ModelInfo:
    facts = _facts()["networks"][name]
    title, family = FEATURED.get(name, (name, "more from torchvision"))
    return ModelInfo(
        name=name,
        title=title,
        family=family,
        source="torchvision",
        data=IMAGENET,
        accuracy=facts["accuracy"],
        parameters=facts["parameters"],
        download=facts["download"],
    )
