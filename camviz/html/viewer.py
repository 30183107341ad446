"""The viewer's messages, script and style: pictures and maps are sent to the browser once, and drawn there.

The parts of the script are in assets/viewer.
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
# The lines that panels can show: the script's setting and its label.
_LINES = {"none": "none", "quarters": "0.25, 0.5, 0.75", **{f"{s:g}": f"hottest {100 * s:g} %" for s in SHARES}}
_PARTS = ("state", "data", "draw", "panels", "pointing", "tools", "save")


@dataclass(frozen=True)
class Arrangement:
    """The panels to show, and what the browser needs to know about them.

    Attributes:
        subject: an identifier of what is explained and how; scores sent later refer to it.
        markup: HTML with a `canvas` per panel: its `data-map` is the index of a map, without it the canvas shows the
            picture; with `data-result` it can be compared with other panels.
        label: what the panels are, for screen readers.
        ranges: for each map, what its 0 and 1 mean on a scale shared by all.
        merges: the indices of the running merges, from the deepest map alone to the result.
        result: the index of the result.
        partner: the index of the map that the result is compared with at first.
        signed: the indices of differences, for which 0.5 means no difference.
        regions: for each map, the words for each region under the pointer, instead of the map's value; a click on a
            panel then picks the region.
        picks: whether a click on a region, or on a button with `data-pick`, is sent to the server.
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
    """Pack an arrangement, the picture (h, w, 3) and its maps (n, h, w), as float32, into one message."""
    size = {"height": view.shape[0], "width": view.shape[1], "maps": len(maps)}
    known = {name: value for name, value in vars(arrangement).items() if value is not None}
    known |= {"merges": list(arrangement.merges), "signed": list(arrangement.signed)}
    return _message({**known, **size}, view.tobytes(), np.ascontiguousarray(maps, "<f4").tobytes())


def pack_tools(
    outline: bool, regions: NDArray[np.integer[Any]] | None, merges: bool = True, pastes: bool = False
) -> bytes:
    """Pack what the toolbar needs into one message.

    Args:
        outline: whether the true shape is known.
        regions: the region of each pixel (h, w), if known.
        merges: whether layers are merged into a result.
        pastes: whether the page takes pictures from the clipboard.
    """
    header = {"outline": outline, "merges": merges, "pastes": pastes}
    if regions is None:
        return _message({**header, "height": 0, "width": 0})
    size = {"height": regions.shape[0], "width": regions.shape[1]}
    return _message({**header, **size}, regions.astype(np.uint8).tobytes())


def pack_link() -> bytes:
    """Pack the order to show the page's address, which only the browser knows whole."""
    return _message({"link": True})


def pack_scores(scores: Mapping[str, Mapping[int, float]], verdicts: Mapping[str, str] | None = None) -> bytes:
    """Pack the ARCC of maps, by subject and index, and verdicts, by subject, into one message for screen readers."""
    shown = {of: {n: f"{score:.2f}" for n, score in some.items()} for of, some in scores.items()}
    return _message({"scores": shown, "verdicts": dict(verdicts or {})})


def pack_announcement(words: str) -> bytes:
    """Pack a sentence that screen readers say."""
    return _message({"announce": words})


def _message(header: dict[str, Any], *parts: bytes) -> bytes:
    """The header's length (four bytes, little-endian), the header and the parts; each starts at a multiple of four.

    The header holds a digest of everything, so that the browser does not draw the same message twice.
    """
    digest = hashlib.sha256(b"".join((json.dumps(header).encode(), *parts))).hexdigest()
    text = json.dumps({**header, "id": digest}).encode()
    return b"".join(_padded(part) for part in (len(text).to_bytes(4, "little") + text, *parts))


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def script() -> str:
    """The script without the part that talks to Streamlit, with its tables of colours and lines."""
    colours = {name: palette(name).ravel().tolist() for name in COLORMAPS}
    signed = json.dumps(palette(DIVERGING).ravel().tolist())
    tables = (
        f"const PALETTES = {json.dumps(colours)};\nconst SIGNED = {signed};\nconst NAMES = {json.dumps(COLORMAPS)};\n"
        f"const LINES = {json.dumps(_LINES)};"
    )
    return "\n".join([tables, *(read_part(f"{part}.js") for part in _PARTS)])


def style() -> str:
    """The viewer's style sheet; the colours are the page's."""
    return read_part("viewer.css")


def read_part(name: str) -> str:
    """The text of one of the viewer's files."""
    return (_FOLDER / name).read_text(encoding="utf-8")
