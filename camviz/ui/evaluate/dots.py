"""Every map of the study as a dot: a metric against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from camviz.methods import METHODS
from camviz.metrics import SCORES
from camviz.trust.ranked_maps import BLIND
from camviz.trust.study_results import StudyResults
from camviz.ui.evaluate.pictures import link_html, map_title, picture_html
from camviz.ui.evaluate.study import Gallery, Shown, Study, maps_table
from camviz.ui.robustness.charts import colours

_DOTS = 60  # pictures whose maps are dots


def dots_rows(results: StudyResults, shown: Shown, metric: str, network: str) -> pd.DataFrame:
    """The maps that are dots: those of a network's first pictures."""
    rows = maps_table(results, shown, metric)
    rows = rows[rows["network"] == network]
    return rows[rows["picture"].isin(rows["picture"].unique()[:_DOTS])].reset_index(drop=True)


def dots_figure(rows: pd.DataFrame, shown: Shown, metric: str) -> go.Figure:
    """Every map as a dot: the metric against the truth; blind guesses are rings."""
    chart, methods = go.Figure(), rows["map"].str.partition(", ")[0]
    for method, colour in colours(list(methods.unique())).items():
        part = rows[methods == method]
        chart.add_scatter(
            x=part[shown.truth],
            y=part[metric],
            customdata=part.index,
            text=[
                f"{map_title(name)}, picture {picture}"
                for name, picture in zip(part["map"], part["picture"], strict=True)
            ],
            name=METHODS[method].title,
            unselected={"marker": {"opacity": 0.4}},
            mode="markers",
            marker={
                "size": 6,
                "color": colour,
                "opacity": 0.75,
                "symbol": "circle-open" if method in BLIND else "circle",
            },
            hovertemplate="%{text}<br>"
            + f"{SCORES[shown.truth].title} %{{x:.2f}}<br>{SCORES[metric].title} %{{y:.2f}}<extra></extra>",
        )
    chart.update_layout(
        height=360,
        margin={"l": 8, "r": 8, "t": 6, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={
            "title": {"text": f"{SCORES[shown.truth].title}: how well the map fits", "standoff": 8},
            "automargin": True,
            "range": [-0.03, 1.03],
        },
        yaxis={"title": {"text": SCORES[metric].title, "standoff": 4}},
        dragmode=False,
    )
    return chart


def show_dots(study: Study, shown: Shown, metric: str, network: str) -> None:
    """Draw the dots; a click shows the map."""
    rows = dots_rows(study.results, shown, metric, network)
    if rows.empty:
        st.caption("No map of this network has a score here.")
        return
    event = st.plotly_chart(
        dots_figure(rows, shown, metric),
        key=f"dots-{metric}-{network}",
        on_select="rerun",
        selection_mode="points",
        config={"displayModeBar": False},
    )
    picked = event["selection"]["points"]
    if picked:
        gallery = study.gallery(shown.samples)
        st.html(_picked_html(gallery, shown, metric, rows.to_dict("records")[int(picked[0]["customdata"])]))
    else:
        st.caption(f"{_which(study.results, shown, metric, network)}Click a dot to see its map.")


def _which(results: StudyResults, shown: Shown, metric: str, network: str) -> str:
    """That only some pictures' maps are dots, if there are more."""
    maps = maps_table(results, shown, metric)
    pictures = maps.loc[maps["network"] == network, "picture"].nunique()
    return f"The first {_DOTS} of {pictures} pictures. " if pictures > _DOTS else ""


def _picked_html(gallery: Gallery, shown: Shown, metric: str, row: Mapping[Any, Any]) -> str:
    where = gallery, str(row["network"]), int(row["picture"]), str(row["map"])
    return (
        f'<div class="cv-examples cv-one" hidden><section><div><figure>{picture_html(*where)}</figure>'
        f"<p><b>{escape(map_title(where[-1]))}</b><br>{SCORES[shown.truth].title} {row[shown.truth]:.2f}<br>"
        f"{escape(SCORES[metric].title)} {row[metric]:.2f}<br>{link_html(*where)}</p></div></section></div>"
    )
