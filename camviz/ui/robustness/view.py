"""The results of a sweep: measures, curves, statistics."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import streamlit as st

from camviz.html.interval_chart import intervals_html
from camviz.html.words import MEASURES, ROBUSTNESS_STEPS
from camviz.noise import KINDS
from camviz.noise.rank_overlap import chance
from camviz.results.exports import as_safe_csv
from camviz.statistics import Interval, bootstrap, compare, in_words
from camviz.study import per_image
from camviz.ui.choose_one import choose_one
from camviz.ui.links.link_format import ALL_NOISE
from camviz.ui.panels import viewer
from camviz.ui.robustness.charts import colours, curves_figure, ranks_figure
from camviz.ui.robustness.sweep import Plan, usable
from camviz.ui.server.streamlit_internals import ColumnConfig, Slot
from camviz.ui.session import SWEEP_COMPARED, SWEEP_SHOWN
from camviz.workbench.maps import view_uri
from camviz.workbench.noisy_copies import count_segments

# Pictures shown before a sweep.
_SHOWN = 16
_PLAIN = {"displayModeBar": False}


def show_results(plan: Plan, table: pd.DataFrame) -> None:
    """Draw a sweep's results so far."""
    kinds = [ALL_NOISE, *plan.kinds] if len(plan.kinds) > 1 else list(plan.kinds)
    chosen = choose_one(
        "Noise shown",
        SWEEP_SHOWN,
        kinds,
        lambda kind: "All noise" if kind == ALL_NOISE else KINDS[kind].title,
        label_visibility="collapsed",
    )
    shown = table if chosen == ALL_NOISE else table[table.kind == chosen]
    values = per_image(shown)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**How well maps follow:** means over the pictures, with 95 % intervals")
        with st.container(key="sweep_measures"):
            _show_measures(values)
        _show_statistics(values)
    with right:
        st.markdown("**How overlap fades:** overlap of the rankings by noise level")
        st.plotly_chart(curves_figure(shown, _chance(plan)), key="sweep_curves", config=_PLAIN)
        _show_numbers(table, values)


def show_pictures(plan: Plan) -> None:
    """Show the pictures as the network sees them, and the steps of the measurement."""
    figures = "".join(
        f'<figure><div class="cv-pic"><img src="{view_uri(plan.seen(picture))}" alt=""></div>'
        f"<figcaption>{escape(picture.title)}</figcaption></figure>"
        for picture in usable(plan)[:_SHOWN]
    )
    more = len(usable(plan)) - _SHOWN
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    st.html(f'{ROBUSTNESS_STEPS}<div class="cv-pictures" hidden>{figures}{rest}</div>')


def _show_measures(values: pd.DataFrame) -> None:
    found = measures(values)
    names = list(next(iter(found.values())))
    st.html(intervals_html({MEASURES[measure]: rows for measure, rows in found.items()}, colours(names)))


def measures(values: pd.DataFrame) -> dict[str, dict[str, Interval]]:
    """The mean of each measure of each explanation, with its bootstrap interval over the pictures."""
    names = list(dict.fromkeys(values.index.get_level_values("method")))
    return {measure: {name: bootstrap(values.loc[name, measure]) for name in names} for measure in MEASURES}


def _chance(plan: Plan) -> float:
    """The overlap of random rankings, averaged over the pictures."""
    return float(np.mean([chance(count_segments(plan.seen(picture))) for picture in usable(plan)]))


def _show_statistics(values: pd.DataFrame) -> None:
    """Say which explanations differ, with a diagram of their average ranks and a table of all pairs."""
    st.markdown("**Which differ significantly:** average ranks; a bar joins those that do not")
    measure = choose_one(
        "Compare by", SWEEP_COMPARED, list(MEASURES), MEASURES.__getitem__, label_visibility="collapsed"
    )
    try:
        comparison = compare(values[measure].unstack("method", sort=False))
    except ValueError as error:
        st.info(str(error), icon=":material/query_stats:")
        return
    if len(comparison.methods) > 1:
        st.plotly_chart(ranks_figure(comparison), key="sweep_ranks", config=_PLAIN)
    sentences = in_words(comparison)
    st.markdown("\n".join(f"- {sentence}" for sentence in sentences))
    viewer.announce(Slot(st.container()), "sweep-spoken", " ".join(sentences))
    with st.popover("Every pair", icon=":material/table:"):
        pairs = pd.DataFrame(comparison.pairs)
        st.dataframe(pairs.round(4), hide_index=True, key="sweep_pairs")
        st.caption(
            "Wilcoxon signed-rank test (Pratt's treatment of zeros), p-values with Holm's correction. Effect: "
            "rank-biserial correlation; 1 means the first is higher on every picture."
        )


def _show_numbers(table: pd.DataFrame, values: pd.DataFrame) -> None:
    """The means as a table, and all results as CSV."""
    means = values.groupby("method", sort=False).mean()
    counts = values.notna().groupby("method", sort=False).sum()
    shown = means.assign(n=counts.consistency, n_flips=counts.responsiveness).reset_index()
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        key="sweep_numbers",
        column_config={
            "method": st.column_config.TextColumn("explanation", width=168),
            "consistency": _number("C", "%.2f", "Consistency. High: the map stays when the prediction does."),
            "responsiveness": _number("R", "%.2f", "Responsiveness. High: the map changes when the prediction does."),
            "rm": _number("RM", "%.2f", "C · R, for each picture."),
            "flips": _number("changed", "percent", "Share of copies that changed class.", 64),
            "same_class": _number("same", "%.2f", "Overlap on copies that changed class, explaining the old class."),
            "n": _number("n", "%d", "Pictures on which C is defined.", 30),
            "n_flips": _number("n (R)", "%d", "Pictures with a copy that changed class.", 44),
        },
    )
    copies, pictures = st.columns(2)
    copies.download_button(
        "Every copy, CSV", as_safe_csv(table), "camviz-robustness-copies.csv", "text/csv", width="stretch"
    )
    pictures.download_button(
        "By picture, CSV",
        as_safe_csv(values.reset_index()),
        "camviz-robustness-pictures.csv",
        "text/csv",
        width="stretch",
    )


def _number(title: str, form: str, hint: str, width: int = 46) -> ColumnConfig:
    return st.column_config.NumberColumn(title, format=form, help=hint, width=width)
