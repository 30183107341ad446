"""camviz: class activation maps, refined, scored and tested for robustness.

The public names stand in `__init__.pyi`. Each is imported when it is first used: torch alone takes seconds.
"""

import warnings
from typing import Any

import lazy_loader

_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name, or resolve a deprecated one."""
    if name == "compare":
        warnings.warn("camviz.compare is now camviz.check_agreement", DeprecationWarning, stacklevel=2)
        name = "check_agreement"
    return _public(name)
