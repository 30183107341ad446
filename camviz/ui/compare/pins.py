"""Pinned maps: each keeps its own picture, model and class while the rest of the page changes."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, field

import streamlit as st

from camviz.images import Fit
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.ui.compare.grid import Cell
from camviz.ui.server.sharing import shared_host
from camviz.ui.session import PINS
from camviz.ui.sidebar.picture import is_own, own_picture
from camviz.workbench.networks import get_network
from camviz.workbench.pictures import Picture, SeenPicture

MOST = 6


@dataclass(frozen=True)
class Pin:
    """Everything a map is made from; the network by name, so that the pin does not keep it in memory."""

    picture: Picture = field(compare=False)
    picture_id: str
    model: str
    fit: Fit
    noise: Perturbation | None
    target: int
    recipe: Recipe
    against: int | None = None

    @property
    def key(self) -> str:
        """A short identifier."""
        parts: tuple[Hashable, ...] = (self.picture_id, self.model, self.fit, self.noise, self.target, self.recipe)
        return hashlib.sha256(repr((*parts, self.against)).encode()).hexdigest()[:12]

    def cell(self) -> Cell:
        """The map itself; loads the network again if needed."""
        seen = SeenPicture(shared_host(), self.picture, get_network(shared_host(), self.model), self.fit, self.noise)
        against = None if self.against is None else seen.explaining(self.against)
        return Cell(seen.explaining(self.target), self.recipe, against)


def pins() -> list[Pin]:
    """The pinned maps, without those of pictures that the user has deleted."""
    kept = [pin for pin in PINS.get([]) if is_there(pin)]
    PINS.set(kept)
    return kept


def is_there(pin: Pin) -> bool:
    """Whether the user has not deleted the picture."""
    own = own_picture()
    return not is_own(pin.picture) or (own is not None and own.id == pin.picture_id)


def pin_of(cell: Cell) -> Pin:
    """What a map is made from."""
    of = cell.of
    against = None if cell.against is None else cell.against.target
    return Pin(of.picture, of.picture.id, of.net.info.name, of.fit, of.noise, of.target, cell.recipe, against)


def pin(cell: Cell) -> None:
    """Pin a map, unless it is already pinned or there are too many."""
    new, now = pin_of(cell), pins()
    if new in now:
        st.toast("This map is already pinned.", icon=":material/keep:")
    elif len(now) >= MOST:
        st.toast(f"{MOST} maps is the maximum: unpin one first.", icon=":material/keep:")
    else:
        PINS.set([*now, new])
        st.toast("Pinned to the top of the page: it stays while everything else changes.", icon=":material/keep:")


def unpin(old: Pin) -> None:
    """Remove a pinned map."""
    PINS.set([pin for pin in pins() if pin != old])
