"""The first principal component of each layer, as Eigen-CAM shows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import torch
from torch import Tensor

# Search for a first eigenvector: Krylov steps per round, maximum rounds, and the largest size that is cheap to square.
_STEPS, _ROUNDS, _SMALL = 11, 4, 48


def first_components(layers: Sequence[Tensor]) -> list[Tensor]:
    """Project the pixels of each image onto the first principal axis of its channels, in each layer.

    Args:
        layers: float (B, K, h, w) for each layer.

    Returns:
        float (B, h, w) for each layer, with the sign that makes the larger extreme positive ("Seg-Eigen-CAM",
        eq. 13); NaN for an image with NaN or infinite values.
    """
    flat = [values.flatten(2) for values in layers]
    means = [channels.mean(2, keepdim=True) for channels in flat]
    centred = [channels - mean for channels, mean in zip(flat, means, strict=True)]
    levels = [torch.linalg.vector_norm(mean, dim=(1, 2)) for mean in means]
    # One image and layer at a time on the CPU, where such small operations start fastest.
    on_cpu = _on_cpu([*map(_gram, centred), *levels])
    squared = list(map(_squared, centred, means, on_cpu[: len(layers)], on_cpu[len(layers) :]))
    vectors = iter(first_eigenvectors([gram for _, grams, _ in squared for gram in grams]))
    maps = []
    for values, (channels, _, energy) in zip(layers, squared, strict=True):
        axes = torch.stack(list(islice(vectors, len(values)))).to(values.device).unsqueeze(1)
        component = axes @ channels if _is_wide(channels) else axes * energy.to(values.device).sqrt()
        extremes = component.amin(2, keepdim=True) + component.amax(2, keepdim=True)
        maps.append(torch.where(extremes < 0, -component, component).view(len(values), *values.shape[2:]))
    return maps


def _on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Move tensors of one type to the CPU in one transfer, as each transfer waits for all work of a GPU."""
    if tensors[0].device.type == "cpu":
        return list(tensors)
    parts = torch.cat([tensor.flatten() for tensor in tensors]).cpu().split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _squared(channels: Tensor, mean: Tensor, gram: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Make sure that a layer's centred channels (B, K, N) can be squared, judging by `gram`.

    Args:
        channels: the channels, minus their mean.
        mean: their mean (B, K, 1).
        gram: their smaller Gram matrix (B, n, n), on the CPU.
        level: the length of the mean (B,), on the CPU.

    Returns:
        the channels, rescaled if necessary; their Gram matrix divided by its trace; that trace (B, 1, 1). The last two
        are on the CPU.
    """
    energy, floor = _trace(gram), 1e-5 * channels.shape[2] ** 0.5
    pairs = zip(energy.flatten().tolist(), level.tolist(), strict=True)
    fine = [1e-24 + (floor * m) ** 2 < e < 1e24 for e, m in pairs]  # False for NaN
    if all(fine):
        return channels, gram / energy, energy
    channels = _rescaled(channels, mean, torch.tensor(fine, device=channels.device).view(-1, 1, 1))
    gram = _gram(channels).cpu()
    energy, gram = _trace(gram), gram.nan_to_num(0.0)
    return channels, gram / _trace(gram).clamp_min(1e-30), energy  # 0 stays 0


def _is_wide(channels: Tensor) -> bool:
    return channels.shape[1] <= channels.shape[2]


def _gram(channels: Tensor) -> Tensor:
    """The smaller of the two Gram matrices (B, n, n) of centred channels; both yield the same component."""
    return torch.bmm(channels, channels.mT) if _is_wide(channels) else torch.bmm(channels.mT, channels)


def _trace(gram: Tensor) -> Tensor:
    """The trace (B, 1, 1) of each (B, n, n)."""
    return gram.diagonal(dim1=1, dim2=2).sum(1).view(-1, 1, 1)


def _rescaled(channels: Tensor, mean: Tensor, fine: Tensor) -> Tensor:
    """Rescale centred channels (B, K, n) so that they can be squared; the component's scale does not matter.

    Constant channels leave only rounding errors and become 0. An image that is not finite becomes NaN, and one that
    is `fine` (B, 1, 1) is not changed.
    """
    spread = channels.abs().amax((1, 2), keepdim=True)
    varied = spread > 1e-5 * mean.abs().amax(1, keepdim=True)
    scaled = torch.where(torch.isfinite(spread), channels / torch.where(varied, spread, torch.inf), torch.nan)
    return torch.where(fine, channels, scaled)


def first_eigenvectors(matrices: Sequence[Tensor]) -> list[Tensor]:
    """The eigenvector (n,) of the largest eigenvalue of each positive semidefinite (n, n) with a trace of 1 or 0.

    Finds the best combination of some Krylov steps, in rounds that start from the previous result: several times as
    fast as a full eigendecomposition, which is used if the two largest eigenvalues are too close.
    """
    # A given vector can be orthogonal to the first eigenvector, and so can the diagonal, but hardly their sum.
    vectors = [_irregular(len(matrix), matrix.dtype) + matrix.diagonal() for matrix in matrices]
    left = list(range(len(matrices)))
    for _ in range(_ROUNDS):
        if left:
            improved, exact = _krylov_round([matrices[number] for number in left], [vectors[number] for number in left])
            for number, vector in zip(left, improved, strict=True):
                vectors[number] = vector
            left = [number for number, done in zip(left, exact, strict=True) if not done]
    for number in left:
        vectors[number] = torch.linalg.eigh(matrices[number]).eigenvectors[:, -1]
    return vectors


@lru_cache(maxsize=64)
def _irregular(size: int, dtype: torch.dtype) -> Tensor:
    """A unit vector (size,) unlike any pattern in a picture."""
    vector = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return vector / vector.norm()


def _krylov_round(matrices: Sequence[Tensor], vectors: Sequence[Tensor]) -> tuple[list[Tensor], list[bool]]:
    """Improve guesses (n,) at first eigenvectors by Rayleigh-Ritz, and say which are exact to 1e-6.

    Only the products with the matrices are computed one by one; the rest is batched, padding smaller ones with 0.
    """
    sizes = [len(matrix) for matrix in matrices]
    steps = matrices[0].new_zeros(len(sizes), _STEPS, max(sizes))
    for matrix, vector, rows in zip(matrices, vectors, steps, strict=True):
        _take_steps(matrix, vector, rows[:, : len(matrix)])
    bases = torch.linalg.qr(steps.mT).Q
    images = torch.zeros_like(bases)
    for matrix, basis, image in zip(matrices, bases, images, strict=True):
        torch.mm(matrix, basis[: len(matrix)], out=image[: len(matrix)])
    values, combinations = torch.linalg.eigh(torch.bmm(bases.mT, images))
    largest, best = values[:, -1:, None], combinations[..., -1:]
    ritz = torch.bmm(bases, best)
    missing = torch.addcmul(torch.bmm(images, best), ritz, largest, value=-1)
    lengths = torch.linalg.vector_norm(missing, dim=(1, 2)).tolist()
    exact = [m <= 1e-6 * v for m, v in zip(lengths, largest.flatten().tolist(), strict=True)]
    return [vector[:size, 0] for vector, size in zip(ritz, sizes, strict=True)], exact


def _take_steps(matrix: Tensor, vector: Tensor, steps: Tensor) -> None:
    """Fill rows (steps, n) with a vector after 1, 2, ... products with the matrix (n, n), or with its 16th power."""
    if len(matrix) <= _SMALL:
        for _ in range(4):
            matrix = matrix @ matrix  # the same eigenvectors, with eigenvalues further apart
        matrix = matrix / matrix.trace().clamp_min(1e-30)  # 0 stays 0
    for step in steps:
        vector = torch.mv(matrix, vector, out=step)
