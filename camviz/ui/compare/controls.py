"""The sidebar of the Compare page: what is compared, and with what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from camviz.html.comparison import MODES, SORTS, Sort
from camviz.html.words import percent
from camviz.methods import METHODS
from camviz.models import Net, follows_tags, list_models, needs_download
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.ui.compare.grid import Choice
from camviz.ui.session import (
    COMPARE_LEVELS,
    COMPARE_METHODS,
    COMPARE_MODE,
    COMPARE_SORT,
    class_key,
    layers_key,
    models_key,
    several_classes_key,
)
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.noise import choose_kind, draw_of
from camviz.workbench.maps import likeliest, predict
from camviz.workbench.pictures import Explained, SeenPicture

METHOD_NAMES = ("gradcam++", "layercam", "gradcam", "eigencam")
LEVELS = (0.2, 0.4, 0.8)
TOP = 3
_EVERY_LEVEL = tuple(round(0.1 * step, 1) for step in range(1, 11))


def choose_mode() -> str:
    """Ask what to compare."""
    return st.selectbox(
        "Compare",
        list(MODES),
        format_func=lambda name: MODES[name].title,
        key=COMPARE_MODE.name,
        persist_state="session",
    )


def choose_target(mode: str, seen: SeenPicture) -> int:
    """Ask for the class to explain; if classes are compared, return the current one, as they have their own control."""
    key = class_key(seen.picture.id, seen.net.info.name, seen.fit)
    if mode == "classes":
        return key.get(likeliest(seen))
    return model_and_method.choose_class(seen.net.labels, predict(seen), key)


def choose(mode: str, of: Explained) -> Choice:
    """Ask for what the mode compares, then for how maps are made: all but the merging rules, if those are compared."""
    chosen = Choice(mode, (), of.net.layers)
    if mode == "classes":
        chosen = replace(chosen, classes=_choose_classes(of))
    elif mode == "models":
        chosen = replace(chosen, models=_choose_models(of.net))
    elif mode == "noise":
        chosen = replace(chosen, noise=_choose_noise())
    model_and_method.drop_unknown_layers(of.net)
    methods = _choose_methods(of.net)
    layers = model_and_method.choose_layers(of)
    rule = "product" if mode == "rules" else model_and_method.choose_rule()
    mirrored = model_and_method.choose_mirror_averaged()
    return replace(chosen, methods=methods, layers=layers, rule=rule, mirror_averaged=mirrored)


def layers_of(model: str) -> tuple[str, ...]:
    """The layers chosen for a network; empty if none were chosen yet."""
    return tuple(layers_key(model).get() or ())


def missing(choice: Choice) -> str:
    """Say what must be chosen first, or ""."""
    if not choice.methods:
        return "Choose at least one method to see its maps."
    if choice.mode == "classes" and not choice.classes:
        return "Choose at least one class. A second one shows why the model prefers one to the other."
    if choice.mode == "models" and not choice.models:
        return "Choose at least one model."
    if choice.mode == "rules" and len(choice.layers) == 1:
        return "A single layer leaves nothing to merge. Choose a second one to compare merging rules."
    return ""


def drop_slow_methods() -> None:
    """Deselect the slow methods."""
    chosen = COMPARE_METHODS.get(list(METHOD_NAMES))
    fast = [name for name in chosen if not METHODS[name].is_slow]
    COMPARE_METHODS.set(fast or [model_and_method.DEFAULT_METHOD])


def models_for(data: str) -> list[str]:
    """The networks trained on some data that need no download."""
    return [info.name for info in list_models() if info.data == data and not needs_download(info)]


def _choose_methods(net: Net) -> tuple[str, ...]:
    return tuple(
        st.multiselect(
            "Methods",
            list(METHODS),
            default=METHOD_NAMES,
            format_func=lambda name: model_and_method.method_label(net, name),
            key=COMPARE_METHODS.name,
            persist_state="session",
        )
    )


def _choose_classes(of: Explained) -> tuple[int, ...]:
    """Ask for classes; by default the one to explain, then the likeliest others."""
    probabilities = predict(of)
    ranked = [int(index) for index in np.argsort(-probabilities, kind="stable")]
    default = [of.target, *(index for index in ranked if index != of.target)][:TOP]
    return tuple(
        st.multiselect(
            "Classes",
            ranked,
            default=default,
            format_func=lambda index: f"{of.net.labels[index]} · {percent(float(probabilities[index]))}",
            key=several_classes_key(class_key(of.picture.id, of.net.info.name, of.fit)).name,
            persist_state="session",
            help="The first class is compared with each of the others. Type to find any class.",
        )
    )


def _choose_models(net: Net) -> tuple[str, ...]:
    names = models_for(net.info.data)
    titles = {info.name: info.title for info in list_models()}
    shown = [info.name for info in list_models() if info.source == "bundled" and not follows_tags(info)]
    return tuple(
        st.multiselect(
            "Models",
            names,
            default=[name for name in names if name in shown or name == net.info.name],
            format_func=titles.__getitem__,
            key=models_key(net.info.data).name,
            persist_state="session",
            help="Models on this server with the same classes. To download another one, choose it under *Model*.",
        )
    )


def _choose_noise() -> tuple[Perturbation, ...]:
    kind = choose_kind()
    levels = st.pills(
        "Levels",
        _EVERY_LEVEL,
        selection_mode="multi",
        default=LEVELS,
        format_func=lambda level: f"{level:.1f}",
        key=COMPARE_LEVELS.name,
        persist_state="session",
        help=f"How strong the noise is. Level 1 is {KINDS[kind].strength(1.0)}.",
    )
    return tuple(Perturbation(kind, level, draw_of(kind)) for level in sorted(levels))


def choose_sort(known: bool) -> Sort:
    """Ask for the order; `known` says whether there is a true mask to sort by."""
    return st.selectbox(
        "Sort by",
        [by for by in SORTS if known or by != "best_iou"],
        format_func=SORTS.__getitem__,
        key=COMPARE_SORT.name,
        persist_state="session",
        help="Sorts the rows by their best map. But scores of different classes, models or noise levels are not "
        "comparable: if these are the rows, the columns are sorted by their mean instead.",
    )
