"""How an opened bundle looks: its panels above those computed now, both scores, settings and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from camviz.html.layer_strip import Pane, maps_message, row_html, row_skeleton
from camviz.html.outlines import shapes_uri
from camviz.html.report import heading_html
from camviz.html.score_chart import chart_scores
from camviz.html.viewer import pack_tools
from camviz.methods import Progress
from camviz.metrics import SCORES
from camviz.results.agreement import SCORE_TOLERANCE, Agreement
from camviz.results.exports import settings_in_words
from camviz.results.finding import RESULT, Finding, MapScores, averaged, result_title
from camviz.ui.escaping import as_text
from camviz.ui.panels import viewer
from camviz.ui.panels.slow_progress import MapsPlace
from camviz.ui.reproduce.opened import Opened, show_waiting
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot

_STORED, _NOW = "Stored in the bundle", "Computed now"

INTRO = """<h1 class="cv-title" hidden>Open a bundle</h1>
<p class="cv-lead">A bundle is one file, <b>.camviz.zip</b>, that holds a whole result, from the picture to the scores.
Upload one on the left<span class="cv-phone"> (behind »)</span>: camviz computes the result again and compares the two.
On every other page, you get one under <b>Download</b>. Any bundle is safe to open: nothing is unpacked to disk, and
nothing in it is run.</p>"""


class Places:
    """The places of the parts, from top to bottom.

    Attributes:
        network: for the reason why a network cannot be used.
        verdict: for whether the two agree.
        fresh: for the panels computed now.
    """

    def __init__(self, parent: DeltaGenerator) -> None:
        self._title, self._tools = Slot(parent.container()), Slot(parent.container())
        self.network, self.verdict = parent.container(), Slot(parent.container())
        self._stored, self.fresh = Slot(parent.container()), MapsPlace(parent.container(), "bundle")
        self._details = Slot(parent.container())

    def show_stored(self, opened: Opened) -> None:
        """Show the panels stored in the bundle."""
        self._title.html(heading_html(opened.stored))
        viewer.show(self._tools, "tools", pack_tools(bool(opened.stored.shapes), None))
        viewer.show(self._stored, "bundle-stored", panels_message(_STORED, opened.stored))

    def show_alone(self, opened: Opened) -> None:
        """Show the bundle's scores and settings with nothing to compare them with."""
        self._details.html(_details(opened.stored, None, None))

    def show_waiting(self, opened: Opened) -> Progress | None:
        """Show the stored result and empty panels; return a callback for the progress of a slow method."""
        self.verdict.say("info", "Computing the result again to compare the two.", ":material/sync:")
        self.show_alone(opened)
        return show_waiting(opened, self.fresh, row_skeleton(_NOW, len(opened.stored.maps) + 2))

    def show_fresh(self, opened: Opened, fresh: Finding, agreement: Agreement) -> None:
        """Show what was computed now, and whether the two agree."""
        if agreement.agrees:
            self.verdict.say("success", as_text(agreement.text), ":material/check_circle:")
        else:
            self.verdict.say("warning", as_text(agreement.text), ":material/difference:")
        viewer.show(self.fresh, "bundle-fresh", panels_message(_NOW, fresh))
        self._details.html(_details(opened.stored, fresh, agreement))


def panels_message(title: str, finding: Finding) -> bytes:
    """A result's maps under a title, from the deepest layer to the merged map, for the viewer."""
    markup = row_html(title, _panes(finding), shapes_uri(finding.shapes, finding.label))
    return maps_message(finding, markup, title, label=f"{title}: maps of {finding.label}")


def _panes(finding: Finding) -> list[Pane]:
    layers = [
        Pane(layer, _description(f"Map of {layer}", finding, layer), index, blank=_blank(map_.any()))
        for index, (layer, map_) in enumerate(
            zip(reversed(finding.settings.recipe.layers), finding.maps[::-1], strict=True)
        )
    ]
    recipe = finding.settings.recipe
    title = result_title(recipe) if len(layers) > 1 else averaged("Result", recipe)
    description = _description(f"{title} for {finding.label}", finding, RESULT)
    result = Pane(title, description, 2 * len(layers) - 1, result=True, blank=_blank(finding.merged.any()))
    return [Pane("What the model sees", "What the model sees"), *layers, result]


