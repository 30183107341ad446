"""The Faithfulness Estimate on a grid: is a map hot where removing a square of the picture lowers the class score?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from camviz.methods.registry import Progress
from camviz.metrics.evidence import Evidence
from camviz.metrics.imputation import impute
from camviz.metrics.insertion_deletion import blurred
from camviz.metrics.registry import Notes, score
from camviz.network.batching import forward
from camviz.network.capture import Target

# The grid's stride is a seventh of a side; its squares have sides of one and of two strides.
STRIDES, SIDES = 7, (1, 2)
PASSES = sum((STRIDES + 1 - side) ** 2 for side in SIDES)
# If no square changes the probability by this much, there is nothing for a map to agree with.
LEAST_EFFECT = 0.05
# The scores that are computed from the effects of removing squares.
OF_EFFECTS = ("faithfulness", "fidelity", "infidelity")
_AT_ONCE = 17  # pictures with a square removed that are filled together, to bound memory
_ALIKE = 1e-6  # relative differences below this are rounding

# How a removed square is filled: from the pixels around it, with a blurred picture, or with the picture's mean colour.
Fill = Literal["impute", "blur", "mean"]
_ALVAREZ_MELIS = "Alvarez-Melis and Jaakkola, arXiv 1806.07538; near Sensitivity-n, Ancona et al., arXiv 1711.06104"


@dataclass(frozen=True)
class Effects:
    """What removing each square of a grid does to the class probability.

    Attributes:
        squares: for each side length, the squares' (top, bottom, left, right) in pixels, long (S, 4).
        drops: for each side length, P(x) - P(x without the square), float64 (B, S).
    """

    squares: tuple[Tensor, ...]
    drops: tuple[Tensor, ...]


@dataclass(frozen=True)
class PatchAgreement:
    """How well maps agree with the effects of removing squares; every tensor is float64 (M, B), NaN where undefined.

    Attributes:
        correlation: the Faithfulness Estimate, Pearson's correlation of heat and effect, in [-1, 1]; the mean over both
            side lengths.
        infidelity: the mean squared difference of effect and heat at the best scale, mean(d^2) (1 - cos^2(a, d)); low
            is good; the mean over both side lengths.
        fidelity: sign(cos) cos^2(a, d), in [-1, 1]: the share of the effects that heat explains; the mean over both
            side lengths.
        notes: for each map and image, why it is undefined, or "".
        effects: what the maps were compared with.
    """

    correlation: Tensor
    infidelity: Tensor
    fidelity: Tensor
    notes: Notes
    effects: Effects


def patch_agreement(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Target = None,
    fill: Fill = "impute",
    shifted: bool = False,
    progress: Progress | None = None,
) -> PatchAgreement:
    """Compare maps with what happens to the class probability when squares of the picture are removed.

    Squares S_j have sides of 1/7 of the picture on a grid of 7 x 7, and of 2/7 on one of 6 x 6 with the same stride.
    For each, d_j = P(x) - P(x without S_j), and a_j = the share of the map's heat in S_j. The 85 passes of a picture
    serve all maps. What is finer than a square cannot be judged.

    Source: the Faithfulness Estimate of Alvarez-Melis and Jaakkola, arXiv 1806.07538, near Sensitivity-n, arXiv
    1711.06104; infidelity at the best scale after Yeh et al., arXiv 1901.09392.

    Args:
        module: a network in eval mode that returns logits (B, classes).
        x: float (B, 3, H, W), normalised, at least 14 pixels a side.
        maps: float (M, B, H, W) in [0, 1].
        target: the classes (B,); None for the predicted ones.
        fill: how removed squares are filled: "impute" from the pixels around, without noise; "blur" or "mean" as a
            control.
        shifted: whether the grid is shifted by half a square, as a control: the networks' own cells often lie on it.
        progress: called with (passes done, total); an exception from it stops the work.

    Raises:
        ValueError: maps that do not match x as (M, B, H, W) or are not within [0, 1]; pictures below 14 pixels a side;
            a network in training mode; an unknown fill.
    """
    evidence = Evidence(module, x, maps, target, progress=progress)
    return _agreement(evidence.maps, _effects(evidence, fill, shifted))


@score(
    "faithfulness",
    "Faithfulness Estimate",
    "is it hot where it matters?",
    "Is the map hot where removing a square of the picture makes the network less sure? 1 = exactly there, 0 = no "
    "relation, negative = elsewhere. It cannot judge what is finer than a seventh of the picture.",
    range=(-1.0, 1.0),
    formula="Pearson(share of heat in a square, fall of the class probability without it), the mean over squares of "
    "1/7 and of 2/7 of a side",
    reference=_ALVAREZ_MELIS,
    cost=PASSES,
    in_chart=True,
    on_request=True,
)
def _faithfulness(evidence: Evidence) -> tuple[Tensor, Notes]:
    agreement = evidence.once(_shared)
    return agreement.correlation, agreement.notes


@score(
    "fidelity",
    "Fidelity of squares",
    "does heat explain the effects?",
    "The share of what removing squares does to the network that the map's heat explains: 1 = all, 0 = nothing, "
    "negative = the opposite.",
    range=(-1.0, 1.0),
    formula="sign(cos) cos^2 of the shares of heat in squares and the falls of the class probability without them",
    reference="Yeh et al., arXiv 1901.09392",
    cost=PASSES,
    on_request=True,
)
def _fidelity(evidence: Evidence) -> tuple[Tensor, Notes]:
    agreement = evidence.once(_shared)
    return agreement.fidelity, agreement.notes


@score(
    "infidelity",
    "Infidelity",
    "what does heat not explain?",
    "What removing squares does to the network and the map's heat, at its best scale, does not explain: 0 = nothing.",
    better="lower",
    formula="mean(d^2) (1 - cos^2(a, d)), d = fall of the class probability without a square, a = share of heat in it",
    reference="Yeh et al., arXiv 1901.09392",
    cost=PASSES,
    on_request=True,
)
def _infidelity(evidence: Evidence) -> tuple[Tensor, Notes]:
    agreement = evidence.once(_shared)
    return agreement.infidelity, agreement.notes


def squares(height: int, width: int, side: int, shifted: bool = False) -> Tensor:
    """The (top, bottom, left, right) of the squares of `side` strides, long (S, 4), row by row.

    Raises:
        ValueError: a picture so small that a stride is below 2 pixels.
    """
    if min(height, width) < 2 * STRIDES:
        raise ValueError(f"squares need at least {2 * STRIDES} pixels a side, got {height} x {width}")
    rows, columns = (_edges(length, shifted) for length in (height, width))
    return torch.tensor(
        [
            (top, bottom, left, right)
            for top, bottom in zip(rows, rows[side:], strict=False)
            for left, right in zip(columns, columns[side:], strict=False)
        ]
    )


def occlusion_map(effects: Effects, size: Sequence[int]) -> Tensor:
    """Turn the effects themselves into maps (B, H, W): the mean fall of the squares that cover a pixel, at least 0.

    Such a map has seen the answers: it shows what the Faithfulness Estimate can reach, and is not ranked.
    """
    height, width = size
    total = torch.zeros(len(effects.drops[0]), height, width, dtype=torch.float64)
    count = torch.zeros(height, width, dtype=torch.float64)
    for boxes, drops in zip(effects.squares, effects.drops, strict=True):
        for (top, bottom, left, right), drop in zip(boxes.tolist(), drops.T, strict=True):
            total[:, top:bottom, left:right] += drop[:, None, None]
            count[top:bottom, left:right] += 1
    mean = (total / count.clamp(min=1)).clamp(min=0)
    return (mean / mean.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)).float()


def _edges(length: int, shifted: bool) -> list[int]:
    """The grid's lines along a side, in pixels: round(i length / 7), or shifted by half a stride."""
    first = 0.5 if shifted else 0.0
    count = STRIDES if shifted else STRIDES + 1
    return [math.floor((first + index) * length / STRIDES + 0.5) for index in range(count)]


