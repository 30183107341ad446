"""The Compare page's link: what the Explore page's says, and what is compared."""

from __future__ import annotations

from typing import Any

import streamlit as st

from camviz.models import ModelInfo, list_models
from camviz.ui.compare.controls import LEVELS_KEY, METHODS_KEY, MODE, SEVERAL, SORT, models_for, models_key
from camviz.ui.explore.link import Link, apply, count_classes
from camviz.ui.links.address_bar import arrived, leave_out
from camviz.ui.links.link_format import Compared, Explored, shown

_PAGE = "compare"
# What the page says by which control.
_CONTROLS = {"mode": MODE, "methods": METHODS_KEY, "levels": LEVELS_KEY, "sort": SORT}


def open_link() -> Link:
    """Set the controls to what the address says, if a person came to it."""
    found = arrived(Compared, _PAGE)
    if found is not None:
        _apply(found)
    return Link(st.container(), _PAGE, _also)


def _apply(found: Compared) -> None:
    state = st.session_state
    key = apply(found)
    for name, control in _CONTROLS.items():
        value = getattr(found, name)
        if value is not None:
            state[control] = list(value) if isinstance(value, tuple) else value
    info = next(info for info in list_models() if info.name == state["model"])
    if found.classes is not None:
        state[key + SEVERAL] = _known(found.classes, range(count_classes(info)), "classes")
    if found.models is not None:
        state[models_key(info.data)] = _known(found.models, models_for(info.data), "models")


def _known(values: tuple[Any, ...], known: Any, name: str) -> list[Any]:  # noqa: ANN401
    """What can be chosen of a list; the rest is told."""
    unknown = [str(value) for value in values if value not in known]
    if unknown:
        leave_out(shown(name, ", ".join(unknown)))
    return [value for value in values if value in known]


def _also(found: Explored, info: ModelInfo, class_key: str) -> Compared:
    """All that is chosen on the page."""
    state = st.session_state
    chosen: dict[str, Any] = {name: state.get(key) for name, key in _CONTROLS.items()}
    if chosen["mode"] == "classes":
        chosen["classes"] = state.get(class_key + SEVERAL)
    if chosen["mode"] == "models":
        chosen["models"] = state.get(models_key(info.data))
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()
    }
    if values["levels"]:
        values["levels"] = tuple(sorted(values["levels"]))
    known: dict[str, Any] = {**vars(found), **values}
    return Compared(**known)
