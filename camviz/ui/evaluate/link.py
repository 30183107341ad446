"""The Evaluate page's link: whose study, and what of it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from camviz.ui.links.address_bar import arrived, get_controls, keep, place_of_notices, set_controls, tell
from camviz.ui.links.link_format import Evaluated
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import (
    FIT,
    MODEL,
    TRUST_AREA,
    TRUST_BLIND,
    TRUST_COUNT,
    TRUST_LINK_METRIC,
    TRUST_LINK_UPLOADS,
    TRUST_METHODS,
    TRUST_METRIC,
    TRUST_MIRROR_AVERAGED,
    TRUST_NETWORK,
    TRUST_PICTURES,
    TRUST_RULES,
    TRUST_SAMPLES,
    TRUST_SIZE,
    TRUST_SOURCE,
    TRUST_STEPS,
    TRUST_TRUTH,
    SessionKey,
    trust_layers_key,
)
from camviz.ui.sidebar import model_and_method

_PAGE = "evaluate"
# The link's fields, and the session keys of their controls.
_CONTROLS: dict[str, SessionKey[Any]] = {
    "source": TRUST_SOURCE,
    "metric": TRUST_METRIC,
    "samples": TRUST_SAMPLES,
    "area": TRUST_AREA,
    "truth": TRUST_TRUTH,
    "size": TRUST_SIZE,
    "blind": TRUST_BLIND,
    "network": TRUST_NETWORK,
}
# Those of one's own evaluation.
_OWN: dict[str, SessionKey[Any]] = {
    "pictures": TRUST_PICTURES,
    "count": TRUST_COUNT,
    "fit": FIT,
    "methods": TRUST_METHODS,
    "rules": TRUST_RULES,
    "mirror_averaged": TRUST_MIRROR_AVERAGED,
    "steps": TRUST_STEPS,
}


@dataclass(frozen=True)
class Link:
    """The link of this run, with the place for messages about it."""

    place: DeltaGenerator

    def keep(self, where: DeltaGenerator, uploads: bool = False) -> None:
        """Write the choices into the address, offer it to copy, and list the link's invalid parts.

        Args:
            where: where to offer it.
            uploads: whether the pictures are the user's own, which a link does not hold.
        """
        own = TRUST_SOURCE.get() == "own"
        values = get_controls(_CONTROLS | (_OWN if own else {}))
        if own:
            model = MODEL.require()
            layers = trust_layers_key(model).get()
            values |= {"model": model, "layers": None if layers is None else tuple(layers)}
        now = Evaluated(**values, uploads=uploads or None)
        tell(self.place, now)
        keep(now, _PAGE, where)


def open_link() -> Link:
    """Set the controls from the address, if the user has just opened it."""
    linked = arrived(Evaluated, _PAGE)
    if linked is not None:
        set_controls(linked, _CONTROLS | _OWN)
        if linked.model is not None:
            model_and_method.settle_model(linked.pictures != "masks", linked.model, whatever=True)
            if linked.layers is not None:
                trust_layers_key(linked.model).set(list(linked.layers))
        if linked.uploads:
            TRUST_LINK_UPLOADS.set(True)
        if linked.metric is not None:
            TRUST_LINK_METRIC.set(linked.metric)
    return Link(place_of_notices())
