"""Choose the layers of a network to refine over, from its structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camviz.network.hooks import layer_hooks, require_eval
from camviz.network.layouts import layouts

_ACTIVATIONS = (nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU, nn.PReLU)


@dataclass(frozen=True)
class _Call:
    """The last call of a module whose output is a square feature map.

    Attributes:
        order: its position among all calls, by time of return.
        octave: how often the input's side was halved, rounded so that padding does not count.
        activated: identity of the output if it comes directly from an activation function, else None.
    """

    order: int
    octave: int
    activated: int | None


def stage_layers(name: str, module: nn.Module, x: Tensor) -> tuple[str, ...]:
    """The layers to refine over: the last of each stage, after its activation.

    Two families have simpler rules: a VGG stage ends with its pooling, and the features of a DenseNet stage are first
    activated at the start of the following transition. The last ReLU of a DenseNet is a function, not a module, so its
    last layer is the normalisation before it.
    """
    if name.startswith("vgg"):
        pools = [name for name, part in module.named_modules() if isinstance(part, nn.MaxPool2d)]
        return tuple(pools[-4:])
    if name.startswith("densenet"):
        return (*(f"features.transition{stage}.relu" for stage in (1, 2, 3)), "features.norm5")
    return find_layers(module, x)


def find_layers(module: nn.Module, x: Tensor, keep: int = 4) -> tuple[str, ...]:
    """Find the last layer of each stage, after its activation, from where the resolution changes.

    The rule: split the network until no part spans more than two resolutions (a stage that begins with a stride
    spans two). For each resolution, take the last part that ends at it; if its output does not come from an
    activation (MobileNet, EfficientNet), take the last output inside it that does, since Grad-CAM++ expects
    non-negative activations. The deepest `keep` resolutions are kept.

    Args:
        module: a network in eval mode.
        x: a square input (1, 3, S, S) to run it on.
        keep: the maximum number of layers to return.

    Returns:
        Names as in `module.named_modules()`, from finest to deepest.

    Raises:
        ValueError: a network in training mode, or without an output (B, K, h, w) of more than one pixel.
    """
    require_eval(module)
    calls = _last_calls(module, x)
    parts = sorted(_parts(module, "", calls), key=lambda name: calls[name].order)
    last_of = {calls[name].octave: name for name in parts}
    if not last_of:
        raise ValueError(f"{type(module).__name__} has no layer with an output (B, K, h, w) to explain")
    deepest = sorted(last_of)[-keep:]
    return tuple(_activated_inside(last_of[octave], calls) for octave in deepest)


def _last_calls(module: nn.Module, x: Tensor) -> dict[str, _Call]:
    """Run the network once and record the last call of every module with a square feature map."""
    parts = {name: part for name, part in module.named_modules() if name}
    layout = layouts(module, x, tuple(parts))
    calls: dict[str, _Call] = {}
    activated: dict[int, Tensor] = {}  # keeps the tensors alive, so that identities stay unique
    order = 0

    def record(name: str, part: nn.Module, output: object) -> None:
        nonlocal order
        order += 1
        calls.pop(name, None)
        if isinstance(part, nn.AdaptiveAvgPool2d) or not isinstance(output, Tensor) or output.ndim != 4:
            return
        if layout.get(name) is not False or len(output) != len(x):
            return  # channels-last, attention matrices, or windows that are folded into the batch
        if isinstance(part, _ACTIVATIONS) or bool((output >= 0).all()):
            activated[id(output)] = output
        height, width = output.shape[-2:]
        if height == width > 1:
            octave = round(math.log2(x.shape[-1] / width))
            calls[name] = _Call(order, octave, id(output) if id(output) in activated else None)

    def recording(name: str, part: nn.Module) -> Callable[[object], object]:
        def hook(output: object) -> object:
            record(name, part, output)
            return output

        return hook

    with torch.no_grad(), layer_hooks(module, {name: recording(name, part) for name, part in parts.items()}):
        module(x)
    return calls


def _parts(module: nn.Module, prefix: str, calls: dict[str, _Call]) -> list[str]:
    """Name the largest parts of a network that span at most two resolutions."""
    names: list[str] = []
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        inside = {call.octave for key, call in calls.items() if key == name or key.startswith(f"{name}.")}
        if name in calls and len(inside) <= 2:
            names.append(name)
        else:
            names += _parts(child, f"{name}.", calls)
    return names


def _activated_inside(name: str, calls: dict[str, _Call]) -> str:
    """Return the part itself if it ends in an activation, else the last part inside it that does."""
    if calls[name].activated is not None:
        return name
    inside = {
        key: call
        for key, call in calls.items()
        if key.startswith(f"{name}.") and call.activated is not None and call.octave == calls[name].octave
    }
    if not inside:
        return name
    tensor = max(inside.values(), key=lambda call: call.order).activated
    # The same tensor may be returned by the layer that made it, by layers around that one, whose names are the ones
    # to show, and by later layers that only pass it on.
    same = [key for key, call in inside.items() if call.activated == tensor]
    maker = min(same, key=lambda key: inside[key].order)
    return min((key for key in same if maker == key or maker.startswith(f"{key}.")), key=len)
