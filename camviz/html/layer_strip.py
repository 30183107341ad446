"""The layer strip as HTML: the network's input, a map per layer, the running merge and RefineCAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from camviz.html.outlines import shapes_uri
from camviz.html.viewer import Arrangement, pack
from camviz.html.words import percent
from camviz.merging import RULES
from camviz.methods import METHODS
from camviz.results.finding import Finding, merge_ranges, result_title, running_merges, size_title


class Class(NamedTuple):
    """A class's bar next to the picture: `chosen` if it is explained, `pick` its index if a click asks for that."""

    label: str
    probability: float
    chosen: bool
    pick: int | None = None


@dataclass(frozen=True)
class LayerPanel:
    """One column of the strip.

    Attributes:
        name: the layer.
        size: its resolution as shown; the layer's name if that is unknown.
        spoken: its resolution for screen readers, or "".
        blank: why its map is blank, or "".
        merged_blank: why the merge is blank, or "".
        marks: short remarks on the layer, each with an explanation.
    """

    name: str
    size: str
    spoken: str = ""
    blank: str = ""
    merged_blank: str = ""
    marks: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Strip:
    """What the strip shows: `layers` from the deepest to the finest, `outline` an image on top of every panel, or "".

    `explained` is the method and target class, for screen readers.
    """

    view_caption: str
    classes: list[Class]
    layers: list[LayerPanel]
    result_title: str
    result_caption: str
    legend: tuple[str, str]
    explained: str
    outline: str = ""


def strip_of(finding: Finding, classes: list[Class] | None = None, credit: str = "") -> Strip:
    """The strip of a result.

    Args:
        finding: the result.
        classes: the bars next to the picture; None for the likeliest classes.
        credit: who made the picture.
    """
    recipe, method = finding.settings.recipe, METHODS[finding.settings.recipe.method]
    height, width = finding.view.shape[:2]
    panels = _layer_panels(finding)
    over = f" over {len(panels)} layers" if len(panels) > 1 else f", {panels[0].size}"
    edges = " · outline from the picture" if RULES[recipe.rule].needs == "picture" else ""
    return Strip(
        view_caption=f"Photo: {credit}" if credit else f"{width} × {height} pixels",
        classes=top_classes(finding) if classes is None else classes,
        layers=panels[::-1],
        result_title=result_title(recipe),
        result_caption=f"{method.title}{over}{edges}",
        legend=("little", "much evidence") if method.class_specific else ("low", "high"),
        explained=f"{method.title} for {finding.label}",
        outline=shapes_uri(finding.shapes, finding.label),
    )


def maps_message(finding: Finding, markup: str, subject: str = "", label: str = "", picks: bool = False) -> bytes:
    """A result's maps and the markup they are drawn into, as a message for the viewer.

    Args:
        finding: the result.
        markup: its `strip_html` or `maps_html`.
        subject: an identifier of what is explained and how; scores sent later refer to it.
        label: what the panels are, for screen readers.
        picks: whether a click on a class is sent to the server.
    """
    count = len(finding.maps)
    # The last merge is the result as it was stored, even if merging the layers again would give something else.
    maps = np.concatenate([finding.maps[::-1], running_merges(finding)[:0:-1], finding.merged[None]])
    arrangement = Arrangement(
        subject,
        markup,
        label=label or f"Maps of {finding.label}",
        ranges=[(0.0, 1.0)] * count + merge_ranges(finding)[::-1],
        merges=range(count, 2 * count),
        result=2 * count - 1,
        partner=0,
        picks=picks,
    )
    return pack(arrangement, finding.view, maps)


def top_classes(finding: Finding) -> list[Class]:
    """The likeliest classes; the last makes room for the target class if that is missing."""
    top, target = finding.top, (finding.label, finding.probability)
    shown = list(top) if target in top else [*top[:-1], target]
    return [Class(*each, each == target) for each in shown]


def _layer_panels(finding: Finding) -> list[LayerPanel]:
    """The strip's columns, from the finest layer to the deepest."""
    recipe, facts = finding.settings.recipe, finding.layers
    blanks = [each.blank for each in facts] or ["" if map_.any() else "it is 0 everywhere" for map_ in finding.maps]
    merges = running_merges(finding)
    return [
        LayerPanel(
            name=layer,
            size=size_title(facts[index].size) if facts else layer,
            spoken="{} by {}".format(*facts[index].size) if facts else "",
            blank=blanks[index],
            merged_blank=why_blank(not merges[index].any(), blanks[index:]),
            marks=_marks(recipe.method, facts[index].negative, facts[index].twins) if facts else (),
        )
        for index, layer in enumerate(recipe.layers)
    ]


