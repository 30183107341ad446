"""Filling the strip: from a scene and a recipe to its pictures, with progress where it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from camviz.explain import Recipe
from camviz.methods import METHODS
from camviz.ui import controls
from camviz.ui.compute import (
    Scene,
    expected_seconds,
    get_capture,
    get_panels,
    get_twins,
    get_view,
    is_ready,
    layer_map,
    layer_maps,
)
from camviz.ui.slot import Slot
from camviz.ui.strip import LayerPanel, Strip, strip_html, strip_skeleton

_VERBS = {
    "product": "×",
    "geometric mean": "×, then root, with",
    "minimum": "minimum with",
    "mean": "mean with",
}
TOP = 5
# Seconds after which a slow method's own speed tells more than the estimate.
_SETTLED = 3

Class = tuple[str, float, bool]  # label, probability, whether it is the one explained


def show_strip(
    place: Slot,
    scene: Scene,
    recipe: Recipe,
    probabilities: NDArray[np.float32],
    outline: str,
    on_wait: Callable[[], None],
) -> None:
    """Draw the strip into its place; for a slow method, show the progress and a way to stop first.

    `outline` is a picture to lie over every panel, or "". `on_wait` is called before a long wait, for what else on
    the page should not show old results meanwhile.
    """
    classes = _classes(scene, probabilities)
    if not is_ready(scene, recipe):
        if METHODS[recipe.method].cost == "at once":
            layer_maps(scene, recipe)
        else:
            on_wait()
            _compute_slowly(place, scene, recipe, classes)
    place.html(strip_html(_strip(scene, recipe, classes, outline)))


def result_title(recipe: Recipe) -> str:
    """What the merged map is called."""
    if len(recipe.layers) == 1:
        return "One layer"
    return "RefineCAM" if recipe.rule == "product" else f"Merged: {recipe.rule}"


def _compute_slowly(place: Slot, scene: Scene, recipe: Recipe, classes: list[Class]) -> None:
    """Compute the maps of a many-pass method, with the time left over the strip's empty panels."""
    title = METHODS[recipe.method].title
    with place.container(key="slow-strip"):
        st.html(strip_skeleton(len(recipe.layers), get_view(scene)[1], classes))
        with st.container(key="slow-progress"):
            expected = expected_seconds(scene.net, recipe.method, recipe.layers)
            bar = st.progress(0.0, f"{title} runs the network many times: {controls.duration(expected)}")
            st.button("Stop", icon=":material/stop:", on_click=controls.use_default_method)
    start = time.monotonic()

    def show(done: int, total: int) -> None:
        spent = time.monotonic() - start
        left = spent * (total - done) / done if spent > _SETTLED else expected
        bar.progress(done / total, f"{title}: {done / total:.0%} done, {controls.duration(left)} left")

    layer_maps(scene, recipe, show)


def _strip(scene: Scene, recipe: Recipe, classes: list[Class], outline: str) -> Strip:
    panels = get_panels(scene, recipe)
    cap = get_capture(scene).select(recipe.layers)
    same = get_twins(scene, recipe.method)
    blanks = [layer_map(scene, recipe.method, layer)[1] for layer in recipe.layers]
    method = METHODS[recipe.method]
    layers = [
        LayerPanel(
            name=layer,
            side=activation.shape[-1],
            picture=panels.alone[index],
            merged=panels.merged[index],
            blank=blanks[index],
            merged_blank=_why_merge_is_blank(panels.merged_blank[index], blanks[index:]),
            marks=_marks(recipe.method, bool((activation < 0).any()), same[layer]),
        )
        for index, (layer, activation) in enumerate(zip(cap.layers, cap.activations, strict=True))
    ]
    over = f" over {len(layers)} layers" if len(layers) > 1 else f", {layers[0].side} × {layers[0].side}"
    credit = scene.picture.credit
    return Strip(
        view=get_view(scene)[1],
        view_caption=f"Photo: {credit}" if credit else f"{cap.x.shape[-1]} × {cap.x.shape[-2]} pixels",
        classes=classes,
        layers=layers[::-1],
        result_title=result_title(recipe),
        result_caption=f"{method.title}{over}",
        verb=_VERBS[recipe.rule],
        legend=("little", "much evidence") if method.class_specific else ("low", "high"),
        outline=outline,
    )


def _why_merge_is_blank(blank: bool, layers: list[str]) -> str:
    """Say why a merge is blank, from why its layers are, or "" if it is not."""
    if not blank:
        return ""
    if any(layers):
        return "a layer merged here is blank" if len(layers) > 1 else layers[0]
    return "these layers have no bright place in common"


def _classes(scene: Scene, probabilities: NDArray[np.float32]) -> list[Class]:
    """The likeliest classes, and the chosen one if it is not among them."""
    order = [int(index) for index in np.argsort(-probabilities, kind="stable")[:TOP]]
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
