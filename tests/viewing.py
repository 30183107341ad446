"""What the viewer was sent, taken apart as its script does it."""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np
from streamlit_messages import component_data


@dataclass(frozen=True)
class Message:
    """One message to the browser: its header, and the bytes after it."""

    header: dict
    view: np.ndarray = field(repr=False)
    maps: np.ndarray = field(repr=False)

    @property
    def markup(self) -> str:
        return self.header.get("markup", "")


def unpack(data: bytes) -> Message:
    """A message of panels: the picture (h, w, 3) and its maps (n, h, w)."""
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    if "markup" not in header:
        return Message(header, np.empty(0), np.empty(0))
    h, w, n = header["height"], header["width"], header["maps"]
    start = -(-(4 + length) // 4) * 4
    view = np.frombuffer(data, np.uint8, h * w * 3, start).reshape(h, w, 3)
    start = -(-(start + h * w * 3) // 4) * 4
    return Message(header, view, np.frombuffer(data, "<f4", n * h * w, start).reshape(n, h, w))


def messages(app) -> list[Message]:
    """All that a page sent to viewers and tools."""
    return [unpack(data) for data in component_data(app)]


def viewer(app, *css_classes: str) -> str:
    """The markup of the viewers with one of some classes, each with a digest of what it draws; "" without any.

    Two that are equal show the same.
    """
    found = [m for m in messages(app) if any(f'class="{name}"' in m.markup for name in css_classes)]
    return "".join(m.markup + hashlib.sha256(m.view.tobytes() + m.maps.tobytes()).hexdigest() for m in found)
