"""Filling the layer strip: from a picture and a recipe to its panels, with progress for slow methods."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from camviz.html.layer_strip import Class, maps_message, strip_html, strip_of, strip_skeleton
from camviz.html.viewer import pack_tools
from camviz.html.words import title_html
from camviz.methods import METHODS
from camviz.recipe import Recipe
from camviz.results.finding import TOP, Finding
from camviz.ui.panels import viewer
from camviz.ui.panels.slow_progress import MapsPlace
from camviz.ui.panels.viewer import OnPaste, OnPick
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.sidebar import model_and_method
from camviz.workbench.findings import as_finding
from camviz.workbench.maps import is_ready, layer_maps, predict, view_uri
from camviz.workbench.networks import expected_seconds
from camviz.workbench.noisy_copies import get_segments
from camviz.workbench.pictures import Explained
from camviz.workbench.true_shapes import get_true_shape


def show_strip(
    place: MapsPlace,
    of: Explained,
    recipe: Recipe,
    on_wait: Callable[[], None],
    on_class: OnPick,
) -> None:
    """Draw the strip; for a slow method, first show the progress and a stop button.

    Args:
        place: the place of the maps.
        of: the picture and class.
        recipe: the recipe.
        on_wait: called before a long wait, to clear old results from the rest of the page.
        on_class: called with the class whose bar was clicked.
    """

    def skeleton() -> str:
        classes = [bar._replace(pick=None) for bar in top_classes(of)]
        return strip_skeleton(len(recipe.layers), view_uri(of), classes)

    make_ready(place, of, recipe, skeleton, on_wait)
    shown = unscored(of, recipe)
    markup = strip_html(strip_of(shown, top_classes(of), of.picture.credit))
    show_maps(place, "strip", of, recipe, shown, markup, on_class)


def unscored(of: Explained, recipe: Recipe) -> Finding:
    """The result for a picture and a recipe whose maps are ready, without scores."""
    return as_finding(of, recipe, ())


def heading_html(of: Explained, recipe: Recipe) -> str:
    """The page's heading: class, picture and method."""
    label, probabilities = of.net.labels[of.target], predict(of)
    sure, most = float(probabilities[of.target]), float(probabilities.max())
    return title_html(of.net.info.title, label, of.picture.title, sure, METHODS[recipe.method].title, most)


def show_maps(
    place: Slot, key: str, of: Explained, recipe: Recipe, shown: Finding, markup: str, on_class: OnPick | None = None
) -> None:
    """Send maps to the browser, with the markup they are drawn into."""
    message = maps_message(shown, markup, subject(of, recipe), picks=on_class is not None)
    viewer.show(place, key, message, on_class)


def make_ready(
    place: MapsPlace, of: Explained, recipe: Recipe, skeleton: Callable[[], str], on_wait: Callable[[], None]
) -> None:
    """Compute the maps of a recipe; for a slow method, show the time left."""
    if is_ready(of, recipe):
        return
    if not METHODS[recipe.method].is_slow:
        layer_maps(of, recipe)
    else:
        on_wait()
        _compute_slowly(place, of, recipe, skeleton())


def _compute_slowly(place: MapsPlace, of: Explained, recipe: Recipe, skeleton: str) -> None:
    title = f"{METHODS[recipe.method].title} runs the network many times"
    expected = expected_seconds(shared_host(), of.net, recipe)
    stop = model_and_method.use_default_method
    layer_maps(of, recipe, place.wait(skeleton, title, expected, stop))


def subject(of: Explained, recipe: Recipe) -> str:
    """A short identifier of what is explained and how."""
    return hashlib.sha256(repr((of.key, recipe)).encode()).hexdigest()[:16]


def show_tools(place: Slot, of: Explained, on_paste: OnPaste, merges: bool = True) -> None:
    """Show the viewer's toolbar, which also accepts a picture from the clipboard."""
    try:
        regions = get_segments(of)
    except ValueError:  # no regions, such as in a picture of a single colour
        regions = None
    message = pack_tools(get_true_shape(of) is not None, regions, merges, pastes=True)
    viewer.show(place, "tools", message, on_paste=on_paste)


def top_classes(of: Explained, count: int = TOP) -> list[Class]:
    """The likeliest classes; the last makes room for the chosen one if that is missing. A click asks to explain one."""
    probabilities = predict(of)
    top = [int(index) for index in np.argsort(-probabilities, kind="stable")[:count]]
    shown = top if of.target in top else [*top[:-1], of.target]
    return [Class(of.net.labels[index], float(probabilities[index]), index == of.target, index) for index in shown]
