"""Networks: loaded once, moved to the CPU if the GPU's memory is too small, and timed."""

from __future__ import annotations

import logging
import time
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
from camviz.recipe import Recipe
from camviz.workbench.cache_keys import Key, Kind
from camviz.workbench.host import Host
from camviz.workbench.pictures import network_key

_SPEED_LASTS = 300  # seconds until a network's speed is measured again
_LOG = logging.getLogger(__name__)


def get_network(host: Host, name: str) -> Net:
    """Load a network, or return the cached one."""
    if name not in host.moved:
        try:
            return host.kept_network(_key(name, "default"), lambda: _load(host, name, None))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            _move(host, name, error)
    return host.kept_network(_key(name, "cpu"), lambda: _load(host, name, "cpu"))


def _key(name: str, device: str) -> Key:
    return Key(Kind.NETWORK, network=name, settings=(device,))


def _load(host: Host, name: str, device: str | None) -> Net:
    if device == "cpu":
        torch.cuda.empty_cache()  # nothing refers to the failed allocation any more
    with host.working():
        return load_model(name, device)


@contextmanager
def on_full_memory(host: Host, net: Net, retry: Callable[[], object]) -> Iterator[None]:
    """If the GPU's memory runs out in this block, move the network to the CPU and call `retry`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or (net.device.type == "cpu" and net.info.name in host.moved):
            raise
        _move(host, net.info.name, error)
        host.results.forget(lambda key: key.network == network_key(net))
    else:
        return
    retry()


def _move(host: Host, name: str, error: Exception) -> None:
    """Run a network on the CPU for the rest of the host's lifetime."""
    _LOG.warning("%s does not fit into the GPU's memory and moves to the CPU: %s", name, error)
    host.moved.add(name)
    host.networks.forget(lambda key: key.network == name)


@dataclass(frozen=True)
class _Speed:
    """Seconds for a forward pass of one image, and for each slow method on each layer."""

    forward: float
    methods: dict[tuple[str, str], float]


def expected_seconds(host: Host, net: Net, recipe: Recipe) -> float:
    """Approximately how long a recipe's layer maps take; 0 for a fast method."""
    if not METHODS[recipe.method].is_slow:
        return 0.0
    costs = _speed(host, net).methods
    return (2 if recipe.mirror_averaged else 1) * sum(costs[recipe.method, layer] for layer in recipe.layers)


def pass_seconds(host: Host, net: Net) -> float:
    """Approximately how long a forward pass of one image takes."""
    return _speed(host, net).forward


def _speed(host: Host, net: Net) -> _Speed:
    """Time forward passes, and take the fastest; again after a while, as the machine may have been busy."""

    def compute() -> _Speed:
        x = probe_input(net.preprocessing.size).to(net.device)
        with host.working():
            cap = min((capture(net.module, x, layers=net.layers) for _ in range(3)), key=lambda cap: cap.seconds)
        slow = [name for name, method in METHODS.items() if method.is_slow]
        costs = {(n, layer): passes(cap.select([layer]), n) * cap.seconds for n in slow for layer in net.layers}
        return _Speed(cap.seconds, costs)

    now = int(time.monotonic() // _SPEED_LASTS)
    return host.kept_network(Key(Kind.SPEED, network=network_key(net), settings=(now,)), compute)
