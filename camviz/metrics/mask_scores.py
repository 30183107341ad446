"""How well a map agrees with a ground-truth mask.

Every score takes maps (..., H, W) in [0, 1] and masks bool (..., H, W) and returns float64 (...). The score of a
blank map, all zeros, is stated for each score.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from camviz.maps import as_float64, require_unit_range
from camviz.metrics.evidence import Evidence
from camviz.metrics.registry import SCORES, Better, score

_EPSILON = 1e-7  # keeps logarithms finite
# Flat maps and masks (..., n) -> scores (...).
Formula = Callable[[Tensor, Tensor], Tensor]
_FORMULAS: dict[str, Formula] = {}


def mask_score(
    name: str,
    title: str,
    question: str,
    sentence: str,
    *,
    better: Better = "higher",
    range: tuple[float, float] = (0.0, 1.0),
    formula: str,
    reference: str,
    in_chart: bool = False,
) -> Callable[[Formula], Formula]:
    """Register a function of flat maps and masks as a score; the arguments are those of `Score`."""

    def register(function: Formula) -> Formula:
        _FORMULAS[name] = function

        @score(
            name,
            title,
            question,
            sentence,
            better=better,
            range=range,
            formula=formula,
            reference=reference,
            needs=("mask",),
            in_chart=in_chart,
        )
        def from_evidence(evidence: Evidence) -> Tensor:
            assert evidence.mask is not None  # noqa: S101  (it is one of the score's needs)
            return against_mask(name, evidence.maps, evidence.mask.expand(evidence.maps.shape))

        return function

    return register


def mask_scores() -> list[str]:
    """The names of the scores that compare a map with a mask."""
    return [name for name in SCORES if name in _FORMULAS]


def against_mask(name: str, maps: Tensor, masks: Tensor) -> Tensor:
    """Score maps (..., H, W) against masks bool (..., H, W) -> float64 (...).

    Args:
        name: one of `mask_scores`.
        maps: float, in [0, 1].
        masks: bool, of the same shape.

    Raises:
        ValueError: the shapes differ, a map is not within [0, 1], or a mask is not bool, empty or full.
    """
    if maps.shape != masks.shape or maps.ndim < 2:
        raise ValueError(
            f"maps and masks must have the same shape (..., H, W), got {(*maps.shape,)} and {(*masks.shape,)}"
        )
    if masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool, got {masks.dtype}")
    require_unit_range(maps)
    flat = masks.flatten(-2)
    if bool((flat.all(-1) | ~flat.any(-1)).any()):
        raise ValueError("a mask must contain some pixels, but not all")
    values = as_float64(maps.flatten(-2))
    return _FORMULAS[name](values, flat.to(values.device))


@mask_score(
    "mass",
    "Mass inside",
    "is it there?",
    "The share of the map's heat on the true shape. 1 = all.",
    formula="sum(map * mask) / sum(map)",
    reference="Wang et al., arXiv 1910.01279, energy-based pointing game",
    in_chart=True,
)
def mass_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """sum(map * mask) / sum(map); 0 for a blank map."""
    total = maps.sum(-1)
    return (maps * masks).sum(-1) / torch.where(total > 0, total, 1)


@mask_score(
    "best_iou",
    "Best IoU",
    "does it fit?",
    "Overlap with the true shape at the best threshold for this map. 1 = exactly the shape.",
    formula="largest IoU over all thresholds above 0",
    reference="Jaccard, 1912",
    in_chart=True,
)
def best_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """The largest IoU over all thresholds above 0; 0 for a blank map."""
    ordered, places = maps.sort(-1, descending=True)
    common = masks.gather(-1, places).cumsum(-1).double()
    chosen = torch.arange(1, maps.shape[-1] + 1, device=maps.device)
    scores = common / (chosen + masks.sum(-1, keepdim=True) - common)
    following = torch.cat([ordered[..., 1:], torch.full_like(ordered[..., :1], -1)], -1)
    possible = (ordered > following) & (ordered > 0)  # a threshold cannot split tied pixels
    return torch.where(possible, scores, 0).amax(-1)


@mask_score(
    "auc",
    "ROC AUC",
    "is it hotter?",
    "How often a pixel on the shape is hotter than one outside it. 0.5 = chance.",
    formula="share of pairs (inside, outside) in which the inside is hotter, ties counting half",
    reference="Fawcett, Pattern Recognition Letters 2006",
    in_chart=True,
)
def roc_auc(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of pairs (inside, outside) in which the inside is hotter, ties counting half; 0.5 for a blank map."""
    ordered = maps.sort(-1).values
    below = torch.searchsorted(ordered, maps.contiguous())
    up_to = torch.searchsorted(ordered, maps.contiguous(), right=True)
    ranks = (below + up_to + 1).double() / 2  # the mean for tied pixels
    inside = masks.sum(-1).double()
    outside = masks.shape[-1] - inside
    return ((ranks * masks).sum(-1) - inside * (inside + 1) / 2) / (inside * outside)


