"""ARCC: coherency, low complexity and ROAD in one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from camviz.metrics.road import PERCENTILES, Road, Ties, check_maps, roads

# (x, target) -> maps (B, H, W): the whole method, run again
Explain = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Arcc:
    """ARCC of a batch of maps; every tensor is float32 and begins with B.

    Attributes:
        arcc: (B,), harmonic mean of coherency, 1 - complexity and road; 0 where one of them is 0 or undefined.
        road: (B,), the part: clip(2 r, 0, 1).
        coherency: (B,), (Pearson + 1) / 2; 0 where undefined.
        complexity: (B,), the mean of the map: low is good.
        road_raw: (B,), r itself, in [-0.5, 0.5]: negative if the reversed order does better.
        probability: (B,), the target's probability on the clean image, which bounds what ROAD can reach.
        removed: (B, 2, P), the share of pixels truly removed, most relevant first, then least relevant first.
        notes: B strings, "" or what a reader must know (a blank map, ties).
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
    """Score maps by ARCC, the harmonic mean of coherency, 1 - complexity and scaled ROAD.

    Source: "How to Evaluate and Refine your CAM", arXiv 2605.14641; coherency and complexity after Poppi et al.,
    arXiv 2104.10252; ROAD after Rong et al., arXiv 2202.00449.

    Args:
        module: a network in eval mode that returns logits (B, classes).
        x: float (B, 3, H, W), normalised.
        maps: float (B, H, W) in [0, 1], for instance RefineCAM's.
        target: the classes (B,) that were explained; None takes the predicted ones.
        explain: (x, target) -> maps (B, H, W), the whole method that made the maps, for coherency.
        seed: of the imputation's noise; the same seed gives the same score.
        percentiles: of ROAD.
        ties: how ROAD treats pixels of equal value.

    Raises:
        ValueError: maps that are not (B, H, W) of x.
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
    """ARCC of several maps of each image, (M, B, H, W), each with the method that made it: M results as of `arcc`.

    The clean pass is shared, or not run at all where its `logits` (B, classes) are known, and all holes of an image are
    filled together.

    Raises:
        ValueError: maps that are not (M, B, H, W) of x, or not one method for each.
    """
    for each in maps:
        check_maps(x, each)
    if len(explains) != len(maps):
        raise ValueError(f"each of the {len(maps)} maps needs the method that made it, got {len(explains)}")
    maps = torch.stack([_finite(each) for each in maps])
    removals = roads(module, x, maps, target, seed, percentiles, ties, logits)
    found = []
    for each, removal, explain in zip(maps, removals, explains, strict=True):
        coherence, notes = coherency(x, each, removal.target, explain)
        found.append(combine(coherence, complexity(each), removal, notes))
    return found


def coherency(x: Tensor, maps: Tensor, target: Tensor, explain: Explain) -> tuple[Tensor, tuple[str, ...]]:
    """Does the map stay when the network sees only what the map shows? (Pearson + 1) / 2, in [0, 1].

    The map is multiplied onto the normalised image, and the method is run again on the product (2104.10252).

    Args:
        x: float (B, 3, H, W), normalised.
        maps: float (B, H, W) in [0, 1].
        target: long (B,).
        explain: (x, target) -> maps (B, H, W).

    Returns:
        (B,), 0 where it is undefined, and B notes that say why.
    """
    check_maps(x, maps)
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
    """How much of the picture the map fills: the mean of each map (B, H, W) -> (B,). Low is good."""
    return maps.float().mean((1, 2))


def combine(coherence: Tensor, complex_: Tensor, removal: Road, notes: Sequence[str] | None = None) -> Arcc:
    """Put the parts of ARCC together: the harmonic mean of the three, 0 where one is 0."""
    scaled = (2 * removal.score).clamp(0, 1)
    parts = torch.stack([coherence, 1 - complex_.to(coherence), scaled.to(coherence)])
    zero = (parts <= 0).any(0)
    score = torch.where(zero, 0.0, 3 / (1 / torch.where(parts <= 0, 1.0, parts)).sum(0))
    told = notes or [""] * len(score)
    return Arcc(
        arcc=score,
        road=parts[2],
        coherency=coherence,
        complexity=complex_,
        road_raw=removal.score,
        probability=removal.probability,
        removed=removal.removed,
        notes=tuple("; ".join(filter(None, pair)) for pair in zip(told, removal.notes, strict=True)),
    )


def _finite(maps: Tensor) -> Tensor:
    """Blank the maps (B, H, W) that hold NaN or an infinity."""
    return torch.where(torch.isfinite(maps).all(-1).all(-1)[:, None, None], maps, 0.0)


def _unit(maps: Tensor) -> Tensor:
    """Centre each map (B, H, W) and scale it to length 1 -> (B, H W); zeros for a constant map."""
    flat = maps.float().flatten(1)
    constant = flat.amax(1) - flat.amin(1) <= 0
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    return torch.where(constant[:, None], 0.0, centred / torch.where(length > 0, length, 1.0))
