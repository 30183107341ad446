"""A control that always holds one of a few options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from camviz.ui.session import SessionKey, settle


def choose_one(
    label: str,
    key: SessionKey[str],
    options: Sequence[str],
    title: Callable[[str], str],
    hint: str | None = None,
    *,
    width: Literal["content", "stretch"] = "content",
    label_visibility: Literal["visible", "collapsed"] = "visible",
) -> str:
    """Ask for one of a few options, side by side; the first, unless the session or a link says another.

    Args:
        label: the control's name.
        key: where its value is.
        options: the options.
        title: an option's name.
        hint: what they mean, in Markdown.
        width: "stretch" fills the place.
        label_visibility: "collapsed" hides the name from the eye.
    """
    settle(key, options)
    chosen = st.segmented_control(
        label,
        options,
        format_func=title,
        required=True,
        key=key.name,
        persist_state="session",
        help=hint,
        width=width,
        label_visibility=label_visibility,
    )
    return chosen or options[0]