@mask_score(
    "cosine",
    "Cosine similarity",
    "same direction?",
    "Do map and mask point in the same direction, as vectors of pixels?",
    formula="<map, mask> / (|map| |mask|)",
    reference="cosine of two vectors",
)
def cosine(maps: Tensor, masks: Tensor) -> Tensor:
    """<map, mask> / (|map| |mask|); 0 for a blank map."""
    lengths = maps.norm(dim=-1) * masks.double().norm(dim=-1)
    return (maps * masks).sum(-1) / torch.where(lengths > 0, lengths, 1)


@mask_score(
    "iou",
    "IoU at 0.5",
    "does the hot half fit?",
    "How well does the part above half the maximum heat cover the shape, and nothing else?",
    formula="|hot & mask| / |hot or mask|, hot: map >= 0.5",
    reference="Jaccard, 1912",
)
def iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the mask and the pixels with map >= threshold."""
    hot = maps >= threshold
    return (hot & masks).sum(-1).double() / (hot | masks).sum(-1)


@mask_score(
    "pointing",
    "Pointing game",
    "does the peak hit?",
    "Does the hottest pixel lie on the shape?",
    formula="1 if the largest value is inside; with ties, the share inside",
    reference="Zhang et al., arXiv 1608.00507",
)
def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """1 if the largest value is inside, else 0; with ties, the share inside; 0 for a blank map."""
    hottest = (maps == maps.amax(-1, keepdim=True)) & (maps > 0)
    return (hottest & masks).sum(-1).double() / hottest.sum(-1).clamp(min=1)


@mask_score(
    "l2",
    "L2 distance",
    "how far apart?",
    "How far is the map from the mask, pixel by pixel?",
    better="lower",
    formula="root mean squared difference of map and mask",
    reference="How to Evaluate and Refine your CAM, arXiv 2605.14641",
)
def l2(maps: Tensor, masks: Tensor) -> Tensor:
    """The root mean squared difference; for a blank map, the root of the mask's share of the picture."""
    return (maps - masks.double()).square().mean(-1).sqrt()


@mask_score(
    "bce",
    "Cross-entropy",
    "how surprising is the mask?",
    "How surprising is the mask if the map is read as probabilities?",
    better="lower",
    range=(0.0, -math.log(_EPSILON)),
    formula="mean of -log(map) inside and -log(1 - map) outside, the map clamped to [1e-7, 1 - 1e-7]",
    reference="How to Evaluate and Refine your CAM, arXiv 2605.14641",
)
def bce(maps: Tensor, masks: Tensor) -> Tensor:
    """Mean of -log(map) inside and -log(1 - map) outside, the map clamped to [1e-7, 1 - 1e-7]."""
    maps = maps.clamp(_EPSILON, 1 - _EPSILON)
    return -torch.where(masks, maps, 1 - maps).log().mean(-1)
