"""Does a stored result agree with one that was computed again?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from camviz.results.finding import Finding

# Other processors and versions sum in another order, and ROAD depends on the ranking of the pixels.
MAP_TOLERANCE, SCORE_TOLERANCE = 1e-3, 1e-2


@dataclass(frozen=True)
class Agreement:
    """How far two results are apart.

    Attributes:
        agrees: whether the classes are the same, and maps and scores within the tolerances.
        same_class: whether the explained class and the likeliest class have the same names.
        map_difference: the largest difference in any pixel of any map; infinite if the maps differ in size.
        score_difference: the largest difference in any score that both have; NaN if they share none.
        versions: by name, the stored and the current version where they differ.
        text: all of this in plain sentences.
    """

    agrees: bool
    same_class: bool
    map_difference: float
    score_difference: float
    versions: dict[str, tuple[str, str]]
    text: str


def check_agreement(stored: Finding, fresh: Finding) -> Agreement:
    """Compare a stored result with one computed again from its picture and settings.

    Raises:
        ValueError: the pictures or the settings differ.
    """
    if stored.picture != fresh.picture or stored.settings != fresh.settings:
        raise ValueError(
            "the two results are not of the same picture and the same settings: compute from the stored ones"
        )
    same_class = stored.label == fresh.label and stored.top[:1] != () and stored.top[0][0] == fresh.top[0][0]
    maps, scores = _map_difference(stored, fresh), _score_difference(stored, fresh)
    floors = _floor_difference(stored, fresh)
    agrees = same_class and maps <= MAP_TOLERANCE and not scores > SCORE_TOLERANCE and floors <= SCORE_TOLERANCE
    names = sorted(stored.versions.keys() | fresh.versions.keys())
    pairs = {name: (stored.versions.get(name, "none"), fresh.versions.get(name, "none")) for name in names}
    versions = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    sentences = [
        f"The stored result and the one computed now {'agree' if agrees else 'do not agree'}.",
        _on_class(stored, fresh, same_class),
        _on_maps(maps),
        _on_scores(scores),
        *_on_floor(floors),
        *_on_missing(stored, fresh),
        _on_versions(stored, fresh, versions),
    ]
    return Agreement(agrees, same_class, maps, scores, versions, " ".join(sentences))


def _map_difference(stored: Finding, fresh: Finding) -> float:
    if stored.maps.shape != fresh.maps.shape:
        return math.inf
    pairs = ((stored.maps, fresh.maps), (stored.merged, fresh.merged))
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def _score_difference(stored: Finding, fresh: Finding) -> float:
    both = [(stored.scores[key].values, fresh.scores[key].values) for key in stored.scores.keys() & fresh.scores.keys()]
    pairs = [(old[name], new[name]) for old, new in both for name in old.keys() & new.keys()]
    return max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=math.nan)


def _on_class(stored: Finding, fresh: Finding, same: bool) -> str:
    if same:
        return f"Both explain {fresh.label!r}, and the likeliest class is the same."
    likeliest = [finding.top[0][0] if finding.top else "none" for finding in (stored, fresh)]
    return (
        f"The stored result explains {stored.label!r} (the likeliest class is {likeliest[0]!r}), "
        f"the new one {fresh.label!r} ({likeliest[1]!r})."
    )


def _on_maps(difference: float) -> str:
    if math.isinf(difference):
        return "The maps differ in size."
    if not difference:
        return "The maps were reproduced exactly."
    return f"The maps differ by at most {difference:.1g}; up to {MAP_TOLERANCE:g} counts as equal."


def _on_scores(difference: float) -> str:
    if math.isnan(difference):
        return "They have no score in common."
    if not difference:
        return "The scores were reproduced exactly."
    return f"The scores differ by at most {difference:.1g}; up to {SCORE_TOLERANCE:g} counts as equal."


def _floor_difference(stored: Finding, fresh: Finding) -> float:
    """How far the class's probabilities with nothing left of the picture are apart; 0 if one is unknown."""
    return 0.0 if stored.floor is None or fresh.floor is None else abs(stored.floor - fresh.floor)


def _on_floor(difference: float) -> list[str]:
    if difference <= SCORE_TOLERANCE:
        return []
    return [f"The class's probabilities with nothing left of the picture differ by {difference:.1g}."]


def _on_missing(stored: Finding, fresh: Finding) -> list[str]:
    """Which stored scores were not computed again, as they take long or are unknown to this version."""
    missing = [name for name in stored.score_names if stored.scores and name not in fresh.score_names]
    return [f"Not compared, as they were not computed again: {', '.join(missing)}."] if missing else []


def _on_versions(stored: Finding, fresh: Finding, versions: dict[str, tuple[str, str]]) -> str:
    """Which versions and devices differ."""
    changes = [f"{name} {old}, now {new}" for name, (old, new) in versions.items()]
    if stored.device != fresh.device:
        changes.append(f"device {stored.device}, now {fresh.device}")
    return f"Changed since then: {'; '.join(changes)}." if changes else "Versions and device are the same."
