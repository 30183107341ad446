"""A result as one HTML file that works offline, with the interactive viewer."""

from __future__ import annotations

import base64
import re
from html import escape

import numpy as np
from numpy.typing import NDArray

from camviz.heat_regions import SHARES, HotRegion, Hotspots
from camviz.html import viewer
from camviz.html.layer_strip import maps_message, strip_html, strip_of
from camviz.html.score_chart import rows_of, scores_html
from camviz.html.style import sheet
from camviz.html.viewer import pack_tools
from camviz.html.words import conclusion, title_html
from camviz.methods import METHODS
from camviz.noise.segments import segment
from camviz.results.exports import facts, hotspots_of, model_title
from camviz.results.finding import RESULT, Finding, result_title

# What Streamlit provides in the app.
_PAGE = """
:root { color-scheme: light dark; }
body { margin: 0; }
.stApp { min-height: 100vh; padding: 1.4rem 2rem; box-sizing: border-box; font: 16px/1.5 system-ui, sans-serif;
  color: light-dark(#31302d, #f2efe9); background: light-dark(#fff, #161513); }
.stApp main { max-width: 1600px; margin: auto; display: grid; grid-template-columns: minmax(0, 1fr); gap: 1.4rem;
  container: cv-page / inline-size; }
.stApp table { border-spacing: 1rem 0.15rem; font-size: 0.85rem; margin-left: -1rem; overflow-wrap: anywhere; }
.stApp .cv-opened table { margin-left: 0; border-spacing: 0; }
.stApp th { text-align: left; font-weight: 500; color: var(--cv-quiet); white-space: nowrap; vertical-align: top; }
.cv-hottest { justify-self: start; }
.cv-hottest caption { text-align: left; padding-inline: 1rem; font-weight: 600; }
.cv-hottest td { vertical-align: top; font-variant-numeric: tabular-nums; }
.cv-below { display: grid; grid-template-columns: minmax(0, 2.4fr) minmax(0, 1fr); gap: 2rem; }
/* A phone: the verdict, then the scores, and each row of a table as a block. */
@media (max-width: 40rem) {
  .stApp { padding: 1rem; }
  .cv-below { grid-template-columns: minmax(0, 1fr); gap: 0.6rem; }
  .cv-below > :last-child { order: -1; }
  .stApp table, .stApp :is(tbody, tr, th, td, caption) { display: block; }
  .stApp table { margin-left: 0; }
  .stApp th { white-space: normal; padding-top: 0.5rem; }
  .cv-hottest caption { padding-inline: 0; }
  .cv-hottest tr:first-child { display: none; }
}
"""
_MOST = 3  # regions of a map that are listed
_START = """
const bytes = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
const panels = new Viewer(document.getElementById("panels"));
new Tools(document.getElementById("tools")).show(bytes("tools-data"));
panels.show(bytes("panels-data"));
"""


def report(finding: Finding, credit: str = "") -> bytes:
    """A result as one HTML file, which works offline and loads nothing from anywhere.

    Args:
        finding: the result.
        credit: who made the picture.
    """
    table = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts(finding).items()
    )
    rows = rows_of(finding)
    chart = scores_html(rows, finding.score_names) if rows else ""
    words = "\n\n".join(conclusion(finding, rows)) if rows else ""
    panels = maps_message(finding, strip_html(strip_of(finding, credit=credit)))
    tools = pack_tools(bool(finding.shapes), _regions(finding))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{escape(finding.name)} · camviz</title>
<style>{sheet()}{viewer.style()}{_PAGE}</style>
</head>
<body>
<div class="stApp"><main>
{heading_html(finding)}
<div id="tools"></div>
<div id="panels"></div>
<div class="cv-below"><div>{chart}</div><div>{_as_html(words)}</div></div>
{hotspots_html(finding)}
<table>{table}</table>
</main></div>
<script type="text/plain" id="tools-data">{base64.b64encode(tools).decode()}</script>
<script type="text/plain" id="panels-data">{base64.b64encode(panels).decode()}</script>
<script>{viewer.script()}{_START}</script>
</body>
</html>
""".encode()


def heading_html(finding: Finding) -> str:
    """The heading: the question, the picture and the method."""
    model, method = model_title(finding.settings.model), METHODS[finding.settings.recipe.method].title
    most = max((probability for _, probability in finding.top), default=1.0)
    return title_html(model, finding.label, finding.name, finding.probability, method, most)


def _regions(finding: Finding) -> NDArray[np.int64] | None:
    """The picture's regions; None if it cannot be segmented, or if noise is on: regions are of the clean picture."""
    if finding.settings.noise is not None:
        return None
    try:
        return segment(finding.view)
    except ValueError:  # a picture of one colour, say
        return None


def hotspots_html(finding: Finding) -> str:
    """A table of where the hottest pixels of each map are, for the smallest share in the menu."""
    rows = "".join(
        f"<tr><th>{escape(result_title(finding.settings.recipe) if key == RESULT else key)}</th>"
        f"<td>{_shares(found)}</td><td>{_largest_regions(found)}</td></tr>"
        for key, found in hotspots_of(finding, SHARES[0]).items()
    )
    return f"""<table class="cv-hottest">
<caption>Where the hottest {100 * SHARES[0]:g} % of the pixels are</caption>
<tr><th>Map</th><th>Share covered</th><th>Regions, largest first, in pixels of the network's input</th></tr>
{rows}
</table>"""


def _shares(found: Hotspots) -> str:
    note = f" <small>{escape(found.note)}</small>" if found.note else ""
    return f"{100 * found.area:.1f} %{note}"


def _largest_regions(found: Hotspots) -> str:
    """The largest regions, and how many more there are."""
    lines = [_region(region) for region in found.regions[:_MOST]]
    if len(found.regions) > _MOST:
        lines.append(f"and {len(found.regions) - _MOST} smaller")
    return "<br>".join(lines) or "none"


def _region(region: HotRegion) -> str:
    (x, y, width, height), (left, top) = region.box, region.centre
    return f"{width} × {height} at x {x}, y {y} · centre {left:.0f}, {top:.0f} · {100 * region.area:.1f} % of the view"


def _as_html(words: str) -> str:
    """The Markdown of the verdict as HTML: paragraphs, bold, grey."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(words))
    text = re.sub(r":gray\[(.*?)\]", r"<small>\1</small>", text)
    return "".join(f"<p>{part}</p>" for part in text.split("\n\n"))
