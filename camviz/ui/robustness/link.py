"""The Robustness page's link: which pictures, explanations and noise a sweep is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from camviz.models import ModelInfo
from camviz.samples import SAMPLES
from camviz.ui.links.address_bar import arrived, keep, tell
from camviz.ui.links.link_format import DIGITS, Swept, code, plain
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.picture import is_own
from camviz.workbench.pictures import Picture

_PAGE = "robustness"
# Session key: the uploads that a link asks for, by how their SHA-256 begins, with their names.
_ASKED = "sweep_link_asked"
# What the page says by which control.
_CONTROLS = {
    "photos": "sweep_photos",
    "shapes": "sweep_shapes",
    "fit": "fit",
    "methods": "sweep_methods",
    "merged": "sweep_bases",
    "noises": "sweep_kinds",
    "levels": "sweep_levels",
    "draws": "sweep_draws",
}


@dataclass(frozen=True)
class Link:
    """The link of this run, with the place for what there is to say of it."""

    place: DeltaGenerator

    def keep(self, pictures: tuple[Picture, ...], info: ModelInfo, where: DeltaGenerator | None = None) -> None:
        """Write what is chosen into the address, offer it to copy, and tell what of the link is not as it says."""
        own = {picture.id[:DIGITS]: plain(picture.title) for picture in pictures if is_own(picture)}
        uploads = own | self._ask(own)
        now = _now(uploads, info)
        tell(self.place, now)
        keep(now, _PAGE, where)

    def _ask(self, own: dict[str, str]) -> dict[str, str]:
        """Ask for the pictures that the link measures and that are not here; return them."""
        asked: dict[str, str] = st.session_state.get(_ASKED, {})
        missing = {digest: name for digest, name in asked.items() if not _is_among(digest, own)}
        if not missing:
            st.session_state.pop(_ASKED, None)
            return {}
        others = [code(name) for digest, name in own.items() if not _is_among(digest, asked)]
        told = f" {_listed(others)} {'is' if len(others) == 1 else 'are'} not among its pictures." if others else ""
        with self.place:
            st.info(
                f"This link also measures {_listed([code(name) for name in missing.values()])}, uploaded and not kept "
                f"here: upload {'it' if len(missing) == 1 else 'them'} on the left.{told}",
                icon=":material/upload_file:",
            )
            st.button(
                "Continue without them", key="sweep_link_without", on_click=lambda: st.session_state.pop(_ASKED, None)
            )
        return missing


def open_link() -> Link:
    """Set the controls to what the address says, if a person came to it."""
    found = arrived(Swept, _PAGE)
    if found is not None:
        _apply(found)
    return Link(st.container())


def _apply(found: Swept) -> None:
    state = st.session_state
    for name, key in _CONTROLS.items():
        value = getattr(found, name)
        if value is not None:
            state[key] = list(value) if isinstance(value, tuple) else value
    uploads, names = found.uploads or (), found.names or ()
    state[_ASKED] = {
        digest: names[place] if place < len(names) and names[place] else f"upload {place + 1}"
        for place, digest in enumerate(uploads)
    }
    synthetic = bool(state.get("sweep_shapes")) and not state.get("sweep_photos", SAMPLES) and not uploads
    model_and_method.settle_model(synthetic, found.model, whatever=bool(uploads))


def _now(uploads: dict[str, str], info: ModelInfo) -> Swept:
    """All that is chosen on the page."""
    chosen: dict[str, Any] = {name: st.session_state.get(key) for name, key in _CONTROLS.items()}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()
    }
    if values["levels"]:
        values["levels"] = tuple(sorted(values["levels"]))
    return Swept(**values, uploads=tuple(uploads), names=tuple(uploads.values()), model=info.name)


def _is_among(digest: str, others: dict[str, str]) -> bool:
    """Whether two of these begin alike: a link may hold more or fewer digits."""
    return any(digest.startswith(other) or other.startswith(digest) for other in others)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
