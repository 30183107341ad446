"""CAM methods: they turn a capture into maps in [0, 1] at the input's resolution."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import compress

import torch
from torch import Tensor

from camviz.maps import normalise, stretched, upsample
from camviz.methods import baselines as _baselines  # noqa: F401  (importing a file registers its methods)
from camviz.methods import channel_sweeps as _channel_sweeps  # noqa: F401
from camviz.methods import gradient as _gradient  # noqa: F401
from camviz.methods.registry import METHODS, Method, Progress, get_method, shifted
from camviz.network.capture import Capture

__all__ = ["METHODS", "BlankMapWarning", "Method", "Progress", "cam", "cam_with_notes", "raw_maps", "twins"]

Notes = list[list[str]]


class BlankMapWarning(UserWarning):
    """A map is blank; the message says why."""


def cam(cap: Capture, method: str = "gradcam++", seed: int = 0, progress: Progress | None = None) -> Tensor:
    """Turn a capture into one map per layer: ReLU, bilinear upsampling, stretching to [0, 1].

    A map that would be constant or not finite becomes zeros, and a `BlankMapWarning` says why. With the capture's
    mirror (`Capture.with_mirror`), each map is averaged with that of the mirrored image, mirrored back, and stretched
    again; of two principal components, which have no sign of their own, both get one that suits their sum.

    Args:
        cap: what `camviz.capture` returned.
        method: a name in `camviz.METHODS`.
        seed: for the methods that draw random numbers.
        progress: called with (passes done, total) by methods that run the network again; an exception from it
            stops the work.

    Returns:
        float32 (L, B, H, W) in [0, 1], in the order of `cap.layers`.

    Raises:
        ValueError: an unknown method.
    """
    maps, notes = cam_with_notes(cap, method, seed, progress)
    for layer, layer_notes in zip(cap.layers, notes, strict=True):
        for image, note in enumerate(layer_notes):
            if note:
                warnings.warn(f"{method}, layer {layer}, image {image}: {note}", BlankMapWarning, stacklevel=2)
    return maps


def cam_with_notes(
    cap: Capture, method: str = "gradcam++", seed: int = 0, progress: Progress | None = None
) -> tuple[Tensor, Notes]:
    """Like `cam`, with a note for each layer and image that says why its map is blank, or "" if it is not."""
    chosen = get_method(method)
    if cap.mirror is None:
        raws = _raws(cap, chosen, seed, progress)
        maps = _finished(cap, chosen, raws)
    else:
        runs = sum(chosen.runs(a) for a in cap.activations)
        raws = _raws(cap, chosen, seed, shifted(progress, 0, 2 * runs))
        mirrored = _raws(cap.mirror, chosen, seed, shifted(progress, runs, 2 * runs))
        mirrored = [raw.flip(-1) for raw in mirrored]
        if chosen.component:
            raws, mirrored = zip(*map(_with_one_sign, raws, mirrored), strict=True)
        maps = stretched((_finished(cap, chosen, raws) + _finished(cap, chosen, mirrored)) / 2)
    return maps, _notes(cap, chosen, raws, (maps.amax((2, 3)) > 0).tolist())


def _raws(cap: Capture, chosen: Method, seed: int, progress: Progress | None) -> list[Tensor]:
    """The raw maps of the images themselves, whether or not there is a mirror; `progress` covers all layers."""
    runs = [chosen.runs(a) for a in cap.activations]
    return chosen.raw(cap, seed, [shifted(progress, sum(runs[:index]), sum(runs)) for index in range(len(runs))])


def _finished(cap: Capture, chosen: Method, raws: Sequence[Tensor]) -> Tensor:
    """Raw maps after ReLU, upsampling and stretching (L, B, H, W); those of a blind guess are so already."""
    if chosen.finished:
        return torch.stack(list(raws))
    return normalise(torch.stack([upsample(raw.float().relu(), cap.x.shape[-2:]) for raw in raws]))


def _with_one_sign(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Give two components (B, h, w) of one thing signs that agree; the larger extreme of their sum becomes positive."""
    alike = (first * second).sum((1, 2), keepdim=True)
    second = torch.where(alike < 0, -second, second)
    scales = [raw.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(raw.dtype).tiny) for raw in (first, second)]
    both = first / scales[0] + second / scales[1]
    extremes = both.amin((1, 2), keepdim=True) + both.amax((1, 2), keepdim=True)
    return torch.where(extremes < 0, -first, first), torch.where(extremes < 0, -second, second)


