"""Methods that are a short formula of activations A and gradients G, both (B, K, h, w)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from camviz.methods.registry import gradient_method

# Of the search for a first eigenvector: up to which size LAPACK is as fast, Krylov steps in a round, rounds at most.
_SMALL, _STEPS, _ROUNDS = 64, 10, 4


def _weighted(weights: Tensor, activations: Tensor) -> Tensor:
    """Sum over channels of weights (B, K) times activations (B, K, h, w) -> (B, h, w)."""
    return torch.einsum("bk,bkhw->bhw", weights, activations)


@gradient_method(
    "gradcam++",
    "Grad-CAM++",
    "Weighs each channel by its positive gradients, with more weight where few pixels carry the evidence.",
    "Chattopadhyay et al., WACV 2018, arXiv 1710.11063, eq. 19",
)
def gradcam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """w_k = sum of alpha ReLU(G), alpha = G^2 / (2 G^2 + (sum A_k) G^3 + 1e-6), 0 where G is 0."""
    g = g.relu()  # where G is not positive, the sum's terms are 0
    # Divided by G^2, above and below: G / (1e-6 / G^2 + (sum A_k) G + 2), which is 0 where G is 0.
    below = (g * g).reciprocal_().mul_(1e-6).addcmul_(a.sum((2, 3), keepdim=True), g).add_(2)
    return _weighted(g.div_(below).sum((2, 3)), a)


@gradient_method(
    "gradcam",
    "Grad-CAM",
    "Weighs each channel by its mean gradient: channels that raise the class score count most.",
    "Selvaraju et al., ICCV 2017, arXiv 1610.02391",
)
def gradcam(a: Tensor, g: Tensor) -> Tensor:
    """Sum of w_k A_k, w_k = the mean of G_k over pixels."""
    return _weighted(g.mean((2, 3)), a)


@gradient_method(
    "xgradcam",
    "XGrad-CAM",
    "Like Grad-CAM, but each pixel's gradient counts by how active the channel is there.",
    "Fu et al., BMVC 2020, arXiv 2008.02312",
)
def xgradcam(a: Tensor, g: Tensor) -> Tensor:
    """Sum of w_k A_k, w_k = sum(G_k A_k) / (sum A_k + 1e-7)."""
    return _weighted((g * a).sum((2, 3)) / (a.sum((2, 3)) + 1e-7), a)


@gradient_method(
    "hirescam",
    "HiResCAM",
    "Multiplies gradient and activation pixel by pixel and keeps the sign, so nothing is averaged away.",
    "Draelos and Carin, 2020, arXiv 2011.08891",
)
def hirescam(a: Tensor, g: Tensor) -> Tensor:
    """Sum of G_k A_k."""
    return (g * a).sum(1)


@gradient_method(
    "gradcam-elementwise",
    "Grad-CAM elementwise",
    "Like HiResCAM, but each channel's negative contributions are dropped before the sum.",
    "Gildenblat et al., pytorch-grad-cam, 2021",
)
def gradcam_elementwise(a: Tensor, g: Tensor) -> Tensor:
    """Sum of ReLU(G_k A_k)."""
    return (g * a).relu().sum(1)


@gradient_method(
    "layercam",
    "LayerCAM",
    "Weighs each pixel by its own positive gradient, which stays sharp in shallow layers.",
    "Jiang et al., IEEE TIP 2021, doi 10.1109/TIP.2021.3089943",
)
def layercam(a: Tensor, g: Tensor) -> Tensor:
    """Sum of ReLU(G_k) A_k."""
    return (g.relu() * a).sum(1)


@gradient_method(
    "eigencam",
    "Eigen-CAM",
    "Shows the strongest pattern in the activations; it does not know the class.",
    "Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299",
    class_specific=False,
)
def eigencam(a: Tensor, g: Tensor) -> Tensor:  # noqa: ARG001
    """A as (pixels, K), centred over pixels, projected onto its first principal axis."""
    return first_component(a)


@gradient_method(
    "eigengradcam",
    "EigenGrad-CAM",
    "Shows the strongest pattern in gradient times activation, so it does know the class.",
    "Gildenblat et al., pytorch-grad-cam, 2021",
)
def eigengradcam(a: Tensor, g: Tensor) -> Tensor:
    """The first principal component of G A over pixels."""
    return first_component(g * a)


def first_component(values: Tensor) -> Tensor:
    """Project the pixels of each image onto the first principal axis of its channels.

    Args:
        values: float (B, K, h, w).

    Returns:
        float (B, h, w), its sign such that the larger extreme is positive ("Seg-Eigen-CAM", eq. 13); NaN for
        an image that holds NaN or an infinity.
    """
    channels = values.flatten(2)
    mean = channels.mean(2, keepdim=True)
    channels = channels - mean
    gram = _gram(channels)
    energy, level = _trace(gram), torch.linalg.vector_norm(mean, dim=(1, 2))
    floor = 1e-5 * channels.shape[2] ** 0.5
    fine = [1e-24 + (floor * m) ** 2 < e < 1e24 for e, m in zip(energy.tolist(), level.tolist(), strict=True)]
    if not all(fine):  # NaN is not
        channels = _rescaled(channels, mean, torch.tensor(fine, device=channels.device)[:, None, None])
        gram = _gram(channels)
        energy, gram = _trace(gram), gram.nan_to_num(0.0)
    vector = first_eigenvector(gram.cpu()).mT.to(channels.device)  # such small operations start fastest there
    wide = channels.shape[1] <= channels.shape[2]
    component = vector @ channels if wide else vector * energy.sqrt()[:, None, None]
    low, high = component.aminmax(dim=2, keepdim=True)
    component = torch.where(low + high < 0, -component, component)
    return component.view(len(values), *values.shape[2:])


def _gram(channels: Tensor) -> Tensor:
    """The smaller Gram matrix (B, n, n) of centred channels: either has the same component in its eigenvectors."""
    return channels @ channels.mT if channels.shape[1] <= channels.shape[2] else channels.mT @ channels


def _trace(gram: Tensor) -> Tensor:
    """The trace (B,) of each (B, n, n)."""
    return gram.diagonal(dim1=1, dim2=2).sum(1)


def _rescaled(channels: Tensor, mean: Tensor, fine: Tensor) -> Tensor:
    """Bring centred channels (B, K, n) to a scale at which they can be squared; the component's own is free.

    What is left of constant channels is rounding, and becomes 0. An image that is not finite becomes NaN all over, and
    one that is `fine` (B, 1, 1) stays as it is.
    """
    spread = channels.abs().amax((1, 2), keepdim=True)
    varied = spread > 1e-5 * mean.abs().amax(1, keepdim=True)
    scaled = torch.where(torch.isfinite(spread), channels / torch.where(varied, spread, torch.inf), torch.nan)
    return torch.where(fine, channels, scaled)


def first_eigenvector(gram: Tensor) -> Tensor:
    """The eigenvector (B, n, 1) of the largest eigenvalue of each symmetric, nowhere negative (B, n, n).

    Of large matrices, the best combination of some Krylov steps, in rounds that begin with the one before's: several
    times as fast as a whole eigendecomposition, which does the small ones, and those whose two largest eigenvalues are
    too close.
    """
    if gram.shape[1] <= _SMALL:
        return torch.linalg.eigh(gram).eigenvectors[..., -1:]
    scaled = gram / _trace(gram).clamp_min(1e-30)[:, None, None]  # of nothing, nothing
    # A matrix's own column may lack its first eigenvector, and so may a given vector; hardly both together.
    column = gram.diagonal(dim1=1, dim2=2).argmax(1)[:, None, None]
    vector = scaled.gather(2, column.expand(-1, gram.shape[1], 1)) + _irregular(gram.shape[1], gram.dtype)
    for _ in range(_ROUNDS):
        steps = [scaled @ vector]
        for _ in range(_STEPS - 1):
            steps.append(scaled @ steps[-1])
        basis = torch.linalg.qr(torch.cat(steps, 2)).Q
        images = scaled @ basis
        values, vectors = torch.linalg.eigh(basis.mT @ images)
        best, largest = vectors[..., -1:], values[:, -1:, None]
        vector = basis @ best
        missing = torch.addcmul(images @ best, largest, vector, value=-1)
        if bool((torch.linalg.vector_norm(missing, dim=1, keepdim=True) <= 1e-6 * largest).all()):
            return vector
    return torch.linalg.eigh(gram).eigenvectors[..., -1:]


@lru_cache(maxsize=64)
def _irregular(size: int, dtype: torch.dtype) -> Tensor:
    """A vector (size, 1) of length 1 without a pattern that a picture could have."""
    vector = torch.randn(size, 1, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return vector / vector.norm()
