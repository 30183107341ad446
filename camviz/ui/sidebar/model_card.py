"""The model card: what a network was trained on, how accurate it is, and what input it takes."""

from __future__ import annotations

import streamlit as st

from camviz.models import ModelInfo, read_card
from camviz.models.checkpoint import Accuracy, Card


def show_card(info: ModelInfo) -> None:
    """Show a button that opens a network's card."""
    with st.popover("About this model", icon=":material/id_card:", width="stretch"):
        card = read_card(info)
        st.markdown(_imagenet(info) if card is None else _shapes(info, card))


def _imagenet(info: ModelInfo) -> str:
    return (
        f"**{info.title}** · {info.parameters:.1f} million parameters\n\n"
        f"Trained on **{info.data}**: photographs of 1000 kinds of objects and animals. On the validation set its top "
        f"prediction is right for **{info.accuracy:.1f} %** of the pictures, according to its authors."
    )


def _shapes(info: ModelInfo, card: Card) -> str:
    samples = card.training.get("samples", "one shape on a cluttered background")
    kinds = f"{_table(card.accuracy.kinds)}\n\n" if card.accuracy.kinds else ""
    return (
        f"**{info.title}** · {info.parameters:.1f} million parameters\n\n"
        f"Trained on **{card.data}**: {samples}; {len(card.labels)} classes, three sizes. It "
        f"is right for **{card.accuracy.overall:.1%}** of **{card.accuracy.samples:,}** samples it never saw. "
        f"{_followed(card.accuracy)}{card.training.get('note', '')}\n\n"
        f"{_table(card.accuracy.classes)}\n\n"
        f"{_table(card.accuracy.bands)}\n\n{kinds}"
        f"Input: {card.preprocessing.size} × {card.preprocessing.size} pixels. Seed: {card.seed}. Trained with\n"
        f"```\n{card.training['command']}\n```\n"
        f"Images: {card.training['images']}. Started from {card.training['start']}."
    )


def _followed(accuracy: Accuracy) -> str:
    if accuracy.followed is None:
        return ""
    return f"With the tag of another class, **{accuracy.followed:.1%}** of its predictions are that class. "


def _table(shares: dict[str, float]) -> str:
    """Accuracy by name, side by side, as a Markdown table."""
    rows = [list(shares), ["---"] * len(shares), [f"{share:.1%}" for share in shares.values()]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
