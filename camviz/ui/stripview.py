"""Filling the strip: from a scene and a recipe to its pictures, with progress where it takes long."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import numpy as np
import streamlit as st

from camviz.explain import Recipe
from camviz.methods import METHODS
from camviz.ui import controls, viewer
from camviz.ui.compute import (
    Scene,
    get_capture,
    get_panels,
    get_twins,
    get_view,
    is_ready,
    layer_map,
    layer_maps,
    predict,
    view_uri,
)
from camviz.ui.nets import expected_seconds
from camviz.ui.robust import get_segments
from camviz.ui.streamlit_internals import Slot
from camviz.ui.strip import Class, LayerPanel, Strip, strip_html, strip_skeleton
from camviz.ui.truth import get_truth
from camviz.ui.viewer import Arrangement, OnPaste
from camviz.ui.words import title_html

_VERBS = {
    "product": "×",
    "geometric mean": "×, then root, with",
    "minimum": "minimum with",
    "mean": "mean with",
}
TOP = 5
# Seconds after which a slow method's own speed tells more than the estimate.
_SETTLED = 3


def show_strip(
    place: Slot,
    scene: Scene,
    recipe: Recipe,
    on_wait: Callable[[], None],
) -> None:
    """Draw the strip into its place; for a slow method, show the progress and a way to stop first.

    `on_wait` is called before a long wait, for what else on the page should not show old results meanwhile.
    """

    def skeleton() -> str:
        return strip_skeleton(len(recipe.layers), view_uri(scene), top_classes(scene))

    make_ready(place, scene, recipe, skeleton, on_wait)
    show_maps(place, "strip", scene, recipe, strip_markup(scene, recipe))


def heading_html(scene: Scene, recipe: Recipe) -> str:
    """What is asked, of which picture, and by which method."""
    label, probability = scene.net.labels[scene.target], float(predict(scene)[scene.target])
    return title_html(scene.net.info.title, label, scene.picture.title, probability, METHODS[recipe.method].title)


def strip_markup(scene: Scene, recipe: Recipe) -> str:
    """The strip with a canvas for each picture."""
    return strip_html(make_strip(scene, recipe, top_classes(scene)))


def show_maps(place: Slot, key: str, scene: Scene, recipe: Recipe, markup: str) -> None:
    """Send the maps of a scene to the browser, with the markup that they are drawn into."""
    viewer.show(place, key, maps_message(scene, recipe, markup))


def maps_message(scene: Scene, recipe: Recipe, markup: str) -> bytes:
    """The maps of a scene, with the markup that they are drawn into."""
    panels, count = get_panels(scene, recipe), len(recipe.layers)
    arrangement = Arrangement(
        subject(scene, recipe),
        markup,
        label=f"Maps of {scene.net.labels[scene.target]}",
        ranges=panels.ranges,
        merges=range(count, 2 * count),
        result=2 * count - 1,
        partner=0,
    )
    return viewer.pack(arrangement, get_view(scene), panels.maps)


def make_ready(
    place: Slot, scene: Scene, recipe: Recipe, skeleton: Callable[[], str], on_wait: Callable[[], None]
) -> None:
    """Have the maps of a recipe at hand; those of a slow method with the time left over the empty panels."""
    if is_ready(scene, recipe):
        return
    if not METHODS[recipe.method].is_slow:
        layer_maps(scene, recipe)
    else:
        on_wait()
        _compute_slowly(place, scene, recipe, skeleton())


def result_title(recipe: Recipe) -> str:
    """What the merged map is called."""
    if len(recipe.layers) == 1:
        return "One layer"
    return "RefineCAM" if recipe.rule == "product" else f"Merged: {recipe.rule}"


def _compute_slowly(place: Slot, scene: Scene, recipe: Recipe, skeleton: str) -> None:
    title = METHODS[recipe.method].title
    which = "clean" if scene.noise is None else "noisy"
    with place.container(key=f"slow-strip-{which}"):
        st.html(skeleton)
        with st.container(key=f"slow-progress-{which}"):
            expected = expected_seconds(scene.net, recipe.method, recipe.layers)
            bar = st.progress(0.0, f"{title} runs the network many times: {controls.duration(expected)}")
            st.button("Stop", icon=":material/stop:", key=f"stop-{which}", on_click=controls.use_default_method)
    start = time.monotonic()

    def show(done: int, total: int) -> None:
        spent = time.monotonic() - start
        left = spent * (total - done) / done if spent > _SETTLED else expected
        bar.progress(done / total, f"{title}: {done / total:.0%} done, {controls.duration(left)} left")

    layer_maps(scene, recipe, show)


def make_strip(scene: Scene, recipe: Recipe, classes: list[Class]) -> Strip:
    """Everything that the strip shows of a scene whose maps are at hand."""
    panels = get_panels(scene, recipe)
    cap = get_capture(scene).select(recipe.layers)
    same = get_twins(scene, recipe.method)
    blanks = [layer_map(scene, recipe.method, layer)[1] for layer in recipe.layers]
    method = METHODS[recipe.method]
    truth = get_truth(scene)
    layers = [
        LayerPanel(
            name=layer,
            side=activation.shape[-1],
            blank=blanks[index],
            merged_blank=why_blank(panels.blank[-1 - index], blanks[index:]),
            marks=_marks(recipe.method, bool((activation < 0).any()), same[layer]),
        )
        for index, (layer, activation) in enumerate(zip(cap.layers, cap.activations, strict=True))
    ]
    over = f" over {len(layers)} layers" if len(layers) > 1 else f", {layers[0].side} × {layers[0].side}"
    credit = scene.picture.credit
    return Strip(
        view_caption=f"Photo: {credit}" if credit else f"{cap.x.shape[-1]} × {cap.x.shape[-2]} pixels",
        classes=classes,
        layers=layers[::-1],
        result_title=result_title(recipe),
        result_caption=f"{method.title}{over}",
        verb=_VERBS[recipe.rule],
        legend=("little", "much evidence") if method.class_specific else ("low", "high"),
        explained=f"{method.title} for {scene.net.labels[scene.target]}",
        outline=truth.outline if truth else "",
    )


def subject(scene: Scene, recipe: Recipe) -> str:
    """What is explained and how, in a few letters."""
    return hashlib.sha256(repr((scene.key, recipe)).encode()).hexdigest()[:16]


def show_tools(place: Slot, of: Scene, on_paste: OnPaste, merges: bool = True) -> None:
    """Show the bar that tells the viewer how to draw, and that takes a picture from the clipboard."""
    viewer.show(place, "tools", tools_message(of, merges, pastes=True), on_paste=on_paste)


def tools_message(of: Scene, merges: bool = True, pastes: bool = False) -> bytes:
    """What the bar has to know: are there merges, an outline, and regions, where the picture can be cut."""
    try:
        regions = get_segments(of)
    except ValueError:  # a picture of one colour, say: then there are none to tell of
        regions = None
    return viewer.pack_tools(get_truth(of) is not None, regions, merges, pastes)


def why_blank(blank: bool, layers: list[str]) -> str:
    """Say why a merge is blank, from why its layers are, or "" if it is not."""
    if not blank:
        return ""
    if any(layers):
        return "a layer merged here is blank" if len(layers) > 1 else layers[0]
    return "these layers have no bright place in common"


def top_classes(scene: Scene, count: int = TOP) -> list[Class]:
    """The likeliest classes, and the chosen one if it is not among them."""
    probabilities = predict(scene)
    order = [int(index) for index in np.argsort(-probabilities, kind="stable")[:count]]
    if scene.target not in order:
        order[-1] = scene.target
    return [(scene.net.labels[i], float(probabilities[i]), i == scene.target) for i in order]


def _marks(method: str, negative: bool, same: list[str]) -> list[tuple[str, str]]:
    """Remarks on a layer, each with its explanation: other methods that agree there, values below zero."""
    marks = []
    if same:
        count = "1 other" if len(same) == 1 else f"{len(same)} others"
        marks.append((f"= {count}", f"On this layer {' and '.join(same)} give the very same map."))
    if negative:
        warning = "Grad-CAM++ was not derived for that." if method == "gradcam++" else "0 is not its least value."
        marks.append(("± values", f"This layer's activations fall below zero here; {warning}"))
    return marks
