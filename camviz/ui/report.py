"""A finding as one HTML file that opens without a network, with the viewer working in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from camviz.finding import RESULT, Finding
from camviz.heat_regions import SHARES, HotRegion, Hotspots
from camviz.takeaway import hotspots_of, result_title
from camviz.ui import viewer
from camviz.ui.style import sheet

# What Streamlit gives the page elsewhere.
_PAGE = """
:root { color-scheme: light dark; }
body { margin: 0; }
.stApp { min-height: 100vh; padding: 1.4rem 2rem; box-sizing: border-box; font: 16px/1.5 system-ui, sans-serif;
  color: light-dark(#31302d, #f2efe9); background: light-dark(#fff, #161513); }
.stApp main { max-width: 1600px; margin: auto; display: grid; gap: 1.4rem; }
.stApp table { border-spacing: 1rem 0.15rem; font-size: 0.85rem; margin-left: -1rem; overflow-wrap: anywhere; }
.stApp .cv-opened table { margin-left: 0; border-spacing: 0; }
.stApp th { text-align: left; font-weight: 500; color: var(--cv-quiet); white-space: nowrap; vertical-align: top; }
.cv-hottest caption { text-align: left; padding-inline: 1rem; font-weight: 600; }
.cv-hottest td { vertical-align: top; font-variant-numeric: tabular-nums; }
.cv-below { display: grid; grid-template-columns: minmax(0, 2.4fr) minmax(0, 1fr); gap: 2rem; }
"""
_MOST = 3  # regions of a map that are told one by one
_START = """
const bytes = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
const panels = new Viewer(document.getElementById("panels"));
new Tools(document.getElementById("tools")).show(bytes("tools-data"));
panels.show(bytes("panels-data"));
"""


@dataclass(frozen=True)
class Report:
    """What a report holds: HTML, Markdown of the page's own words, messages to the viewer, and facts by name."""

    title: str
    heading: str
    tools: bytes = field(repr=False)
    panels: bytes = field(repr=False)
    scores: str = field(repr=False)
    words: str
    hotspots: str = field(repr=False)
    facts: Mapping[str, str]


def report(of: Report) -> str:
    """Write the file: its script asks no other address for anything."""
    facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in of.facts.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{escape(of.title)} · camviz</title>
<style>{sheet()}{viewer.style()}{_PAGE}</style>
</head>
<body>
<div class="stApp"><main>
{of.heading}
<div id="tools"></div>
<div id="panels"></div>
<div class="cv-below"><div>{of.scores}</div><div>{_as_html(of.words)}</div></div>
{of.hotspots}
<table>{facts}</table>
</main></div>
<script type="text/plain" id="tools-data">{base64.b64encode(of.tools).decode()}</script>
<script type="text/plain" id="panels-data">{base64.b64encode(of.panels).decode()}</script>
<script>{viewer.script()}{_START}</script>
</body>
</html>
"""


def hotspots_html(finding: Finding) -> str:
    """A table of where the hottest pixels of each map are, the smallest share that is offered."""
    rows = "".join(
        f"<tr><th>{escape(result_title(finding) if key == RESULT else key)}</th>"
        f"<td>{_shares(found)}</td><td>{_regions(found)}</td></tr>"
        for key, found in hotspots_of(finding, SHARES[0]).items()
    )
    return f"""<table class="cv-hottest">
<caption>Where the hottest {SHARES[0]:.0%} of the pixels are</caption>
<tr><th>Map</th><th>Share covered</th><th>Regions, the largest first, in pixels of the view</th></tr>
{rows}
</table>"""


def _shares(found: Hotspots) -> str:
    note = f" <small>{escape(found.note)}</small>" if found.note else ""
    return f"{100 * found.area:.1f} %{note}"


def _regions(found: Hotspots) -> str:
    """The largest regions, and how many more there are."""
    told = [_region(region) for region in found.regions[:_MOST]]
    if len(found.regions) > _MOST:
        told.append(f"and {len(found.regions) - _MOST} smaller")
    return "<br>".join(told) or "none"


def _region(region: HotRegion) -> str:
    (x, y, width, height), (left, top) = region.box, region.centre
    return f"{width} × {height} at x {x}, y {y} · centre {left:.0f}, {top:.0f} · {100 * region.area:.1f} % of the view"


def _as_html(words: str) -> str:
    """The little Markdown that the page's verdicts use, as HTML: paragraphs, bold, quiet."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(words))
    text = re.sub(r":gray\[(.*?)\]", r"<small>\1</small>", text)
    return "".join(f"<p>{part}</p>" for part in text.split("\n\n"))
