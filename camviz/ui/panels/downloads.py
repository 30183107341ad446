"""Downloads of what is shown: numbers, a figure, an offline report, and a bundle that can be opened again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import streamlit as st

from camviz.html.report import report
from camviz.models import DEFAULT_MODEL
from camviz.recipe import Recipe
from camviz.render import COLORMAPS
from camviz.results import bundle, exports
from camviz.results.figure import figure
from camviz.results.finding import Finding
from camviz.ui.panels.more_scores import shown_scores
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.workbench.findings import as_finding
from camviz.workbench.pictures import Explained


def offer(place: DeltaGenerator, of: Explained, recipe: Recipe) -> None:
    """Offer what is shown as files, with the scores computed so far; each file is made on request."""
    finding = as_finding(of, recipe, shown_scores(of))
    name = file_name(finding)
    with place:
        colormap = st.selectbox(
            "Figure colours",
            COLORMAPS,
            format_func=COLORMAPS.__getitem__,
            key="take_colours",
            persist_state="session",
        )
    files = (
        (
            "Report, HTML",
            "Opens in any browser, offline; the maps stay interactive",
            f"{name}.html",
            lambda: report(finding, of.picture.credit),
        ),
        (
            "Figure, PDF",
            "For a paper: vector graphics, with selectable text",
            f"{name}.pdf",
            lambda: figure(finding, colormap=colormap),
        ),
        ("Maps, NPZ", "NumPy arrays, with all settings", f"{name}.npz", lambda: exports.npz(finding)),
        ("Scores, CSV", "All scores as a table", f"{name}.csv", lambda: exports.csv(finding)),
        (
            "Hottest regions, CSV",
            "Boxes, centres and areas of the hottest 5, 10 and 20 % of each map",
            f"{name}-hotspots.csv",
            lambda: exports.hotspots_csv(finding),
        ),
        (
            "Bundle",
            "Picture, settings, maps and scores; the Reproduce page opens it and checks the result",
            f"{name}{bundle.SUFFIX}",
            lambda: bundle.write(finding),
        ),
    )
    with place:
        offer_files(files)
        st.caption("For pictures (PNG), use *Save* in the bar above the maps.")


def offer_files(files: Iterable[tuple[str, str, str, Callable[[], bytes]]]) -> None:
    """Offer files by title, hint and name, each made on request."""
    for title, hint, file, make in files:
        st.download_button(
            title, make, file, help=hint, key=f"take-{title}", on_click="ignore", width="stretch", type="tertiary"
        )


def file_name(found: Finding) -> str:
    """A file name that is valid on every system: what is explained, and any setting that is not the default."""
    settings, recipe = found.settings, found.settings.recipe
    parts = [found.name.rpartition(".")[0] or found.name, found.label, recipe.method]
    if settings.model != DEFAULT_MODEL:
        parts.append(settings.model)
    if len(recipe.layers) == 1:
        parts += recipe.layers
    elif recipe.rule != "product":
        parts.append(recipe.rule)
    if recipe.mirror_averaged:
        parts.append("mirror-averaged")
    if settings.noise:
        parts += [settings.noise.kind, f"{settings.noise.level:g}", str(settings.noise.seed)]
    words = (re.sub(r"[^a-z0-9]+", "-", part.lower().replace("+", "p")).strip("-")[:40] for part in parts)
    return "-".join(filter(None, words)) or "camviz"
