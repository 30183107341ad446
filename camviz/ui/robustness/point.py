"""One noisy copy of a sweep in detail: which regions rose and fell, and how the prediction changed with the noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from camviz.html.ranked_regions import Moved, Ranked, panel_html, path_html
from camviz.html.viewer import Arrangement, pack, pack_tools
from camviz.html.words import percent
from camviz.methods import METHODS
from camviz.noise import KINDS
from camviz.noise.measure import Outcome, Perturbation
from camviz.noise.rank_overlap import chance
from camviz.noise.segments import segment_means
from camviz.recipe import Recipe
from camviz.ui.links.link_format import plain
from camviz.ui.panels import viewer
from camviz.ui.panels.downloads import offer
from camviz.ui.panels.layer_strip import subject
from camviz.ui.robustness.charts import region_figure
from camviz.ui.robustness.sweep import Plan, usable
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.session import (
    POINT_EXPLANATION,
    POINT_KIND,
    POINT_LEVEL,
    POINT_PICTURE,
    POINT_REGION,
    POINT_SEED,
    SessionKey,
    Value,
    settle,
)
from camviz.workbench.maps import get_view, is_ready, likeliest, merged
from camviz.workbench.noisy_copies import count_segments, get_segments
from camviz.workbench.pictures import Explained


@dataclass(frozen=True, eq=False)
class _Panel:
    """A map of regions: labels on some, tooltips for all, and the values that 0 and 1 stand for."""

    title: str
    map: NDArray[np.float32]
    marks: Mapping[int, str]
    tooltips: Sequence[str]
    range: tuple[float, float] = (0.0, 1.0)


def show_point(plan: Plan, table: pd.DataFrame) -> None:
    """Let the user choose one copy; show its ranked regions next to the clean ones, and the prediction by level."""
    st.markdown("**One noisy copy in detail:** which regions rose, which fell")
    pictures = {picture.title: picture for picture in usable(plan) if picture.title in set(table.image)}
    columns = st.columns([1.2, 1.4, 1.2, 1, 0.8])
    as_linked = {plain(title): title for title in pictures}
    if (linked := POINT_PICTURE.get()) in as_linked:
        POINT_PICTURE.set(as_linked[linked])
    picture = pictures[_choose(columns[0], "Picture", POINT_PICTURE, list(pictures))]
    name = _choose(columns[1], "Explanation", POINT_EXPLANATION, list(plan.recipes))
    kind = _choose(columns[2], "Noise", POINT_KIND, plan.kinds, lambda kind: KINDS[kind].title)
    unseeded = not KINDS[kind].seeded
    seed = _choose(columns[4], "Repeat", POINT_SEED, plan.seeds, lambda seed: f"{seed + 1}", disabled=unseeded)
    path = _outcomes(table, picture.title, name, kind, seed)
    if not path:
        st.info("This copy has not been measured yet. Resume the sweep.", icon=":material/hourglass_empty:")
        return
    levels = [outcome.level for outcome in path]
    settle(POINT_LEVEL, levels, levels[len(levels) // 2])
    level = _choose(columns[3], "Level", POINT_LEVEL, levels)
    seen = plan.seen(picture)
    clean = seen.explaining(likeliest(seen))
    _show(clean, plan.recipes[name], path, path[levels.index(level)])


def _choose(
    place: DeltaGenerator,
    label: str,
    key: SessionKey[Value],
    options: Sequence[Value],
    shown: Callable[[Value], str] = str,
    disabled: bool = False,
) -> Value:
    """Ask for one of some options, beginning with what the link says."""
    settle(key, options)
    return place.selectbox(label, options, format_func=shown, key=key.name, persist_state="session", disabled=disabled)


def _outcomes(table: pd.DataFrame, image: str, method: str, kind: str, seed: int) -> list[Outcome]:
    """The outcomes of one picture, explanation, kind and draw, by ascending level."""
    matches = (table.image == image) & (table.method == method) & (table.kind == kind) & (table.seed == seed)
    selected = table[matches].sort_values("level").drop(columns=["image", "method"])
    return [Outcome(*row) for row in selected.itertuples(index=False)]


def _show(clean: Explained, recipe: Recipe, path: list[Outcome], here: Outcome) -> None:
    """Show the regions on the left, and the prediction at each level on the right."""
    tools = Slot(st.container())
    left, right = st.columns([2.35, 1], gap="medium")
    with right:
        st.markdown(_in_words(clean, here))
        st.html(path_html([_step(clean, outcome, here.level) for outcome in path]))
        offer(st.popover("Download this copy", icon=":material/download:"), _noisy(clean, here), recipe)
    if math.isnan(here.overlap):
        return
    moved = Moved(_ranked(clean, recipe), _ranked(_noisy(clean, here), recipe))
    region, chosen = _picked(clean, moved)
    with left:
        with st.container(key="regions"):
            _show_regions(clean, recipe, here, moved, region)
        viewer.show(tools, "tools", pack_tools(outline=False, regions=get_segments(clean), merges=False))
        _follow(clean, recipe, path, here, region, chosen)


def _noisy(clean: Explained, outcome: Outcome) -> Explained:
    """The noisy copy, with the class predicted for it."""
    noise = Perturbation(outcome.kind, outcome.level, outcome.seed)
    return replace(clean, noise=noise, target=outcome.predicted)


def _ranked(of: Explained, recipe: Recipe) -> Ranked:
    """The regions of the clean picture, ranked by a map."""
    labels = get_segments(of)
    return Ranked(labels, segment_means(merged(of, recipe), labels)[0].cpu().numpy())


def _picked(clean: Explained, moved: Moved) -> tuple[int, bool]:
    """The region picked in this picture, or else the one that moved most; and whether it was picked."""
    picture, region = POINT_REGION.get((None, -1))
    # A link says no picture's key; and the number is from the browser.
    if picture in (None, clean.seen_key) and 0 <= region < len(moved.rise):
        POINT_REGION.set((clean.seen_key, region))
        return region, True
    POINT_REGION.pop()
    return int(np.abs(moved.rise).argmax()), False


def _show_regions(clean: Explained, recipe: Recipe, here: Outcome, moved: Moved, region: int) -> None:
    """Show the regions ranked by the clean map and by the map of the class now predicted, and how they moved."""
    noisy = _noisy(clean, here)
    before, now, reach = moved.before, moved.now, moved.reach / 2
    title = f"Clean: {clean.net.labels[clean.target]}"
    _send(clean, recipe, [_Panel(title, before.map, before.first, before.tooltips)], region)
    title = f"{KINDS[here.kind].strength(here.level)}: {noisy.net.labels[noisy.target]}"
    shown = _Panel(title, now.map, now.first, now.tooltips)
    ends = (0.5 - reach, 0.5 + reach) if reach else (0.0, 1.0)
    _send(
        noisy,
        recipe,
        [shown, _Panel("Risen (red), fallen (blue)", moved.map, moved.most, moved.tooltips, ends)],
        region,
    )


def _send(of: Explained, recipe: Recipe, panels: list[_Panel], region: int) -> None:
    """Send maps of regions to the browser; a click picks the region under it."""
    labels = get_segments(of)
    figures = [panel_html(labels, index, panel.title, panel.marks, region) for index, panel in enumerate(panels)]
    arrangement = Arrangement(
        subject(of, recipe),
        f'<div class="cv-regions" hidden style="--cells:{len(panels)}">{"".join(figures)}</div>',
        label=f"Ranked regions, {panels[0].title}",
        ranges=[panel.range for panel in panels],
        signed=range(1, len(panels)),
        regions=[panel.tooltips for panel in panels],
        picks=True,
    )
    message = pack(arrangement, get_view(of), np.stack([panel.map for panel in panels]))

    def pick(region: int) -> None:
        POINT_REGION.set((of.clean.seen_key, region))

    viewer.show(Slot(st.container()), f"regions-{'clean' if of.noise is None else 'noisy'}", message, pick)


def _follow(clean: Explained, recipe: Recipe, path: list[Outcome], here: Outcome, region: int, chosen: bool) -> None:
    """Show one region's rank at each level; for a slow method, only where the map is ready."""
    is_fast = not METHODS[recipe.method].is_slow
    known = [outcome for outcome in path if is_fast or is_ready(_noisy(clean, outcome), recipe)]
    ranks = [_ranked(_noisy(clean, outcome), recipe).ranks[region] for outcome in known]
    first = _ranked(clean, recipe).ranks[region]
    how = "picked" if chosen else "moved most"
    st.markdown(f"**Region {region + 1}** ({how}): its rank at each level. :gray[Click a region to follow it.]")
    levels, flipped = [outcome.level for outcome in known], [outcome.flipped for outcome in known]
    chart = region_figure(first, levels, ranks, flipped, here.level, count_segments(clean))
    st.plotly_chart(chart, key="point_ranks", config={"displayModeBar": False})


def _in_words(clean: Explained, here: Outcome) -> str:
    """The outcome in words."""
    labels = clean.net.labels
    if math.isnan(here.overlap):
        return "A map is blank here, so the regions cannot be ranked."
    change = f"changed to **{labels[here.predicted]}**" if here.flipped else f"stayed **{labels[clean.target]}**"
    same = f" For {labels[clean.target]}, as before: {here.overlap_same:.2f}." if here.flipped else ""
    return (
        f"The prediction {change} ({percent(here.probability)}). Overlap of the two rankings: **{here.overlap:.2f}** "
        f"(chance: {chance(count_segments(clean)):.2f}).{same}\n\n:gray[The maps pixel by pixel: "
        f"Pearson {here.pearson:.2f}, Spearman {here.spearman:.2f}, SSIM {here.ssim:.2f}.]"
    )


def _step(clean: Explained, outcome: Outcome, level: float) -> tuple[str, str, float, bool, bool]:
    """The prediction at one noise level."""
    strength = KINDS[outcome.kind].strength(outcome.level)
    label = clean.net.labels[outcome.predicted]
    return strength, label, outcome.probability, outcome.flipped, outcome.level == level
