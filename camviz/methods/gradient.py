"""Methods given by a short formula of activations A and gradients G, both (B, K, h, w)."""

from __future__ import annotations

import torch
from torch import Tensor

from camviz.methods.principal_components import first_components
from camviz.methods.registry import gradient_method, joint_method


def _weighted(weights: Tensor, activations: Tensor) -> Tensor:
    """Sum over channels of weights (B, K) times activations (B, K, h, w) -> (B, h, w)."""
    return torch.einsum("bk,bkhw->bhw", weights, activations)


@gradient_method(
    "gradcam++",
    "Grad-CAM++",
    "Weights each channel by its positive gradients, with more weight if only a few pixels carry the evidence.",
    "Chattopadhyay et al., WACV 2018, arXiv 1710.11063, eq. 19",
)
def gradcam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """w_k = sum of alpha ReLU(G), alpha = G^2 / (2 G^2 + (sum A_k) G^3 + 1e-6), 0 where G is 0."""
    g = g.relu()  # where G is not positive, the sum's terms are 0
    # Numerator and denominator divided by G^2: G / (1e-6 / G^2 + (sum A_k) G + 2), which is 0 where G is 0.
    below = (g * g).reciprocal_().mul_(1e-6).addcmul_(a.sum((2, 3), keepdim=True), g).add_(2)
    return _weighted(g.div_(below).sum((2, 3)), a)


@gradient_method(
    "gradcam",
    "Grad-CAM",
    "Weights each channel by its mean gradient: channels that raise the class score count most.",
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
    "Weights each pixel by its own positive gradient, which stays sharp in finer layers.",
    "Jiang et al., IEEE TIP 2021, doi 10.1109/TIP.2021.3089943",
)
def layercam(a: Tensor, g: Tensor) -> Tensor:
    """Sum of ReLU(G_k) A_k."""
    return (g.relu() * a).sum(1)


@joint_method(
    "eigencam",
    "Eigen-CAM",
    "Shows the strongest pattern in the activations, whatever the class.",
    "Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299",
    class_specific=False,
    component=True,
)
def eigencam(activations: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:  # noqa: ARG001
    """A as (pixels, K), centred over pixels, projected onto its first principal axis."""
    return first_components(activations)


@joint_method(
    "eigengradcam",
    "EigenGrad-CAM",
    "Shows the strongest pattern in gradient times activation, so it depends on the class.",
    "Gildenblat et al., pytorch-grad-cam, 2021",
    component=True,
)
def eigengradcam(activations: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """The first principal component of G A over pixels."""
    return first_components([g * a for a, g in zip(activations, gradients, strict=True)])
