"""Take away what is shown: numbers, a figure, a report that opens anywhere, a bundle that opens here again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from camviz import bundle, takeaway
from camviz.explain import Recipe
from camviz.figure import figure
from camviz.finding import RESULT, Finding, Score, Settings, as_png, likeliest
from camviz.metrics.arcc import complexity
from camviz.models import DEFAULT_MODEL
from camviz.render import COLORMAPS
from camviz.ui.compute import Scene, get_view, layer_maps, merged, predict
from camviz.ui.engine import kept
from camviz.ui.report import Report, hotspots_html, report
from camviz.ui.scores import ScoreRow, scores_html
from camviz.ui.scoring import known_rows, known_scores
from camviz.ui.stripview import heading_html, maps_message, strip_markup, tools_message


def offer(place: DeltaGenerator, scene: Scene, recipe: Recipe, rows: list[ScoreRow], heading: str, words: str) -> None:
    """Offer what is shown as files; each is made when it is asked for.

    Args:
        place: where the offer opens.
        scene: what is explained.
        recipe: how.
        rows: its scores.
        heading: the page's title, HTML.
        words: what the scores mean, Markdown.
    """
    found = finding_of(scene, recipe)
    name = file_name(found)
    with place:
        colormap = st.selectbox(
            "Colours of the figure",
            COLORMAPS,
            format_func=COLORMAPS.__getitem__,
            key="take_colours",
            persist_state="session",
        )

    def page() -> bytes:
        shown = Report(
            found.name,
            heading,
            tools_message(scene),
            maps_message(scene, recipe, strip_markup(scene, recipe)),
            scores_html(rows) if rows else "",
            words,
            hotspots_html(found),
            takeaway.facts(found),
        )
        return report(shown).encode()

    files = (
        ("Report, HTML", "Opens anywhere, without a network; its maps can be played with", f"{name}.html", page),
        (
            "Figure, PDF",
            "For a paper: vectors, text as text",
            f"{name}.pdf",
            lambda: figure(found, colormap=colormap),
        ),
        ("Maps, NPZ", "NumPy's format, with all settings", f"{name}.npz", lambda: takeaway.npz(found)),
        ("Scores, CSV", "A table", f"{name}.csv", lambda: takeaway.csv(found)),
        (
            "Hottest regions, CSV",
            "Boxes, centres and areas of the hottest 5, 10 and 20 % of each map",
            f"{name}-hotspots.csv",
            lambda: takeaway.hotspots_csv(found),
        ),
        (
            "Bundle",
            "Picture, settings, maps and scores: it opens here again, and is checked against a fresh result",
            f"{name}{bundle.SUFFIX}",
            lambda: bundle.write(found),
        ),
    )
    with place:
        offer_files(files)
        st.caption("Pictures, PNG: *Save*, in the bar over the maps.")


def offer_files(files: Iterable[tuple[str, str, str, Callable[[], bytes]]]) -> None:
    """Offer files by title, hint and name, each made when it is asked for."""
    for title, hint, file, make in files:
        st.download_button(
            title, make, file, help=hint, key=f"take-{title}", on_click="ignore", width="stretch", type="tertiary"
        )


def offer_one(place: DeltaGenerator, scene: Scene, recipe: Recipe) -> None:
    """Offer one map of many as files, with those of its scores that are known."""
    rows, words = known_rows(scene, recipe)
    offer(place, scene, recipe, rows, heading_html(scene, recipe), words)


def finding_of(scene: Scene, recipe: Recipe) -> Finding:
    """What is shown, as one value to keep; scores that were not computed are left out."""
    probabilities = predict(scene)
    return Finding(
        settings=Settings(scene.net.info.name, recipe, scene.fit, scene.target, scene.noise),
        name=scene.picture.title,
        picture=_picture_bytes(scene),
        view=get_view(scene),
        maps=layer_maps(scene, recipe)[:, 0].cpu().numpy(),
        merged=merged(scene, recipe)[0].cpu().numpy(),
        label=scene.net.labels[scene.target],
        probability=float(probabilities[scene.target]),
        top=likeliest(probabilities, scene.net.labels),
        scores={
            RESULT: _score(scene, recipe),
            **{layer: _score(scene, Recipe(recipe.method, (layer,))) for layer in recipe.layers},
        },
        device=str(scene.net.device),
    )


def _score(scene: Scene, recipe: Recipe) -> Score:
    row = known_scores(scene, recipe)
    arcc, coherency, _, road = row.values
    return Score(arcc, road, row.road_raw, coherency, float(complexity(merged(scene, recipe))), row.note)


def _picture_bytes(scene: Scene) -> bytes:
    """The bytes that the picture came as; a synthetic one's PNG."""
    return scene.picture.data or kept((scene.picture.id, "png"), lambda: as_png(scene.picture.pixels))


def file_name(found: Finding) -> str:
    """A name for files in letters that every system takes: what is explained and how, where that is not as usual."""
    settings, recipe = found.settings, found.settings.recipe
    parts = [found.name.rpartition(".")[0] or found.name, found.label, recipe.method]
    if settings.model != DEFAULT_MODEL:
        parts.append(settings.model)
    if len(recipe.layers) == 1:
        parts += recipe.layers
    elif recipe.rule != "product":
        parts.append(recipe.rule)
    if settings.noise:
        parts += [settings.noise.kind, f"{settings.noise.level:g}", str(settings.noise.seed)]
    words = (re.sub(r"[^a-z0-9]+", "-", part.lower().replace("+", "p")).strip("-")[:40] for part in parts)
    return "-".join(filter(None, words)) or "camviz"
