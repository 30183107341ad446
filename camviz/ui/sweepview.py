"""The results of a sweep: measures, curves, statistics, and any point of it looked at closely."""

from __future__ import annotations

import math
from html import escape

import numpy as np
import pandas as pd
import streamlit as st

from camviz.explain import Recipe
from camviz.noise import KINDS
from camviz.ranks import chance
from camviz.robustness import Outcome, Perturbation
from camviz.segments import segment_means
from camviz.statistics import Interval, bootstrap, compare, in_words
from camviz.study import per_image
from camviz.ui.compute import Scene, Sight, get_view, likeliest, merged, scene
from camviz.ui.regions import Ranked, path_html, regions_html
from camviz.ui.robust import count_segments, get_segments
from camviz.ui.sweep import Plan, usable
from camviz.ui.sweepcharts import MEASURES, curves_figure, measures_figure, ranks_figure
from camviz.ui.words import ROBUSTNESS_STEPS, percent

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
        f'<figure><div class="cv-pic"><img src="{get_view(plan.sight(each))[1]}" alt=""></div>'
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
    return float(np.mean([chance(count_segments(scene(plan.sight(picture), 0))) for picture in usable(plan)]))


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
            "method": st.column_config.TextColumn("explanation", width=150),
            "consistency": st.column_config.NumberColumn("C", format="%.2f", help="High: it stays as it should."),
            "responsiveness": st.column_config.NumberColumn("R", format="%.2f", help="High: it changes as it should."),
            "rm": st.column_config.NumberColumn("RM", format="%.2f", help="C · R, by picture."),
            "flips": st.column_config.NumberColumn("changed", format="percent", help="Copies that changed class."),
            "same_class": st.column_config.NumberColumn(
                "same class", format="%.2f", help="Overlap on these copies for the class predicted at first."
            ),
            "n": st.column_config.NumberColumn("n", help="Pictures on which C is defined."),
            "n_flips": st.column_config.NumberColumn("n (R)", help="Pictures on which some copy changed class."),
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


def show_point(plan: Plan, table: pd.DataFrame) -> None:
    """Let a person look closely at one copy: its ranked regions beside the clean ones, and the prediction's path."""
    st.markdown("**One copy, closely:** which regions rose, which fell")
    pictures = {picture.title: picture for picture in usable(plan) if picture.title in set(table.image)}
    columns = st.columns([1.2, 1.4, 1.2, 1, 0.8])
    picture = pictures[columns[0].selectbox("Picture", list(pictures), key="point_picture")]
    name = columns[1].selectbox("Explanation", list(plan.recipes), key="point_method")
    kind = columns[2].selectbox("Noise", plan.kinds, format_func=lambda k: KINDS[k].title, key="point_kind")
    seed = columns[4].selectbox("Draw", plan.seeds, key="point_seed", disabled=not KINDS[kind].seeded)
    path = _outcomes(table, picture.title, name, kind, seed)
    if not path:
        st.info("This one has not been measured yet. Go on with the sweep.", icon=":material/hourglass_empty:")
        return
    levels = [outcome.level for outcome in path]
    level = columns[3].selectbox("Level", levels, index=len(levels) // 2, key=f"point_level_{len(levels)}")
    here = path[levels.index(level)]
    clean = scene(plan.sight(picture), likeliest(plan.sight(picture)))
    left, right = st.columns([2.35, 1], gap="medium")
    left.html(_regions(plan, clean, here, plan.recipes[name]))
    with right:
        st.markdown(_said(clean, here))
        st.html(path_html([_step(clean, outcome, level) for outcome in path]))


def _outcomes(table: pd.DataFrame, image: str, method: str, kind: str, seed: int) -> list[Outcome]:
    """The outcomes of one picture, explanation, kind and draw, from faint to strong."""
    of = (table.image == image) & (table.method == method) & (table.kind == kind) & (table.seed == seed)
    found = table[of].sort_values("level").drop(columns=["image", "method"])
    return [Outcome(*row) for row in found.itertuples(index=False)]


def _regions(plan: Plan, clean: Scene, here: Outcome, recipe: Recipe) -> str:
    """The regions ranked by the clean map, and by that of the class now predicted."""
    seen = Sight(clean.picture, plan.net, clean.fit, Perturbation(here.kind, here.level, here.seed))
    labels = get_segments(clean)
    ranked = []
    for of, words in ((clean, "Clean"), (scene(seen, here.predicted), KINDS[here.kind].strength(here.level))):
        scores = segment_means(merged(of, recipe), labels)[0].cpu().numpy()
        ranked.append(Ranked(f"{words}: {plan.net.labels[of.target]}", get_view(of)[0], scores))
    return regions_html(labels, *ranked)


def _said(clean: Scene, here: Outcome) -> str:
    """The outcome in words."""
    labels = clean.net.labels
    if math.isnan(here.overlap):
        return "A map is blank here, so there are no regions to rank."
    change = f"changed to **{labels[here.predicted]}**" if here.flipped else f"stayed **{labels[clean.target]}**"
    same = f" For {labels[clean.target]} still: {here.overlap_same:.2f}." if here.flipped else ""
    return (
        f"The prediction {change} ({percent(here.probability)}). Overlap of the two rankings **{here.overlap:.2f}**, "
        f"by chance {chance(count_segments(clean)):.2f}.{same}\n\n:gray[The maps pixel by pixel: "
        f"Pearson {here.pearson:.2f}, Spearman {here.spearman:.2f}, SSIM {here.ssim:.2f}.]"
    )


def _step(clean: Scene, outcome: Outcome, level: float) -> tuple[str, str, float, bool, bool]:
    """One step of the prediction's path."""
    strength = KINDS[outcome.kind].strength(outcome.level)
    label = clean.net.labels[outcome.predicted]
    return strength, label, outcome.probability, outcome.flipped, outcome.level == level
