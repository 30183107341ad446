"""A study on the page: the verdict in words, and a row for each metric."""

from __future__ import annotations

import math
from dataclasses import replace
from html import escape

import streamlit as st

from camviz.html.interval_chart import intervals_html
from camviz.html.words import counted
from camviz.metrics import SCORES
from camviz.trust.resampling import LEAST_FOR_WINNER, interval
from camviz.trust.study_results import DECIDING, EXACT, StudyResults, accuracies_of, ahead
from camviz.ui.evaluate import controls, dots, pictures, wrong
from camviz.ui.evaluate.downloads import offer_study
from camviz.ui.evaluate.estimate import ESTIMATE, estimate_html
from camviz.ui.evaluate.study import (
    TO_BEAT,
    Shown,
    Study,
    chosen,
    counts,
    maps_table,
    metric_rows,
    metric_title,
    metrics_table,
    rows_of,
    titles,
)
from camviz.ui.links.link_format import ALL_SIZES
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot

HEADING = (
    '<h1 class="cv-title" hidden>Which metric can be trusted?<small>Take two maps of one picture, of which one '
    "clearly fits the true mask better. How often does a metric score that one higher? A coin gets 50 %.</small></h1>"
)


def verdict_html(study: Study, shown: Shown) -> str:
    """The study in a few words."""
    found = metrics_table(study.results, shown)
    table = found["pair_accuracy"]
    # No winner from a few pictures, as long as other metrics were measured on more.
    best = str(found[found["pictures"] >= min(LEAST_FOR_WINNER, found["pictures"].max())].index[0])
    numbers = counts(study.results, shown)
    on = f"On {counted(int(numbers.sum()), 'picture')} with {counted(len(numbers), 'network')}"
    if math.isnan(table[best]):
        words = f"{on}, no two maps of a picture fit its mask differently enough yet."
        return f'<p class="cv-lead cv-verdict">{words}</p>'
    compared = [name for name in ("faithfulness", "arcc", TO_BEAT) if name != best and name in table]
    others = "".join(f", {_named(name)} {_percent(table[name])}" for name in compared if not math.isnan(table[name]))
    few = " That is too few to name a winner." if numbers.min() < LEAST_FOR_WINNER else ""
    growing = " The study is still growing: its protocol asks for more pictures." if _is_growing(study, shown) else ""
    return (
        f'<p class="cv-lead cv-verdict">{on}, <b>{_named(best)}</b> gets <b>{_percent(table[best])}</b> right{others}.'
        f"{few}{growing}{_recommended(study, shown)}</p>"
    )


def _recommended(study: Study, shown: Shown) -> str:
    """What the protocol's question comes to: is the Faithfulness Estimate ahead of ARCC on each deciding network?"""
    networks = ahead(study.results) if study.goal is not None and shown == Shown() else None
    if networks is None:
        return ""
    on = f"on {len(networks)} of the {len(DECIDING)} networks that decide"
    if len(networks) == len(DECIDING):
        return f" The Faithfulness Estimate is ahead of ARCC {on}, as the protocol asks before it is recommended."
    return f" The Faithfulness Estimate is ahead of ARCC {on}; the protocol asks for all before it is recommended."


def _is_growing(study: Study, shown: Shown) -> bool:
    """Whether a network has fewer pictures of these samples, whatever their size, than the protocol asks for."""
    return study.goal is not None and counts(study.results, replace(shown, size=ALL_SIZES)).min() < study.goal


def _named(metric: str) -> str:
    """A metric in a sentence."""
    words = {"faithfulness": "the Faithfulness Estimate", TO_BEAT: "the smallness of a map alone"}
    return escape(words.get(metric, metric_title(metric)))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def metrics_html(study: Study, shown: Shown, metric: str) -> str:
    """A row for each metric, with a ring for each network."""
    names = list(map(str, metrics_table(study.results, shown).index))
    rows, dots = metric_rows(study.results, shown)
    paint = {metric_title(name): _paint(name, metric) for name in names}
    notes = {metric_title(name): f"{SCORES[name].sentence}{_undefined(study, shown, name)}" for name in names}
    chart = intervals_html({"How often the better map scores higher; 0.5 is a coin": rows}, paint, dots, notes)
    return chart + _exact_shares_html(study.results, shown)


def _exact_shares_html(results: StudyResults, shown: Shown) -> str:
    """How ARCC and ROAD do under the other tie rule; "" at equal area, where nothing ties, or without ROAD."""
    stage = next((stage for stage, names in results.metrics.items() if "arcc" in names), "")
    if shown.equal_area or not set(EXACT) <= set(results.rows.get(stage, ())):
        return ""
    found = accuracies_of(
        results,
        stage,
        EXACT,
        equal_area=False,
        truth=shown.truth,
        kind=shown.samples,
        chosen=lambda rows: chosen(results, shown, rows),
    )
    arcc, road = (_percent(interval(found[name].to_numpy()).value) for name in EXACT)
    return (
        '<p class="cv-note">Of pixels that tie with a percentile, ROAD removes all, as grad-cam does. If exact shares '
        f"are removed instead, ARCC gets {arcc} right and ROAD {road}.</p>"
    )


def _undefined(study: Study, shown: Shown, metric: str) -> str:
    """On how many maps a metric is undefined, if on any."""
    total, defined = len(rows_of(study.results, shown, metric)), len(maps_table(study.results, shown, metric))
    if total == defined:
        return ""
    return f" Undefined on {total - defined:,} of {total:,} maps, where it counts as a coin."


def _paint(name: str, metric: str) -> str:
    if name == metric:
        return "var(--cv-accent)"
    return "var(--cv-text)" if name == TO_BEAT else "var(--cv-quiet)"


def show_study(study: Study, main: DeltaGenerator, choices: DeltaGenerator, foot: DeltaGenerator) -> None:
    """Show a study: the verdict, a row for each metric, examples, and every map as a dot.

    Args:
        study: what is shown.
        main: the place for it.
        choices: the place for what of it is shown.
        foot: the place for downloads.
    """
    with choices:
        shown = controls.choose_shown(study)
        metric = controls.choose_metric(study, shown)
    with main:
        st.html(verdict_html(study, shown))
        left, right = st.columns([1.15, 1], gap="medium")
        left.html(metrics_html(study, shown, metric))
        with right:
            examples = Slot(st.container())
        if wrong.has_wrong_maps(study, shown, metric):
            st.markdown("**Maps made wrong or right on purpose:** how often each beats RefineCAM")
            st.html(wrong.wrong_html(study, shown, metric))
        if metric == ESTIMATE and (controls_html := estimate_html(study, shown)):
            st.markdown("**Under other settings:** does the Faithfulness Estimate depend on its squares?")
            st.html(controls_html)
        st.markdown(f"**Maps as dots:** {metric_title(metric)} against the truth")
        networks = sorted(counts(study.results, shown).index)
        with st.container(key="dots"):
            network = controls.choose_network(networks, titles())
            dots.show_dots(study, shown, metric, network)
    examples.html(pictures.examples_html(study, shown, metric))
    offer_study(foot, study, shown)
