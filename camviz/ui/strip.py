"""The strip: what the model sees, one map a layer, the running merge, RefineCAM; as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from camviz.render import colormap_gradient


@dataclass(frozen=True)
class LayerPanel:
    """One column of the strip.

    Attributes:
        name: the layer.
        side: its resolution in pixels.
        picture: its map over the view, a data URI.
        merged: the merge of all layers from the deepest down to this one, likewise.
        blank: why its map is blank, or "".
        merged_blank: why the merge is blank, or "".
        mark: a short remark on the layer, with its explanation, or two empty strings.
    """

    name: str
    side: int
    picture: str
    merged: str
    blank: str = ""
    merged_blank: str = ""
    mark: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Strip:
    """All that the strip shows; `layers` from deep to shallow."""

    view: str
    view_caption: str
    classes: list[tuple[str, float, bool]]
    layers: list[LayerPanel]
    result_title: str
    result_caption: str
    verb: str


def strip_html(strip: Strip) -> str:
    """Draw the strip."""
    first = strip.layers[0]
    last = strip.layers[-1]
    top = "".join(_figure(p.picture, _layer_caption(p), p.blank, f"map of {p.name}") for p in strip.layers)
    bottom = "".join(
        _figure(p.merged, _merge_caption(p, first, strip.verb), p.merged_blank, f"merge down to {p.name}")
        for p in strip.layers
    )
    result = _figure(
        last.merged,
        f"<b>{escape(strip.result_title)}</b> {escape(strip.result_caption)}",
        last.merged_blank,
        strip.result_title,
    )
    legend = (
        f'<div class="cv-legend"><span>little</span><i style="background:{colormap_gradient()}"></i>'
        "<span>much evidence for the class</span></div>"
    )
    return (
        f'<div class="cv-strip" style="--layers:{len(strip.layers)}">'
        f'<div class="cv-input">{_figure(strip.view, escape(strip.view_caption), "", "what the model sees")}'
        f"{_classes(strip.classes)}</div>"
        f'<div class="cv-row-label"><span>each layer alone</span></div>{top}'
        f'<div class="cv-row-label"><span>merged so far</span></div>{bottom}'
        f'<div class="cv-result">{result}{legend}</div></div>'
    )


def strip_skeleton(layers: int, view: str = "", classes: Sequence[tuple[str, float, bool]] = ()) -> str:
    """The strip's place while its maps are not known yet; view and classes are shown if they are."""
    empty = '<figure><div class="cv-pic cv-wait"></div><figcaption>&nbsp;</figcaption></figure>'
    seen = _figure(view, "&nbsp;", "", "what the model sees") if view else empty
    bars = _classes(classes) if classes else '<div class="cv-classes">' + '<div class="cv-class"></div>' * 5 + "</div>"
    label = '<div class="cv-row-label"></div>'
    return (
        f'<div class="cv-strip" style="--layers:{layers}"><div class="cv-input">{seen}{bars}</div>'
        f"{label}{empty * layers}{label}{empty * layers}"
        f'<div class="cv-result">{empty}<div class="cv-legend">&nbsp;</div></div></div>'
    )


def _figure(uri: str, caption: str, blank: str, alt: str) -> str:
    over = f'<div class="cv-blank"><span>Blank: {escape(blank)}.</span></div>' if blank else ""
    return (
        f'<figure><div class="cv-pic"><img src="{uri}" alt="{escape(alt)}">{over}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _layer_caption(panel: LayerPanel) -> str:
    text, explanation = panel.mark
    mark = f' <em title="{escape(explanation)}">{escape(text)}</em>' if text else ""
    return f'<b>{panel.side} px</b> <span title="{escape(panel.name)}">{escape(panel.name)}</span>{mark}'


def _merge_caption(panel: LayerPanel, first: LayerPanel, verb: str) -> str:
    return "starts with the deepest" if panel is first else f"{escape(verb)} {panel.side} px"


def _classes(classes: Sequence[tuple[str, float, bool]]) -> str:
    rows = "".join(
        f'<div class="cv-class{" cv-chosen" if chosen else ""}" style="--p:{probability:.4f}" '
        f'title="{escape(label)}"><span>{escape(label)}</span><b>{_percent(probability)}</b></div>'
        for label, probability, chosen in classes
    )
    return f'<div class="cv-classes">{rows}</div>'


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.01 or probability == 0 else "<1%"
