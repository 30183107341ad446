"""ROAD: how the class probability changes when the most, or the least, relevant pixels are removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from camviz.maps import require_unit_range
from camviz.methods.registry import Progress, shifted
from camviz.metrics.imputation import NOISE, impute
from camviz.network.batching import forward
from camviz.network.capture import as_target
from camviz.network.hooks import require_eval
from camviz.network.logits import logits_of, network_logits

PERCENTILES = (20, 40, 60, 80)
# "all" also removes pixels that tie with the threshold; "random" removes exactly the requested share, drawing ties.
Ties = Literal["all", "random"]
# A removed share that is off by more than this is noted.
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Road:
    """ROAD of a batch of maps.

    Attributes:
        target: (B,), the target classes.
        score: (B,), mean over percentiles of (change at LeRF - change at MoRF) / 2, in [-0.5, 0.5].
        probability: (B,), the target's softmax probability on the clean image.
        after: (B, 2, P), the probability with pixels removed: most relevant first (MoRF), then least (LeRF).
        removed: (B, 2, P), the share of pixels actually removed.
        percentiles: the P percentiles; at p, 100 - p percent of the pixels should be removed.
        notes: B strings, "" or which shares are far from the requested ones.
    """

    target: Tensor
    score: Tensor
    probability: Tensor
    after: Tensor
    removed: Tensor
    percentiles: tuple[int, ...]
    notes: tuple[str, ...]


def road(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Tensor | Sequence[int] | int | None,
    seed: int = 0,
    percentiles: Sequence[int] = PERCENTILES,
    ties: Ties = "all",
) -> Road:
    """Remove and impute the most (MoRF) and the least (LeRF) relevant pixels, and run the network again.

    MoRF at p removes the pixels whose map value is at least the p-th percentile; LeRF does the same with
    1 - map. Removed pixels are filled by noisy linear imputation.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", 2202.00449;
    the combination of both orders and the percentiles as in arXiv 2605.14641.

    Args:
        module: a network in eval mode that returns logits (B, classes).
        x: float (B, 3, H, W), normalised.
        maps: float (B, H, W) in [0, 1].
        target: the classes (B,); None for the predicted ones.
        seed: seed of the imputation's noise and of drawn ties; each image gets the same draws, whatever its batch.
        percentiles: the values of p.
        ties: what happens to pixels that tie with the threshold.

    Raises:
        ValueError: maps that do not match x as (B, H, W) or are not within [0, 1]; an unknown value of `ties`; a
            network in training mode.
    """
    return roads(module, x, maps[None], target, seed, percentiles, ties)[0]


def roads(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Tensor | Sequence[int] | int | None,
    seed: int = 0,
    percentiles: Sequence[int] = PERCENTILES,
    ties: Ties = "all",
    logits: Tensor | None = None,
    progress: Progress | None = None,
) -> list[Road]:
    """ROAD of several maps per image, (M, B, H, W): M results like that of `road`.

    All holes of an image are filled together; on a CPU, those that several maps share are filled and seen once. The
    clean pass is run once, or skipped if its `logits` (B, classes) are given. `progress` is called with (passes done,
    total), also while holes are filled.

    Raises:
        ValueError: as for `road`.
    """
    for image_maps in maps:
        check_maps(x, image_maps)
    require_eval(module)
    require_unit_range(maps)
    with torch.no_grad():
        logits = network_logits(module, x) if logits is None else logits_of(logits, len(x))
    return removals(module, x, maps, as_target(target, logits), logits, seed, percentiles, ties, progress)


def road_over_seeds(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Tensor,
    logits: Tensor,
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> list[Road]:
    """ROAD of one map per image, (B, H, W), with each of several seeds of the imputation's noise.

    The holes are filled once for all seeds; pixels that tie with the threshold are all removed. Arguments and errors
    are otherwise those of `roads`; `target` is (B,), `logits` (B, classes).
    """
    check_maps(x, maps)
    require_eval(module)
    require_unit_range(maps)
    with torch.no_grad():
        masks = removal_masks(maps.to(x.device), PERCENTILES, "all", 0)
        passes, after = masks.shape[1:3].numel(), []
        count = partial(_counted, progress, total=len(x) * len(seeds) * passes)
        for image in range(len(x)):
            holes = masks[image].flatten(0, 1)
            filled = _imputed(x[image], holes, partial(count(len(after) * passes), 0))
            for seed in seeds:
                given = filled + _noise(x[image], passes, seed) * holes[:, None]
                logits_after = forward(module, given, count(len(after) * passes))
                after.append(logits_after.float().softmax(1).index_select(1, target[image : image + 1])[:, 0])
        clean = logits.float().softmax(1).gather(1, target[:, None])[:, 0]
    found = torch.stack(after).view(len(x), len(seeds), *masks.shape[1:3]).transpose(0, 1)
    removed = masks.float().mean((3, 4)).expand(len(seeds), -1, -1, -1)
    return _scored(target, clean, found, removed, PERCENTILES)


def removals(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Tensor,
    logits: Tensor,
    seed: int,
    percentiles: Sequence[int],
    ties: Ties,
    progress: Progress | None,
) -> list[Road]:
    """`roads` without the checks, for maps (M, B, H, W), classes (B,) and logits (B, classes)."""
    if ties not in ("all", "random"):
        raise ValueError(f"ties must be 'all' or 'random', got {ties!r}")
    with torch.no_grad():
        clean = logits.float().softmax(1).gather(1, target[:, None])[:, 0]
        after, removed = [], []
        for image in range(len(x)):
            masks = removal_masks(maps[:, image].to(x.device), percentiles, ties, seed)
            passes, places = masks.shape[:3].numel(), masks.shape[1:3].numel()
            first, which = _distinct(masks)
            done = _counted(progress, image * passes, len(x) * passes, passes / len(first))
            holes = masks.flatten(0, 2)[first]
            noise = _noise(x[image], places, seed)[first % places] * holes[:, None]
            filled = _imputed(x[image], holes, partial(done, 0)) + noise
            probability = forward(module, filled, done).float().softmax(1).index_select(1, target[image : image + 1])
            after.append(probability[which].view(masks.shape[:3]))
            removed.append(masks.float().mean((3, 4)))
    return _scored(target, clean, torch.stack(after, 1), torch.stack(removed, 1), tuple(percentiles))


def _distinct(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Of masks (M, 2, P, H, W), the first of each kind, (N,), and for all the kind that each is, (M 2 P,).

    A kind is a mask in one order at one percentile. On a GPU, which would wait for the comparison, all count as
    different.
    """
    places, count = masks.shape[1:3].numel(), masks.shape[:3].numel()
    if masks.device.type != "cpu":
        every = torch.arange(count, device=masks.device)
        return every, every
    kinds: dict[tuple[int, bytes], int] = {}
    first, which = [], []
    for number, bits in enumerate(np.packbits(masks.flatten(0, 2).flatten(1).numpy(), axis=1)):
        kind = kinds.setdefault((number % places, bits.tobytes()), len(kinds))
        which.append(kind)
        if kind == len(first):
            first.append(number)
    return torch.tensor(first), torch.tensor(which)


