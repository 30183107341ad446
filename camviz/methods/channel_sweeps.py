"""Methods that run the network once for each channel of a layer, or for each of the strongest ones."""

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
    """The indices of all channels of a layer: (B, K, h, w) -> (B, K)."""
    batch, count = activations.shape[:2]
    return torch.arange(count, device=activations.device).expand(batch, count)


def _strongest(activations: Tensor) -> Tensor:
    """The indices of the channels that vary most across the picture: (B, K, h, w) -> (B, n)."""
    spread = activations.float().flatten(2).var(2, correction=0)
    return spread.topk(min(STRONGEST, spread.shape[1])).indices.sort(1).values


@method(
    "scorecam",
    "Score-CAM",
    "Masks the image with each channel in turn, and weights the channel by the class score.",
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
    f"Score-CAM with only the {STRONGEST} most varied channels: close to Score-CAM on the deepest layer only.",
    "Wang et al., CVPR Workshops 2020, arXiv 1910.01279",
    cost="many passes",
    uses_gradient=False,
    channels=STRONGEST,
)
def scorecam_fast(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """Like Score-CAM, over the channels with the largest variance; the softmax runs over these."""
    return _scorecam(cap, index, _strongest(cap.activations[index]), progress)


@method(
    "ablationcam",
    "Ablation-CAM",
    "Switches each channel off in turn, and weights it by how far the class score drops.",
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
    f"Ablation-CAM with only the {STRONGEST} most varied channels: close to Ablation-CAM on the deepest layer only.",
    "Desai and Ramaswamy, WACV 2020",
    cost="many passes",
    uses_gradient=False,
    channels=STRONGEST,
)
def ablationcam_fast(cap: Capture, index: int, seed: int, progress: Progress | None) -> Tensor:  # noqa: ARG001
    """Like Ablation-CAM, over the channels with the largest variance."""
    return _ablationcam(cap, index, _strongest(cap.activations[index]), progress)


@torch.no_grad()
def _scorecam(cap: Capture, index: int, channels: Tensor, progress: Progress | None) -> Tensor:
    activations = cap.activations[index].float()
    size = cap.x.shape[-2:]

    def scores(image: int, some: Tensor) -> Tensor:
        masked = cap.x[image] * normalise(upsample(activations[image, some], size))[:, None]
        return _of_class(run_network(cap.module, masked.to(cap.x.dtype)), cap, image)

    blank = activations.amax((2, 3)) == activations.amin((2, 3))  # masks that hide the whole image
    step = chunk_size(cap.x, multiply_adds(cap.module, cap.x[:1]))
    table = _per_channel(scores, channels, blank.gather(1, channels), step, progress)
    return _weighted(activations, channels, table.softmax(1))


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
    """Roughly how many full forward passes of one image a many-pass method costs on this capture.

    Score-CAM runs the whole network, Ablation-CAM only the part after the layer.
    """
    shares = [1 - t / cap.seconds if name.startswith("ablationcam") else 1.0 for t in cap.reached]
    return sum(METHODS[name].runs(a) * share for a, share in zip(cap.activations, shares, strict=True))


def _of_class(logits: Tensor, cap: Capture, image: int) -> Tensor:
    """From logits (n, classes), those of the class explained for an image: (n,)."""
    return logits.index_select(1, cap.target[image : image + 1])[:, 0]  # a Python int would have to be fetched first


def _per_channel(
    scores: Callable[[int, Tensor], Tensor], channels: Tensor, alike: Tensor, step: int, progress: Progress | None
) -> Tensor:
    """Fill a table (B, n) with `scores(image, some of its channels)`, `step` at a time, reporting progress.

    For the channels of an image that are `alike` (B, n), one is scored and its score used for all.
    """
    batch, count = channels.shape
    table = torch.empty(batch, count, device=channels.device)

    def part_scores(image: int, places: Tensor, part: slice) -> Tensor:
        return scores(image, channels[image, places[part]])

    for image, same in enumerate(alike.tolist()):
        first = same.index(True) if any(same) else count
        places = torch.tensor(
            [n for n, is_same in enumerate(same) if n <= first or not is_same], device=channels.device
        )
        for part, values in in_chunks(partial(part_scores, image, places), len(places), step):
            table[image, places[part]] = values.float()
            if progress is not None:
                last = part.stop == len(places)
                progress(image * count + (count if last else part.stop), batch * count)
        if first < count:
            table[image] = torch.where(alike[image], table[image, first], table[image])
    return table


def _weighted(activations: Tensor, channels: Tensor, weights: Tensor) -> Tensor:
    """Sum chosen channels (B, n) of a layer (B, K, h, w) with weights (B, n) -> (B, h, w)."""
    chosen = activations.gather(1, channels[..., None, None].expand(-1, -1, *activations.shape[2:]))
    return torch.einsum("bk,bkhw->bhw", weights, chosen)
