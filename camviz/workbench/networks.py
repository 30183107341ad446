"""Networks, loaded once, and moved to the CPU where a GPU's memory does not suffice; and how long they take."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from camviz.methods import METHODS
from camviz.methods.channel_sweeps import passes
from camviz.models import Net, load_model
from camviz.models.registry import probe_input
from camviz.network.batching import is_out_of_memory
from camviz.network.capture import capture
from camviz.workbench.host import Host
from camviz.workbench.pictures import network_key

_LOG = logging.getLogger(__name__)


def get_network(host: Host, name: str) -> Net:
    """Load a network, unless it is kept."""
    if name not in host.moved:
        try:
            return host.kept_network((name, "default"), lambda: _load(host, name, None))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            _move(host, name, error)
    return host.kept_network((name, "cpu"), lambda: _load(host, name, "cpu"))


def _load(host: Host, name: str, device: str | None) -> Net:
    if device == "cpu":
        torch.cuda.empty_cache()  # by now nothing holds on to what did not fit
    with host.working():
        return load_model(name, device)


@contextmanager
def on_full_memory(host: Host, net: Net, retry: Callable[[], object]) -> Iterator[None]:
    """Should a GPU's memory not suffice in this block, move the network to the CPU and call `retry`."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error) or (net.device.type == "cpu" and net.info.name in host.moved):
            raise
        _move(host, net.info.name, error)
        host.results.forget(network_key(net), place=1)
    else:
        return
    retry()


def _move(host: Host, name: str, error: RuntimeError) -> None:
    """Let a network run on the CPU from now on, as long as the host lives."""
    _LOG.warning("%s leaves the GPU, whose memory does not suffice: %s", name, error)
    host.moved.add(name)
    host.networks.forget(name)


@dataclass(frozen=True)
class _Speed:
    """Seconds that a forward pass of one image takes, and each many-pass method on each layer."""

    forward: float
    methods: dict[tuple[str, str], float]


def expected_seconds(host: Host, net: Net, method: str, layers: tuple[str, ...]) -> float:
    """How long a method will take on these layers, about; 0 if it answers at once."""
    if not METHODS[method].is_slow:
        return 0.0
    costs = _speed(host, net).methods
    return sum(costs[method, layer] for layer in layers)


def pass_seconds(host: Host, net: Net) -> float:
    """How long a forward pass of one image takes, about."""
    return _speed(host, net).forward


def _speed(host: Host, net: Net) -> _Speed:
    """Time a forward pass; the second one counts, as the first is slower."""

    def compute() -> _Speed:
        x = probe_input(net.preprocessing.size).to(net.device)
        with host.working():
            cap = [capture(net.module, x, layers=net.layers) for _ in range(2)][-1]
        slow = [name for name, method in METHODS.items() if method.is_slow]
        costs = {(n, layer): passes(cap.select([layer]), n) * cap.seconds for n in slow for layer in net.layers}
        return _Speed(cap.seconds, costs)

    return host.kept_network((network_key(net), "seconds"), compute)
