"""CAM methods: a capture -> maps in [0, 1] at the input's resolution."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from camviz.capture import Capture
from camviz.maps import normalise, upsample
from camviz.methods import baselines as _baselines  # noqa: F401
from camviz.methods import gradient, passes  # noqa: F401  (importing a file registers its methods)
from camviz.methods.registry import METHODS, Method, Progress, get_method, shifted

__all__ = ["METHODS", "BlankMapWarning", "Method", "Progress", "cam", "cam_with_notes", "twins"]

Notes = list[list[str]]


class BlankMapWarning(UserWarning):
    """A map is blank; the message says why."""


def cam(cap: Capture, method: str = "gradcam++", seed: int = 0, progress: Progress | None = None) -> Tensor:
    """Turn a capture into one map per layer: ReLU, bilinear upsampling, stretching to [0, 1].

    A map that would be constant or not finite is zeros, and a `BlankMapWarning` says why.

    Args:
        cap: what `camviz.capture` returned.
        method: a name in `camviz.METHODS`.
        seed: for the methods that draw random numbers.
        progress: called with (passes done, all passes) by the methods that run the network again; what it
            raises stops the work.

    Returns:
        float32 (L, B, H, W) in [0, 1], in the order of `cap.layers`.

    Raises:
        ValueError: an unknown method.
    """
    maps, notes = cam_with_notes(cap, method, seed, progress)
    for layer, of_layer in zip(cap.layers, notes, strict=True):
        for image, note in enumerate(of_layer):
            if note:
                warnings.warn(f"{method}, layer {layer}, image {image}: {note}", BlankMapWarning, stacklevel=2)
    return maps


def cam_with_notes(
    cap: Capture, method: str = "gradcam++", seed: int = 0, progress: Progress | None = None
) -> tuple[Tensor, Notes]:
    """Like `cam`, and beside the maps a note for each layer and image: why it is blank, "" where it is not."""
    chosen = get_method(method)
    runs = [chosen.runs(a) for a in cap.activations]
    raws = chosen.raw(cap, seed, [shifted(progress, sum(runs[:index]), sum(runs)) for index in range(len(runs))])
    if chosen.finished:
        maps = torch.stack(raws)
    else:
        maps = normalise(torch.stack([upsample(raw.float().relu(), cap.x.shape[-2:]) for raw in raws]))
    shows = (maps.amax((2, 3)) > 0).tolist()
    notes = [
        ["" if shows[index][image] else _why_blank(cap, chosen, index, image, raw[image]) for image in range(len(raw))]
        for index, raw in enumerate(raws)
    ]
    return maps, notes


def twins(cap: Capture, method: str, tolerance: float = 1e-4) -> list[list[str]]:
    """Name, for each layer, the other methods of no extra passes that give the same map there.

    On global average pooling followed by one linear layer, Grad-CAM, XGrad-CAM and HiResCAM agree on the
    last layer (measured: to 2e-7).
    """
    if METHODS[method].is_slow:
        return [[] for _ in cap.layers]
    mine = cam_with_notes(cap, method)[0]
    found: list[list[str]] = [[] for _ in cap.layers]
    for name, other in METHODS.items():
        if name == method or other.is_slow or not other.uses_gradient:
            continue
        distance = (cam_with_notes(cap, name)[0] - mine).abs().amax((1, 2, 3))
        for index in range(len(cap.layers)):
            if distance[index] <= tolerance and bool(mine[index].any()):
                found[index].append(name)
    return found


def _why_blank(cap: Capture, method: Method, index: int, image: int, raw: Tensor) -> str:
    """Say why a raw map (h, w) became blank."""
    if not bool(torch.isfinite(raw).all()):
        return "the activations or gradients hold NaN or infinite values here"
    if method.uses_gradient and not bool(cap.gradients[index][image].any()):
        return "the class score does not depend on this layer: every gradient is 0"
    layer = cap.activations[index][image]
    same_everywhere = bool((layer == layer[:, :1, :1]).all()) and bool((raw == raw[0, 0]).all())
    if not same_everywhere and not bool((raw > 0).any()):
        return "nothing here speaks for the class: the map is nowhere positive, and ReLU removes the rest"
    return "the map is the same everywhere, so it shows no place"
