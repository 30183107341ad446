"""The strip: what the model sees, one map a layer, the running merge, RefineCAM; as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from camviz.render import overlay_gradient
from camviz.ui.words import percent


@dataclass(frozen=True)
class LayerPanel:
    """One column of the strip.

    Attributes:
        name: the layer.
        side: its resolution, in places per side.
        picture: its map over the view, a data URI.
        merged: the merge of all layers from the deepest down to this one, likewise.
        blank: why its map is blank, or "".
        merged_blank: why the merge is blank, or "".
        marks: short remarks on the layer, each with its explanation.
    """

    name: str
    side: int
    picture: str
    merged: str
    blank: str = ""
    merged_blank: str = ""
    marks: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Strip:
    """All that the strip shows; `layers` from deep to shallow, `outline` a picture to lie over every panel, or ""."""

    view: str
    view_caption: str
    classes: list[tuple[str, float, bool]]
    layers: list[LayerPanel]
    result_title: str
    result_caption: str
    verb: str
    legend: tuple[str, str]
    outline: str = ""


def strip_html(strip: Strip) -> str:
    """Draw the strip."""
    last = strip.layers[-1]
    alone = "".join(
        _figure(panel.picture, _layer_caption(panel, depth), panel.blank, f"map of {panel.name}", strip.outline)
        for panel, depth in zip(strip.layers, _depths(len(strip.layers)), strict=True)
    )
    merges = "".join(
        _figure(panel.merged, escape(caption), panel.merged_blank, f"merge down to {panel.name}", strip.outline)
        for panel, caption in zip(strip.layers, _merge_captions(strip), strict=True)
    )
    credit = f'<span title="{escape(strip.view_caption)}">{escape(strip.view_caption)}</span>'
    legend = (
        f'<div class="cv-legend"><span>{escape(strip.legend[0])}</span><i style="background:{overlay_gradient()}"></i>'
        f"<span>{escape(strip.legend[1])}</span></div>"
    )
    return _grid(
        len(strip.layers),
        _figure(strip.view, credit, "", "what the model sees", strip.outline) + _classes(strip.classes),
        alone,
        merges,
        _figure(last.merged, escape(strip.result_caption), last.merged_blank, strip.result_title, strip.outline)
        + legend,
        strip.result_title,
    )


def strip_skeleton(layers: int, view: str = "", classes: Sequence[tuple[str, float, bool]] = ()) -> str:
    """The strip's place while its maps are not known yet; view and classes are shown if they are."""
    empty = '<figure><div class="cv-pic cv-wait"></div><figcaption>&nbsp;</figcaption></figure>'
    seen = _figure(view, "&nbsp;", "", "what the model sees") if view else empty
    bars = _classes(classes) if classes else '<div class="cv-classes">' + '<div class="cv-class"></div>' * 5 + "</div>"
    result = f'{empty}<div class="cv-legend">&nbsp;</div>'
    return _grid(layers, seen + bars, empty * layers, empty * layers, result, "Result")


def _grid(layers: int, view: str, alone: str, merges: str, result: str, title: str) -> str:
    """Lay out the four parts under their headings."""
    return (
        f'<div class="cv-strip" hidden style="--layers:{layers}">'
        f'<div class="cv-input"><h4>What the model sees</h4>{view}</div>'
        '<h4 class="cv-row"><i>1</i> Each layer alone, from coarse to fine</h4>'
        f"{alone}"
        '<h4 class="cv-row"><i>2</i> Merged so far, from the deepest on</h4>'
        f"{merges}"
        f'<div class="cv-result"><h4><i>3</i> {escape(title)}</h4>{result}</div></div>'
    )


def _depths(count: int) -> list[str]:
    return ["deepest", *[""] * (count - 2), "shallowest"] if count > 1 else [""]


def _merge_captions(strip: Strip) -> list[str]:
    first, *others = (f"{panel.side} × {panel.side}" for panel in strip.layers)
    return [f"{first} alone", *(f"… {strip.verb} {size}" for size in others)]


def _figure(uri: str, caption: str, blank: str, alt: str, outline: str = "") -> str:
    over = f'<div class="cv-blank"><span>Blank: {escape(blank)}.</span></div>' if blank else ""
    line = f'<img src="{outline}" alt="outline of the true shape">' if outline else ""
    return (
        f'<figure><div class="cv-pic"><img src="{uri}" alt="{escape(alt)}">{line}{over}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _layer_caption(panel: LayerPanel, depth: str) -> str:
    marks = "".join(f' <em title="{escape(why)}">{escape(text)}</em>' for text, why in panel.marks)
    return f'<b title="{escape(panel.name)}">{panel.side} × {panel.side}</b> {depth}{marks}'


def _classes(classes: Sequence[tuple[str, float, bool]]) -> str:
    rows = "".join(
        f'<div class="cv-class{" cv-chosen" if chosen else ""}" style="--p:{probability:.4f}" '
        f'title="{escape(label)}"><span>{escape(label)}</span><b>{percent(probability)}</b></div>'
        for label, probability, chosen in classes
    )
    return f'<div class="cv-classes">{rows}</div>'
