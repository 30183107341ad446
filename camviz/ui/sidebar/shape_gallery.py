"""Choosing a synthetic sample: by class, size and kind, from a gallery, or at random."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import streamlit as st

from camviz import shapes
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import GALLERY_PAGE, SHAPE_BAND, SHAPE_KIND, SHAPE_LABEL, SHAPE_PICK
from camviz.workbench.pictures import Picture, draw_picture

_KINDS = {
    "one shape": "One shape",
    "textured": "Textured",
    "with a tag": "With a tag",
    "with a wrong tag": "With a wrong tag",
    "two shapes": "Two shapes",
    "distractor": "Shape and distractor",
    "half hidden": "Half hidden",
}
_TEACHES = {
    "textured": "Shape and background have the same mean colour, and edges are everywhere: does the map still find it?",
    "with a tag": "The tag in a corner tells the shape's class. The model *with tags* has learnt the tag and not the "
    "shape: a good map shows that.",
    "with a wrong tag": "The tag in a corner tells another class than the shape's. What the model predicts shows which "
    "of the two it has learnt, and so does a good map.",
    "two shapes": "Change the class to explain: the map should move to the other shape.",
    "distractor": "A ragged patch has the shape's colour: does the map fall for it?",
    "half hidden": "About half of the shape is covered: only the visible part counts as true.",
}
_PAGES = 50  # of the gallery; "Surprise me" draws from as many
_ROWS = 3


@dataclass(frozen=True)
class Pick:
    """Which sample: its kind, class, size band (only for one shape), and its number among those."""

    kind: str = "one shape"
    label: int = 0
    band: str = "large"
    draw: int = 0

    @property
    def index(self) -> int:
        """The sample's index in the test split."""
        turn = len(shapes.BANDS) * self.draw + list(shapes.BANDS).index(self.band) if self.has_size else self.draw
        return len(shapes.CLASSES) * turn + self.label

    @property
    def has_size(self) -> bool:
        """Whether it can be chosen by its size."""
        return self.kind in shapes.ONE_SHAPE

    @property
    def title(self) -> str:
        """What it shows, in words."""
        name = shapes.CLASSES[self.label]
        return {
            "one shape": f"{self.band} {name}",
            "textured": f"{self.band} {name}, textured",
            "with a tag": f"{self.band} {name} with a tag",
            "with a wrong tag": f"{self.band} {name} with a wrong tag",
            "two shapes": f"{name} and another shape",
            "distractor": f"{name} and distractor",
            "half hidden": f"half hidden {name}",
        }[self.kind].capitalize()

    def picture(self) -> Picture:
        """The picture, from the cache if it is there."""
        return draw_picture(shared_host(), self.title, f"{self.kind} {self.index}", self._sample)

    def _sample(self) -> shapes.Sample:
        return shapes.KINDS[self.kind](self.index)


def numbered_pick(number: int) -> Pick:
    """One of a row of single shapes, in which the classes change fastest, then the sizes."""
    label, band = shapes.class_and_band(number)
    return Pick(label=label, band=band, draw=number // (len(shapes.CLASSES) * len(shapes.BANDS)))


def choose_shape() -> Picture:
    """Ask for a synthetic sample."""
    pick = chosen_pick()
    _sync(pick)
    st.selectbox(
        "Kind of sample", list(_KINDS), format_func=_KINDS.__getitem__, key=SHAPE_KIND.name, on_change=_read_controls
    )
    left, right = st.columns([1.15, 1])
    right.selectbox(
        "Size",
        list(shapes.BANDS),
        format_func=str.capitalize,
        key=SHAPE_BAND.name,
        on_change=_read_controls,
        disabled=not pick.has_size,
    )
    left.selectbox(
        "Shape",
        range(len(shapes.CLASSES)),
        format_func=lambda label: shapes.CLASSES[label].capitalize(),
        key=SHAPE_LABEL.name,
        on_change=_read_controls,
    )
    surprise, browse = st.columns([1.4, 1])
    surprise.button("Surprise me", icon=":material/casino:", on_click=_surprise, width="stretch")
    if browse.button("Gallery", width="stretch"):
        _gallery()
    if pick.kind in _TEACHES:
        st.caption(_TEACHES[pick.kind])
    return pick.picture()


def use_pick(pick: Pick) -> None:
    """Choose a sample before its controls are drawn."""
    SHAPE_PICK.set(pick)


def chosen_pick() -> Pick:
    """The chosen sample."""
    return SHAPE_PICK.get(Pick())


def _sync(pick: Pick) -> None:
    """Make the controls show the chosen sample, however it was chosen."""
    SHAPE_KIND.set(pick.kind)
    SHAPE_BAND.set(pick.band)
    SHAPE_LABEL.set(pick.label)


def _read_controls() -> None:
    kind, label, band = SHAPE_KIND.require(), SHAPE_LABEL.require(), SHAPE_BAND.require()
    use_pick(replace(chosen_pick(), kind=kind, label=label, band=band))


def _surprise() -> None:
    draw = random.Random()  # noqa: S311  (nothing secret)
    pick = Pick(
        kind=draw.choice(list(_KINDS)),
        label=draw.randrange(len(shapes.CLASSES)),
        band=draw.choice(list(shapes.BANDS)),
        draw=draw.randrange(_PAGES),
    )
    use_pick(pick)


@st.dialog("Synthetic samples", width="large")
def _gallery() -> None:
    """Show samples of every class and size, or of a composed kind, to choose from."""
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    kind = left.segmented_control(
        "Kind of sample",
        list(_KINDS),
        default=chosen_pick().kind,
        format_func=_KINDS.__getitem__,
        required=True,
        key="gallery_kind",
        label_visibility="collapsed",
    )
    if right.button("More", icon=":material/refresh:", width="stretch"):
        GALLERY_PAGE.set((GALLERY_PAGE.get(0) + 1) % _PAGES)
    page = GALLERY_PAGE.get(0)
    if kind in shapes.ONE_SHAPE:
        rows = [Pick(kind, band=band, draw=page) for band in shapes.BANDS]
    else:
        rows = [Pick(kind, draw=page * _ROWS + row) for row in range(_ROWS)]
    for number, row in enumerate(rows):
        for label, column in enumerate(st.columns(len(shapes.CLASSES), gap="small")):
            _thumbnail(column.container(key=f"thumbnail-{number}-{label}"), replace(row, label=label))
    st.caption("Click one to explain it. Each is generated from its number, so it is the same on every machine.")


def _thumbnail(place: DeltaGenerator, pick: Pick) -> None:
    """Show a sample as a picture to click: an invisible button lies over it, which screen readers announce."""
    place.image(pick.picture().content, output_format="PNG", width="stretch", alt=pick.title)
    if place.button(pick.title, key=f"pick-{pick}", width="stretch"):
        use_pick(pick)
        st.rerun()
