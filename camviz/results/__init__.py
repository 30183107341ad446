"""Results: an explanation as a value, and its export to files."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """The module of bundles, which is public as `camviz.bundle`, imported when it is first used."""
    if name == "bundle":
        return importlib.import_module("camviz.results.bundle")
    raise AttributeError(f"module 'camviz.results' has no attribute {name!r}")
