"""Merging rules: what a merged map takes from each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor

from camviz.maps import stretched
from camviz.merging.guided_filter import guided_filter
from camviz.methods import cam_with_notes
from camviz.network.capture import Capture

# What a rule reads: only the layers' maps, or also the maps of a second method, or the picture. Everything but the
# layers' maps comes from a capture.
Need = Literal["maps", "second method", "picture"]
# Maps (L, B, H, W) from the deepest layer to the finest -> the merge down to each of them (L, B, H, W).
MapsMerge = Callable[[Tensor], Tensor]
# Like `MapsMerge`, for a rule that also reads the capture the maps came from.
CaptureMerge = Callable[[Tensor, Capture], Tensor]
F = TypeVar("F", bound=MapsMerge | CaptureMerge)


@dataclass(frozen=True)
class Rule:
    """One way to merge maps.

    Attributes:
        name: its key in `RULES`.
        title: its display name.
        sentence: what it does, in one plain sentence.
        reference: its source.
        needs: what it reads.
        merge: the function; takes the maps, or the maps and their capture.
    """

    name: str
    title: str
    sentence: str
    reference: str
    needs: Need
    merge: MapsMerge | CaptureMerge = field(repr=False)


RULES: dict[str, Rule] = {}
FLOOR = 0.1
# The guided filter's radius as a share of a side, and its regularisation.
RADIUS, EPSILON = 1 / 7, 1e-3


def rule(name: str, title: str, sentence: str, reference: str, *, needs: Need = "maps") -> Callable[[F], F]:
    """Register a function of maps, and of their capture if it needs more than the maps, as a merging rule."""

    def register(merge: F) -> F:
        RULES[name] = Rule(name, title, sentence, reference, needs, merge)
        return merge

    return register


@rule(
    "product",
    "Product (RefineCAM)",
    "Bright only where every layer is bright: each layer can veto.",
    "How to Evaluate and Refine your CAM, arXiv 2605.14641",
)
def product(maps: Tensor) -> Tensor:
    """The product of the maps so far."""
    return maps.cumprod(0)


@rule(
    "geometric mean",
    "Geometric mean",
    "The root of the product: same places, same order, less contrast.",
    "research code of arXiv 2605.14641",
)
def geometric_mean(maps: Tensor) -> Tensor:
    """The l-th root of the product of l maps."""
    return maps.cumprod(0) ** (1 / _counts(maps))


@rule(
    "minimum",
    "Minimum",
    "The darkest layer decides at each place.",
    "a simple alternative for comparison",
)
def minimum(maps: Tensor) -> Tensor:
    """The smallest of the maps so far."""
    return maps.cummin(0).values


@rule(
    "mean",
    "Mean",
    "Bright wherever any layer is bright: no layer can veto.",
    "a simple alternative for comparison",
)
def mean(maps: Tensor) -> Tensor:
    """The mean of the maps so far."""
    return maps.cumsum(0) / _counts(maps)


@rule(
    "floor",
    "With a floor",
    "A layer can dim, but not veto: what is dark in one layer keeps a tenth of its brightness.",
    "a variant of the product, to see what vetoes do",
)
def product_with_floor(maps: Tensor) -> Tensor:
    """The product of the maps so far, of which all but the deepest are raised to at least 0.1: 0.1 + 0.9 m."""
    return torch.cat([maps[:1], FLOOR + (1 - FLOOR) * maps[1:]]).cumprod(0)


@rule(
    "mixed",
    "With LayerCAM",
    "The method's map where layers know what they see, and LayerCAM's, softened, where they see detail.",
    "a variant of the product",
    needs="second method",
)
def mixed(maps: Tensor, cap: Capture) -> Tensor:
    """The product of the deepest half of the maps so far, times the root of LayerCAM's for all but the deepest.

    With the maps P and LayerCAM's L of four layers, 3 the deepest: P3 P2 sqrt(L0 L1 L2). Of n layers, the deepest half
    are (n + 1) // 2; one layer alone is its own map.
    """
    return mixed_with(maps, cam_with_notes(cap, "layercam")[0].float().flip(0))


def mixed_with(maps: Tensor, second: Tensor) -> Tensor:
    """`mixed`, given the second method's maps, (L, B, H, W) from the deepest layer as well."""
    so_far = range(1, len(maps) + 1)
    return torch.stack([maps[: (n + 1) // 2].prod(0) * second[1:n].prod(0).sqrt() for n in so_far])


@rule(
    "expmean",
    "ExpMean",
    "Close to the minimum: a dark layer counts far more than a bright one.",
    "a smooth minimum, with the exponential of 1 / S",
)
def exp_mean(maps: Tensor) -> Tensor:
    """1 / log(mean of exp(1 / S)) of the maps S so far; 0 where one of them is 0."""
    return 1 / _log_mean_exp(maps)


@rule(
    "logexp",
    "LogExp",
    "Close to the minimum, and dimmer where only some layers are bright.",
    "a smooth minimum, with the exponential of 1 / S",
)
def log_exp(maps: Tensor) -> Tensor:
    """(1 + log n) / log(sum of exp(1 / S)) of the n maps S so far: 1 where all of them are 1, 0 where one is 0."""
    more = _counts(maps).log()
    return (1 + more) / (_log_mean_exp(maps) + more)


@rule(
    "sharpened",
    "Sharpened",
    "The network says where; the outline comes from the picture's own edges, not from the network. On textured "
    "pictures, where edges are everywhere, it fits worse than the product.",
    "He et al., Guided Image Filtering, TPAMI 2013",
    needs="picture",
)
def sharpened(maps: Tensor, cap: Capture) -> Tensor:
    """The product of the maps so far, stretched, then filtered along the edges of the network's input.

    The guide is the input stretched to [0, 1]; the radius is 32 pixels at 224 and in proportion.
    """
    return torch.stack([to_edges(part, cap.x) for part in stretched(product(maps))])


def to_edges(maps: Tensor, x: Tensor) -> Tensor:
    """Filter maps (B, H, W) along the edges of the network's input x (B, 3, H, W); at least 0, not stretched."""
    x = x.float()
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    guides = (x - low) / torch.where(high > low, high - low, 1.0)
    radius = max(1, round(min(x.shape[-2:]) * RADIUS))
    return guided_filter(maps, guides, radius, EPSILON).clamp(min=0)


def _log_mean_exp(maps: Tensor) -> Tensor:
    """log(mean of exp(1 / S)) of the maps S so far, infinite where one of them is 0; exactly 1 where all are 1."""
    so_far = [maps[:count] for count in range(1, len(maps) + 1)]
    return torch.stack([_log_mean_exp_of(some) for some in so_far])


def _log_mean_exp_of(maps: Tensor) -> Tensor:
    dark = maps < torch.finfo(maps.dtype).tiny
    inverse = 1 / torch.where(dark, 1.0, maps)
    most = inverse.amax(0)  # whole exponentials would overflow
    return torch.where(dark.any(0), torch.inf, most + (inverse - most).exp().mean(0).log())


def _counts(maps: Tensor) -> Tensor:
    """How many maps are merged at each place of a running merge: 1, 2, ..., L."""
    return torch.arange(1, len(maps) + 1, device=maps.device, dtype=maps.dtype).view(-1, 1, 1, 1)
