"""The hooks that camviz adds to a network and removes again."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn


@contextmanager
def layer_hooks(
    module: nn.Module,
    after: Mapping[str, Callable[[Any], Any]],
    before: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Iterator[None]:
    """Wrap the calls of named layers in functions, in this thread and this block only.

    Args:
        module: the network; several threads may hook it at once without seeing each other's functions.
        after: layer name -> function of the layer's output that returns the output to pass on.
        before: layer name -> function of (args, kwargs) that returns the ones to call the layer with.

    Raises:
        ValueError: the module has no layer with that name.
    """
    modules = dict(module.named_modules())
    before = before or {}
    for name in (*after, *before):
        if name not in modules:
            near = difflib.get_close_matches(name, modules, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; see module.named_modules()"
            raise ValueError(f"{type(module).__name__} has no layer {name!r}{hint}")
    owner = threading.get_ident()

    def after_hook(function: Callable[[Any], Any]) -> Callable[..., Any]:
        return lambda _module, _args, output: function(output) if threading.get_ident() == owner else None

    def before_hook(function: Callable[[Any], Any]) -> Callable[..., Any]:
        # None leaves the call unchanged. Another thread may see this hook half registered, without its kwargs.
        return lambda _module, *inputs: function(inputs) if threading.get_ident() == owner else None

    handles = []
    try:
        for name, function in before.items():
            handles.append(modules[name].register_forward_pre_hook(before_hook(function), with_kwargs=True))
        for name, function in after.items():
            handles.append(modules[name].register_forward_hook(after_hook(function)))
        with _eager(modules.values()):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _eager(parts: Iterable[nn.Module]) -> AbstractContextManager[object]:
    """Let compiled parts run as they are written: compiled, they would not call hooks."""
    if any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in parts):
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


def require_eval(module: nn.Module) -> None:
    """Raise a ValueError if a part of the network is in training mode, naming that part."""
    for name, part in module.named_modules():
        if part.training:
            where = f"its layer {name!r}" if name else type(module).__name__
            raise ValueError(f"{where} is in training mode: call module.eval() first")
