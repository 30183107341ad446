"""A result as a figure for a paper: the view, the layers and their running merges, and the merged map."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from numpy.typing import NDArray

from camviz.methods import METHODS
from camviz.noise import KINDS
from camviz.render import COLORMAP, COLORMAPS, overlay
from camviz.results.finding import RESULT, Finding, averaged, result_title, running_merges
from camviz.results.manifest import plain

Kind = Literal["pdf", "png"]
WIDTH = 7.2  # inches: both columns of a two-column page
DPI = 300
_LEAST_CELL = 0.8  # inches, of one layer's map
_LARGE, _BAR = 2.35, 0.1  # side of view and result, and width of the colour bar, in cells
_SPACE = 0.06  # between cells, in cells
_ABOVE, _BELOW = 0.22, 0.58  # inches for text above and below the pictures
_TITLE, _SMALL = 8, 5.5  # points
# Matplotlib's settings belong to the whole process.
_LOCK = threading.Lock()
_STYLE: Any = {
    "pdf.fonttype": 42,  # TrueType: many journals accept nothing else
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so the figure is the same everywhere
    "text.usetex": False,
    "text.parse_math": False,  # a dollar sign in a file's name is just a dollar sign
    "axes.linewidth": 0.4,
}


def figure(finding: Finding, kind: Kind = "pdf", scale: float = 1, colormap: str = COLORMAP) -> bytes:
    """Draw a figure ready for a paper; the same result gives the same bytes.

    Args:
        finding: the result to draw.
        kind: "pdf" with real text and embedded fonts, or "png" at 300 dots per inch.
        scale: 1 for a width of 7.2 inches, or more if there are many layers; the font size stays the same.
        colormap: a name in `camviz.render.COLORMAPS`.

    Raises:
        ValueError: an unknown kind or colormap, or a scale outside 0.5 to 4.
    """
    if colormap not in COLORMAPS:
        raise ValueError(f"colormap must be one of {', '.join(COLORMAPS)}, got {colormap!r}")
    if kind not in ("pdf", "png"):
        raise ValueError(f"kind must be 'pdf' or 'png', got {kind!r}")
    if not 0.5 <= scale <= 4:
        raise ValueError(f"scale must be from 0.5 to 4, got {scale}")
    with paper_style():
        drawn = _drawn(finding, scale, colormap)
        if kind == "pdf":
            return as_pdf(drawn, Title=_heading(finding))
        stream = io.BytesIO()
        FigureCanvasAgg(drawn)
        drawn.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
        return stream.getvalue()


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw and save a figure with the lines and fonts of a paper; other threads wait."""
    with _LOCK, mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a character that the font lacks is drawn as a box
        yield


def as_pdf(drawn: Figure, **metadata: str) -> bytes:
    """A figure as a PDF, with metadata such as its Title; the same figure gives the same bytes."""
    stream = io.BytesIO()
    FigureCanvasPdf(drawn)
    drawn.savefig(stream, format="pdf", metadata={**metadata, "CreationDate": None})
    return stream.getvalue()


