"""Run only the part of a network after a given layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camviz.network.batching import is_out_of_memory
from camviz.network.capture import Capture
from camviz.network.hooks import layer_hooks, require_eval
from camviz.network.layouts import as_the_network_has_it
from camviz.network.logits import logits_of

# module name -> which of its calls, counted from 1
Calls = dict[str, set[int]]


def rest_of_network(cap: Capture, index: int, image: int) -> Callable[[Tensor], Tensor]:
    """Return a function from n outputs (n, K, h, w) of a captured layer to logits (n, classes).

    The part before the layer runs on one image, however large n is: each part of the network that returns before
    the layer does gets one image, and its output is expanded to n without copying. Every run includes one
    unchanged copy; if its logits differ from the clean ones (for instance because the network changes an expanded
    tensor in place), the whole network runs on n images instead. For an image whose class score is NaN or infinite
    nothing runs, and all logits are NaN.

    Raises:
        ValueError: the network is now in training mode.
    """
    require_eval(cap.module)
    x = cap.x[image : image + 1]
    kept = cap.activations[index][image : image + 1]
    clean = cap.logits[image : image + 1]
    # Another class may be ruled out by a logit of -inf.
    largest = torch.where(clean.isfinite(), clean.abs(), 0).amax()
    asked = clean.gather(1, cap.target[image : image + 1, None])[0, 0]
    largest, is_finite = torch.stack([largest, asked.isfinite().to(largest.dtype)]).tolist()
    if not is_finite:
        return lambda outputs: clean.new_full((len(outputs), clean.shape[1]), torch.nan)
    tolerance = 1e-3 * largest
    early = _early_calls(cap.module, x, cap.layers[index], cap.calls[index])

    def run(outputs: Tensor) -> Tensor:
        nonlocal early
        if early:
            try:
                logits = _run(cap, index, x, early, torch.cat([outputs, kept]))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    early = {}  # this network does not work with expanded tensors
                elif len(outputs) > 1:
                    raise  # fewer may fit; of one, nothing is expanded, so it needs no copy to compare with
            else:
                if torch.allclose(logits[-1:], clean, rtol=0, atol=tolerance, equal_nan=True):
                    return logits[:-1]
                early = {}
        return _run(cap, index, x, early, outputs)

    return run


def _run(cap: Capture, index: int, x: Tensor, early: Calls, outputs: Tensor) -> Tensor:
    """Run the network on len(outputs) copies of x (1, 3, H, W), with the layer's last output replaced."""
    layer, last = cap.layers[index], cap.calls[index]
    shrunk = {**early, layer: early.get(layer, set()) | {last}} if early else {}
    count = len(outputs)
    calls: Counter[str] = Counter()

    def before(name: str, args: Any) -> Any:  # noqa: ANN401
        calls[name] += 1
        return _each(args, count, lambda t: t[:1]) if calls[name] in shrunk.get(name, ()) else args

    def after(name: str, output: Any) -> Any:  # noqa: ANN401
        if name == layer and calls[name] == last:
            return as_the_network_has_it(outputs, cap.channels_last[index])
        if calls[name] in shrunk.get(name, ()):
            return _each(output, 1, lambda t: t.expand(count, *t.shape[1:]))
        return output

    names = {layer, *shrunk}
    with layer_hooks(
        cap.module,
        after={name: partial(after, name) for name in names},
        before={name: partial(before, name) for name in names},
    ):
        # A network that changes its input in place must not reach x, and cannot on an expanded tensor.
        images = x.clone().expand(count, -1, -1, -1) if early else x.repeat(count, 1, 1, 1)
        return logits_of(cap.module(images), count)


def _early_calls(module: nn.Module, x: Tensor, layer: str, last: int) -> Calls:
    """Find the outermost calls that return before the layer's last call begins."""
    entered: list[tuple[str, int, int]] = []  # name, number of the call, index of the call around it
    stack = [-1]
    calls: Counter[str] = Counter()
    around: list[int] | None = None

    def before(name: str, args: Any) -> Any:  # noqa: ANN401
        nonlocal around
        calls[name] += 1
        if name == layer and calls[name] == last:
            around = list(stack)
        entered.append((name, calls[name], stack[-1]))
        stack.append(len(entered) - 1)
        return args

    def after(output: Any) -> Any:  # noqa: ANN401
        stack.pop()
        return output

    names = [name for name, _ in module.named_modules() if name]
    with layer_hooks(module, after=dict.fromkeys(names, after), before={n: partial(before, n) for n in names}):
        module(x.clone())
    early: Calls = {}
    for position, (name, number, parent) in enumerate(entered):
        if around is None or (name == layer and number == last):
            break
        if parent in around and position not in around:
            early.setdefault(name, set()).add(number)
    return early


def _each(value: Any, batch: int, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401
    """Apply a change to every tensor with this batch size in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return change(value) if value.ndim > 0 and len(value) == batch else value
    if isinstance(value, dict):
        return {key: _each(part, batch, change) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_each(part, batch, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
