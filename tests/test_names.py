"""Names: whatever has the name of a module is that module."""

import importlib
import pkgutil
from types import ModuleType

import pytest

import camviz

LEFT_OUT = {"camviz.ui", "camviz.__main__"}  # the one needs Streamlit, the other runs when it is imported


def modules(package):
    """The names of a package's own modules, without those left out."""
    within = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    return [each.name for each in within if each.name not in LEFT_OUT]


@pytest.mark.parametrize("name", ["camviz", *modules(camviz)])
def test_no_function_hides_a_module_of_its_name(name):
    package = importlib.import_module(name)
    for module in modules(package) if hasattr(package, "__path__") else ():
        importlib.import_module(module)
        assert isinstance(getattr(package, module.rpartition(".")[2]), ModuleType), module
