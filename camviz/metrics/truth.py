"""How well a map agrees with a mask that is known to be right.

Every score takes maps (..., H, W) in [0, 1] and masks bool (..., H, W) and gives float64 (...). A blank map, all
zeros, has a stated score, the worst that each can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from camviz.maps import require_unit_range

_EPSILON = 1e-7  # keeps logarithms finite


@dataclass(frozen=True)
class TruthScore:
    """A score against a mask.

    Attributes:
        name: its key in TRUTH.
        title: its name in print.
        better: whether "higher" or "lower" values are better.
        sentence: what it asks, in plain words.
        function: (maps, masks) -> scores.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    sentence: str
    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, maps: Tensor, masks: Tensor) -> Tensor:
        """Score maps (..., H, W) against masks bool (..., H, W) -> float64 (...).

        Raises:
            ValueError: the shapes differ, a map leaves [0, 1], a mask is not bool, or one is empty or full.
        """
        if maps.shape != masks.shape or maps.ndim < 2:
            raise ValueError(
                f"maps and masks must have one shape (..., H, W), got {(*maps.shape,)} and {(*masks.shape,)}"
            )
        if masks.dtype != torch.bool:
            raise ValueError(f"masks must be bool, got {masks.dtype}")
        require_unit_range(maps)
        flat = masks.flatten(-2)
        if bool((flat.all(-1) | ~flat.any(-1)).any()):
            raise ValueError("a mask must hold some pixels, and not all")
        return self.function(maps.flatten(-2).double(), flat)


TRUTH: dict[str, TruthScore] = {}


def _truth(
    name: str, title: str, better: Literal["higher", "lower"], sentence: str
) -> Callable[[Callable[[Tensor, Tensor], Tensor]], Callable[[Tensor, Tensor], Tensor]]:
    """Enter a function of flat maps and masks (..., n) into TRUTH."""

    def enter(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        TRUTH[name] = TruthScore(name, title, better, sentence, function)
        return function

    return enter


@_truth("mass", "Mass inside", "higher", "How much of the map's heat lies on the shape?")
def mass_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """sum(map * mask) / sum(map); 0 for a blank map."""
    total = maps.sum(-1)
    return (maps * masks).sum(-1) / torch.where(total > 0, total, 1)


@_truth("cosine", "Cosine similarity", "higher", "Do map and mask point the same way, as vectors of pixels?")
def cosine(maps: Tensor, masks: Tensor) -> Tensor:
    """<map, mask> / (|map| |mask|); 0 for a blank map."""
    lengths = maps.norm(dim=-1) * masks.double().norm(dim=-1)
    return (maps * masks).sum(-1) / torch.where(lengths > 0, lengths, 1)


@_truth("auc", "ROC AUC", "higher", "Is a pixel of the shape hotter than one beside it? 0.5 is chance.")
def roc_auc(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of pairs (inside, outside) in which the inside is hotter, ties counting half; 0.5 for a blank map."""
    ordered = maps.sort(-1).values
    below = torch.searchsorted(ordered, maps.contiguous())
    up_to = torch.searchsorted(ordered, maps.contiguous(), right=True)
    ranks = (below + up_to + 1).double() / 2  # of tied pixels, the mean
    inside = masks.sum(-1).double()
    outside = masks.shape[-1] - inside
    return ((ranks * masks).sum(-1) - inside * (inside + 1) / 2) / (inside * outside)


@_truth("iou", "IoU at 0.5", "higher", "How well does the part above half heat cover the shape, and only it?")
def iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Of the pixels with map >= threshold and the mask: intersection over union."""
    hot = maps >= threshold
    return (hot & masks).sum(-1).double() / (hot | masks).sum(-1)


@_truth("best_iou", "Best IoU", "higher", "The same at the threshold that suits this map best.")
def best_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """The largest IoU over all thresholds above 0; 0 for a blank map."""
    ordered, places = maps.sort(-1, descending=True)
    common = masks.gather(-1, places).cumsum(-1).double()
    chosen = torch.arange(1, maps.shape[-1] + 1, device=maps.device)
    scores = common / (chosen + masks.sum(-1, keepdim=True) - common)
    following = torch.cat([ordered[..., 1:], torch.full_like(ordered[..., :1], -1)], -1)
    possible = (ordered > following) & (ordered > 0)  # a threshold cannot part tied pixels
    return torch.where(possible, scores, 0).amax(-1)


@_truth("pointing", "Pointing game", "higher", "Does the hottest pixel lie on the shape?")
def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """1 where the largest value lies inside, 0 where it does not; of tied ones the share; 0 for a blank map."""
    hottest = (maps == maps.amax(-1, keepdim=True)) & (maps > 0)
    return (hottest & masks).sum(-1).double() / hottest.sum(-1).clamp(min=1)


@_truth("l2", "L2 distance", "lower", "How far is the map from the mask, pixel by pixel?")
def l2(maps: Tensor, masks: Tensor) -> Tensor:
    """The root of the mean squared difference; for a blank map the root of the mask's share of the picture."""
    return (maps - masks.double()).square().mean(-1).sqrt()


@_truth("bce", "Cross-entropy", "lower", "How surprised would one be by the mask, taking the map for probabilities?")
def bce(maps: Tensor, masks: Tensor) -> Tensor:
    """Mean of -log(map) inside and -log(1 - map) outside, the map kept in [1e-7, 1 - 1e-7]."""
    maps = maps.clamp(_EPSILON, 1 - _EPSILON)
    return -torch.where(masks, maps, 1 - maps).log().mean(-1)
