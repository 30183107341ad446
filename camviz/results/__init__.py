"""Results: an explanation as a value, and its export to files."""

import lazy_loader

# `camviz.bundle` is a module, imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["bundle"])
