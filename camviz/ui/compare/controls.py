"""The sidebar of the Compare page: what is compared, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import streamlit as st

from camviz.html.comparison import MODES, SORTS, Sort
from camviz.html.words import percent
from camviz.methods import METHODS
from camviz.models import Net, list_models, needs_download
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.ui.compare.grid import Choice
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.noise import choose_kind, draw_of
from camviz.workbench.maps import likeliest, predict
from camviz.workbench.pictures import Explained, SeenPicture

METHOD_NAMES = ("gradcam++", "layercam", "gradcam", "eigencam")
LEVELS = (0.2, 0.4, 0.8)
TOP = 3
_EVERY_LEVEL = tuple(round(0.1 * step, 1) for step in range(1, 11))
# Session keys, which a link sets too; that of the classes begins as the class's.
MODE, METHODS_KEY, LEVELS_KEY, SORT = "compare_mode", "compare_methods", "compare_levels", "compare_sort"
SEVERAL = "-several"


def choose_mode() -> str:
    """Ask what is compared."""
    return st.selectbox(
        "Compare",
        list(MODES),
        format_func=lambda name: MODES[name].title,
        key=MODE,
        persist_state="session",
    )


def choose_target(mode: str, sight: SeenPicture) -> int:
    """Ask for the class to explain; where classes are compared they are asked for together."""
    key = model_and_method.class_key(sight.picture.id, sight.net.info.name, sight.fit)
    if mode == "classes":
        return int(st.session_state.get(key, likeliest(sight)))
    return model_and_method.choose_class(sight.net.labels, predict(sight), key)


def choose(mode: str, of: Explained) -> Choice:
    """Ask for what the mode compares, then for methods, layers and, where it does not compare them, the rule."""
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
    return replace(chosen, methods=methods, layers=layers, rule=rule)


def layers_of(model: str) -> tuple[str, ...]:
    """The layers that are chosen of a network; none if that is open."""
    return tuple(st.session_state.get(model_and_method.layers_key(model)) or ())


def missing(choice: Choice) -> str:
    """Say what has to be chosen first, or ""."""
    if not choice.methods:
        return "Choose at least one method to see its maps."
    if choice.mode == "classes" and not choice.classes:
        return "Choose at least one class to ask for; a second one shows why this and not that."
    if choice.mode == "models" and not choice.models:
        return "Choose at least one model to ask."
    if choice.mode == "rules" and len(choice.layers) == 1:
        return "One layer alone has nothing to merge: switch on a second one to compare the rules."
    return ""


def drop_slow_methods() -> None:
    """Keep to the methods that answer at once."""
    chosen: Sequence[str] = st.session_state.get(METHODS_KEY, METHOD_NAMES)
    quick = [name for name in chosen if not METHODS[name].is_slow]
    st.session_state[METHODS_KEY] = quick or [model_and_method.DEFAULT_METHOD]


def models_key(data: str) -> str:
    """The session key of the models, by what they were trained on."""
    return f"compare_models_{data}"


def models_for(data: str) -> list[str]:
    """The networks that are here and were trained on the same."""
    return [info.name for info in list_models() if info.data == data and not needs_download(info)]


def _choose_methods(net: Net) -> tuple[str, ...]:
    return tuple(
        st.multiselect(
            "Methods",
            list(METHODS),
            default=METHOD_NAMES,
            format_func=lambda name: model_and_method.method_label(net, name),
            key=METHODS_KEY,
            persist_state="session",
        )
    )


def _choose_classes(of: Explained) -> tuple[int, ...]:
    """Ask for classes; at first the one to explain, then the likeliest others."""
    probabilities = predict(of)
    ranked = [int(index) for index in np.argsort(-probabilities, kind="stable")]
    default = [of.target, *(index for index in ranked if index != of.target)][:TOP]
    return tuple(
        st.multiselect(
            "Classes",
            ranked,
            default=default,
            format_func=lambda index: f"{of.net.labels[index]} · {percent(float(probabilities[index]))}",
            key=model_and_method.class_key(of.picture.id, of.net.info.name, of.fit) + SEVERAL,
            persist_state="session",
            help="The first is held against each other: why this and not that? Type for any class.",
        )
    )


def _choose_models(net: Net) -> tuple[str, ...]:
    names = models_for(net.info.data)
    titles = {info.name: info.title for info in list_models()}
    bundled = [info.name for info in list_models() if info.source == "bundled"]
    return tuple(
        st.multiselect(
            "Models",
            names,
            default=[name for name in names if name in bundled or name == net.info.name],
            format_func=titles.__getitem__,
            key=models_key(net.info.data),
            persist_state="session",
            help="Those that are on this server and know the same classes. Choose another as *Model* to download it.",
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
        key=LEVELS_KEY,
        persist_state="session",
        help=f"How strong the noise is: 1 is {KINDS[kind].strength(1.0)}.",
    )
    return tuple(Perturbation(kind, level, draw_of(kind)) for level in sorted(levels))


def choose_sort(known: bool) -> Sort:
    """Ask for the order; `known` tells whether there is a true mask to sort by."""
    return st.selectbox(
        "Sort by",
        [by for by in SORTS if known or by != "mass"],
        format_func=SORTS.__getitem__,
        key=SORT,
        persist_state="session",
        help="Sorts what can be compared: the rows by their best map; where each row is another class, model or copy, "
        "the columns by their mean.",
    )
