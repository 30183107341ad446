"""The Evaluate page's link: what of the study is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from camviz.ui.links.address_bar import arrived, keep, place_of_notices, set_controls, tell
from camviz.ui.links.link_format import Evaluated
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import (
    TRUST_AREA,
    TRUST_BLIND,
    TRUST_METRIC,
    TRUST_NETWORK,
    TRUST_SAMPLES,
    TRUST_SIZE,
    TRUST_TRUTH,
    SessionKey,
)

_PAGE = "evaluate"
# The link's fields, and the session keys of their controls.
_CONTROLS: dict[str, SessionKey[Any]] = {
    "metric": TRUST_METRIC,
    "samples": TRUST_SAMPLES,
    "area": TRUST_AREA,
    "truth": TRUST_TRUTH,
    "size": TRUST_SIZE,
    "blind": TRUST_BLIND,
    "network": TRUST_NETWORK,
}


@dataclass(frozen=True)
class Link:
    """The link of this run, with the place for messages about it."""

    place: DeltaGenerator

    def keep(self, where: DeltaGenerator) -> None:
        """Write the choices into the address, offer it to copy, and list the link's invalid parts."""
        now = Evaluated(**{name: key.get() for name, key in _CONTROLS.items()})
        tell(self.place, now)
        keep(now, _PAGE, where)


def open_link() -> Link:
    """Set the controls from the address, if the user has just opened it."""
    linked = arrived(Evaluated, _PAGE)
    if linked is not None:
        set_controls(linked, _CONTROLS)
    return Link(place_of_notices())
