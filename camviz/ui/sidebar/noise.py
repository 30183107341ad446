"""The sidebar's noise controls: kind, level and repeat, and which class to explain in the noisy picture."""

from __future__ import annotations

import streamlit as st

from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.ui.server.sharing import shared_host
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import NOISE_DRAW, NOISE_FOLLOW, NOISE_KIND, NOISE_LEVEL
from camviz.workbench.maps import likeliest
from camviz.workbench.pictures import Explained, SeenPicture

STEP = 0.05


def noise_is_on() -> bool:
    """Whether the slider is above 0; known before it is drawn."""
    return bool(NOISE_LEVEL.get())


def set_level(level: float) -> None:
    """Move the slider, from a callback or before it is drawn."""
    NOISE_LEVEL.set(round(level / STEP) * STEP)


def choose_noise() -> Perturbation | None:
    """Ask for a kind of noise and its level; None at level 0."""
    kind = choose_kind()
    level = st.slider(
        "Level",
        0.0,
        1.0,
        step=STEP,
        key=NOISE_LEVEL.name,
        persist_state="session",
        format="%.2f",
        label_visibility="collapsed",
    )
    noise = KINDS[kind]
    draw = draw_of(kind)
    caption, button = st.columns([4, 1], vertical_alignment="center")
    if not level:
        caption.caption("Add noise")
    else:
        caption.caption(f"**{noise.strength(level)}**" + (f" · repeat {draw + 1}" if noise.seeded else ""))
    button.button(
        "",
        icon=":material/casino:",
        key="noise_again",
        on_click=_draw_again,
        disabled=not (level and noise.seeded),
        help="New random noise at the same level",
        width="stretch",
    )
    return Perturbation(kind, round(level, 2), draw) if level else None


def choose_kind() -> str:
    """Ask for a kind of noise."""
    return st.selectbox(
        "Noise",
        list(KINDS),
        format_func=lambda name: KINDS[name].title,
        key=NOISE_KIND.name,
        persist_state="session",
        help="Perturbs what the network sees. A good explanation stays the same when the prediction does, and changes "
        "when the prediction changes.",
    )


def draw_of(kind: str) -> int:
    """Which draw of the noise is shown; 0 if the noise is not random."""
    return NOISE_DRAW.get(0) if KINDS[kind].seeded else 0


def explained_copy(clean: Explained, noise: Perturbation, place: DeltaGenerator) -> Explained:
    """The noisy picture with the class to explain in it; `place` is where the toggle for that goes.

    If the class predicted on the clean picture is explained, the map follows the prediction, unless the user switches
    that off. Any other class that the user has chosen is kept.
    """
    seen = SeenPicture(shared_host(), clean.picture, clean.net, clean.fit, noise)
    before, now = likeliest(clean), likeliest(seen)
    if clean.target != before or before == now or not _follows(place):
        return seen.explaining(clean.target)
    return seen.explaining(now)


def _follows(place: DeltaGenerator) -> bool:
    """Ask whether the map should follow the changed prediction."""
    return place.toggle(
        "Follow the prediction",
        value=True,
        key=NOISE_FOLLOW.name,
        persist_state="session",
        help="The noise changed the prediction. On: the noisy map explains the new class, as the robustness measures "
        "do. Off: it explains the same class as the clean map.",
    )


def _draw_again() -> None:
    NOISE_DRAW.set(NOISE_DRAW.get(0) + 1)
