"""Networks, loaded once for everybody, and moved to the CPU where the GPU's memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st
import torch

from camviz.capture import capture
from camviz.chunks import is_out_of_memory
from camviz.methods import METHODS
from camviz.methods.passes import passes
from camviz.models import Net, load_model
from camviz.models.registry import probe_input
from camviz.ui.engine import cache, heavy, nets
from camviz.ui.streamlit_internals import yield_point

_LOG = logging.getLogger(__name__)


def at(net: Net) -> str:
    """A network and where it runs, as results do not leave their device."""
    return f"{net.info.name} on {net.device}"


@st.cache_resource(show_spinner=False)
def _moved() -> set[str]:
    """The networks that run on the CPU because the GPU's memory did not suffice."""
    return set()


def get_net(name: str) -> Net:
    """Load a network, unless it is at hand."""
    if not was_moved(name):
        try:
            return nets().get((name, "default"), lambda: _load(name, None), yield_point)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            _move(name, error)
    return nets().get((name, "cpu"), lambda: _load(name, "cpu"), yield_point)


def _load(name: str, device: str | None) -> Net:
    if device == "cpu":
        torch.cuda.empty_cache()  # by now nothing holds on to what did not fit
    with heavy():
        return load_model(name, device)


def was_moved(name: str) -> bool:
    """Whether a network had to leave the GPU."""
    return name in _moved()


@contextmanager
def gpu_memory(net: Net) -> Iterator[None]:
    """Should the GPU's memory not suffice in this block, move the network to the CPU and run the page again.

    Results are computed anew there; nothing that a person chose is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error) or (net.device.type == "cpu" and was_moved(net.info.name)):
            raise
        _move(net.info.name, error)
        cache().forget(at(net), place=1)
    else:
        return
    st.rerun()


def _move(name: str, error: RuntimeError) -> None:
    """Let a network run on the CPU from now on, until the server starts anew."""
    _LOG.warning("%s leaves the GPU, whose memory does not suffice: %s", name, error)
    _moved().add(name)
    nets().forget(name)


@dataclass(frozen=True)
class _Speed:
    """Seconds that a forward pass of one image takes, and each many-pass method on each layer."""

    forward: float
    methods: dict[tuple[str, str], float]


def expected_seconds(net: Net, method: str, layers: tuple[str, ...]) -> float:
    """How long a method will take on these layers, about; 0 if it answers at once."""
    if not METHODS[method].is_slow:
        return 0.0
    costs = _speed(net).methods
    return sum(costs[method, layer] for layer in layers)


def pass_seconds(net: Net) -> float:
    """How long a forward pass of one image takes, about."""
    return _speed(net).forward


def _speed(net: Net) -> _Speed:
    """Time a forward pass; the second one counts, as the first is slower."""

    def compute() -> _Speed:
        x = probe_input(net.preprocessing.size).to(net.device)
        with heavy():
            cap = [capture(net.module, x, layers=net.layers) for _ in range(2)][-1]
        slow = [name for name, method in METHODS.items() if method.is_slow]
        costs = {(n, layer): passes(cap.select([layer]), n) * cap.seconds for n in slow for layer in net.layers}
        return _Speed(cap.seconds, costs)

    return nets().get((at(net), "seconds"), compute, yield_point)
