"""What the metric study found about ARCC, in words that stand beside the score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

# Written with the study's report, so that the words need not read all of its rows.
SUMMARY = Path(__file__).parents[2] / "assets" / "metric_trust" / "summary.json"


@lru_cache(maxsize=1)
def measured_trust() -> str:
    """How often ARCC is right, and what it prefers to RefineCAM, in Markdown."""
    found = json.loads(SUMMARY.read_text(encoding="utf-8"))
    share = {name: _percent(value) for name, value in found.items()}
    words = (
        f"**How often is it right?** On {_pictures(found)} drawn shapes for each of {found['networks']:.0f} "
        f"networks, whose true mask is known, ARCC scores the better of two maps higher in {share['arcc']} of the "
        f"pairs. A coin gets 50 %, the smallness of a map alone {share['complexity']}; among maps of equal area, ARCC "
        f"gets {share['arcc_equal_area']}. A blind spot in the centre beats RefineCAM on {share['centre']} of these "
        "pictures."
    )
    if "mask" in found:
        words += (
            f" On the first {found['pictures_made']:.0f} or more of them, another class's map beats RefineCAM on "
            f"{share['another_class']}, the true mask itself on only {share['mask']}, and the centre beats that mask "
            f"on {share['centre_mask']}: a map of 0 and 1 ties at every percentile. If pixels that tie are removed in "
            f"exact shares, the mask beats RefineCAM on {share['mask_exact']}, and the centre beats the mask on "
            f"{share['centre_mask_exact']}."
        )
    return (
        f"{words} A map that ignores its picture gets the best coherency, 1. *Evaluate* shows the study, other "
        "metrics, and the pictures on which each is fooled."
    )


@lru_cache(maxsize=1)
def measured_estimate() -> str:
    """How often the Faithfulness Estimate is right, beside ARCC, in Markdown."""
    found = json.loads(SUMMARY.read_text(encoding="utf-8"))
    return (
        f"On {_pictures(found)} drawn shapes for each of {found['networks']:.0f} networks, the Faithfulness "
        "Estimate scores the better of two maps of equal area higher in "
        f"{_percent(found['faithfulness_equal_area'])} of the pairs, ARCC in {_percent(found['arcc_equal_area'])}."
    )


def _pictures(found: Mapping[str, float]) -> str:
    """How many pictures each network has: one number, or the fewest and the most."""
    least, most = found["pictures"], found["pictures_most"]
    return f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
