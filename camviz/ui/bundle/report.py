"""A finding by itself as a report, without a network to ask: from a bundle, or from the command line."""

from __future__ import annotations

from camviz.finding import Finding
from camviz.takeaway import facts
from camviz.ui import viewer
from camviz.ui.bundle.view import heading_html, panels_message, scores_html
from camviz.ui.report import Report, hotspots_html, report


def report_of(finding: Finding) -> bytes:
    """One HTML file that opens without a network, with the viewer working in it."""
    scores = f'<div class="cv-opened" hidden><div>{scores_html(finding, None)}</div></div>'
    panels = panels_message("From the deepest layer to the result", finding)
    tools = viewer.pack_tools(outline=False, regions=None)
    hottest = hotspots_html(finding)
    return report(
        Report(finding.name, heading_html(finding), tools, panels, scores, "", hottest, facts(finding))
    ).encode()
