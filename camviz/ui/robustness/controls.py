"""The sidebar of the Robustness page: pictures, methods and noise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import streamlit as st

from camviz.images import Fit, ImageError
from camviz.methods import METHODS
from camviz.models import Net
from camviz.noise import KINDS
from camviz.samples import SAMPLES
from camviz.ui.escaping import as_text
from camviz.ui.links.link_format import MOST_DRAWS, MOST_SHAPES
from camviz.ui.robustness.sweep import Plan, recipes_of
from camviz.ui.server.sharing import shared_host
from camviz.ui.session import (
    SWEEP_BASES,
    SWEEP_DRAWS,
    SWEEP_KINDS,
    SWEEP_LEVELS,
    SWEEP_METHODS,
    SWEEP_PHOTOS,
    SWEEP_SHAPES,
    SWEEP_TIMES_FORGOTTEN,
    sweep_uploads_key,
)
from camviz.ui.sidebar.picture import PICTURE_MEGABYTES
from camviz.ui.sidebar.shape_gallery import numbered_pick
from camviz.workbench.pictures import Picture, forget, read_picture

_PHOTOS = ("Coffee", "Cat", "Rocket", "Astronaut")
_METHODS = ("gradcam", "gradcam++", "hirescam", "eigencam")
_LEVELS = (0.2, 0.4, 0.6, 0.8, 1.0)
_EVERY_LEVEL = tuple(round(0.1 * step, 1) for step in range(1, 11))


def choose_pictures() -> tuple[Picture, ...]:
    """Ask for photographs, synthetic samples and uploads, any number of each."""
    photos = st.multiselect(
        "Photographs", list(SAMPLES), default=_PHOTOS, key=SWEEP_PHOTOS.name, persist_state="session"
    )
    count = st.number_input(
        "Synthetic samples",
        0,
        MOST_SHAPES,
        0,
        key=SWEEP_SHAPES.name,
        persist_state="session",
        help="Drawn shapes, cycling through all classes and sizes. Choose a *Shapes* network for them.",
    )
    own = _uploaded()
    bundled = [
        read_picture(shared_host(), SAMPLES[name].path.read_bytes(), name, SAMPLES[name].credit) for name in photos
    ]
    return _with_unique_titles([*bundled, *(numbered_pick(number).picture() for number in range(count)), *own])


def _uploaded() -> list[Picture]:
    """Ask for the user's own pictures; a file that is not a picture is reported and left out."""
    uploads = st.file_uploader(
        "Your own pictures",
        accept_multiple_files=True,
        max_upload_size=PICTURE_MEGABYTES,
        key=sweep_uploads_key(SWEEP_TIMES_FORGOTTEN.get(0)).name,
        label_visibility="collapsed",
    )
    own = []
    for upload in uploads or []:
        try:
            own.append(read_picture(shared_host(), upload.getvalue(), upload.name))
        except ImageError as error:
            st.error(f"{as_text(upload.name)}: {error}", icon=":material/broken_image:")
    if own:
        st.caption("Your pictures stay in this server's memory. They are not written to disk or shared.")
        st.button("Forget my pictures", icon=":material/delete:", on_click=_forget, args=(own,), width="stretch")
    return own


def _forget(own: list[Picture]) -> None:
    for picture in own:
        forget(shared_host(), picture.id)
    SWEEP_TIMES_FORGOTTEN.set(SWEEP_TIMES_FORGOTTEN.get(0) + 1)
    st.toast("Your pictures and everything computed from them are deleted.", icon=":material/delete:")


def _with_unique_titles(pictures: list[Picture]) -> tuple[Picture, ...]:
    """The pictures without duplicates; those with the same title are numbered."""
    unique: dict[str, Picture] = {}
    for picture in pictures:
        unique.setdefault(picture.id, picture)
    seen: Counter[str] = Counter()
    named = []
    for picture in unique.values():
        seen[picture.title] += 1
        title = picture.title if seen[picture.title] == 1 else f"{picture.title} ({seen[picture.title]})"
        named.append(replace(picture, title=title))
    return tuple(named)


def choose_plan(pictures: tuple[Picture, ...], net: Net, fit: Fit) -> Plan | None:
    """Ask for methods and noise; while something is missing, say so and return None."""
    slow = [name for name, method in METHODS.items() if method.is_slow]

    def title(name: str) -> str:
        return f"{'slow · ' if name in slow else ''}{METHODS[name].title}"

    methods = st.multiselect(
        "Methods, on the deepest layer",
        list(METHODS),
        default=_METHODS,
        format_func=title,
        key=SWEEP_METHODS.name,
        persist_state="session",
    )
    bases = st.multiselect(
        "RefineCAM of",
        list(METHODS),
        default=["gradcam++"],
        format_func=title,
        key=SWEEP_BASES.name,
        persist_state="session",
        help="The product of this method's maps over all layers.",
    )
    kinds = st.multiselect(
        "Noise",
        list(KINDS),
        default=["gaussian", "blur"],
        format_func=lambda name: KINDS[name].title,
        key=SWEEP_KINDS.name,
        persist_state="session",
    )
    levels = st.pills(
        "Levels",
        _EVERY_LEVEL,
        selection_mode="multi",
        default=_LEVELS,
        format_func=lambda level: f"{level:.1f}",
        key=SWEEP_LEVELS.name,
        persist_state="session",
        help="At 0 the picture is unchanged; at 1 networks fail on most photographs.",
    )
    draws = st.number_input(
        "Repeats per noise",
        1,
        MOST_DRAWS,
        2,
        key=SWEEP_DRAWS.name,
        persist_state="session",
        help="How often each noise is drawn at random. Blur, JPEG and FGSM are not random, so they run once.",
    )
    recipes = recipes_of(net, methods, bases)
    missing = [
        name
        for name, value in (
            ("a picture", pictures),
            ("a method", recipes),
            ("a kind of noise", kinds),
            ("a level", levels),
        )
        if not value
    ]
    if missing:
        st.warning(f"Choose {' and '.join(missing)} to measure.", icon=":material/checklist:")
        return None
    return Plan(pictures, net, fit, recipes, tuple(kinds), tuple(sorted(levels)), tuple(range(draws)))
