"""Clean and noisy, one above the other: pictures, predictions and maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape

import numpy as np

from camviz.html.layer_strip import maps_html, maps_skeleton, seen_html, strip_of
from camviz.html.viewer import Arrangement, pack
from camviz.html.words import percent
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.ui.panels import viewer
from camviz.ui.panels.layer_strip import make_ready, show_maps, top_classes, unscored
from camviz.ui.panels.outlines import outline_of
from camviz.ui.panels.slow_progress import MapsPlace
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.session import SessionKey
from camviz.workbench.maps import get_view, likeliest, predict
from camviz.workbench.pictures import Explained, SeenPicture

# Classes listed next to each picture.
_TOP = 3
_NAMES = ("clean", "noisy")


class PairPlaces:
    """The places of the two pictures with their classes, and of their maps.

    Attributes:
        beside: the place to the right of them.
    """

    def __init__(self, parent: DeltaGenerator) -> None:
        left, right = parent.columns([2.35, 1], gap="medium")
        self.beside = right.container(key="curve")
        grid = left.container(key="pair")
        self._seen: list[Slot] = []
        self._maps: list[MapsPlace] = []
        for name in _NAMES:
            self._seen.append(Slot(grid.container()))
            self._maps.append(MapsPlace(grid.container(), name))

    def show_seen(self, seen: SeenPicture, noise: Perturbation, chosen: SessionKey[int]) -> None:
        """Show both pictures and what the network sees in them, before any map is computed.

        A click on a class's bar chooses it; until one is chosen, the predicted one is explained.
        """
        for name, one, place in zip(_NAMES, (seen, replace(seen, noise=noise)), self._seen, strict=True):
            of = one.explaining(chosen.get(likeliest(one)))
            caption = _clean_caption(of) if of.noise is None else _noisy_caption(of, of.noise)
            markup = seen_html(of.picture.credit, top_classes(of, _TOP), outline_of(of), caption)
            view = get_view(of)
            nothing = np.empty((0, *view.shape[:2]), np.float32)
            arrangement = Arrangement("", markup, f"The {name} picture", picks=True)
            viewer.show(place, f"seen-{name}", pack(arrangement, view, nothing), chosen.set)

    def show(self, both: tuple[Explained, Explained], recipe: Recipe, on_wait: Callable[[], None]) -> None:
        """Show the maps of both; for a slow method, first show the progress and a stop button.

        `on_wait` is called before a long wait.
        """
        for name, of, place in zip(_NAMES, both, self._maps, strict=True):
            make_ready(place, of, recipe, lambda: maps_skeleton(len(recipe.layers)), on_wait)
            shown = unscored(of, recipe)
            show_maps(place, f"maps-{name}", of, recipe, shown, maps_html(strip_of(shown, []), _explained(of)))


def _clean_caption(of: Explained) -> str:
    """What the network sees in the clean picture."""
    return f"Clean · sees <b>{_predicted(of)}</b>"


def _noisy_caption(of: Explained, point: Perturbation) -> str:
    """The noise in words, and what the network sees now."""
    noise = KINDS[point.kind]
    flipped = likeliest(of) != likeliest(of.clean)
    sees = "now sees" if flipped else "still sees"
    mark = ' class="cv-flip"' if flipped else ""
    return f"{escape(noise.title)}, {noise.strength(point.level)} · {sees} <b{mark}>{_predicted(of)}</b>"


def _predicted(of: Explained) -> str:
    """The predicted class, with its probability."""
    best = likeliest(of)
    return f"{escape(of.net.labels[best])} {percent(float(predict(of)[best]))}"


def _explained(of: Explained) -> str:
    """Which class the maps explain, if it is not the predicted one."""
    return "" if of.target == likeliest(of) else f"Maps of {of.net.labels[of.target]}"
