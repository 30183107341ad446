"""The first principal component of each layer, as Eigen-CAM shows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import torch
from torch import Tensor

# Of the search for a first eigenvector: Krylov steps in a round, rounds at most, and the size whose squares are cheap.
_STEPS, _ROUNDS, _SMALL = 11, 4, 48


def first_components(layers: Sequence[Tensor]) -> list[Tensor]:
    """Project the pixels of each image onto the first principal axis of its channels, in each layer.

    Args:
        layers: for each float (B, K, h, w).

    Returns:
        for each float (B, h, w), its sign such that the larger extreme is positive ("Seg-Eigen-CAM", eq. 13); NaN
        for an image that holds NaN or an infinity.
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
        of_layer = torch.stack(list(islice(vectors, len(values)))).to(values.device).unsqueeze(1)
        component = of_layer @ channels if _is_wide(channels) else of_layer * energy.to(values.device).sqrt()
        extremes = component.amin(2, keepdim=True) + component.amax(2, keepdim=True)
        maps.append(torch.where(extremes < 0, -component, component).view(len(values), *values.shape[2:]))
    return maps


def _on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Bring tensors of one type to the CPU in one transfer: for each, a CPU waits until a GPU has done all its work."""
    if tensors[0].device.type == "cpu":
        return list(tensors)
    parts = torch.cat([tensor.flatten() for tensor in tensors]).cpu().split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _squared(channels: Tensor, mean: Tensor, gram: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Make sure that a layer's centred channels (B, K, N) can be squared, of which `gram` tells.

    Args:
        channels: the channels, minus their mean.
        mean: their mean (B, K, 1).
        gram: their smaller Gram matrix (B, n, n), on the CPU.
        level: the length of the mean (B,), on the CPU.

    Returns:
        the channels, rescaled if need be; on the CPU, their Gram matrix, divided by its trace; this trace (B, 1, 1).
    """
    energy, floor = _trace(gram), 1e-5 * channels.shape[2] ** 0.5
    pairs = zip(energy.flatten().tolist(), level.tolist(), strict=True)
    fine = [1e-24 + (floor * m) ** 2 < e < 1e24 for e, m in pairs]  # NaN is not
    if all(fine):
        return channels, gram / energy, energy
    channels = _rescaled(channels, mean, torch.tensor(fine, device=channels.device).view(-1, 1, 1))
    gram = _gram(channels).cpu()
    energy, gram = _trace(gram), gram.nan_to_num(0.0)
    return channels, gram / _trace(gram).clamp_min(1e-30), energy  # of nothing, nothing


def _is_wide(channels: Tensor) -> bool:
    return channels.shape[1] <= channels.shape[2]


def _gram(channels: Tensor) -> Tensor:
    """The smaller Gram matrix (B, n, n) of centred channels: either has the same component in its eigenvectors."""
    return torch.bmm(channels, channels.mT) if _is_wide(channels) else torch.bmm(channels.mT, channels)


def _trace(gram: Tensor) -> Tensor:
    """The trace (B, 1, 1) of each (B, n, n)."""
    return gram.diagonal(dim1=1, dim2=2).sum(1).view(-1, 1, 1)


def _rescaled(channels: Tensor, mean: Tensor, fine: Tensor) -> Tensor:
    """Bring centred channels (B, K, n) to a scale at which they can be squared; the component's own is free.

    What is left of constant channels is rounding, and becomes 0. An image that is not finite becomes NaN all over, and
    one that is `fine` (B, 1, 1) stays as it is.
    """
    spread = channels.abs().amax((1, 2), keepdim=True)
    varied = spread > 1e-5 * mean.abs().amax(1, keepdim=True)
    scaled = torch.where(torch.isfinite(spread), channels / torch.where(varied, spread, torch.inf), torch.nan)
    return torch.where(fine, channels, scaled)


def first_eigenvectors(matrices: Sequence[Tensor]) -> list[Tensor]:
    """The eigenvector (n,) of the largest eigenvalue of each symmetric, nowhere negative (n, n) with a trace of 1 or 0.

    The best combination of some Krylov steps, in rounds that begin with the one before's: several times as fast as a
    whole eigendecomposition, which does those whose two largest eigenvalues are too close.
    """
    # A given vector may lack a first eigenvector, and so may the diagonal; hardly both together.
    found = [_irregular(len(matrix), matrix.dtype) + matrix.diagonal() for matrix in matrices]
    left = list(range(len(matrices)))
    for _ in range(_ROUNDS):
        if left:
            vectors, exact = _krylov_round([matrices[number] for number in left], [found[number] for number in left])
            for number, vector in zip(left, vectors, strict=True):
                found[number] = vector
            left = [number for number, done in zip(left, exact, strict=True) if not done]
    for number in left:
        found[number] = torch.linalg.eigh(matrices[number]).eigenvectors[:, -1]
    return found


@lru_cache(maxsize=64)
def _irregular(size: int, dtype: torch.dtype) -> Tensor:
    """A vector (size,) of length 1 without a pattern that a picture could have."""
    vector = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return vector / vector.norm()


def _krylov_round(matrices: Sequence[Tensor], vectors: Sequence[Tensor]) -> tuple[list[Tensor], list[bool]]:
    """Improve guesses (n,) at first eigenvectors by Rayleigh and Ritz, and say which are exact to 1e-6.

    Only products with the matrices are made one by one: all else starts once for all, with 0 beyond the smaller ones.
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
    found = torch.bmm(bases, best)
    missing = torch.addcmul(torch.bmm(images, best), found, largest, value=-1)
    lengths = torch.linalg.vector_norm(missing, dim=(1, 2)).tolist()
    exact = [m <= 1e-6 * v for m, v in zip(lengths, largest.flatten().tolist(), strict=True)]
    return [vector[:size, 0] for vector, size in zip(found, sizes, strict=True)], exact


def _take_steps(matrix: Tensor, vector: Tensor, steps: Tensor) -> None:
    """Fill rows (steps, n) with a vector after 1, 2, ... products with the matrix (n, n), or with its 16th power."""
    if len(matrix) <= _SMALL:
        for _ in range(4):
            matrix = matrix @ matrix  # the same eigenvectors, with eigenvalues further apart
        matrix = matrix / matrix.trace().clamp_min(1e-30)  # of nothing, nothing
    for step in steps:
        vector = torch.mv(matrix, vector, out=step)
