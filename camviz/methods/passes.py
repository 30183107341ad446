"""Methods that run the network again for every channel of a layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from camviz.capture import Capture
from camviz.chunks import chunk_size, in_chunks
from camviz.maps import normalise
from camviz.methods.registry import Progress, method
from camviz.methods.rest import rest_of_network


def _copies(activation: Tensor) -> int:
    """How many ablated copies of one image's activation (K, h, w) go through the rest of the network together.

    As many as fit a budget of bytes: deep layers are small, so that the part before them runs seldom.
    """
    budget = 2**28 if activation.is_cuda else 2**24
    return max(1, budget // (activation.numel() * activation.element_size()))


@method(
    "scorecam",
    "Score-CAM",
    "Shows the network the image through each channel in turn, and weighs the channel by the class score.",
    "Wang et al., CVPR Workshops 2020, arXiv 1910.01279",
    cost="many passes",
    uses_gradient=False,
)
@torch.no_grad()
def scorecam(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """Sum of w_k A_k, w = softmax over k of y(x * M_k), M_k = A_k upsampled and stretched to [0, 1]."""
    activations = cap.activations[index].float()
    size = cap.x.shape[-2:]

    def scores(image: int, channels: slice) -> Tensor:
        masks = torch.nn.functional.interpolate(
            activations[image, channels][None], size=size, mode="bilinear", align_corners=False
        )
        masked = cap.x[image] * normalise(masks[0])[:, None]
        return cap.module(masked.to(cap.x.dtype))[:, cap.target[image]]

    weights = _per_channel(scores, cap, index, chunk_size(cap.x), progress).softmax(1)
    return torch.einsum("bk,bkhw->bhw", weights, activations)


@method(
    "ablationcam",
    "Ablation-CAM",
    "Switches each channel off in turn, and weighs it by how far the class score drops.",
    "Desai and Ramaswamy, WACV 2020",
    cost="many passes",
    uses_gradient=False,
)
@torch.no_grad()
def ablationcam(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """Sum of w_k A_k, w_k = (y - y with A_k zeroed) / abs(y)."""
    activations = cap.activations[index]
    rests = [rest_of_network(cap, index, image) for image in range(len(cap.x))]

    def scores(image: int, channels: slice) -> Tensor:
        count = channels.stop - channels.start
        ablated = activations[image].repeat(count, 1, 1, 1)
        ablated[torch.arange(count), torch.arange(channels.start, channels.stop)] = 0
        return rests[image](ablated)[:, cap.target[image]]

    without = _per_channel(scores, cap, index, _copies(activations[0]), progress)
    clean = cap.logits.float().gather(1, cap.target[:, None])
    weights = (clean - without) / torch.where(clean == 0, 1.0, clean.abs())
    return torch.einsum("bk,bkhw->bhw", weights, activations.float())


def passes(cap: Capture, name: str) -> float:
    """How many whole forward passes of one image a many-pass method costs on this capture, about.

    Score-CAM runs the network from its input, Ablation-CAM only from the layer on.
    """
    shares = [1 - t / cap.seconds if name == "ablationcam" else 1.0 for t in cap.reached]
    return len(cap.x) * sum(a.shape[1] * s for a, s in zip(cap.activations, shares, strict=True))


def _per_channel(
    scores: Callable[[int, slice], Tensor], cap: Capture, index: int, step: int, progress: Progress | None
) -> Tensor:
    """Fill a table (B, K) with `scores(image, channels)`, `step` channels at a time, telling the progress."""
    batch, count = cap.activations[index].shape[:2]
    table = torch.empty(batch, count, device=cap.x.device)
    for image in range(batch):
        for channels, found in in_chunks(partial(scores, image), count, step):
            table[image, channels] = found.float()
            if progress is not None:
                progress(image * count + channels.stop, batch * count)
    return table