def raw_maps(cap: Capture, method: str = "gradcam++", seed: int = 0) -> list[Tensor]:
    """Each layer's map on its own grid, after ReLU, before upsampling and stretching: float32 (B, h, w), L of them.

    `cam` makes its maps of these. A blind guess has no grid: its map is as large as the input, and final.

    Args:
        cap: what `camviz.capture` returned.
        method: a name in `camviz.METHODS`.
        seed: for the methods that draw random numbers.

    Raises:
        ValueError: an unknown method.
    """
    return [raw.float().relu() for raw in get_method(method).raw(cap, seed, [None] * len(cap.layers))]


def twins(cap: Capture, method: str, tolerance: float = 1e-4) -> list[list[str]]:
    """For each layer, name the other methods without extra passes that give the same map there.

    With global average pooling followed by one linear layer, Grad-CAM, XGrad-CAM and HiResCAM agree on the last layer
    (measured: to 2e-7). The maps are compared at the layer's resolution: upsampling keeps equal maps equal. Principal
    components are left out: only in a layer with a single pattern can one equal another method's map.
    """
    chosen = METHODS[method]
    if chosen.is_slow or chosen.finished or chosen.component:
        return [[] for _ in cap.layers]
    reference = _small_maps(cap, method)
    shows = torch.stack([maps.any() for maps in reference])
    others = [
        name for name, m in METHODS.items() if name != method and m.uses_gradient and not m.is_slow and not m.component
    ]
    same = [(_distances(_small_maps(cap, name), reference) <= tolerance) & shows for name in others]
    return [list(compress(others, matches)) for matches in torch.stack(same, 1).tolist()]


def _small_maps(cap: Capture, method: str) -> list[Tensor]:
    """The maps (B, h, w) of a method without extra passes, at each layer's resolution."""
    return [normalise(raw) for raw in raw_maps(cap, method)]


def _distances(some: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The largest difference of two methods' maps for each layer (L,)."""
    return torch.stack([(a - b).abs().amax() for a, b in zip(some, others, strict=True)])


def _notes(cap: Capture, method: Method, raws: Sequence[Tensor], shows: Sequence[Sequence[bool]]) -> Notes:
    """For each layer and image, say why its map is blank, or "" if it shows something."""
    blank = [(index, image) for index, row in enumerate(shows) for image, fine in enumerate(row) if not fine]
    notes = [["" for _ in row] for row in shows]
    if blank:
        # All at once: each read from the device makes the CPU wait for it.
        facts = torch.stack([_facts(cap, method, index, image, raws[index][image]) for index, image in blank]).tolist()
        for (index, image), facts_of_map in zip(blank, facts, strict=True):
            notes[index][image] = _why_blank(cap.cuts[index] if method.uses_gradient else "", *facts_of_map)
    return notes


def _facts(cap: Capture, method: Method, index: int, image: int, raw: Tensor) -> Tensor:
    """The last arguments of `_why_blank` for a raw map (h, w), in order: bool (4,)."""
    finite = torch.isfinite(raw).all()
    depends = cap.gradients[index][image].any() if method.uses_gradient else torch.ones_like(finite)
    layer = cap.activations[index][image]
    varies = (layer != layer[:, :1, :1]).any() | (raw != raw[0, 0]).any()
    return torch.stack([finite, depends, varies, (raw > 0).any()])


def _why_blank(cut: str, finite: bool, depends: bool, varies: bool, positive: bool) -> str:
    """Say why a map is blank.

    Given are where the gradient is cut, and whether the map is finite, the class depends on the layer, the map varies
    and is positive somewhere.
    """
    if cut:
        return f"the network cuts the gradient between this layer and the class score, {cut}"
    if not finite:
        return "the activations, their gradients or the class score have NaN or infinite values"
    if not depends:
        return "the class score does not depend on this layer: every gradient is 0"
    if varies and not positive:
        return "nothing in this layer supports the class: the map is nowhere positive, and ReLU removes the rest"
    return "the map is the same everywhere, so it singles out no region"
