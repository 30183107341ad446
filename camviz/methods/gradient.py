"""Methods that are a short formula of activations A and gradients G, both (B, K, h, w)."""

from __future__ import annotations

import torch
from torch import Tensor

from camviz.methods.registry import gradient_method


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
    spread = _largest(channels)  # NaN if any value is NaN or infinite
    finite = torch.isfinite(spread)
    all_finite = bool(finite.all())
    if not all_finite:
        channels = torch.where(finite, channels, 0.0)
    # Small gradients would underflow when squared, and the component's own scale is free. What is left of
    # constant channels is rounding, and no component.
    channels /= torch.where(spread > 1e-6 * _largest(mean), spread, torch.inf)
    # The eigenvectors of the smaller Gram matrix give the same component as the singular vectors.
    if channels.shape[1] <= channels.shape[2]:
        component = first_eigenvector(channels @ channels.mT).mT @ channels
    else:
        gram = channels.mT @ channels
        component = first_eigenvector(gram).mT * _trace(gram).sqrt()
    low, high = component.aminmax(dim=2, keepdim=True)
    component = torch.where(low + high < 0, -component, component)
    if not all_finite:
        component = torch.where(finite, component, torch.nan)
    return component.squeeze(1).unflatten(1, values.shape[2:])


def first_eigenvector(gram: Tensor) -> Tensor:
    """The eigenvector (B, n, 1) of the largest eigenvalue of each symmetric, nowhere negative (B, n, n).

    Power iteration: on large matrices about three times as fast as a whole eigendecomposition, which does the
    small ones, and those whose two largest eigenvalues are too close.
    """
    if gram.shape[1] <= 64:
        return torch.linalg.eigh(gram).eigenvectors[..., -1:]
    power = gram
    for _ in range(2):
        power = power @ power
        power = power / _trace(power)  # keeps the first eigenvalue near 1
    # Of the columns of gram^4, the one with the largest diagonal holds enough of the first eigenvector.
    column = power.diagonal(dim1=1, dim2=2).argmax(1)[:, None, None]
    vector = power.gather(2, column.expand(-1, gram.shape[1], 1))
    for _ in range(16):
        vector = power @ vector
    vector = vector / vector.norm(dim=1, keepdim=True)
    image = gram @ vector
    residual = torch.addcmul(image, vector.mT @ image, vector, value=-1)
    if bool((residual.norm(dim=1) <= 1e-6 * image.norm(dim=1)).all()):
        return vector
    return torch.linalg.eigh(gram).eigenvectors[..., -1:]


def _trace(gram: Tensor) -> Tensor:
    """The trace (B, 1, 1) of each (B, n, n)."""
    return gram.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None]


def _largest(values: Tensor) -> Tensor:
    """The largest absolute value (B, 1, 1) of each (B, K, n)."""
    return torch.maximum(values.amax((1, 2), keepdim=True), -values.amin((1, 2), keepdim=True))
