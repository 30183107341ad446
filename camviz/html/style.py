"""The style sheet of pages and reports."""

from __future__ import annotations

from pathlib import Path

_SHEET = Path(__file__).parents[2] / "assets" / "style.css"


def sheet() -> str:
    """The sheet itself."""
    return _SHEET.read_text(encoding="utf-8")
