"""The Evaluate page's controls: whose study, and what of it is shown."""

from __future__ import annotations

import streamlit as st

from camviz import shapes
from camviz.metrics import SCORES
from camviz.trust.sealed_samples import KINDS
from camviz.ui.choose_one import choose_one
from camviz.ui.evaluate.study import Shown, Study, maps_table, metric_title, metrics_table
from camviz.ui.links.link_format import ALL_SIZES, AREAS, SOURCES
from camviz.ui.session import (
    TRUST_AREA,
    TRUST_BLIND,
    TRUST_LINK_METRIC,
    TRUST_METRIC,
    TRUST_NETWORK,
    TRUST_SAMPLES,
    TRUST_SIZE,
    TRUST_SOURCE,
    TRUST_TRUTH,
    settle,
)

_SOURCES = {"shipped": "The study", "own": "My choice", "file": "A file"}
_SAMPLES = {"plain": "Shapes", "textured": "Textured", "tagged": "Tagged"}
_FIRST_METRICS = ("arcc", "faithfulness")


def choose_source() -> str:
    """Ask whose study is shown."""
    return choose_one(
        "Study",
        TRUST_SOURCE,
        SOURCES,
        _SOURCES.__getitem__,
        "**The study** is finished and included. **My choice** measures the same on a network and pictures of "
        "yours. **A file** is a study that was saved here.",
        width="stretch",
    )


def choose_shown(study: Study) -> Shown:
    """Ask which part of a study is shown."""
    samples = study.kinds[0]
    if len(study.kinds) > 1:
        kinds = [kind for kind in KINDS if kind in study.kinds]
        samples = choose_one(
            "Samples",
            TRUST_SAMPLES,
            kinds,
            _SAMPLES.__getitem__,
            "**Shapes** on cluttered backgrounds; **textured** ones, whose outline is not an edge among others; "
            "and **tagged** ones, where the network follows a tag in a corner instead of the shape: the tag is the "
            "truth.",
        )
    area = choose_one(
        "Maps compared",
        TRUST_AREA,
        list(AREAS),
        AREAS.__getitem__,
        "A small map has an advantage with best IoU and with several metrics. At equal area, every map gets the "
        "same distribution of values, so that only *where* it is hot counts. The verdict rests on that.",
    )
    truths = study.results.truths
    truth = truths[0]
    if len(truths) > 1:
        settle(TRUST_TRUTH, truths)
        truth = st.selectbox(
            "Truth",
            truths,
            format_func=lambda name: SCORES[name].title,
            key=TRUST_TRUTH.name,
            persist_state="session",
            help="What makes a map the better one: a higher score against the true mask, by more than 0.1.",
        )
    size = ALL_SIZES
    if "band" in study.results.samples:
        size = choose_one(
            "Sizes",
            TRUST_SIZE,
            [ALL_SIZES, *shapes.BANDS],
            str.capitalize,
            "Of the shapes. Squares of a seventh of the picture cannot judge small ones.",
        )
    if not TRUST_BLIND.is_set():
        TRUST_BLIND.set(True)
    blind = st.toggle(
        "Blind guesses among the maps",
        key=TRUST_BLIND.name,
        persist_state="session",
        help="A spot in the centre and random heat, which know nothing of the network.",
    )
    return Shown(samples, area == "equal", truth, size, blind)


def choose_metric(study: Study, shown: Shown) -> str:
    """Ask which metric is looked at closely."""
    names = list(map(str, metrics_table(study.results, shown).index))
    defined = (name for name in _FIRST_METRICS if name in names and len(maps_table(study.results, shown, name)))
    if (linked := TRUST_LINK_METRIC.get()) in names:
        TRUST_METRIC.set(linked)
        TRUST_LINK_METRIC.pop()
    settle(TRUST_METRIC, names, next(defined, None))
    return st.selectbox(
        "Metric looked at",
        names,
        format_func=metric_title,
        key=TRUST_METRIC.name,
        on_change=TRUST_LINK_METRIC.forget,
        persist_state="session",
        help="Its hits and misses are shown as pictures, and every map as a dot.",
    )


def choose_network(networks: list[str], titles: dict[str, str]) -> str:
    """Ask whose maps are dots."""
    settle(TRUST_NETWORK, networks)
    return st.selectbox(
        "Network",
        networks,
        format_func=lambda name: titles.get(name, name),
        key=TRUST_NETWORK.name,
        persist_state="session",
        label_visibility="collapsed",
    )
