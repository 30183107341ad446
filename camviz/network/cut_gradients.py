"""Where a network cuts the gradient between a layer and its output."""

from __future__ import annotations

import traceback
from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from camviz.network.hooks import layer_hooks

# Nodes in the graph for operations without a derivative, such as those on quantised weights.
_WITHOUT_DERIVATIVE = ("WarnNotImplemented", "NotImplemented")


def where_cut(module: nn.Module, x: Tensor, layer: str) -> str:
    """Say where no gradient comes through from the output to a layer, and why.

    Args:
        module: a network in eval mode, whose output has no gradient for that layer.
        x: images (B, 3, H, W).
        layer: a name as in `module.named_modules()`.

    Returns:
        "in 'head' (...)" or "after 'layer4' (...)", or "" if the output does not depend on the layer at all.
    """
    return _Search(layer).run(module, x) if _depends(module, x, layer) else ""


def _depends(module: nn.Module, x: Tensor, layer: str) -> bool:
    """Whether the network's output changes with the layer's."""

    def other(output: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(output.shape, generator=generator).to(output)

    with torch.no_grad():
        plain = module(x.clone())
        with layer_hooks(module, {layer: other}):
            return not torch.equal(module(x.clone()), plain)


class _Search:
    """Follows the gradient through the modules behind a layer."""

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self._leaf: Tensor | None = None  # what the layer returns
        self._reached: dict[Any, bool] = {}  # nodes of the graph, and whether the leaf can be reached from them
        self._given: dict[str, bool] = {}  # whether a module that runs was given what depends on the leaf
        self._last = layer  # the last module to return what does
        self._found = ""

    def run(self, module: nn.Module, x: Tensor) -> str:
        names = [name for name, _ in module.named_modules() if name]
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            layer_hooks(
                module,
                after={name: partial(self._after, name) for name in names},
                before={name: partial(self._before, name) for name in names},
            ),
        ):
            module(x.clone())
        return self._found or f"after {self._last!r} (it is detached there, or changed without a derivative)"

    def _before(self, name: str, inputs: Any) -> Any:  # noqa: ANN401
        self._given[name] = self._depends(inputs)
        return inputs

    def _after(self, name: str, output: Any) -> Any:  # noqa: ANN401
        if name == self._layer:
            self._leaf = output.detach().clone().requires_grad_()
            if not torch.is_grad_enabled():
                self._found = self._found or f"at {name!r} ({_why()})"
            return self._leaf.clone()  # the next layer may change it in place
        if self._depends(output):
            self._last = name
        elif self._given.get(name):
            self._found = self._found or f"in {name!r} ({_why()})"
        return output

    def _depends(self, value: Any) -> bool:  # noqa: ANN401
        """Whether a gradient leads from some tensor in nested tuples, lists and dicts to the leaf."""
        if isinstance(value, Tensor):
            return value is self._leaf or (value.grad_fn is not None and self._reaches(value.grad_fn))
        if isinstance(value, dict):
            return any(map(self._depends, value.values()))
        return isinstance(value, (tuple, list)) and any(map(self._depends, value))

    def _reaches(self, node: Any) -> bool:  # noqa: ANN401
        """Whether the graph leads from a node to the leaf."""
        waiting = [node]
        while waiting:
            current = waiting[-1]
            following = [other for other, _ in current.next_functions if other is not None]
            unknown = [other for other in following if other not in self._reached]
            if unknown and current not in self._reached:
                waiting += unknown
                continue
            is_leaf = self._leaf is not None and getattr(current, "variable", None) is self._leaf
            passes_on = current.name().rpartition("::")[2] not in _WITHOUT_DERIVATIVE
            self._reached[current] = is_leaf or (passes_on and any(self._reached[other] for other in following))
            waiting.pop()
        return self._reached[node]


def _why() -> str:
    """Why the module that runs now passes no gradient on."""
    if torch.is_grad_enabled():
        return "it detaches what it is given, or changes it without a derivative"
    files = {frame.f_code.co_filename for frame, _ in traceback.walk_stack(None)}
    if torch.utils.checkpoint.__file__ in files:
        return "reentrant checkpointing: build the network with use_reentrant=False"
    return "it runs under torch.no_grad"
