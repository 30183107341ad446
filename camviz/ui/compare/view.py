"""Filling the grid: rows of maps as soon as they are ready, then their scores, map by map."""

from __future__ import annotations

import numpy as np
import streamlit as st

from camviz.html.comparison import Scores, Sort, best, needed_spread, order, ruler
from camviz.html.comparison_grid import Panel, head_html, lines_of, numbers_html, row_html, row_skeleton, width
from camviz.html.score_chart import ScoreRow
from camviz.html.viewer import Arrangement, pack
from camviz.methods import METHODS
from camviz.ui.compare import controls as comparecontrols
from camviz.ui.compare.grid import Cell, Grid, Row, describe, make_map, make_panel, make_range, reach_of
from camviz.ui.compare.pins import pin
from camviz.ui.panels import viewer
from camviz.ui.panels.more_scores import offer_more, shown_scores
from camviz.ui.panels.score_chart import are_fast_scores_known, compute_fast_scores, lacks_slow_score, row_of_map
from camviz.ui.panels.slow_progress import MapsPlace, SlowProgress
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.session import COMPARE_SLOW_SCORES, COMPARE_SORTED
from camviz.ui.sidebar import model_and_method
from camviz.workbench.maps import get_view, is_ready, layer_maps
from camviz.workbench.networks import expected_seconds
from camviz.workbench.pictures import Explained
from camviz.workbench.scores import arcc_spread, compute_scores, is_spread_known

_UNKNOWN = ScoreRow("", "", "layer")


class RowPlaces:
    """The places of a row's maps and of the scores below them."""

    def __init__(self, parent: DeltaGenerator, number: int) -> None:
        self.maps, self.numbers = MapsPlace(parent.container(), f"row-{number}"), Slot(parent.container())


def show_grid(place: DeltaGenerator, grid: Grid, of: Explained, sort: Sort, first: bool) -> None:
    """Show all maps, those of slow methods last, then the scores; sort the grid once all of them are known.

    The `first` time, reserve the space while nothing is known yet.
    """
    wide = width(len(grid.rows))
    shown = _sorted(grid, sort)
    with place.container(key="grid"):
        head, inside = (
            Slot(st.container(key="grid-top")),
            [RowPlaces(st.container(), n) for n in range(len(shown.rows))],
        )
        spoken = Slot(st.container())
    _show_head(head, shown, of, wide)
    rows = list(zip(inside, shown.rows, strict=True))
    for places, row in rows if first else ():
        places.maps.html(row_skeleton(row.head, len(row.cells), wide))
        places.numbers.html(numbers_html([_UNKNOWN] * len(row.cells), [None] * len(row.cells), wide, lines=_lines(row)))
    for places, row in sorted(rows, key=lambda item: _is_slow(item[1])):
        _show_row(places, row, wide)
    for places, row in rows:
        _score_row(places, row, wide)
    for places, row in rows:
        _mark_best(places, row, wide)
    _announce_best(spoken, shown)
    pictures = {cell.of.key: cell.of for row in grid.rows for cell in row.cells if cell.against is None}
    offer_more(place, pictures.values())
    _score_slowly(place, grid, rows, wide)
    sorting = _identity(grid), sort
    if _sorted(grid, sort) != shown and COMPARE_SORTED.get() != sorting:
        COMPARE_SORTED.set(sorting)
        st.rerun()


def show_map(place: Slot, key: str, cells: list[Cell], markup: str, pick: viewer.OnPick) -> None:
    """Send the maps of one picture to the browser, with the markup they are drawn into."""
    arrangement = Arrangement(
        key,
        markup,
        label=f"Maps of {', '.join(describe(cells[0])[1:])}",
        ranges=[make_range(cell) for cell in cells],
        signed=[index for index, cell in enumerate(cells) if cell.against is not None],
        picks=True,
    )
    maps = np.stack([make_map(cell) for cell in cells])
    viewer.show(place, key, pack(arrangement, get_view(cells[0].of), maps), pick)


def panel_of(cell: Cell) -> Panel:
    """The panel of a cell's map."""
    return make_panel(cell, blank=not make_map(cell).any())


def scores_of(row: Row) -> Scores:
    """A row's scores known so far."""
    return [None if cell.against is not None else row_of_map(cell.of, cell.recipe) for cell in row.cells]


def _sorted(grid: Grid, sort: Sort) -> Grid:
    """The sorted grid; in the chosen order while scores are missing."""
    if sort == "chosen" or not _all_known(grid):
        return grid
    return grid.arranged(*order([scores_of(row) for row in grid.rows], sort, grid.mode.across))


def _all_known(grid: Grid) -> bool:
    cells = [cell for row in grid.rows for cell in row.cells if cell.against is None]
    return all(are_fast_scores_known(cell.of, cell.recipe) for cell in cells)


def _identity(grid: Grid) -> tuple[object, ...]:
    """A grid's identity, without keeping a network in memory."""
    return tuple((cell.of.key, cell.recipe) for row in grid.rows for cell in row.cells)


def _show_head(place: Slot, grid: Grid, of: Explained, wide: float) -> None:
    view = get_view(of)
    markup = head_html(grid.columns, grid.mode.look, grid.mode.caution, wide, not grid.rows[0].head.picture)
    nothing = np.empty((0, *view.shape[:2]), np.float32)
    viewer.show(place, "grid-head", pack(Arrangement("grid-head", markup, "The picture"), view, nothing))


