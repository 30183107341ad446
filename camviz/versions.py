"""The version of camviz, and of everything that a map's numbers depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

__version__ = "1.0.0"


def versions() -> dict[str, str]:
    """The running versions of camviz, torch, torchvision, numpy, pillow and Python."""
    return {"camviz": __version__, **_packages(), "python": platform.python_version()}


@cache
def _packages() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow")}
