"""The Compare page's link: everything in the Explore page's link, and what is compared."""

from __future__ import annotations

from typing import Any

import streamlit as st

from camviz.models import ModelInfo, list_models
from camviz.ui.compare.controls import LEVELS_KEY, METHODS_KEY, MODE, SEVERAL, SORT, models_for, models_key
from camviz.ui.explore.link import Link, apply, count_classes
from camviz.ui.links.address_bar import arrived, leave_out
from camviz.ui.links.link_format import Compared, Explored, shown

_PAGE = "compare"
# The link's fields, and the session keys of their controls.
_CONTROLS = {"mode": MODE, "methods": METHODS_KEY, "levels": LEVELS_KEY, "sort": SORT}


def open_link() -> Link:
    """Set the controls from the address, if the user has just opened it."""
    linked = arrived(Compared, _PAGE)
    if linked is not None:
        _apply(linked)
    return Link(st.container(), _PAGE, _also)


def _apply(linked: Compared) -> None:
    state = st.session_state
    key = apply(linked)
    for name, control in _CONTROLS.items():
        value = getattr(linked, name)
        if value is not None:
            state[control] = list(value) if isinstance(value, tuple) else value
    info = next(info for info in list_models() if info.name == state["model"])
    if linked.classes is not None:
        state[key + SEVERAL] = _known(linked.classes, range(count_classes(info)), "classes")
    if linked.models is not None:
        state[models_key(info.data)] = _known(linked.models, models_for(info.data), "models")


def _known(values: tuple[Any, ...], known: Any, name: str) -> list[Any]:  # noqa: ANN401
    """The values that can be chosen; the others are reported as unknown."""
    unknown = [str(value) for value in values if value not in known]
    if unknown:
        leave_out(shown(name, ", ".join(unknown)))
    return [value for value in values if value in known]


def _also(explored: Explored, info: ModelInfo, class_key: str) -> Compared:
    """Everything chosen on the page."""
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
    fields: dict[str, Any] = {**vars(explored), **values}
    return Compared(**fields)
