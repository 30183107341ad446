"""Infidelity under Gaussian noise, as in the research code; the registered score removes squares instead."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camviz.metrics.evidence import Evidence
from camviz.network.batching import forward
from camviz.network.capture import Target
from camviz.network.logits import class_probabilities


def gaussian_infidelity(
    module: nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Target = None,
    deviation: float = 0.003,
    draws: int = 10,
    seed: int = 0,
) -> Tensor:
    """How badly a map predicts what faint noise does to the class probability: mean((d - b a)^2), 0 = perfectly.

    For noise u, d = P(x) - P(x - u) and a = sum(u * map) over pixels and channels; b is the best scale for each map,
    mean(a d) / mean(a^2), because a map that is stretched to [0, 1] has no scale of its own.

    Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", arXiv 1901.09392.

    Args:
        module: a network in eval mode that returns logits (B, classes).
        x: float (B, 3, H, W), normalised.
        maps: float (M, B, H, W) in [0, 1].
        target: the classes (B,); None for the predicted ones.
        deviation: the noise's standard deviation, in normalised units.
        draws: how often noise is drawn.
        seed: seed of the noise, which is the same for each image and map.

    Returns:
        float64 (M, B); NaN for a blank map.

    Raises:
        ValueError: maps that do not match x as (M, B, H, W) or are not within [0, 1]; a network in training mode.
    """
    evidence = Evidence(module, x, maps, target)
    generator = torch.Generator().manual_seed(seed)
    noise = [deviation * torch.randn(x.shape[1:], generator=generator) for _ in range(draws)]
    with torch.no_grad():
        logits = torch.stack([forward(module, x - one.to(x)) for one in noise])
    of_class = class_probabilities(torch.cat([evidence.clean_logits[None], logits]), evidence.classes)
    effect = (of_class[:1] - of_class[1:])[:, None]  # (draws, 1, B)
    heat = torch.einsum("dhw,mbhw->dmb", torch.stack(noise).double().sum(1), evidence.maps.cpu().double())
    scale = (heat * effect).mean(0) / heat.square().mean(0)
    return (effect - scale * heat).square().mean(0)
