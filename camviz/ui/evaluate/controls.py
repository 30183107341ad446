"""The Evaluate page's controls: what of the study is shown."""

from __future__ import annotations

import streamlit as st

from camviz import shapes
from camviz.metrics import SCORES
from camviz.trust.evaluation import TRUTH
from camviz.trust.sealed_samples import KINDS, Kind
from camviz.ui.evaluate.study import Shown, measured_with, metric_title, metrics_table, shipped
from camviz.ui.links.link_format import ALL_SIZES, AREAS, TRUTHS
from camviz.ui.session import (
    TRUST_AREA,
    TRUST_BLIND,
    TRUST_METRIC,
    TRUST_NETWORK,
    TRUST_SAMPLES,
    TRUST_SIZE,
    TRUST_TRUTH,
    settle,
)

_SAMPLES: dict[Kind, str] = {"plain": "Shapes", "textured": "Textured", "tagged": "Tagged"}
_FIRST_METRIC = "arcc"


def choose_shown() -> Shown:
    """Ask which part of the study is shown."""
    there = set(shipped().rows["ordinary"]["kind"])
    kinds = [kind for kind in KINDS if kind in there]
    settle(TRUST_SAMPLES, kinds)
    samples = st.segmented_control(
        "Samples",
        kinds,
        format_func=_SAMPLES.__getitem__,
        required=True,
        key=TRUST_SAMPLES.name,
        persist_state="session",
        help="**Shapes** on cluttered backgrounds; **textured** ones, whose outline is not an edge among others; and "
        "**tagged** ones, where the network follows a tag in a corner instead of the shape: the tag is the truth.",
    )
    settle(TRUST_AREA, list(AREAS))
    area = st.segmented_control(
        "Maps compared",
        list(AREAS),
        format_func=AREAS.__getitem__,
        required=True,
        key=TRUST_AREA.name,
        persist_state="session",
        help="A small map has an advantage with best IoU and with several metrics. At equal area, every map gets the "
        "same distribution of values, so that only *where* it is hot counts. The verdict rests on that.",
    )
    settle(TRUST_TRUTH, list(TRUTHS))
    truth = st.selectbox(
        "Truth",
        list(TRUTHS),
        format_func=lambda name: SCORES[name].title,
        key=TRUST_TRUTH.name,
        persist_state="session",
        help="What makes a map the better one: a higher score against the true mask, by more than 0.1.",
    )
    settle(TRUST_SIZE, [ALL_SIZES, *shapes.BANDS])
    size = st.segmented_control(
        "Sizes",
        [ALL_SIZES, *shapes.BANDS],
        format_func=str.capitalize,
        required=True,
        key=TRUST_SIZE.name,
        persist_state="session",
        help="Of the shapes. Squares of a seventh of the picture cannot judge small ones.",
    )
    if not TRUST_BLIND.is_set():
        TRUST_BLIND.set(True)
    blind = st.toggle(
        "Blind guesses among the maps",
        key=TRUST_BLIND.name,
        persist_state="session",
        help="A spot in the centre and random heat, which know nothing of the network.",
    )
    return Shown(samples or kinds[0], area == "equal", truth or TRUTH, size or ALL_SIZES, blind)


def choose_metric(shown: Shown) -> str:
    """Ask which metric is looked at closely."""
    names = [name for name in metrics_table(shown).index if measured_with(shown, name)]
    settle(TRUST_METRIC, names, _FIRST_METRIC if _FIRST_METRIC in names else None)
    return st.selectbox(
        "Metric looked at",
        names,
        format_func=metric_title,
        key=TRUST_METRIC.name,
        persist_state="session",
        help="Its hits and misses are shown as pictures, and every map as a dot.",
    )


def choose_network(networks: list[str], titles: dict[str, str]) -> str:
    """Ask whose maps are dots."""
    settle(TRUST_NETWORK, networks)
    return st.selectbox(
        "Network",
        networks,
        format_func=titles.__getitem__,
        key=TRUST_NETWORK.name,
        persist_state="session",
        label_visibility="collapsed",
    )
