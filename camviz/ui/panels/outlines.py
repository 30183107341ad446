"""The outlines of the true shapes over a picture's maps."""

from __future__ import annotations

from camviz.html.outlines import shapes_uri
from camviz.workbench.pictures import Explained
from camviz.workbench.true_shapes import seen_shapes


def outline_of(of: Explained) -> str:
    """The outlines of the picture's true shapes, as a data URI; "" if none are known."""
    return shapes_uri(seen_shapes(of), of.net.labels[of.target])