def _shared(evidence: Evidence) -> PatchAgreement:
    return _agreement(evidence.maps, evidence.once(imputed_effects))


def imputed_effects(evidence: Evidence) -> Effects:
    """What removing squares does, whatever the maps: `Evidence.once` computes or takes it."""
    return _effects(evidence, "impute", shifted=False)


def _effects(evidence: Evidence, fill: Fill, shifted: bool) -> Effects:
    """Remove each square of each picture."""
    if fill not in ("impute", "blur", "mean"):
        raise ValueError(f"fill must be 'impute', 'blur' or 'mean', got {fill!r}")
    height, width = evidence.x.shape[-2:]
    boxes = [squares(height, width, side, shifted) for side in SIDES]
    masks = _masks(torch.cat(boxes), height, width)
    clean = evidence.clean_logits.cpu().double().softmax(1)
    drops = []
    for image, target in enumerate(evidence.classes.tolist()):
        left = []
        for start in range(0, len(masks), _AT_ONCE):
            part = masks[start : start + _AT_ONCE].to(evidence.x.device)
            with torch.no_grad():
                logits = forward(evidence.module, _filled(evidence.x[image], part, fill))
            left.append(logits.cpu().double().softmax(1)[:, target])
            if evidence.progress is not None:
                evidence.progress(image * len(masks) + start + len(part), len(evidence.x) * len(masks))
        drops.append(clean[image, target] - torch.cat(left))
    return Effects(tuple(boxes), torch.stack(drops).split([len(part) for part in boxes], 1))