def _counted(progress: Progress | None, before: int, total: int, each: float = 1) -> Callable[[int], None]:
    """Return a function that reports progress, given how many passes of an image are done, which stand for `each`."""
    report = shifted(progress, before, total)
    return lambda done: None if report is None else report(round(done * each), total)


def _scored(target: Tensor, clean: Tensor, after: Tensor, removed: Tensor, percentiles: tuple[int, ...]) -> list[Road]:
    """Combine the remaining probabilities (M, B, 2, P) and the removed shares (M, B, 2, P) into results."""
    # The clean probability cancels: change at LeRF - change at MoRF = P_LeRF - P_MoRF.
    score = ((after[:, :, 1] - after[:, :, 0]) / 2).mean(2)
    defined = torch.isfinite(score) & torch.isfinite(clean)
    facts = torch.cat([removed.flatten(2), defined[..., None]], 2).cpu()  # everything for the notes in one transfer
    notes = [
        tuple(
            _note(shares.view(2, -1), percentiles) if fine else "the network returned NaN or infinite values"
            for shares, fine in zip(map_facts[:, :-1], map_facts[:, -1].tolist(), strict=True)
        )
        for map_facts in facts
    ]
    score, clean = torch.where(defined, score, 0.0), torch.where(defined, clean, 0.0)
    return [
        Road(target, score[m], clean[m], after[m], removed[m], percentiles, map_notes)
        for m, map_notes in enumerate(notes)
    ]


