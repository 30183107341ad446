"""The server panel: the device, the queue, the cache, and what the cache saved."""

from __future__ import annotations

import os
import platform
from collections import Counter
from html import escape

import psutil
import torch

from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import Slot, visits
from camviz.workbench.cache_keys import Kind

# What cached results are counted as; all others as scores.
_KINDS = {
    Kind.CAPTURE: "captures",
    Kind.MIRROR: "captures",
    Kind.MAP: "maps",
    Kind.PNG: "pictures",
    Kind.SAMPLE: "pictures",
    Kind.SHAPES: "pictures",
    Kind.VIEW: "pictures",
    Kind.VIEW_URI: "pictures",
}


def show_server(place: Slot, device: torch.device) -> None:
    """Show the device and its memory, the queue, and the cache with the time it has saved."""
    place.html(engine_html(device))


def engine_html(device: torch.device) -> str:
    """The panel with the current values."""
    host = shared_host()
    kept = host.results
    used, total = memory(device)
    waiting = host.queue.waiting
    tabs, uploaded = visits()
    networks = [key for key in host.networks.holdings() if key.kind is Kind.NETWORK]
    rows = [
        ("Computes on", escape(device_name(device))),
        ("Memory", _bar(used, total)),
        ("– of this server", _size(server_memory())),
        ("Networks", f"{len(networks)} loaded · {_size(host.networks.size)}"),
        ("Cached results", _bar(kept.size, kept.max_bytes)),
        *((f"– {kind}", f"{count} · {_size(size)}") for kind, (count, size) in _held().items()),
        ("Visitors", f"{tabs} tab{'' if tabs == 1 else 's'} open · uploads {_size(uploaded)}"),
        ("Saved", f"{kept.hits:,} cache hits · {_time(kept.saved)} of computing"),
        ("Waiting", f"{waiting} in line" if waiting else "nobody"),
    ]
    body = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return (
        f'<dl class="cv-engine">{body}</dl><p class="cv-engine-note">Updated with every picture. Results are cached '
        "for all users of this server; the least recently used are dropped first. A result that a page uses more than "
        "once counts each time.</p>"
    )


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    used, cores = torch.get_num_threads(), os.cpu_count()
    return f"CPU · {platform.machine()} · {used} of {cores} cores"


def memory(device: torch.device) -> tuple[int, int]:
    """Bytes of the device's memory in use, by any program, and in total."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total - free, total
    ram = psutil.virtual_memory()  # an Apple GPU has the same
    return ram.total - ram.available, ram.total


def server_memory() -> int:
    """Bytes of resident memory of this process and of those it started, such as the one that decodes pictures."""
    own = psutil.Process()
    return sum(map(_resident, [own, *own.children(recursive=True)]))


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return 0


def _held() -> dict[str, tuple[int, int]]:
    """The number of cached results of each kind, and their bytes."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for key, taken in shared_host().results.holdings().items():
        kind = _KINDS.get(key.kind, "scores")
        count[kind] += 1
        size[kind] += taken
    return {kind: (count[kind], size[kind]) for kind in sorted(count)}


def _bar(used: int, total: int) -> str:
    return f'<span class="cv-bar" style="--v:{used / total:.3f}">{_size(used)} of {_size(total)}</span>'


def _size(size: float) -> str:
    """Bytes, in words."""
    if size < 2**20:
        return "less than 1 MB"
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


def _time(seconds: float) -> str:
    """A duration, in words."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
