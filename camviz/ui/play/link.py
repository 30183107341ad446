"""The Play page's link: everything in the Explore page's link, and how the map is changed."""

from __future__ import annotations

from typing import Any

from camviz.models import ModelInfo
from camviz.ui.explore.link import Link, apply
from camviz.ui.links.address_bar import arrived, get_controls, place_of_notices, set_controls
from camviz.ui.links.link_format import Explored, Played
from camviz.ui.session import PLAY_BLUR, PLAY_DOWN, PLAY_RIGHT, PLAY_SHARPEN, PLAY_SHRINK, SessionKey

_PAGE = "play"
# The link's fields, and the session keys of their controls.
_CONTROLS: dict[str, SessionKey[Any]] = {
    "blur": PLAY_BLUR,
    "shrink": PLAY_SHRINK,
    "sharpen": PLAY_SHARPEN,
    "right": PLAY_RIGHT,
    "down": PLAY_DOWN,
}


def open_link() -> Link:
    """Set the controls from the address, if the user has just opened it."""
    linked = arrived(Played, _PAGE)
    if linked is not None:
        apply(linked)
        set_controls(linked, _CONTROLS)
    return Link(place_of_notices(), _PAGE, _also)


def _also(explored: Explored, *_: ModelInfo | SessionKey[int]) -> Played:
    """Everything chosen on the page."""
    return Played(**vars(explored), **get_controls(_CONTROLS))