def removal_masks(maps: Tensor, percentiles: Sequence[int], ties: Ties, seed: int) -> Tensor:
    """Which pixels to remove: maps (..., H, W) -> bool (..., 2, P, H, W), most relevant first, then least."""
    values = maps.detach().float().flatten(-2)
    masks = _at_least(values, percentiles) if ties == "all" else _exactly(values, percentiles, seed)
    return masks.unflatten(-1, maps.shape[-2:])


def check_maps(x: Tensor, maps: Tensor) -> None:
    """Raise a ValueError unless maps (B, H, W) match the images x (B, 3, H, W)."""
    if x.ndim != 4 or maps.shape != (len(x), *x.shape[-2:]):
        raise ValueError(f"maps (B, H, W) must match x (B, 3, H, W), got {tuple(maps.shape)} and {tuple(x.shape)}")


def _at_least(values: Tensor, percentiles: Sequence[int]) -> Tensor:
    """Choose the pixels at or above each percentile of maps (..., n) and of 1 - maps: bool (..., 2, P, n)."""
    orders = torch.stack([values, 1 - values], -2)
    ordered = _sorted(orders)
    return torch.stack([orders >= _percentile(ordered, p) for p in percentiles], -2)


def _sorted(values: Tensor) -> Tensor:
    """Sort along the last dimension, NaN last; on a CPU with NumPy, which takes a tenth of the time."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort(-1).values


def _percentile(ordered: Tensor, percentile: float) -> Tensor:
    """Compute `np.percentile` of ascending float32 values (..., n), identical to the last bit: (..., 1).

    Between neighbours, NumPy interpolates from the nearer one.
    """
    place = (ordered.shape[-1] - 1) * (percentile / 100)
    low = min(int(place), ordered.shape[-1] - 1)
    share, high = place - low, min(low + 1, ordered.shape[-1] - 1)
    below, above = ordered[..., low : low + 1], ordered[..., high : high + 1]
    step = above - below
    threshold = below + step * share if share < 0.5 else above - step * (1 - share)
    last = ordered[..., -1:]
    return torch.where(last.isnan(), last, threshold)  # NaN sorts last and has no percentile


def _exactly(values: Tensor, percentiles: Sequence[int], seed: int) -> Tensor:
    """Choose exact shares of the pixels, the largest of maps (..., n) and of 1 - maps: bool (..., 2, P, n).

    The seed draws the order of equal values: differently for each share, but identically for every map.
    """
    size = values.shape[-1]
    drawn = iter(drawn_orders(seed, 2 * len(percentiles), size).to(values.device))
    chosen = []
    for order in (values, 1 - values):
        for p, places in zip(percentiles, drawn, strict=False):
            count = round(size * (100 - p) / 100)
            first = (-order[..., places]).sort(dim=-1, stable=True).indices[..., :count]
            chosen.append(torch.zeros_like(values, dtype=torch.bool).scatter(-1, places[first], True))
    return torch.stack(chosen, -2).unflatten(-2, (2, len(percentiles)))


@lru_cache(maxsize=2)
def drawn_orders(seed: int, count: int, size: int) -> Tensor:
    """Random permutations of `size` numbers: long (count, size). Cached, as all maps of a study share them."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([np.argsort(rng.random(size), kind="stable") for _ in range(count)]))


def _imputed(image: Tensor, removed: Tensor, on_step: Callable[[], object]) -> Tensor:
    """Fill the holes of one image (C, H, W) under each mask (N, H, W) -> (N, C, H, W), without noise."""
    return impute(image.expand(len(removed), *image.shape), removed, on_step=on_step)


def _noise(image: Tensor, count: int, seed: int) -> Tensor:
    """Draw the noise of one image (C, H, W) for each order and percentile, the same for every map: (count, C, H, W)."""
    noise = NOISE * torch.randn((count, *image.shape), generator=torch.Generator().manual_seed(seed))
    return noise.to(image)


def _note(removed: Tensor, percentiles: Sequence[int]) -> str:
    """Report the shares removed from one image (2, P), for each order in which some are off."""
    requested = torch.tensor([1 - p / 100 for p in percentiles])
    off = [
        f"{order} {_percents(shares)} %"
        for order, shares in zip(("most relevant first", "least relevant first"), removed, strict=True)
        if bool(((shares - requested).abs() > _TOLERANCE).any())
    ]
    if not off:
        return ""
    return f"pixels of equal value are removed together: {' and '.join(off)} instead of {_percents(requested)} %"


def _percents(shares: Tensor) -> str:
    return ", ".join(f"{100 * share:.0f}" for share in shares.tolist())
