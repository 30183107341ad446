"""The randomisation check: a map that stays the same when the network forgets what it learnt explains nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from camviz.metrics.evidence import Evidence
from camviz.metrics.registry import Notes, score
from camviz.metrics.similarity import likeness
from camviz.network.hooks import layer_hooks
from camviz.network.logits import network_logits

Inputs = TypeVar("Inputs")

# In how many steps the weights are replaced, from head to stem, and how often all of this is repeated.
STEPS, SEEDS = 5, 3
_ADEBAYO = "Adebayo et al., arXiv 1810.03292"
_BLANK = "the map is blank with and without the learnt weights, so there is nothing to compare"
_SENTENCE = (
    "How much the map stays the same while the network's weights are replaced by random ones, from the last layers to "
    "the first: low is good. It judges the method, not this map."
)


@score(
    "randomisation",
    "Randomisation check",
    "does it need the weights?",
    _SENTENCE,
    better="lower",
    range=(-1.0, 1.0),
    formula="mean of Spearman(map, map of the network with random weights) over 5 steps from head to stem and 3 seeds",
    reference=_ADEBAYO,
    needs=("network",),
    on_request=True,
)
def _randomisation(evidence: Evidence) -> tuple[Tensor, Notes]:
    return _scored(evidence.once(_similarities)[0])


@score(
    "randomisation_ssim",
    "Randomisation check, SSIM",
    "does it need the weights?",
    _SENTENCE,
    better="lower",
    range=(-1.0, 1.0),
    formula="mean of SSIM(map, map of the network with random weights) over 5 steps from head to stem and 3 seeds",
    reference=_ADEBAYO,
    needs=("network",),
    on_request=True,
)
def _randomisation_ssim(evidence: Evidence) -> tuple[Tensor, Notes]:
    return _scored(evidence.once(_similarities)[1])


def randomised(module: nn.Module, x: Tensor, seed: int) -> Iterator[nn.Module]:
    """Yield one private copy of a network, in which more and more weights are random: from head to stem, in 5 steps.

    Modules with weights are replaced in the reverse of the order in which the network reaches them, an equal number in
    each step. Matrices and kernels are drawn as by He et al., arXiv 1502.01852 (normal, variance 2 / fan-in); scales
    become 1, offsets 0, and running statistics those of a new layer. The copy takes as much memory as the network.

    Args:
        module: a network in eval mode, which is not changed.
        x: float (B, 3, H, W), images to find the order with.
        seed: seed of the weights.
    """
    twin = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    reached = _reached(twin, x[:1])
    for names in np.array_split(np.array(reached[::-1], dtype=object), min(STEPS, len(reached))):
        for name in names:
            _forget(twin.get_submodule(name), generator)
        yield twin


def _reached(module: nn.Module, x: Tensor) -> list[str]:
    """The names of the modules with weights of their own, in the order in which the network first calls them."""
    order: dict[str, None] = {}

    def note(name: str, inputs: Inputs) -> Inputs:
        order.setdefault(name)
        return inputs

    parts = [name for name, part in module.named_modules() if next(part.parameters(recurse=False), None) is not None]
    with torch.no_grad(), layer_hooks(module, {}, {name: partial(note, name) for name in parts}):
        network_logits(module, x)
    return list(order)


@torch.no_grad()
def _forget(part: nn.Module, generator: torch.Generator) -> None:
    """Replace a module's own weights and statistics."""
    for name, values in part.named_parameters(recurse=False):
        if values.shape[1:].numel() > 1:
            drawn = torch.randn(values.shape, generator=generator) * (2 / values.shape[1:].numel()) ** 0.5
            values.copy_(drawn)
        else:
            values.fill_(0.0 if "bias" in name else 1.0)
    for name, values in part.named_buffers(recurse=False):
        if name in ("running_mean", "running_var"):
            values.fill_(float(name == "running_var"))


def _similarities(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Spearman and SSIM of each map and the maps of the randomised networks: float64 (SEEDS, STEPS, M, B) each."""
    spearman, ssim = [], []
    for seed in range(evidence.seed, evidence.seed + SEEDS):
        for step, network in enumerate(randomised(evidence.module, evidence.x, seed)):
            x = evidence.x.clone()  # a new picture for methods that share a capture of the last one
            again = torch.stack([explain(network, x, evidence.classes) for explain in evidence.explains_on or ()])
            alike = [
                [likeness(map_, other[None])[0] for map_, other in zip(*pair, strict=True)]
                for pair in zip(evidence.maps, again, strict=True)
            ]
            spearman.append([[one.spearman for one in row] for row in alike])
            ssim.append([[one.ssim for one in row] for row in alike])
            if evidence.progress is not None:
                evidence.progress((seed - evidence.seed) * STEPS + step + 1, SEEDS * STEPS)
    blank = ~evidence.maps.flatten(2).any(-1).cpu()
    found = (torch.tensor(values, dtype=torch.float64) for values in (spearman, ssim))
    first, second = (values.where(~blank, torch.nan) for values in found)
    return first, second


def _scored(similarities: Tensor) -> tuple[Tensor, Notes]:
    """The mean over all random networks whose map is not blank."""
    values = similarities.nanmean(0)
    return values, [[_BLANK if undefined else "" for undefined in row] for row in values.isnan().tolist()]