def why_blank(blank: bool, layers: Sequence[str]) -> str:
    """Why a merge is blank, given why its layers are; "" if it is not."""
    if not blank:
        return ""
    if any(layers):
        return "a layer merged here is blank" if len(layers) > 1 else layers[0]
    return "these layers share no bright place"


def _marks(method: str, negative: bool, twins: Sequence[str]) -> list[tuple[str, str]]:
    """Remarks on a layer, each with an explanation: other methods with the same map, negative activations."""
    marks = []
    if twins:
        count = "1 other" if len(twins) == 1 else f"{len(twins)} others"
        titles = [METHODS[name].title if name in METHODS else name for name in twins]
        marks.append((f"= {count}", f"{' and '.join(titles)} give exactly the same map for this layer."))
    if negative:
        warning = "Grad-CAM++ was not derived for that." if method == "gradcam++" else "0 is not their minimum."
        marks.append(("± values", f"Some of this layer's activations are negative here. {warning}"))
    return marks


def strip_html(strip: Strip) -> str:
    """Lay out the strip: a canvas for the picture and for each map, first of the layers, then of the merges."""
    count = len(strip.layers)
    alone = "".join(
        _figure(
            _canvas(f"{_of(panel)}, {strip.explained}", index),
            _layer_caption(panel, depth),
            panel.blank,
            strip.outline,
        )
        for index, (panel, depth) in enumerate(zip(strip.layers, _depths(count), strict=True))
    )
    merges = "".join(
        _figure(
            _canvas(f"Merge down to {panel.name}, {strip.explained}", count + index),
            escape(caption),
            panel.merged_blank,
            strip.outline,
        )
        for index, (panel, caption) in enumerate(zip(strip.layers, _merge_captions(strip), strict=True))
    )
    credit = f'<span title="{escape(strip.view_caption)}">{escape(strip.view_caption)}</span>'
    legend = (
        f'<div class="cv-legend"><span>{escape(strip.legend[0])}</span><i class="cv-ramp"></i>'
        f"<span>{escape(strip.legend[1])}</span></div>"
    )
    return _grid(
        count,
        _figure(_canvas("What the model sees"), credit, "", strip.outline) + _classes(strip.classes),
        alone,
        merges,
        _result(strip, escape(strip.result_caption)) + legend,
        strip.result_title,
    )


def strip_skeleton(layers: int, view: str = "", classes: Sequence[Class] = ()) -> str:
    """A placeholder for the strip while its maps are computed; picture and classes are shown if they are known."""
    empty = '<figure><div class="cv-pic cv-wait"></div><figcaption>&nbsp;</figcaption></figure>'
    picture = f'<img src="{view}" alt="What the model sees">'
    seen = _figure(picture, "&nbsp;") if view else empty
    bars = _classes(classes) if classes else '<div class="cv-classes">' + '<div class="cv-class"></div>' * 5 + "</div>"
    result = f'{empty}<div class="cv-legend">&nbsp;</div>'
    return _grid(layers, seen + bars, empty * layers, empty * layers, result, "Result")


def seen_html(hint: str, classes: Sequence[Class], outline: str, heading: str) -> str:
    """One of two pictures, clean and noisy, below its heading `heading` (HTML), with its likeliest classes."""
    picture = _figure(_canvas("What the model sees"), "", "", outline, hint)
    return f'<div class="cv-seen" hidden><h4>{heading}</h4>{picture}{_classes(classes)}</div>'


def maps_html(strip: Strip, heading: str) -> str:
    """The strip's maps again, smaller, to go next to a picture, below their heading `heading`."""
    count = len(strip.layers)
    alone = "".join(
        _figure(_canvas(f"{_of(p)}, {strip.explained}", index), escape(p.size), p.blank, strip.outline, p.name)
        for index, p in enumerate(strip.layers)
    )
    merges = "".join(
        _figure(
            _canvas(f"Merge down to {p.name}, {strip.explained}", count + index),
            "",
            p.merged_blank,
            strip.outline,
            caption,
        )
        for index, (p, caption) in enumerate(zip(strip.layers, _merge_captions(strip), strict=True))
    )
    return _maps(count, alone + merges, _result(strip, escape(strip.result_title), strip.result_caption), heading)


def maps_skeleton(layers: int) -> str:
    """A placeholder for the maps while they are computed."""
    empty = '<figure><div class="cv-pic cv-wait"></div></figure>'
    return _maps(layers, empty * 2 * layers, empty)


