"""The viewer's messages, script and style: pictures and maps go to the browser once, which draws them.

The script, its parts in assets/viewer, says what the browser does with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camviz.heat_regions import SHARES
from camviz.render import COLORMAPS, DIVERGING, palette

_FOLDER = Path(__file__).parents[2] / "assets" / "viewer"
# What lines the panels can show: a setting of the script, and what it is called.
_LINES = {"none": "none", "quarters": "0.25, 0.5, 0.75", **{f"{s:g}": f"hottest {100 * s:g} %" for s in SHARES}}
_PARTS = ("state", "data", "draw", "panels", "pointing", "tools", "save")


@dataclass(frozen=True)
class Arrangement:
    """Panels to show, and what the browser has to know of them.

    Attributes:
        subject: what is explained and how, in a few letters: scores come for the same.
        markup: HTML with a `canvas` for each panel: its `data-map` is the index of a map, without one it shows the
            picture; with `data-result` it can be held against another.
        label: what the panels are, for people who do not see them.
        ranges: for each map what its 0 and 1 stand for on a scale that all share.
        merges: the indices of the running merges, from the deepest map alone to the result.
        result: the index of the result.
        partner: the index of the map that the result is held against at first.
        signed: the indices of differences, whose 0.5 is none.
        regions: for each map what is told of each region under the pointer, in place of the map's value; a click on a
            panel then picks the region.
        picks: whether the server hears of a click on a region, or on a button that has a `data-pick`.
    """

    subject: str
    markup: str
    label: str
    ranges: Sequence[tuple[float, float]] = field(default=())
    merges: Sequence[int] = field(default=())
    result: int | None = None
    partner: int | None = None
    signed: Sequence[int] = field(default=())
    regions: Sequence[Sequence[str]] = field(default=())
    picks: bool = False


def pack(arrangement: Arrangement, view: NDArray[np.uint8], maps: NDArray[np.float32]) -> bytes:
    """Put an arrangement, the picture (h, w, 3) and its maps (n, h, w) into one message, the maps as they are."""
    size = {"height": view.shape[0], "width": view.shape[1], "maps": len(maps)}
    known = {name: value for name, value in vars(arrangement).items() if value is not None}
    known |= {"merges": list(arrangement.merges), "signed": list(arrangement.signed)}
    return _message({**known, **size}, view.tobytes(), np.ascontiguousarray(maps, "<f4").tobytes())


def pack_tools(
    outline: bool, regions: NDArray[np.integer[Any]] | None, merges: bool = True, pastes: bool = False
) -> bytes:
    """Put what the tools need into one message: is there an outline; the region of each pixel (h, w), if known.

    `merges` tells whether there is a result that layers are merged into, `pastes` whether the page takes a picture
    from the clipboard.
    """
    told = {"outline": outline, "merges": merges, "pastes": pastes}
    if regions is None:
        return _message({**told, "height": 0, "width": 0})
    size = {"height": regions.shape[0], "width": regions.shape[1]}
    return _message({**told, **size}, regions.astype(np.uint8).tobytes())


def pack_scores(scores: Mapping[str, Mapping[int, float]]) -> bytes:
    """Put the ARCC of maps into one message, by their subject and index: for those who do not see them."""
    return _message({"scores": {of: {n: f"{score:.2f}" for n, score in some.items()} for of, some in scores.items()}})


def _message(header: dict[str, Any], *parts: bytes) -> bytes:
    """A header's length (four bytes, the smallest first), the header, the parts; each starts at a multiple of four.

    The header holds a digest of all, by which the browser knows what it has drawn already.
    """
    digest = hashlib.sha256(b"".join((json.dumps(header).encode(), *parts))).hexdigest()
    text = json.dumps({**header, "id": digest}).encode()
    return b"".join(_padded(part) for part in (len(text).to_bytes(4, "little") + text, *parts))


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def script() -> str:
    """Everything but the part that speaks with Streamlit, with the colours and the kinds of lines that it draws."""
    colours = {name: palette(name).ravel().tolist() for name in COLORMAPS}
    signed = json.dumps(palette(DIVERGING).ravel().tolist())
    tables = (
        f"const PALETTES = {json.dumps(colours)};\nconst SIGNED = {signed};\nconst NAMES = {json.dumps(COLORMAPS)};\n"
        f"const LINES = {json.dumps(_LINES)};"
    )
    return "\n".join([tables, *(read_part(f"{part}.js") for part in _PARTS)])


def style() -> str:
    """The viewer's own style sheet; colours are the page's."""
    return read_part("viewer.css")


def read_part(name: str) -> str:
    """The text of one of its files."""
    return (_FOLDER / name).read_text(encoding="utf-8")
