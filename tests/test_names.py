"""Names: whatever has the name of a module is that module."""

import importlib
import pkgutil
from types import ModuleType

import pytest

import camviz

# `camviz.ui` needs Streamlit, which the fast tests do without, and `__main__` runs when it is imported.
PACKAGES = ["camviz", *(f"camviz.{each.name}" for each in pkgutil.iter_modules(camviz.__path__) if each.ispkg)]


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "camviz.ui"])
def test_no_function_hides_a_module_of_its_name(package):
    parent = importlib.import_module(package)
    names = [each.name for each in pkgutil.iter_modules(parent.__path__) if each.name != "__main__"]
    for name in names:
        if f"{package}.{name}" != "camviz.ui":
            importlib.import_module(f"{package}.{name}")
    assert [name for name in names if not isinstance(getattr(parent, name, ModuleType(name)), ModuleType)] == []
