"""Maps that are right or wrong on purpose, to see whether a metric notices: as makers, (module, x, target) -> maps.

Each is made for one picture. Those made from the true mask ignore what the network is shown, so any input gets the
same map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camviz.maps import gaussian, upsample
from camviz.metrics.evidence import ExplainOn
from camviz.metrics.patch_agreement import Effects, occlusion_map

MASK = "the mask"  # the name of the true mask as a map
CHEATS = "cheats"  # the name of the map that has seen the answers
_SIGMA = 8.0  # of the blurred mask, in pixels


def wrong_maps(maker: ExplainOn, logits: Tensor) -> dict[str, ExplainOn]:
    """A maker's map inverted, moved by half of both sides, and of the second most probable class.

    Args:
        maker: makes the right map.
        logits: the network's logits for the picture (1, classes).
    """
    other = logits.topk(2).indices[:, 1]

    def inverted(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return 1 - maker(module, x, target)

    def moved(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return _moved(maker(module, x, target), 2)

    def of_another_class(module: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        return maker(module, x, other)

    return {"inverted": inverted, "moved": moved, "another class": of_another_class}


def from_the_mask(mask: Tensor, grids: Sequence[tuple[int, int]]) -> dict[str, ExplainOn]:
    """The true mask, bool (1, H, W), as a map: as it is, on each layer's grid, blurred, and moved.

    Args:
        mask: bool (1, H, W).
        grids: the layers' heights and widths; averaged to one and upsampled, the mask is the best map of that layer.
    """
    true = mask.float()
    maps = {MASK: true}
    for height, width in grids:
        coarse = F.adaptive_avg_pool2d(true[None], (height, width))[0]
        maps[f"the mask on {height} x {width}"] = to_one(upsample(coarse, true.shape[-2:]))
    maps["the mask, blurred"] = to_one(blurred(true, _SIGMA))
    maps["the mask, moved"] = _moved(true, 4)
    return {name: _always(map_) for name, map_ in maps.items()}


def from_the_effects(effects: Effects, size: Sequence[int]) -> dict[str, ExplainOn]:
    """The map that has seen the answers of the Faithfulness Estimate."""
    return {CHEATS: _always(occlusion_map(effects, size))}


def into_noise(maker: ExplainOn, steps: int, seed: int) -> dict[str, ExplainOn]:
    """A maker's map, blended into uniform noise in equal steps: the map itself first, noise alone last."""

    def blended(share: float) -> ExplainOn:
        def make(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
            maps = maker(module, x, target)
            noise = torch.rand(maps.shape[1:], generator=torch.Generator().manual_seed(seed)).to(maps)
            return (1 - share) * maps + share * noise

        return make

    return {f"noise {step}": blended(step / (steps - 1)) for step in range(steps)}


def _always(map_: Tensor) -> ExplainOn:
    """Make the same map (1, H, W), whatever the input."""
    return lambda _, x, __: map_.expand(len(x), -1, -1)


def _moved(maps: Tensor, part: int) -> Tensor:
    """Move maps (B, H, W) down and right by a part of their sides; what leaves enters on the other side."""
    return maps.roll([side // part for side in maps.shape[-2:]], (-2, -1))


def to_one(maps: Tensor) -> Tensor:
    """Scale maps (B, H, W) so that their highest value is 1; the lowest stays where it is, and a blank map blank."""
    return maps / maps.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def blurred(maps: Tensor, sigma: float) -> Tensor:
    """Blur maps (B, H, W) by a Gaussian of `sigma` pixels, with nothing beyond the border."""
    reach = round(3 * sigma)
    kernel = gaussian(reach, sigma)[None, None, None].to(maps)
    across = F.conv2d(maps[:, None], kernel, padding=(0, reach))
    return F.conv2d(across, kernel.mT, padding=(reach, 0))[:, 0]