def _blank(something: np.bool_) -> str:
    return "" if something else "it is 0 everywhere"


def _description(name: str, finding: Finding, key: str) -> str:
    """A panel's description for screen readers, with its score if any."""
    arcc = finding.scores[key]["arcc"] if key in finding.scores else None
    return name if arcc is None else f"{name}, ARCC {arcc:.2f}"


def _details(stored: Finding, fresh: Finding | None, agreement: Agreement | None) -> str:
    return (
        f'<div class="cv-opened" hidden><div>{scores_html(stored, fresh)}</div>'
        f"<div><h4>Settings</h4>{_facts(settings_in_words(stored))}{_versions(stored, fresh, agreement)}</div></div>"
    )


def scores_html(stored: Finding, fresh: Finding | None) -> str:
    """The scores of the result and of each layer, deepest to finest: stored and, if available, computed now.

    Scores without a column in the chart are shown only if they differ.
    """
    if not stored.scores:
        return "<h4>Scores</h4><p>This bundle has no scores.</p>"
    wide, high = (1, 1) if fresh is None else (2, 2)
    in_chart = chart_scores(stored.score_names)
    names = [name for name in stored.score_names if name in in_chart or _differs(name, stored, fresh)]
    heads = "".join(f'<th colspan="{wide}" scope="colgroup">{escape(_title(name))}</th>' for name in names)
    both = "" if fresh is None else f"<tr>{'<th>stored</th><th>now</th>' * len(names)}</tr>"
    titles = {RESULT: result_title(stored.settings.recipe)}
    rows = "".join(
        _row(titles.get(key, key), names, stored.scores[key], None if fresh is None else fresh.scores[key])
        for key in (RESULT, *reversed(stored.settings.recipe.layers))
    )
    return (
        f'<h4>Scores</h4><table><thead><tr><td rowspan="{high}"></td>{heads}</tr>{both}</thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _differs(name: str, stored: Finding, fresh: Finding | None) -> bool:
    """Whether a score of any map differs by more than the tolerance."""
    if fresh is None:
        return False
    return any(_are_apart(scores[name], fresh.scores[key][name]) for key, scores in stored.scores.items())


def _are_apart(stored: float | None, fresh: float | None) -> bool:
    return stored is not None and fresh is not None and abs(stored - fresh) > SCORE_TOLERANCE


def _title(name: str) -> str:
    return SCORES[name].chart_title if name in SCORES else name


def _row(title: str, names: Sequence[str], stored: MapScores, fresh: MapScores | None) -> str:
    if fresh is None:
        cells = "".join(f"<td>{_number(_shown(name, stored))}</td>" for name in names)
    else:
        cells = "".join(_cells(_shown(name, stored), _shown(name, fresh)) for name in names)
    return f'<tr title="{escape(stored.note)}"><th scope="row">{escape(title)}</th>{cells}</tr>'


def _shown(name: str, scores: MapScores) -> float | None:
    """A score as the chart shows it; an unknown one as stored."""
    return SCORES[name].chart_value(scores[name]) if name in SCORES else scores[name]


def _cells(stored: float | None, fresh: float | None) -> str:
    """Two numbers, marked if they differ by more than the tolerance."""
    mark = ' class="cv-apart"' if _are_apart(stored, fresh) else ""
    return f"<td>{_number(stored)}</td><td{mark}>{_number(fresh)}</td>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _versions(stored: Finding, fresh: Finding | None, agreement: Agreement | None) -> str:
    """The versions and the device where they differ; all of them for a bundle that is not computed again."""
    if fresh is None or agreement is None:
        return f"<h4>Computed with</h4>{_facts({**stored.versions, 'device': stored.device})}"
    apart: Mapping[str, Sequence[str]] = agreement.versions
    if stored.device != fresh.device:
        apart = {**apart, "device": (stored.device, fresh.device)}
    if not apart:
        return "<h4>Versions</h4><p>Versions and device are the same.</p>"
    return f"<h4>Versions that differ</h4>{_facts({name: f'{old}, now {new}' for name, (old, new) in apart.items()})}"


def _facts(facts: Mapping[str, str]) -> str:
    return f"<dl>{''.join(_fact(name, value) for name, value in facts.items())}</dl>"


def _fact(name: str, value: str) -> str:
    return f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
