"""Methods that run the network again for every channel of a layer, or for the strongest ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from camviz.maps import normalise, upsample
from camviz.methods.partial_forward import rest_of_network
from camviz.methods.registry import METHODS, Progress, method
from camviz.network.batching import chunk_size, copies, in_chunks, multiply_adds, run_network
from camviz.network.capture import Capture

STRONGEST = 32


def _every(activations: Tensor) -> Tensor:
    """All channels of a layer (B, K, h, w), by number: (B, K)."""
    batch, count = activations.shape[:2]
    return torch.arange(count, device=activations.device).expand(batch, count)


def _strongest(activations: Tensor) -> Tensor:
    """The channels that differ most from place to place, by number: (B, K, h, w) -> (B, n)."""
    spread = activations.float().flatten(2).var(2, correction=0)
    return spread.topk(min(STRONGEST, spread.shape[1])).indices.sort(1).values


@method(
    "scorecam",
    "Score-CAM",
    "Shows the network the image through each channel in turn, and weighs the channel by the class score.",
    "Wang et al., CVPR Workshops 2020, arXiv 1910.01279",
    cost="many passes",
    uses_gradient=False,
)
def scorecam(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """Sum of w_k A_k, w = softmax over k of y(x * M_k), M_k = A_k upsampled and stretched to [0, 1]."""
    return _scorecam(cap, index, _every(cap.activations[index]), progress)


@method(
    "scorecam-fast",
    f"Score-CAM, {STRONGEST} strongest",
    f"Score-CAM with the {STRONGEST} channels that vary most by place: close to it on the deepest layer only.",
    "Wang et al., CVPR Workshops 2020, arXiv 1910.01279",
    cost="many passes",
    uses_gradient=False,
    channels=STRONGEST,
)
def scorecam_fast(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """As Score-CAM, over the channels of the largest variance; the softmax runs over these."""
    return _scorecam(cap, index, _strongest(cap.activations[index]), progress)


@method(
    "ablationcam",
    "Ablation-CAM",
    "Switches each channel off in turn, and weighs it by how far the class score drops.",
    "Desai and Ramaswamy, WACV 2020",
    cost="many passes",
    uses_gradient=False,
)
def ablationcam(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """Sum of w_k A_k, w_k = (y - y with A_k zeroed) / abs(y)."""
    return _ablationcam(cap, index, _every(cap.activations[index]), progress)


@method(
    "ablationcam-fast",
    f"Ablation-CAM, {STRONGEST} strongest",
    f"Ablation-CAM with the {STRONGEST} channels that vary most by place: close to it on the deepest layer only.",
    "Desai and Ramaswamy, WACV 2020",
    cost="many passes",
    uses_gradient=False,
    channels=STRONGEST,
)
def ablationcam_fast(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """As Ablation-CAM, over the channels of the largest variance."""
    return _ablationcam(cap, index, _strongest(cap.activations[index]), progress)


@torch.no_grad()
def _scorecam(cap: Capture, index: int, channels: Tensor, progress: Progress | None) -> Tensor:
    activations = cap.activations[index].float()
    size = cap.x.shape[-2:]

    def scores(image: int, some: Tensor) -> Tensor:
        masked = cap.x[image] * normalise(upsample(activations[image, some], size))[:, None]
        return _of_class(run_network(cap.module, masked.to(cap.x.dtype)), cap, image)

    blank = activations.amax((2, 3)) == activations.amin((2, 3))  # all of these show the network nothing
    step = chunk_size(cap.x, multiply_adds(cap.module, cap.x[:1]))
    found = _per_channel(scores, channels, blank.gather(1, channels), step, progress)
    return _weighted(activations, channels, found.softmax(1))


@torch.no_grad()
def _ablationcam(cap: Capture, index: int, channels: Tensor, progress: Progress | None) -> Tensor:
    activations = cap.activations[index]
    rests = [rest_of_network(cap, index, image) for image in range(len(cap.x))]

    def scores(image: int, some: Tensor) -> Tensor:
        ablated = activations[image].repeat(len(some), 1, 1, 1)
        ablated[torch.arange(len(some), device=some.device), some] = 0
        return _of_class(rests[image](ablated), cap, image)

    off = (activations == 0).all(3).all(2)  # switching these off changes nothing
    without = _per_channel(scores, channels, off.gather(1, channels), copies(activations[0]), progress)
    clean = cap.logits.float().gather(1, cap.target[:, None])
    return _weighted(activations.float(), channels, (clean - without) / torch.where(clean == 0, 1.0, clean.abs()))


def passes(cap: Capture, name: str) -> float:
    """How many whole forward passes of one image a many-pass method costs on this capture, about.

    Score-CAM runs the network from its input, Ablation-CAM only from the layer on.
    """
    shares = [1 - t / cap.seconds if name.startswith("ablationcam") else 1.0 for t in cap.reached]
    return sum(METHODS[name].runs(a) * share for a, share in zip(cap.activations, shares, strict=True))


def _of_class(logits: Tensor, cap: Capture, image: int) -> Tensor:
    """Of logits (n, classes) those of the class explained for an image: (n,)."""
    return logits.index_select(1, cap.target[image : image + 1])[:, 0]  # a number would have to be fetched first


def _per_channel(
    scores: Callable[[int, Tensor], Tensor], channels: Tensor, alike: Tensor, step: int, progress: Progress | None
) -> Tensor:
    """Fill a table (B, n) with `scores(image, some of its channels)`, `step` at a time, telling the progress.

    Of the channels (B, n) of an image that are `alike` (B, n) one is asked for all.
    """
    batch, count = channels.shape
    table = torch.empty(batch, count, device=channels.device)

    def of_places(image: int, places: Tensor, part: slice) -> Tensor:
        return scores(image, channels[image, places[part]])

    for image, same in enumerate(alike.tolist()):
        first = same.index(True) if any(same) else count
        places = torch.tensor(
            [n for n, is_same in enumerate(same) if n <= first or not is_same], device=channels.device
        )
        for part, found in in_chunks(partial(of_places, image, places), len(places), step):
            table[image, places[part]] = found.float()
            if progress is not None:
                last = part.stop == len(places)
                progress(image * count + (count if last else part.stop), batch * count)
        if first < count:
            table[image] = torch.where(alike[image], table[image, first], table[image])
    return table


def _weighted(activations: Tensor, channels: Tensor, weights: Tensor) -> Tensor:
    """Sum some channels (B, n) of a layer (B, K, h, w), times their weights (B, n) -> (B, h, w)."""
    chosen = activations.gather(1, channels[..., None, None].expand(-1, -1, *activations.shape[2:]))
    return torch.einsum("bk,bkhw->bhw", weights, chosen)
