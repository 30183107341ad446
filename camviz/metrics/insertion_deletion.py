"""Insertion and deletion: the class probability while pixels come or go, the hottest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camviz.maps import gaussian
from camviz.methods.registry import Progress
from camviz.metrics.evidence import Evidence
from camviz.metrics.registry import Notes, score
from camviz.metrics.road import drawn_orders
from camviz.network.batching import forward
from camviz.network.capture import Target

# Points of a curve, both ends included, and orders drawn for pixels of equal value.
POINTS, ORDERS = 30, 3
_BLUR, _SIGMA = 11, 5.0  # the kernel of the blurred picture from which insertion starts, in pixels
_PETSIUK = "Petsiuk et al., arXiv 1806.07421 (RISE)"
_BROKEN = "the network returned NaN or infinite values"


@dataclass(frozen=True)
class Curves:
    """The class probability while pixels are exchanged, the hottest first.

    Attributes:
        share: (P,), the share of pixels exchanged, from 0 to 1.
        probability: (M, B, P), float64, the mean over the orders drawn for pixels of equal value.
        area: (M, B), float64, the area under each curve by the trapezoidal rule, in [0, 1].
    """

    share: Tensor
    probability: Tensor
    area: Tensor


def deletion(
    module: nn.Module, x: Tensor, maps: Tensor, target: Target = None, fill: Tensor | float = 0.0, seed: int = 0
) -> Curves:
    """Replace the hottest pixels first until nothing is left. The sooner the class disappears, the better.

    Source: Petsiuk et al., "RISE", arXiv 1806.07421.

    Args:
        module: a network in eval mode that returns logits (B, classes).
        x: float (B, 3, H, W), normalised.
        maps: float (M, B, H, W) in [0, 1].
        target: the classes (B,); None for the predicted ones.
        fill: what replaces a pixel, in normalised units: 0 is the training data's mean colour; for black, pass
            -mean / std as a tensor (3, 1, 1).
        seed: seed of the order of pixels of equal value, which is drawn three times.

    Raises:
        ValueError: maps that do not match x as (M, B, H, W) or are not within [0, 1]; a network in training mode.
    """
    evidence = Evidence(module, x, maps, target)
    return _curves(evidence, x, torch.zeros_like(x) + torch.as_tensor(fill).to(x), seed, None)


def insertion(module: nn.Module, x: Tensor, maps: Tensor, target: Target = None, seed: int = 0) -> Curves:
    """Restore the hottest pixels of a blurred picture first. The sooner the class appears, the better.

    The blur is a Gaussian of standard deviation 5 over 11 x 11 pixels. Source, arguments and errors are those of
    `deletion`.
    """
    evidence = Evidence(module, x, maps, target)
    return _curves(evidence, blurred(x), x, seed, None)


@score(
    "insertion",
    "Insertion",
    "is the hottest enough?",
    "How sure the network is, on average, while the hottest pixels of a blurred picture become sharp first: high is "
    "good.",
    formula="area under the class probability, 30 points from all blurred to all sharp",
    reference=_PETSIUK,
    cost=(POINTS - 2) * ORDERS,
    on_request=True,
)
def _insertion(evidence: Evidence) -> tuple[Tensor, Notes]:
    return _scored(_curves(evidence, blurred(evidence.x), evidence.x, evidence.seed, evidence.progress))


@score(
    "deletion",
    "Deletion",
    "is the hottest needed?",
    "How sure the network still is, on average, while the hottest pixels are removed first: low is good.",
    better="lower",
    formula="area under the class probability, 30 points from the whole picture to its mean colour",
    reference=_PETSIUK,
    cost=(POINTS - 2) * ORDERS,
    on_request=True,
)
def _deletion(evidence: Evidence) -> tuple[Tensor, Notes]:
    return _scored(_curves(evidence, evidence.x, torch.zeros_like(evidence.x), evidence.seed, evidence.progress))


def blurred(x: Tensor) -> Tensor:
    """Blur images (B, 3, H, W) by a Gaussian of standard deviation 5 over 11 x 11 pixels, the border repeated."""
    weights = gaussian(_BLUR // 2, _SIGMA).to(x).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, [_BLUR // 2] * 4, "replicate")
    return F.conv2d(F.conv2d(padded, weights, groups=x.shape[1]), weights.mT, groups=x.shape[1])


def _curves(evidence: Evidence, start: Tensor, end: Tensor, seed: int, progress: Progress | None) -> Curves:
    """The curves of all maps from images `start` to images `end`, both (B, 3, H, W)."""
    count = evidence.maps.shape[-2:].numel()
    chosen = torch.linspace(0, count, POINTS, dtype=torch.float64).round().long()
    total = len(evidence.x) * len(evidence.maps) * ORDERS
    probability = []
    for image, target in enumerate(evidence.classes):
        ends = _probabilities(evidence.module, torch.stack([start[image], end[image]]), target)
        for number, orders in enumerate(_ranks(evidence.maps[:, image], seed)):
            curves = []
            for ranks in orders:
                steps = (ranks < chosen[1:-1, None, None].to(ranks.device))[:, None]
                between = _probabilities(evidence.module, torch.where(steps, end[image], start[image]), target)
                curves.append(torch.cat([ends[:1], between, ends[1:]]))
            probability.append(torch.stack(curves).mean(0))
            if progress is not None:
                progress((image * len(evidence.maps) + number + 1) * ORDERS, total)
    found = torch.stack(probability).unflatten(0, (len(evidence.x), -1)).transpose(0, 1)
    share = chosen / count
    return Curves(share, found, torch.trapezoid(found, share.to(found)))


def _ranks(maps: Tensor, seed: int) -> Iterator[list[Tensor]]:
    """For each of maps (M, H, W), the rank of every pixel, 0 for the hottest, long (H, W), in each distinct order."""
    places = drawn_orders(seed, ORDERS, maps.shape[-2:].numel()).to(maps.device)
    for values in maps.float().flatten(1):
        ranks = []
        for order in places:
            ordered = order[(-values[order]).sort(stable=True).indices]
            ranks.append(torch.empty_like(ordered).scatter_(0, ordered, torch.arange(len(ordered), device=maps.device)))
        ties = bool((values.sort().values.diff() == 0).any())
        yield [rank.view(maps.shape[-2:]) for rank in (ranks if ties else ranks[:1])]


def _probabilities(module: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """The probability of a class for images (N, 3, H, W): float64 (N,), on the CPU."""
    with torch.no_grad():
        return forward(module, images).cpu().double().softmax(1)[:, target.cpu()]


def _scored(curves: Curves) -> tuple[Tensor, Notes]:
    broken = ~torch.isfinite(curves.area)
    return curves.area.where(~broken, torch.nan), [[_BROKEN if bad else "" for bad in row] for row in broken.tolist()]
