"""The model card: what a network was trained on, how often it is right, and what it is given to see."""

from __future__ import annotations

import streamlit as st

from camviz.models import ModelInfo, read_card
from camviz.models.checkpoint import Card


def show_card(info: ModelInfo) -> None:
    """Offer a network's card behind a button."""
    with st.popover("About this model", icon=":material/id_card:", width="stretch"):
        card = read_card(info)
        st.markdown(_imagenet(info) if card is None else _shapes(info, card))


def _imagenet(info: ModelInfo) -> str:
    return (
        f"**{info.title}** · {info.parameters:.1f} million parameters\n\n"
        f"Trained on **{info.data}**: photographs of 1000 kinds of things, animals among them. On its validation set "
        f"the first guess is right for **{info.accuracy:.1f} %** of the pictures, as its authors state."
    )


def _shapes(info: ModelInfo, card: Card) -> str:
    return (
        f"**{info.title}** · {info.parameters:.1f} million parameters\n\n"
        f"Trained on **{card.data}**: one shape on a cluttered background, {len(card.labels)} classes, three sizes. On "
        f"**{card.accuracy.samples:,}** samples that it never saw it is right for **{card.accuracy.overall:.1%}**. "
        f"{card.training.get('note', '')}\n\n"
        f"{_table(card.accuracy.classes)}\n\n"
        f"{_table(card.accuracy.bands)}\n\n"
        f"Input {card.preprocessing.size} × {card.preprocessing.size}. Seed {card.seed}. Trained by\n"
        f"```\n{card.training['command']}\n```\n"
        f"Images: {card.training['images']}. It began with {card.training['start']}."
    )


def _table(shares: dict[str, float]) -> str:
    """How often it is right, by name, side by side."""
    rows = [list(shares), ["---"] * len(shares), [f"{share:.1%}" for share in shares.values()]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
