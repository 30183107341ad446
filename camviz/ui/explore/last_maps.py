"""The maps shown last: they stay, dimmed, while the network for new ones has to be downloaded."""

from __future__ import annotations

from camviz.recipe import Recipe
from camviz.ui.compare.grid import Cell
from camviz.ui.compare.pins import is_there, pin_of
from camviz.ui.page_frame import HeadingPlaces
from camviz.ui.panels.layer_strip import heading_html, show_strip
from camviz.ui.panels.slow_progress import MapsPlace
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import LAST_MAPS
from camviz.workbench.maps import is_ready
from camviz.workbench.pictures import Explained


def keep_maps(of: Explained, recipe: Recipe) -> None:
    """Remember what is shown, without the network itself."""
    LAST_MAPS.set(pin_of(Cell(of, recipe)))


def show_last_maps(main: DeltaGenerator, heading: HeadingPlaces, strip: MapsPlace) -> None:
    """Show what was remembered, as long as that takes no work."""
    last = LAST_MAPS.get()
    if last is None or not is_there(last):
        return
    cell = last.cell()
    if is_ready(cell.of, cell.recipe):
        main.html('<span class="cv-outdated"></span>')
        heading.title.html(heading_html(cell.of, cell.recipe))
        show_strip(strip, cell.of, cell.recipe, on_wait=lambda: None)
