"""The sidebar's second part: model, class, method, layers and merging rule."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from camviz.html.words import MIXED, MOVED, percent
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.models import (
    DEFAULT_MODEL,
    IMAGENET,
    SHAPES,
    DownloadError,
    ModelError,
    ModelInfo,
    Net,
    list_models,
    needs_download,
)
from camviz.models.torchvision import fetch
from camviz.recipe import Recipe
from camviz.results.finding import size_title
from camviz.ui.server.sharing import shared_host
from camviz.ui.session import DATA, METHOD, MIRROR_AVERAGED, MODEL, RULE, SessionKey, last_model_key, layers_key
from camviz.ui.sidebar.model_card import show_card
from camviz.workbench.maps import get_twins, sizes
from camviz.workbench.networks import expected_seconds, get_network
from camviz.workbench.pictures import Explained

DEFAULT_METHOD = "gradcam++"
_GROUPS = {"at once": "", "many passes": "slow · ", "baseline": "blind · "}


def choose_model(synthetic: bool) -> ModelInfo:
    """Ask for a network; the list says which ones need a download.

    Networks trained on this kind of picture come first. When the pictures change from photographs to shapes or back,
    the network last used for that kind is selected; any other can then be chosen.
    """
    settle_model(synthetic)
    wanted, infos = _networks(synthetic)

    def label(name: str) -> str:
        info = infos[name]
        size = f" · {info.download:.0f} MB download" if needs_download(info) else ""
        return f"{info.title}{size}"

    name = st.selectbox(
        "Model",
        list(infos),
        format_func=label,
        key=MODEL.name,
        persist_state="session",
        help="*Shapes* networks classify six drawn shapes; the others, ImageNet's 1000 classes. Shapes and "
        "EfficientNet-Lite networks are included; the rest are downloaded once from PyTorch's server. Type to search.",
    )
    if infos[name].data != wanted:
        st.caption(MIXED[infos[name].data])
    if name in shared_host().moved:
        st.caption(MOVED)
    show_card(infos[name])
    return infos[name]


def settle_model(synthetic: bool, name: str | None = None, whatever: bool = False) -> ModelInfo:
    """Choose the network before its control is drawn: the one named, or the one that suits the pictures.

    Args:
        synthetic: whether all pictures are drawn shapes.
        name: the network.
        whatever: keep it, whatever pictures are added.
    """
    wanted, infos = _networks(synthetic)
    _follow_the_picture(wanted, infos)
    if name is not None:
        MODEL.set(name)
        if whatever:
            for data in (IMAGENET, SHAPES):
                last_model_key(data).set(name)
    return infos[MODEL.require()]


def _networks(synthetic: bool) -> tuple[str, dict[str, ModelInfo]]:
    """The training data that suits the pictures; and all networks, those trained on it first."""
    wanted = SHAPES if synthetic else IMAGENET
    return wanted, {info.name: info for info in sorted(list_models(), key=lambda info: info.data != wanted)}


def _follow_the_picture(wanted: str, infos: dict[str, ModelInfo]) -> None:
    """If the kind of picture has changed, choose the network last used for it, or else the first one trained on it."""
    before, model = DATA.get(), MODEL.get()
    if before == wanted:
        return
    if before is not None and model is not None:
        last_model_key(before).set(model)
    first = DEFAULT_MODEL if wanted == IMAGENET else next(iter(infos))
    DATA.set(wanted)
    MODEL.set(last_model_key(wanted).get(first))


def ready_net(info: ModelInfo) -> Net | None:
    """Load a network; if its weights are missing, offer the download and return None."""
    if not needs_download(info):
        try:
            return get_network(shared_host(), info.name)
        except ModelError as error:
            st.error(str(error), icon=":material/error:")
            return None
    st.info(
        f"**{info.title}** is not on this server yet. Its weights (**{info.download:.0f} MB**) are downloaded once "
        "from PyTorch's server. The EfficientNet-Lite models need no download.",
        icon=":material/download:",
    )
    if st.button(f"Download {info.title}", type="primary"):
        bar = st.progress(0.0, "Connecting …")

        def show(done: int, total: int) -> None:
            share = done / total if total else 0.0
            bar.progress(min(share, 1.0), f"{done / 1e6:.0f} of {(total or info.download * 1e6) / 1e6:.0f} MB")

        try:
            fetch(info, show)
        except DownloadError as error:
            bar.empty()
            st.error(str(error), icon=":material/cloud_off:")
            return None
        st.rerun()
    return None


def choose_class(labels: tuple[str, ...], probabilities: NDArray[np.float32], key: SessionKey[int]) -> int:
    """Ask for the class to explain; the likeliest come first, typing finds any other."""
    order = [int(index) for index in np.argsort(-probabilities, kind="stable")]
    return st.selectbox(
        "Class to explain",
        order,
        format_func=lambda index: f"{labels[index]} · {percent(float(probabilities[index]))}",
        key=key.name,
        persist_state="session",
        help="The map shows the evidence for *this* class. The likeliest classes come first; type to find any other.",
    )


def choose_recipe(of: Explained) -> Recipe:
    """Ask for the method, the layers and the rule that merges them."""
    drop_unknown_layers(of.net)
    method = _choose_method(of)
    layers = choose_layers(of)
    rule = choose_rule()
    mirrored = choose_mirror_averaged()
    return Recipe(method, layers, rule if len(layers) > 1 else "product", mirror_averaged=mirrored)


def _choose_method(of: Explained) -> str:
    ordered = sorted(METHODS, key=lambda name: list(_GROUPS).index(_group(name)))
    labels = {name: method_label(of.net, name) for name in ordered}
    name = st.selectbox(
        "Method",
        list(labels),
        format_func=lambda name: labels[name],
        key=METHOD.name,
        persist_state="session",
        help="How a map is computed from a layer. Most methods are instant. *Slow* ones run the network again for "
        "every channel. *Blind* ones ignore the network: they are baselines to compare with.",
    )
    method = METHODS[name]
    one_map = "" if method.class_specific else " It gives the same map for every class."
    paper = "" if method.is_baseline else f" *{method.reference}*"
    st.caption(f"{method.sentence}{one_map}{_same_map(of, name)}{paper}")
    return name


def choose_layers(of: Explained) -> tuple[str, ...]:
    """Ask for the layers; choosing none means all. Returned from finest to deepest."""
    layers = of.net.layers
    size = sizes(of)
    chosen = st.pills(
        "Layers",
        layers[::-1],
        selection_mode="multi",
        default=layers,
        format_func=lambda layer: f"{size_title(size[layer])} · {layer}",
        key=layers_key(of.net.info.name).name,
        persist_state="session",
        help="The layers to merge, from deepest to finest: the last layer of each stage, after its activation. Deeper "
        "layers are coarser: a 7 × 7 map distinguishes only 49 places.",
    )
    if len(layers) == 1:
        st.caption("Only one layer of this network gives a feature map, so there is nothing to merge.")
    if not chosen:
        st.warning("Choose at least one layer. Until then, all are used.", icon=":material/layers:")
    return tuple(layer for layer in layers if not chosen or layer in chosen)


def choose_rule() -> str:
    """Ask for the rule that merges layers."""
    return st.selectbox(
        "Merging rule",
        list(RULES),
        format_func=lambda name: RULES[name].title,
        key=RULE.name,
        persist_state="session",
        help="How the layers' maps are merged. "
        + " ".join(f"**{rule.title}**: {rule.sentence}" for rule in RULES.values()),
    )


def choose_mirror_averaged() -> bool:
    """Ask whether maps are averaged with those of the mirrored picture."""
    return st.checkbox(
        "Average with the mirrored picture",
        key=MIRROR_AVERAGED.name,
        persist_state="session",
        help="The network also explains the picture with left and right swapped, and each layer's map is averaged with "
        "that one, swapped back. It costs one more pass; slow methods take twice as long. What is in only one of the "
        "two maps fades.",
    )


def _same_map(of: Explained, method: str) -> str:
    """Say on which layers the method gives the same map as others."""
    size = sizes(of)
    return "".join(
        f" At {size_title(size[layer])} it is the same map as {' and '.join(METHODS[n].title for n in others)}."
        for layer, others in get_twins(of, method).items()
        if others
    )


def drop_unknown_layers(net: Net) -> None:
    """Keep only layers that the network has; a link may have named others before it was loaded. Of none, take all."""
    key = layers_key(net.info.name)
    layers = key.get()
    if layers is not None and not set(layers) <= set(net.layers):
        key.set([layer for layer in layers if layer in net.layers] or list(net.layers))


def duration(seconds: float) -> str:
    """A waiting time, roughly."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def use_default_method() -> None:
    """Go back to the default method, which is fast."""
    METHOD.set(DEFAULT_METHOD)


def _group(name: str) -> str:
    return "baseline" if METHODS[name].is_baseline else METHODS[name].cost


def method_label(net: Net, name: str) -> str:
    """A method's name, and for a slow one how long it takes."""
    layers = tuple(layers_key(net.info.name).get() or net.layers)
    seconds = expected_seconds(shared_host(), net, Recipe(name, layers, mirror_averaged=MIRROR_AVERAGED.get(False)))
    wait = f" · {duration(seconds)}" if seconds else ""
    return f"{_GROUPS[_group(name)]}{METHODS[name].title}{wait}"