def _drawn(finding: Finding, scale: float, colormap: str) -> Figure:
    layers = finding.settings.recipe.layers
    columns = len(layers) if len(layers) > 1 else 0  # one layer is the result itself
    cells = 2 * _LARGE + columns + _BAR + (columns + 3) * _SPACE + 0.3
    cell = max(WIDTH / max(cells, 8), _LEAST_CELL) * scale
    width, height = cells * cell, _LARGE * cell + _ABOVE + _BELOW
    drawn = Figure(figsize=(width, height))
    top = height - _ABOVE

    def place(left: float, side: float, upper: float = 0.0, breadth: float | None = None) -> Axes:
        """Axes of `side` cells, `left` and `upper` cells from the pictures' top left corner."""
        shape = ((side if breadth is None else breadth) * cell / width, side * cell / height)
        return drawn.add_axes((left * cell / width, (top - (upper + side) * cell) / height, *shape))

    def over(map_: NDArray[np.float32]) -> NDArray[np.uint8]:
        return overlay(finding.view, torch.tensor(map_), colormap)

    left = _SPACE
    _show(place(left, _LARGE), finding.view, _view_title(finding))
    left += _LARGE + _SPACE
    merges = running_merges(finding)
    lower = _LARGE - 1
    for index in reversed(range(columns)):
        _show(place(left, 1), over(finding.maps[index]), cut(layers[index], 20), _arcc(finding, layers[index]))
        _show(place(left, 1, lower), over(merges[index]), "merged so far" if index < columns - 1 else "deepest")
        left += 1 + _SPACE
    _show(place(left, _LARGE), over(finding.merged), _result_title(finding), _parts(finding))
    _bar(place(left + _LARGE + _SPACE, _LARGE, breadth=_BAR), colormap)
    drawn.text(
        _SPACE * cell / width,
        1 - 0.02 / height,
        cut(_heading(finding), int(12 * width)),
        fontsize=_TITLE,
        va="top",
        weight="bold",
    )
    drawn.text(_SPACE * cell / width, 0.04 / height, _settings_line(finding), fontsize=_SMALL, va="bottom")
    return drawn


def _show(axes: Axes, picture: NDArray[np.uint8], below: str, more: str = "") -> None:
    axes.imshow(picture, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("\n".join(filter(None, (below, more))), fontsize=_SMALL, labelpad=2)


def _bar(axes: Axes, colormap: str) -> None:
    """The colours of a map over mid-grey."""
    values = torch.linspace(1, 0, 256)[:, None]
    axes.imshow(overlay(np.full((256, 1, 3), 128, np.uint8), values, colormap), aspect="auto", extent=(0, 1, 0, 1))
    axes.set(xticks=[], yticks=[0, 0.5, 1])
    axes.yaxis.tick_right()
    axes.tick_params(labelsize=_SMALL, width=0.4, length=2, pad=1)


def _result_title(finding: Finding) -> str:
    recipe = finding.settings.recipe
    alone = averaged(f"{METHODS[recipe.method].title}, {recipe.layers[0]}", recipe)
    return result_title(recipe) if len(recipe.layers) > 1 else alone


def _heading(finding: Finding) -> str:
    method = METHODS[finding.settings.recipe.method].title
    label = cut(plain(finding.label), 40)
    return f"{method} for “{label}” ({finding.probability:.1%})"


def _view_title(finding: Finding) -> str:
    name, noise = cut(plain(finding.name), 40), finding.settings.noise
    return name if noise is None else f"{name}\n{KINDS[noise.kind].title}, {KINDS[noise.kind].strength(noise.level)}"


def _arcc(finding: Finding, key: str) -> str:
    score = finding.scores.get(key)
    return "" if score is None or score["arcc"] is None else f"ARCC {score['arcc']:.2f}"


def _parts(finding: Finding) -> str:
    """The merged map's ARCC and its parts."""
    score = finding.scores.get(RESULT)
    if score is None:
        return ""
    parts = {"coherency": score["coherency"], "complexity": score["complexity"], "ROAD": score["road"]}
    text = ", ".join(f"{name} {value:.2f}" for name, value in parts.items() if value is not None)
    return "\n".join(filter(None, (_arcc(finding, RESULT), text)))


def _settings_line(finding: Finding) -> str:
    """What else is needed to draw the same figure again."""
    recipe = finding.settings.recipe
    merging = f"layers from deepest to finest, below each the {recipe.rule} so far; " if len(recipe.layers) > 1 else ""
    merging += "maps averaged with those of the mirrored picture; " if recipe.mirror_averaged else ""
    versions = ", ".join(f"{name} {finding.versions[name]}" for name in ("camviz", "torch") if name in finding.versions)
    return f"{cut(finding.settings.model, 30)}; {merging}fit {finding.settings.fit}, seed {recipe.seed}; {versions}."


def cut(text: str, length: int) -> str:
    """Text with at most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
