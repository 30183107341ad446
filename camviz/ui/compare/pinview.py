"""The row of pinned maps at the top of the Compare page."""

from __future__ import annotations

import streamlit as st

from camviz.html.comparison_grid import numbers, pin_html, reach_html
from camviz.ui.compare.grid import Cell, describe, reach_of
from camviz.ui.compare.pins import MOST, Pin, pins, unpin
from camviz.ui.compare.view import panel_of, show_map
from camviz.ui.panels.score_chart import compute_fast_scores, row_of_map
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot


class PinPlaces:
    """The pinned maps, each with a place for its scores."""

    def __init__(self, parent: DeltaGenerator) -> None:
        self._shown: list[tuple[Cell, Slot]] = []
        pinned = pins()
        if not pinned:
            return
        with parent:
            st.html(
                f'<p class="cv-pins" hidden><b>Pinned</b> {len(pinned)} of {MOST} · these stay while everything else '
                "changes; compare scores only for the same picture, model and class</p>"
            )
            with st.container(key="pins"):
                for pin in pinned:
                    self._show(pin)

    def _show(self, pin: Pin) -> None:
        with st.container(key=f"pin-{pin.key}"):
            maps, below = Slot(st.container()), Slot(st.container())
        cell = pin.cell()
        with gpu_memory(cell.of.net):
            markup = pin_html(describe(cell), panel_of(cell), signed=cell.against is not None)
            show_map(maps, f"pinned-{pin.key}", [cell], markup, lambda _: unpin(pin))
            self._show_numbers(cell, below)
        self._shown.append((cell, below))

    def score(self) -> None:
        """Fill in the missing scores."""
        for cell, below in self._shown:
            if cell.against is None:
                with gpu_memory(cell.of.net):
                    compute_fast_scores(cell.of, cell.recipe)
                    self._show_numbers(cell, below)

    def _show_numbers(self, cell: Cell, below: Slot) -> None:
        text = numbers(row_of_map(cell.of, cell.recipe)) if cell.against is None else reach_html(reach_of(cell))
        below.html(f'<div class="cv-numbers" hidden>{text}</div>')
