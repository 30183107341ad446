"""How well a map agrees with a mask that is known to be right.

Every score takes maps (..., H, W) in [0, 1] and masks bool (..., H, W) and gives float64 (...). A blank map, all
zeros, has a stated score, the worst that each can give.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from camviz.maps import require_unit_range
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
        def of_evidence(evidence: Evidence) -> Tensor:
            assert evidence.mask is not None  # noqa: S101  (it is among the score's needs)
            return against_mask(name, evidence.maps, evidence.mask.expand(evidence.maps.shape))

        return function

    return register


def mask_scores() -> list[str]:
    """The names of the scores that hold a map against a mask."""
    return [name for name in SCORES if name in _FORMULAS]


def against_mask(name: str, maps: Tensor, masks: Tensor) -> Tensor:
    """Score maps (..., H, W) against masks bool (..., H, W) -> float64 (...).

    Args:
        name: one of `mask_scores`.
        maps: float, in [0, 1].
        masks: bool, of the same shape.

    Raises:
        ValueError: the shapes differ, a map leaves [0, 1], a mask is not bool, or one is empty or full.
    """
    if maps.shape != masks.shape or maps.ndim < 2:
        raise ValueError(f"maps and masks must have one shape (..., H, W), got {(*maps.shape,)} and {(*masks.shape,)}")
    if masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool, got {masks.dtype}")
    require_unit_range(maps)
    flat = masks.flatten(-2)
    if bool((flat.all(-1) | ~flat.any(-1)).any()):
        raise ValueError("a mask must hold some pixels, and not all")
    return _FORMULAS[name](maps.flatten(-2).double(), flat)


@mask_score(
    "mass",
    "Mass inside",
    "is it there?",
    "The share of the map's heat that lies on the true shape. 1 = all.",
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
    "Overlap with the true shape at the threshold that suits this map best. 1 = the very shape.",
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
    possible = (ordered > following) & (ordered > 0)  # a threshold cannot part tied pixels
    return torch.where(possible, scores, 0).amax(-1)


@mask_score(
    "auc",
    "ROC AUC",
    "is it hotter?",
    "How often a pixel of the shape is hotter than one beside it. 0.5 = chance.",
    formula="share of pairs (inside, outside) in which the inside is hotter, ties counting half",
    reference="Fawcett, Pattern Recognition Letters 2006",
    in_chart=True,
)
def roc_auc(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of pairs (inside, outside) in which the inside is hotter, ties counting half; 0.5 for a blank map."""
    ordered = maps.sort(-1).values
    below = torch.searchsorted(ordered, maps.contiguous())
    up_to = torch.searchsorted(ordered, maps.contiguous(), right=True)
    ranks = (below + up_to + 1).double() / 2  # of tied pixels, the mean
    inside = masks.sum(-1).double()
    outside = masks.shape[-1] - inside
    return ((ranks * masks).sum(-1) - inside * (inside + 1) / 2) / (inside * outside)


@mask_score(
    "cosine",
    "Cosine similarity",
    "do they point one way?",
    "Do map and mask point the same way, as vectors of pixels?",
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
    "does half heat fit?",
    "How well does the part above half heat cover the shape, and only it?",
    formula="|hot & mask| / |hot or mask|, hot: map >= 0.5",
    reference="Jaccard, 1912",
)
def iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Of the pixels with map >= threshold and the mask: intersection over union."""
    hot = maps >= threshold
    return (hot & masks).sum(-1).double() / (hot | masks).sum(-1)


@mask_score(
    "pointing",
    "Pointing game",
    "does the peak hit?",
    "Does the hottest pixel lie on the shape?",
    formula="1 where the largest value lies inside; of tied ones the share",
    reference="Zhang et al., arXiv 1608.00507",
)
def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """1 where the largest value lies inside, 0 where it does not; of tied ones the share; 0 for a blank map."""
    hottest = (maps == maps.amax(-1, keepdim=True)) & (maps > 0)
    return (hottest & masks).sum(-1).double() / hottest.sum(-1).clamp(min=1)


@mask_score(
    "l2",
    "L2 distance",
    "how far apart?",
    "How far is the map from the mask, pixel by pixel?",
    better="lower",
    formula="root of the mean squared difference of map and mask",
    reference="How to Evaluate and Refine your CAM, arXiv 2605.14641",
)
def l2(maps: Tensor, masks: Tensor) -> Tensor:
    """The root of the mean squared difference; for a blank map the root of the mask's share of the picture."""
    return (maps - masks.double()).square().mean(-1).sqrt()


@mask_score(
    "bce",
    "Cross-entropy",
    "how surprising is the mask?",
    "How surprised would one be by the mask, taking the map for probabilities?",
    better="lower",
    range=(0.0, -math.log(_EPSILON)),
    formula="mean of -log(map) inside and -log(1 - map) outside, the map kept in [1e-7, 1 - 1e-7]",
    reference="How to Evaluate and Refine your CAM, arXiv 2605.14641",
)
def bce(maps: Tensor, masks: Tensor) -> Tensor:
    """Mean of -log(map) inside and -log(1 - map) outside, the map kept in [1e-7, 1 - 1e-7]."""
    maps = maps.clamp(_EPSILON, 1 - _EPSILON)
    return -torch.where(masks, maps, 1 - maps).log().mean(-1)