@dataclass(frozen=True)
class Pane:
    """A panel of a plain row.

    Attributes:
        caption: the words below it.
        label: what it shows, for screen readers.
        index: of its map; None for the picture.
        result: whether other panels can be compared with it.
        blank: why its map is blank, or "".
    """

    caption: str
    label: str
    index: int | None = None
    result: bool = False
    blank: str = ""


def row_html(title: str, panes: Sequence[Pane], outline: str = "") -> str:
    """Panels side by side under a title, without running merges; `outline` is drawn over each."""
    figures = (
        _figure(_canvas(p.label, p.index, p.result), escape(p.caption), p.blank, outline, p.caption) for p in panes
    )
    return _row(title, "".join(figures))


def row_skeleton(title: str, panes: int) -> str:
    """A placeholder for the row while its maps are computed."""
    return _row(title, '<figure><div class="cv-pic cv-wait"></div><figcaption>&nbsp;</figcaption></figure>' * panes)


def _row(title: str, figures: str) -> str:
    return f'<div class="cv-panes" hidden><h4>{escape(title)}</h4>{figures}</div>'


def _maps(layers: int, panels: str, result: str, heading: str = "") -> str:
    return (
        f'<div class="cv-maps" hidden style="--layers:{layers}"><h4>{escape(heading)}</h4>'
        f'<div class="cv-panels">{panels}</div><div class="cv-outcome">{result}</div></div>'
    )


def _grid(layers: int, view: str, alone: str, merges: str, result: str, title: str) -> str:
    """Lay out the four parts under their headings."""
    return (
        f'<div class="cv-strip" hidden style="--layers:{layers}">'
        f'<div class="cv-input"><h4>What the model sees</h4>{view}</div>'
        '<h4 class="cv-row"><i>1</i> Each layer alone, from deepest to finest</h4>'
        f"{alone}"
        '<h4 class="cv-row"><i>2</i> Merged so far, starting with the deepest</h4>'
        f"{merges}"
        f'<div class="cv-result"><h4><i>3</i> {escape(title)}</h4>{result}</div></div>'
    )


def _depths(count: int) -> list[str]:
    return ["deepest", *[""] * (count - 2), "finest"] if count > 1 else [""]


def _merge_captions(strip: Strip) -> list[str]:
    first, *others = (panel.size for panel in strip.layers)
    return [f"{first} alone", *(f"and {size}" for size in others)]


def _of(panel: LayerPanel) -> str:
    return ", ".join(filter(None, (f"Map of {panel.name}", panel.spoken)))


def _result(strip: Strip, caption: str, hint: str = "") -> str:
    """The large picture: the last merge."""
    alt = f"{strip.result_title}: {strip.result_caption}, {strip.explained}"
    canvas = _canvas(alt, 2 * len(strip.layers) - 1, result=True)
    return _figure(canvas, caption, strip.layers[-1].merged_blank, strip.outline, hint)


def _canvas(alt: str, index: int | None = None, result: bool = False) -> str:
    """A canvas for a map by its index, or for the picture; that of the result can show other maps too."""
    which = "" if index is None else f' data-map="{index}"'
    return f'<canvas role="img" aria-label="{escape(alt)}"{which}{" data-result" if result else ""}></canvas>'


def _figure(picture: str, caption: str, blank: str = "", outline: str = "", hint: str = "") -> str:
    over = f'<div class="cv-blank"><span>Blank: {escape(blank)}.</span></div>' if blank else ""
    line = f'<img src="{outline}" alt="Outline of the true shape">' if outline else ""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<figure{title}><div class="cv-pic">{picture}{line}{over}</div>{below}</figure>'


def _layer_caption(panel: LayerPanel, depth: str) -> str:
    marks = "".join(f' <em title="{escape(why)}">{escape(text)}</em>' for text, why in panel.marks)
    return f'<b title="{escape(panel.name)}">{escape(panel.size)}</b> {depth}{marks}'


def _classes(classes: Sequence[Class]) -> str:
    return f'<div class="cv-classes">{"".join(map(_class, classes))}</div>'


def _class(of: Class) -> str:
    """A class's bar: a button if a click asks to explain it."""
    kind, words = f"cv-class{' cv-chosen' if of.chosen else ''}", escape(of.label)
    inside = f"<span>{words}</span><b>{percent(of.probability)}</b>"
    style = f'style="--p:{of.probability:.4f}"'
    if of.pick is None:
        return f'<div class="{kind}" {style} title="{words}">{inside}</div>'
    pressed = "true" if of.chosen else "false"
    return (
        f'<button type="button" class="{kind}" {style} title="Explain {words}" data-pick="{of.pick}" '
        f'aria-pressed="{pressed}">{inside}</button>'
    )