def _show_row(places: RowPlaces, row: Row, wide: float) -> None:
    with gpu_memory(row.cells[0].of.net):
        if _is_slow(row):
            _compute_slowly(places.maps, row, wide)
        markup = row_html(row.head, [panel_of(cell) for cell in row.cells], wide)
        show_map(places.maps, f"row-{row.key}", row.cells, markup, lambda index: pin(row.cells[index]))
        _show_numbers(places, row, wide)


def _score_row(places: RowPlaces, row: Row, wide: float) -> None:
    """Fill in a row's scores, map by map."""
    with gpu_memory(row.cells[0].of.net):
        for cell in row.cells:
            if cell.against is None:
                compute_fast_scores(cell.of, cell.recipe)
                _show_numbers(places, row, wide)


def _mark_best(places: RowPlaces, row: Row, wide: float) -> None:
    """Mark the best map of a row once it is known how much the highest scores vary with the seed."""
    with gpu_memory(row.cells[0].of.net):
        while (index := needed_spread(scores_of(row), _spreads(row))) is not None:
            arcc_spread(row.cells[index].of, row.cells[index].recipe)
        _show_numbers(places, row, wide)


def _announce_best(place: Slot, grid: Grid) -> None:
    """Have screen readers say which maps are marked."""
    found = [(row, best(scores_of(row), _spreads(row))) for row in grid.rows]
    leaders = [describe(row.cells[index])[0] for row, index in found if index is not None]
    by = "IoU" if any(ruler(scores_of(row)) == "best_iou" for row in grid.rows) else "ARCC"
    words = (
        f"Best of their rows by {by}: {'; '.join(leaders)}." if leaders else f"No map clearly leads its row by {by}."
    )
    viewer.announce(place, "grid-spoken", words)


def _score_slowly(place: DeltaGenerator, grid: Grid, rows: list[tuple[RowPlaces, Row]], wide: float) -> None:
    """Offer to score slow methods, whose coherency runs them again; once accepted, do so map by map."""
    missing = [
        (places, row, cell)
        for places, row in rows
        for cell in row.cells
        if cell.against is None and lacks_slow_score(cell.of, cell.recipe)
    ]
    if not missing:
        return
    seconds = [expected_seconds(shared_host(), cell.of.net, cell.recipe) for *_, cell in missing]
    if COMPARE_SLOW_SCORES.get() != _identity(grid):
        place.button(
            f"Score the slow methods too · {model_and_method.duration(sum(seconds))}",
            on_click=lambda: COMPARE_SLOW_SCORES.set(_identity(grid)),
            help="For coherency, and so for ARCC, the whole method runs again on each masked picture.",
        )
        return
    with place:
        progress = SlowProgress(
            "Running the slow methods again on the masked pictures",
            sum(seconds),
            "Stop scoring",
            _stop_scoring,
            "stop-scoring-grid",
            parts=len(missing),
        )
    for places, row, cell in missing:
        with gpu_memory(cell.of.net):
            compute_scores(cell.of, cell.recipe, shown_scores(cell.of), progress)
            _show_numbers(places, row, wide)
    COMPARE_SLOW_SCORES.pop()
    st.rerun()  # removes the bar and the button


def _stop_scoring() -> None:
    COMPARE_SLOW_SCORES.pop()


def _show_numbers(places: RowPlaces, row: Row, wide: float) -> None:
    reaches = [None if cell.against is None else reach_of(cell) for cell in row.cells]
    places.numbers.html(numbers_html(scores_of(row), reaches, wide, _spreads(row), _lines(row)))


def _lines(row: Row) -> int:
    """How many lines a row's maps get below their ARCC; differences have no scores."""
    return max((lines_of(shown_scores(cell.of)) for cell in row.cells if cell.against is None), default=0)


def _spreads(row: Row) -> dict[int, float]:
    """The spreads of ARCC that are known, by cell."""
    cells = enumerate(row.cells)
    return {index: arcc_spread(each.of, each.recipe) for index, each in cells if is_spread_known(each.of, each.recipe)}


def _is_slow(row: Row) -> bool:
    return any(_missing_slow_maps(cell) for cell in row.cells)


def _missing_slow_maps(cell: Cell) -> list[Explained]:
    """What a cell explains, twice for a difference, where a slow method still has to compute."""
    if not METHODS[cell.recipe.method].is_slow:
        return []
    return [of for of in (cell.of, cell.against) if of is not None and not is_ready(of, cell.recipe)]


def _compute_slowly(place: MapsPlace, row: Row, wide: float) -> None:
    """Compute a row's slow maps, with progress and a stop button."""
    work = [(of, cell.recipe) for cell in row.cells for of in _missing_slow_maps(cell)]
    costs = [expected_seconds(shared_host(), of.net, recipe) for of, recipe in work]
    titles = " and ".join(dict.fromkeys(METHODS[recipe.method].title for _, recipe in work))
    title = f"{titles}: the network runs many times"
    panels = row_skeleton(row.head, len(row.cells), wide)
    progress = place.wait(
        panels,
        title,
        sum(costs),
        comparecontrols.drop_slow_methods,
        "Leave out slow methods",
        parts=len(work),
    )
    for of, recipe in work:
        layer_maps(of, recipe, progress)
