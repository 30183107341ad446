"""Does a stored finding agree with one that was computed again?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from camviz.results.finding import Finding

# Other processors and versions add up in another order, and ROAD asks which pixels come first.
MAP_TOLERANCE, SCORE_TOLERANCE = 1e-3, 1e-2


@dataclass(frozen=True)
class Agreement:
    """How far two findings are apart.

    Attributes:
        agrees: whether the class is the same and maps and scores are within the tolerances.
        same_class: whether the class explained and the likeliest class have the same names.
        map_difference: the largest difference of any pixel of any map; infinite where the maps differ in size.
        score_difference: the largest difference of any score that both have; NaN if there is none.
        versions: by name what was stored and what runs now, where the two differ.
        text: all of it, in plain sentences.
    """

    agrees: bool
    same_class: bool
    map_difference: float
    score_difference: float
    versions: dict[str, tuple[str, str]]
    text: str


def check_agreement(stored: Finding, fresh: Finding) -> Agreement:
    """Compare a stored finding with one computed again from its picture and settings.

    Raises:
        ValueError: the two are of other pictures or other settings.
    """
    if stored.picture != fresh.picture or stored.settings != fresh.settings:
        raise ValueError("the two findings are not of one picture and the same settings: compute from the stored ones")
    same_class = stored.label == fresh.label and stored.top[:1] != () and stored.top[0][0] == fresh.top[0][0]
    maps, scores = _maps_apart(stored, fresh), _scores_apart(stored, fresh)
    agrees = same_class and maps <= MAP_TOLERANCE and not scores > SCORE_TOLERANCE
    names = sorted(stored.versions.keys() | fresh.versions.keys())
    told = {name: (stored.versions.get(name, "none"), fresh.versions.get(name, "none")) for name in names}
    versions = {name: pair for name, pair in told.items() if pair[0] != pair[1]}
    sentences = [
        f"The stored result and the one computed now {'agree' if agrees else 'do not agree'}.",
        _on_class(stored, fresh, same_class),
        _on_maps(maps),
        _on_scores(scores),
        _on_versions(stored, fresh, versions),
    ]
    return Agreement(agrees, same_class, maps, scores, versions, " ".join(sentences))


def _maps_apart(stored: Finding, fresh: Finding) -> float:
    if stored.maps.shape != fresh.maps.shape:
        return math.inf
    pairs = ((stored.maps, fresh.maps), (stored.merged, fresh.merged))
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def _scores_apart(stored: Finding, fresh: Finding) -> float:
    both = [(stored.scores[key].values, fresh.scores[key].values) for key in stored.scores.keys() & fresh.scores.keys()]
    pairs = [(old[name], new[name]) for old, new in both for name in old.keys() & new.keys()]
    return max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=math.nan)


def _on_class(stored: Finding, fresh: Finding, same: bool) -> str:
    if same:
        return f"Both explain {fresh.label!r}, and the likeliest class is the same."
    likeliest = [found.top[0][0] if found.top else "none" for found in (stored, fresh)]
    return (
        f"The stored one explains {stored.label!r} where {likeliest[0]!r} is likeliest, "
        f"the new one {fresh.label!r} where {likeliest[1]!r} is."
    )


def _on_maps(apart: float) -> str:
    if math.isinf(apart):
        return "The maps differ in size."
    if not apart:
        return "The maps were reproduced exactly."
    return f"The maps differ by at most {apart:.1g}; up to {MAP_TOLERANCE:g} counts as the same."


def _on_scores(apart: float) -> str:
    if math.isnan(apart):
        return "No score is in both."
    if not apart:
        return "The scores were reproduced exactly."
    return f"The scores differ by at most {apart:.1g}; up to {SCORE_TOLERANCE:g} counts as the same."


def _on_versions(stored: Finding, fresh: Finding, versions: dict[str, tuple[str, str]]) -> str:
    """What was different around them."""
    told = [f"{name} {old}, now {new}" for name, (old, new) in versions.items()]
    if stored.device != fresh.device:
        told.append(f"the device {stored.device}, now {fresh.device}")
    return f"Then it was {'; '.join(told)}." if told else "Versions and device are the same."
