"""ARCC: coherency, low complexity and ROAD combined in one number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camviz.maps import require_unit_range
from camviz.metrics.evidence import Evidence, Explain
from camviz.metrics.registry import score
from camviz.metrics.road import PERCENTILES, Ties, check_maps

# ARCC and its parts, as named in `SCORES`.
PARTS = ("arcc", "coherency", "complexity", "road", "road_raw")


@dataclass(frozen=True)
class Arcc:
    """ARCC of a batch of maps; every tensor is float32 and begins with B.

    Attributes:
        arcc: (B,), harmonic mean of coherency, 1 - complexity and road; 0 where one of them is 0 or undefined.
        road: (B,), ROAD as it enters ARCC: clip(2 r, 0, 1).
        coherency: (B,), (Pearson + 1) / 2; 0 where undefined.
        complexity: (B,), the mean of the map: low is good.
        road_raw: (B,), r, ROAD before clipping, in [-0.5, 0.5]; negative if the reversed order does better.
        probability: (B,), the target's probability on the clean image, which limits how high ROAD can be.
        removed: (B, 2, P), the share of pixels actually removed, most relevant first, then least relevant first.
        notes: B strings, "" or a caveat (a blank map, ties).
    """

    arcc: Tensor
    road: Tensor
    coherency: Tensor
    complexity: Tensor
    road_raw: Tensor
    probability: Tensor
    removed: Tensor
    notes: tuple[str, ...]


def arcc(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Tensor | Sequence[int] | int | None = None,
    *,
    explain: Explain,
    seed: int = 0,
    percentiles: Sequence[int] = PERCENTILES,
    ties: Ties = "all",
) -> Arcc:
    """Score maps with ARCC, the harmonic mean of coherency, 1 - complexity and scaled ROAD.

    Source: "How to Evaluate and Refine your CAM", arXiv 2605.14641; coherency and complexity after Poppi et al.,
    arXiv 2104.10252; ROAD after Rong et al., arXiv 2202.00449.

    Args:
        module: a network in eval mode that returns logits (B, classes).
        x: float (B, 3, H, W), normalised.
        maps: float (B, H, W) in [0, 1], for instance RefineCAM's.
        target: the classes (B,) that were explained; None for the predicted ones.
        explain: (x, target) -> maps (B, H, W), the whole method that made the maps, for coherency.
        seed: seed of the imputation's noise; the same seed gives the same score.
        percentiles: ROAD's percentiles.
        ties: how ROAD treats pixels of equal value.

    Raises:
        ValueError: maps that do not match x as (B, H, W) or are not within [0, 1]; a network in training mode.
    """
    return arccs(module, x, maps[None], target, explains=[explain], seed=seed, percentiles=percentiles, ties=ties)[0]


def arccs(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Tensor | Sequence[int] | int | None = None,
    *,
    explains: Sequence[Explain],
    seed: int = 0,
    percentiles: Sequence[int] = PERCENTILES,
    ties: Ties = "all",
    logits: Tensor | None = None,
) -> list[Arcc]:
    """Score several maps per image, (M, B, H, W), each with the method that made it: M results like that of `arcc`.

    The clean pass is shared, or skipped if its `logits` (B, classes) are given, and all holes of an image are filled
    together.

    Raises:
        ValueError: maps that do not match x as (M, B, H, W) or are not within [0, 1]; not one method per map; a network
            in training mode.
    """
    evidence = Evidence(module, x, maps, target, explains, seed=seed, logits=logits, percentiles=percentiles, ties=ties)
    arcc_, coherency_, complexity_, road, road_raw = (evidence.values(name) for name in PARTS)
    notes = zip(*(evidence.scored(name).notes for name in PARTS), strict=True)
    return [
        Arcc(
            arcc=arcc_[index],
            road=road[index],
            coherency=coherency_[index],
            complexity=complexity_[index],
            road_raw=road_raw[index],
            probability=removal.probability,
            removed=removal.removed,
            notes=tuple(joined(image_notes) for image_notes in zip(*map_notes, strict=True)),
        )
        for index, (removal, map_notes) in enumerate(zip(evidence.removals, notes, strict=True))
    ]


@score(
    "arcc",
    "ARCC",
    "all three in one",
    "The harmonic mean of the three parts: high is good, and one bad part pulls it down.",
    formula="harmonic mean of coherency, 1 - complexity and ROAD; 0 if one of them is 0",
    reference="How to Evaluate and Refine your CAM, arXiv 2605.14641",
    cost=2 * len(PERCENTILES),
    needs=("explain",),
)
def _arcc(evidence: Evidence) -> Tensor:
    parts = (evidence.values("coherency"), 1 - evidence.values("complexity"), evidence.values("road"))
    return harmonic_mean(torch.stack(parts))


@score(
    "coherency",
    "Coherency",
    "same map alone?",
    "Does the map stay the same if the network sees only what it shows? 1 = unchanged.",
    formula="(Pearson(map of x, map of x * map) + 1) / 2; 0 if a map is the same everywhere",
    reference="Poppi et al., arXiv 2104.10252",
    needs=("explain",),
)
def _coherency_of(evidence: Evidence) -> tuple[Tensor, list[tuple[str, ...]]]:
    results = [
        _coherency(evidence.x, maps, evidence.classes, explain)
        for maps, explain in zip(evidence.maps, evidence.explains or (), strict=True)
    ]
    return torch.stack([values for values, _ in results]), [notes for _, notes in results]


@score(
    "complexity",
    "Complexity",
    "is it small?",
    "How much of the picture the map fills: 0 = a single point, 1 = everything. The chart shows 1 minus this.",
    better="lower",
    formula="mean of the map",
    reference="Poppi et al., arXiv 2104.10252",
)
def _complexity(evidence: Evidence) -> Tensor:
    return evidence.maps.float().mean((2, 3))


@score(
    "road",
    "ROAD",
    "does it matter?",
    "Does the class depend on what the map shows, and not on the rest? 1 = fully, 0 = not at all.",
    formula="clip(2 r, 0, 1), r = ROAD before clipping",
    reference="Rong et al., arXiv 2202.00449; scaled as in arXiv 2605.14641",
    cost=2 * len(PERCENTILES),
)
def _road(evidence: Evidence) -> Tensor:
    return scaled(evidence.values("road_raw"))


@score(
    "road_raw",
    "ROAD before clipping",
    "do bright regions matter more?",
    "ROAD before doubling and clipping. Negative: removing the dark regions hurts more.",
    range=(-0.5, 0.5),
    formula="mean over 20, 40, 60, 80 % of (change of probability when the least relevant pixels are removed - when "
    "the most relevant are) / 2",
    reference="Rong et al., arXiv 2202.00449",
    cost=2 * len(PERCENTILES),
    in_chart=False,
)
def _road_raw(evidence: Evidence) -> tuple[Tensor, list[tuple[str, ...]]]:
    return torch.stack([road.score for road in evidence.removals]), [road.notes for road in evidence.removals]


@score(
    "morf",
    "Most relevant first",
    "does the hot part matter?",
    "How the class probability changes, on average, when the hottest part is removed: low is good.",
    better="lower",
    range=(-1.0, 1.0),
    formula="mean over 20, 40, 60, 80 % of P(most relevant pixels removed) - P",
    reference="Rong et al., arXiv 2202.00449",
    cost=len(PERCENTILES),
    on_request=True,
)
def _morf(evidence: Evidence) -> Tensor:
    return _changes(evidence, 0)


@score(
    "lerf",
    "Least relevant first",
    "does the cold part not matter?",
    "How the class probability changes, on average, when the coldest part is removed: high is good.",
    range=(-1.0, 1.0),
    formula="mean over 20, 40, 60, 80 % of P(least relevant pixels removed) - P",
    reference="Rong et al., arXiv 2202.00449",
    cost=len(PERCENTILES),
    on_request=True,
)
def _lerf(evidence: Evidence) -> Tensor:
    return _changes(evidence, 1)


def _changes(evidence: Evidence, order: int) -> Tensor:
    """The mean change of the probability with pixels removed in one order (M, B); NaN where it is not finite."""
    changes = torch.stack(
        [(road.after - road.probability[:, None, None]).mean(2)[:, order] for road in evidence.removals]
    )
    return changes.where(torch.isfinite(changes), torch.nan)


def scaled(road: Tensor) -> Tensor:
    """ROAD as it enters ARCC: clip(2 r, 0, 1)."""
    return (2 * road).clamp(0, 1)


def joined(notes: Iterable[str]) -> str:
    """Join the notes on one map, without duplicates."""
    return "; ".join(dict.fromkeys(filter(None, notes)))


def harmonic_mean(parts: Tensor) -> Tensor:
    """The harmonic mean over the first dimension of parts (P, ...); 0 where a part is 0 or less."""
    zero = (parts <= 0).any(0)
    return torch.where(zero, 0.0, len(parts) / (1 / torch.where(parts <= 0, 1.0, parts)).sum(0))


def coherency(x: Tensor, maps: Tensor, target: Tensor, explain: Explain) -> tuple[Tensor, tuple[str, ...]]:
    """Does the map stay the same if the network sees only what it shows? (Pearson + 1) / 2, in [0, 1].

    The normalised image is multiplied by the map, and the method is run again on the product (2104.10252).

    Args:
        x: float (B, 3, H, W), normalised.
        maps: float (B, H, W) in [0, 1].
        target: long (B,).
        explain: (x, target) -> maps (B, H, W).

    Returns:
        (B,), 0 where undefined, and B notes that say why.

    Raises:
        ValueError: maps that do not match x as (B, H, W) or are not within [0, 1].
    """
    check_maps(x, maps)
    require_unit_range(maps)
    return _coherency(x, maps, target, explain)


def _coherency(x: Tensor, maps: Tensor, target: Tensor, explain: Explain) -> tuple[Tensor, tuple[str, ...]]:
    """`coherency` without the checks."""
    again = _finite(explain(x * _finite(maps)[:, None].to(x.dtype), target))
    first, second = _unit(_finite(maps)), _unit(again)
    score = ((first * second).sum(1) + 1) / 2
    blank = torch.stack([first.abs().amax(1), second.abs().amax(1)], 1) == 0
    notes = tuple(
        "the map is blank or the same everywhere, so coherency is undefined" if a
        else "the map of the masked image is blank or the same everywhere, so coherency is undefined" if b
        else ""
        for a, b in blank.tolist()
    )  # fmt: skip
    return torch.where(blank.any(1), 0.0, score.clamp(0, 1)), notes


def complexity(maps: Tensor) -> Tensor:
    """How much of the picture the map fills: the mean of each map (B, H, W) -> (B,). Low is good.

    Raises:
        ValueError: maps that are not within [0, 1].
    """
    require_unit_range(maps)
    return maps.float().mean((1, 2))


def _finite(maps: Tensor) -> Tensor:
    """Blank the maps (B, H, W) with NaN or infinite values."""
    return torch.where(torch.isfinite(maps).all(-1).all(-1)[:, None, None], maps, 0.0)


def _unit(maps: Tensor) -> Tensor:
    """Centre each map (B, H, W) and scale it to length 1 -> (B, H W); zeros for a constant map."""
    flat = maps.float().flatten(1)
    constant = flat.amax(1) - flat.amin(1) <= 0
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    return torch.where(constant[:, None], 0.0, centred / torch.where(length > 0, length, 1.0))
