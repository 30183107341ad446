"""Which layers of a network to refine over, found from its structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camviz.network.hooks import layer_hooks, require_eval

_ACTIVATIONS = (nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU, nn.PReLU)


@dataclass(frozen=True)
class _Call:
    """The last call of a module with a square feature map as its output.

    Attributes:
        order: when it returned, among all calls.
        octave: how often the input's side was halved, to the nearest whole number: padding does not count.
        activated: identity of the output if it comes straight after an activation function, else None.
    """

    order: int
    octave: int
    activated: int | None


def stage_layers(name: str, module: nn.Module, x: Tensor) -> tuple[str, ...]:
    """The layers to refine over: the last of each stage, after its activation.

    Two families say it more plainly than the general rule can: a VGG stage ends with its pooling, and what a
    DenseNet stage has gathered is first activated at the entrance of the transition after it. The last ReLU of
    a DenseNet is a function and no module, so its last layer is the normalisation just before.
    """
    if name.startswith("vgg"):
        pools = [name for name, part in module.named_modules() if isinstance(part, nn.MaxPool2d)]
        return tuple(pools[-4:])
    if name.startswith("densenet"):
        return (*(f"features.transition{stage}.relu" for stage in (1, 2, 3)), "features.norm5")
    return find_layers(module, x)


def find_layers(module: nn.Module, x: Tensor, keep: int = 4) -> tuple[str, ...]:
    """Find the last layer of each stage, after its activation, from where the resolution changes.

    The rule: take the network apart until no part spans more than two resolutions (a stage that begins with a
    stride spans two). For each resolution take the last part that ends at it; if its output does not come
    after an activation (MobileNet, EfficientNet), take the last output inside it that does, since Grad-CAM++
    expects activations that are not negative. The deepest `keep` resolutions are kept.

    Args:
        module: a network in eval mode.
        x: a square input (1, 3, S, S) to try it with.
        keep: how many layers to return at most.

    Returns:
        Names as in `module.named_modules()`, from shallow to deep.

    Raises:
        ValueError: a network in training mode, or without any output (B, K, h, w) of more than one pixel.
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
    """Run the network once and note the last call of every module with a square feature map."""
    calls: dict[str, _Call] = {}
    activated: dict[int, Tensor] = {}  # holds the tensors, so that no identity is given out twice
    order = 0

    def note(name: str, part: nn.Module, output: object) -> None:
        nonlocal order
        order += 1
        calls.pop(name, None)
        if isinstance(part, nn.AdaptiveAvgPool2d) or not isinstance(output, Tensor) or output.ndim != 4:
            return
        if isinstance(part, _ACTIVATIONS) or bool((output >= 0).all()):
            activated[id(output)] = output
        height, width = output.shape[-2:]
        if height == width > 1:  # channels-last features of transformers are not square
            octave = round(math.log2(x.shape[-1] / width))
            calls[name] = _Call(order, octave, id(output) if id(output) in activated else None)

    def noting(name: str, part: nn.Module) -> Callable[[object], object]:
        def hook(output: object) -> object:
            note(name, part, output)
            return output

        return hook

    parts = {name: part for name, part in module.named_modules() if name}
    with torch.no_grad(), layer_hooks(module, {name: noting(name, part) for name, part in parts.items()}):
        module(x)
    return calls


def _parts(module: nn.Module, prefix: str, calls: dict[str, _Call]) -> list[str]:
    """Name the parts of a network that span at most two resolutions, the largest such parts."""
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
    """Return the part itself if it ends in an activation, else the last output inside that does."""
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
    # The same tensor may be returned by the layer that made it, by layers around that one, whose names are
    # the ones to show, and by layers after it that only hand it on.
    same = [key for key, call in inside.items() if call.activated == tensor]
    maker = min(same, key=lambda key: inside[key].order)
    return min((key for key in same if maker == key or maker.startswith(f"{key}.")), key=len)