def _masks(boxes: Tensor, height: int, width: int) -> Tensor:
    """Squares (S, 4) as bool (S, H, W)."""
    top, bottom, left, right = boxes[:, :, None].unbind(1)
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows, inside_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def _filled(image: Tensor, masks: Tensor, fill: Fill) -> Tensor:
    """The image (3, H, W) without each of S squares, bool (S, H, W): (S, 3, H, W)."""
    images = image.expand(len(masks), *image.shape)
    if fill == "impute":
        return impute(images, masks)
    instead = blurred(image[None])[0] if fill == "blur" else image.mean((1, 2), keepdim=True)
    return torch.where(masks[:, None], instead, images)


def _agreement(maps: Tensor, effects: Effects) -> PatchAgreement:
    """Compare maps (M, B, H, W) with the effects of removing squares."""
    maps = maps.cpu().double()
    heat = [_shares(maps, boxes) for boxes in effects.squares]
    pairs = list(zip(heat, effects.drops, strict=True))
    notes = [[_why(map_, image, effects) for image, map_ in enumerate(row)] for row in maps]
    defined = torch.tensor([[not note for note in row] for row in notes])
    correlation = torch.stack([_cosine(_centred(a), _centred(d)) for a, d in pairs]).mean(0)
    cosines = torch.stack([_cosine(a, d) for a, d in pairs])
    power = torch.stack([drops.square().mean(-1) for drops in effects.drops])[:, None]
    infidelity, fidelity = (power * (1 - cosines**2)).mean(0), (cosines.sign() * cosines**2).mean(0)
    scores = [values.where(defined, torch.nan) for values in (correlation, infidelity, fidelity)]
    return PatchAgreement(scores[0], scores[1], scores[2], notes, effects)


def _shares(maps: Tensor, boxes: Tensor) -> Tensor:
    """The share of each map's heat in each square: maps (M, B, H, W) -> (M, B, S), by a table of running sums."""
    sums = torch.nn.functional.pad(maps, (1, 0, 1, 0)).cumsum(-1).cumsum(-2)
    top, bottom, left, right = boxes.unbind(1)
    inside = sums[..., bottom, right] - sums[..., top, right] - sums[..., bottom, left] + sums[..., top, left]
    return inside / sums[..., -1:, -1].clamp(min=torch.finfo(torch.float64).tiny)


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(-1, keepdim=True)


def _cosine(a: Tensor, d: Tensor) -> Tensor:
    """The cosine of the angle between vectors (..., S); NaN where one is 0."""
    return ((a * d).sum(-1) / (a.norm(dim=-1) * d.norm(dim=-1))).clamp(-1, 1)


def _why(map_: Tensor, image: int, effects: Effects) -> str:
    """Say why the agreement of a map (H, W) with the effects on an image is undefined, or ""."""
    drops = [part[image] for part in effects.drops]
    if not bool(torch.isfinite(torch.cat(drops)).all()):
        return "the network returned NaN or infinite values"
    if not bool(map_.any()):
        return "the map is blank"
    heat = [_shares(map_[None, None], boxes)[0, 0] for boxes in effects.squares]
    if bool((map_ == map_[0, 0]).all()) or any(_constant(part) for part in heat):
        return "the map is equally hot in every square"
    most = float(torch.cat(drops).abs().max())
    if most < LEAST_EFFECT:
        return f"removing any square changes the probability by less than {LEAST_EFFECT:.0%} (at most {most:.1%})"
    if any(_constant(part) for part in drops):
        return "removing any square has the same effect"
    return ""


def _constant(values: Tensor) -> bool:
    return bool(values.max() - values.min() <= _ALIKE * values.abs().max())
