"""The Robustness page's link: the pictures, explanations and noise of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from camviz.models import ModelInfo
from camviz.samples import SAMPLES
from camviz.ui.escaping import code
from camviz.ui.links.address_bar import arrived, get_controls, keep, place_of_notices, set_controls, tell
from camviz.ui.links.link_format import DIGITS, Swept, plain
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import (
    FIT,
    POINT_EXPLANATION,
    POINT_KIND,
    POINT_LEVEL,
    POINT_PICTURE,
    POINT_REGION,
    POINT_SEED,
    SWEEP_BASES,
    SWEEP_COMPARED,
    SWEEP_DRAWS,
    SWEEP_KINDS,
    SWEEP_LEVELS,
    SWEEP_LINK_UPLOADS,
    SWEEP_METHODS,
    SWEEP_PHOTOS,
    SWEEP_SHAPES,
    SWEEP_SHOWN,
    SessionKey,
)
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.picture import is_own
from camviz.workbench.pictures import Picture

_PAGE = "robustness"
# The link's fields, and the session keys of their controls.
_CONTROLS: dict[str, SessionKey[Any]] = {
    "photos": SWEEP_PHOTOS,
    "shapes": SWEEP_SHAPES,
    "fit": FIT,
    "methods": SWEEP_METHODS,
    "merged": SWEEP_BASES,
    "noises": SWEEP_KINDS,
    "levels": SWEEP_LEVELS,
    "draws": SWEEP_DRAWS,
    "shown": SWEEP_SHOWN,
    "compared": SWEEP_COMPARED,
    "picture": POINT_PICTURE,
    "explanation": POINT_EXPLANATION,
    "noise": POINT_KIND,
    "level": POINT_LEVEL,
    "draw": POINT_SEED,
}


@dataclass(frozen=True)
class Link:
    """The link of this run, with the place for messages about it."""

    place: DeltaGenerator

    def keep(self, pictures: tuple[Picture, ...], info: ModelInfo, where: DeltaGenerator | None = None) -> None:
        """Write the choices into the address, offer it to copy, and list the link's invalid parts."""
        own = {picture.id[:DIGITS]: plain(picture.title) for picture in pictures if is_own(picture)}
        uploads = own | self._ask(own)
        now = _now(uploads, info)
        tell(self.place, now)
        keep(now, _PAGE, where)

    def _ask(self, own: dict[str, str]) -> dict[str, str]:
        """Ask for the link's uploads that are missing; return them."""
        needed = SWEEP_LINK_UPLOADS.get({})
        missing = {digest: name for digest, name in needed.items() if not _is_among(digest, own)}
        if not missing:
            SWEEP_LINK_UPLOADS.pop()
            return {}
        others = [code(name) for digest, name in own.items() if not _is_among(digest, needed)]
        extra = f" {_listed(others)} {'is' if len(others) == 1 else 'are'} not part of this link." if others else ""
        with self.place:
            st.info(
                f"This link also uses {_listed([code(name) for name in missing.values()])}. Uploads are not kept here: "
                f"upload {'it' if len(missing) == 1 else 'them'} again on the left.{extra}",
                icon=":material/upload_file:",
            )
            st.button("Continue without them", key="sweep_link_without", on_click=_continue_without)
        return missing


def open_link() -> Link:
    """Set the controls from the address, if the user has just opened it."""
    linked = arrived(Swept, _PAGE)
    if linked is not None:
        _apply(linked)
    return Link(place_of_notices())


def _apply(linked: Swept) -> None:
    set_controls(linked, _CONTROLS)
    if linked.region is not None:
        POINT_REGION.set((None, linked.region))
    uploads, names = linked.uploads or (), linked.names or ()
    SWEEP_LINK_UPLOADS.set(
        {
            digest: names[index] if index < len(names) and names[index] else f"upload {index + 1}"
            for index, digest in enumerate(uploads)
        }
    )
    synthetic = bool(SWEEP_SHAPES.get()) and not SWEEP_PHOTOS.get(list(SAMPLES)) and not uploads
    model_and_method.settle_model(synthetic, linked.model, whatever=bool(uploads))


def _now(uploads: dict[str, str], info: ModelInfo) -> Swept:
    """Everything chosen on the page."""
    values = get_controls(_CONTROLS)
    values["picture"] = values["picture"] and plain(values["picture"])
    if values["levels"]:
        values["levels"] = tuple(sorted(values["levels"]))
    picked = POINT_REGION.get()
    region = None if picked is None else picked[1]
    return Swept(**values, region=region, uploads=tuple(uploads), names=tuple(uploads.values()), model=info.name)


def _continue_without() -> None:
    SWEEP_LINK_UPLOADS.pop()


def _is_among(digest: str, others: dict[str, str]) -> bool:
    """Whether a digest matches one of the others, as far as both go: a link may hold more or fewer digits."""
    return any(digest.startswith(other) or other.startswith(digest) for other in others)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
