"""The Compare page's link: everything in the Explore page's link, and what is compared."""

from __future__ import annotations

from typing import Any

from camviz.models import ModelInfo, list_models
from camviz.ui.compare.controls import models_for
from camviz.ui.explore.link import Link, apply, count_classes
from camviz.ui.links.address_bar import arrived, get_controls, leave_out, place_of_notices, set_controls
from camviz.ui.links.link_format import Compared, Explored, shown
from camviz.ui.session import (
    COMPARE_LEVELS,
    COMPARE_METHODS,
    COMPARE_MODE,
    COMPARE_SORT,
    MODEL,
    SessionKey,
    models_key,
    several_classes_key,
)

_PAGE = "compare"
# The link's fields, and the session keys of their controls.
_CONTROLS: dict[str, SessionKey[Any]] = {
    "mode": COMPARE_MODE,
    "methods": COMPARE_METHODS,
    "levels": COMPARE_LEVELS,
    "sort": COMPARE_SORT,
}


def open_link() -> Link:
    """Set the controls from the address, if the user has just opened it."""
    linked = arrived(Compared, _PAGE)
    if linked is not None:
        _apply(linked)
    return Link(place_of_notices(), _PAGE, _also)


def _apply(linked: Compared) -> None:
    target = apply(linked)
    set_controls(linked, _CONTROLS)
    info = next(info for info in list_models() if info.name == MODEL.require())
    if linked.classes is not None:
        several_classes_key(target).set(_known(linked.classes, range(count_classes(info)), "classes"))
    if linked.models is not None:
        models_key(info.data).set(_known(linked.models, models_for(info.data), "models"))


def _known(values: tuple[Any, ...], known: Any, name: str) -> list[Any]:  # noqa: ANN401
    """The values that can be chosen; the others are reported as unknown."""
    unknown = [str(value) for value in values if value not in known]
    if unknown:
        leave_out(shown(name, ", ".join(unknown)))
    return [value for value in values if value in known]


def _also(explored: Explored, info: ModelInfo, target: SessionKey[int]) -> Compared:
    """Everything chosen on the page."""
    mode, controls = COMPARE_MODE.get(), dict(_CONTROLS)
    if mode == "classes":
        controls["classes"] = several_classes_key(target)
    if mode == "models":
        controls["models"] = models_key(info.data)
    values = get_controls(controls)
    if values["levels"]:
        values["levels"] = tuple(sorted(values["levels"]))
    fields: dict[str, Any] = {**vars(explored), **values}
    return Compared(**fields)
