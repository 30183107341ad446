"""The results of a sweep: measures, curves, statistics."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import streamlit as st

from camviz.html.words import ROBUSTNESS_STEPS
from camviz.noise import KINDS
from camviz.noise.rank_overlap import chance
from camviz.statistics import Interval, bootstrap, compare, in_words
from camviz.study import per_image
from camviz.ui.robustness.charts import MEASURES, curves_figure, measures_figure, ranks_figure
from camviz.ui.robustness.sweep import Plan, usable
from camviz.ui.server.streamlit_internals import ColumnConfig
from camviz.workbench.maps import view_uri
from camviz.workbench.noisy_copies import count_segments

_ALL = "All noise"
# Pictures shown before a sweep.
_SHOWN = 16
_PLAIN = {"displayModeBar": False}


def show_results(plan: Plan, table: pd.DataFrame) -> None:
    """Draw everything that is known of a sweep."""
    kinds = [_ALL, *plan.kinds] if len(plan.kinds) > 1 else list(plan.kinds)
    chosen = st.segmented_control(
        "Noise shown",
        kinds,
        default=kinds[0],
        format_func=lambda kind: KINDS[kind].title if kind in KINDS else kind,
        required=True,
        key="sweep_shown",
        label_visibility="collapsed",
    )
    shown = table if chosen == _ALL else table[table.kind == chosen]
    values = per_image(shown)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**How well it follows:** means over the pictures, with 95 % intervals")
        st.plotly_chart(measures_figure(measures(values)), key="sweep_measures", config=_PLAIN)
        _show_statistics(values)
    with right:
        st.markdown("**How it fades:** overlap of the rankings over the level of noise")
        st.plotly_chart(curves_figure(shown, _chance(plan)), key="sweep_curves", config=_PLAIN)
        _show_numbers(table, values)


def show_pictures(plan: Plan) -> None:
    """Show what will be measured, as the network sees it, and the steps of measuring it."""
    figures = "".join(
        f'<figure><div class="cv-pic"><img src="{view_uri(plan.sight(each))}" alt=""></div>'
        f"<figcaption>{escape(each.title)}</figcaption></figure>"
        for each in usable(plan)[:_SHOWN]
    )
    more = len(usable(plan)) - _SHOWN
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    st.html(f'{ROBUSTNESS_STEPS}<div class="cv-pictures" hidden>{figures}{rest}</div>')


def measures(values: pd.DataFrame) -> dict[str, dict[str, Interval]]:
    """Each measure of each explanation, with its bootstrap interval over the pictures."""
    names = list(dict.fromkeys(values.index.get_level_values("method")))
    return {measure: {name: bootstrap(values.loc[name, measure]) for name in names} for measure in MEASURES}


def _chance(plan: Plan) -> float:
    """The overlap of random orders, averaged over the pictures."""
    return float(np.mean([chance(count_segments(plan.sight(picture))) for picture in usable(plan)]))


def _show_statistics(values: pd.DataFrame) -> None:
    """Say in words which explanations differ, with the diagram of their average ranks and all pairs."""
    st.markdown("**Which can be told apart:** average ranks; a bar joins those that cannot")
    measure = st.segmented_control(
        "Compare by",
        list(MEASURES),
        default="consistency",
        format_func=MEASURES.__getitem__,
        required=True,
        key="sweep_compared",
        label_visibility="collapsed",
    )
    try:
        found = compare(values[measure].unstack("method", sort=False))
    except ValueError as error:
        st.info(str(error), icon=":material/query_stats:")
        return
    if len(found.methods) > 1:
        st.plotly_chart(ranks_figure(found), key="sweep_ranks", config=_PLAIN)
    st.markdown("\n".join(f"- {sentence}" for sentence in in_words(found)))
    with st.popover("Every pair", icon=":material/table:"):
        pairs = pd.DataFrame(found.pairs)
        st.dataframe(pairs.round(4), hide_index=True, key="sweep_pairs")
        st.caption(
            "Wilcoxon signed-rank test (zeros after Pratt), p corrected after Holm. Effect: rank-biserial correlation, "
            "1 where the first is higher on every picture."
        )


def _show_numbers(table: pd.DataFrame, values: pd.DataFrame) -> None:
    """The means as a table, and everything as CSV."""
    means = values.groupby("method", sort=False).mean()
    counts = values.notna().groupby("method", sort=False).sum()
    shown = means.assign(n=counts.consistency, n_flips=counts.responsiveness).reset_index()
    st.dataframe(
        shown,
        hide_index=True,
        key="sweep_numbers",
        column_config={
            "method": st.column_config.TextColumn("explanation", width=168),
            "consistency": _number("C", "%.2f", "High: it stays as it should."),
            "responsiveness": _number("R", "%.2f", "High: it changes as it should."),
            "rm": _number("RM", "%.2f", "C · R, by picture."),
            "flips": _number("changed", "percent", "Copies that changed class.", 64),
            "same_class": _number("same", "%.2f", "Overlap on the copies that changed class, for the class before."),
            "n": _number("n", "%d", "Pictures on which C is defined.", 30),
            "n_flips": _number("n (R)", "%d", "Pictures on which some copy changed class.", 44),
        },
    )
    copies, pictures = st.columns(2)
    copies.download_button(
        "Every copy, CSV", table.to_csv(index=False), "camviz-robustness-copies.csv", "text/csv", width="stretch"
    )
    pictures.download_button(
        "By picture, CSV",
        values.reset_index().to_csv(index=False),
        "camviz-robustness-pictures.csv",
        "text/csv",
        width="stretch",
    )


def _number(title: str, form: str, hint: str, width: int = 46) -> ColumnConfig:
    return st.column_config.NumberColumn(title, format=form, help=hint, width=width)
