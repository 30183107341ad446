"""Which axes of a layer's output are channels and which are places in the image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camviz.network.hooks import layer_hooks, require_eval

_CHANNELS_FIRST = (
    *(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LocalResponseNorm),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.FractionalMaxPool2d),
    *(nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
)
# How far the centres of two changes must lie apart on each of two axes, and together, to tell something. In networks of
# torchvision at 224 pixels it is 0.24 or more together; behind attention over all places, and on maps of 2 x 2 pixels,
# it is as good as nothing.
_EACH, _CLEAR = 0.04, 0.1
# On maps of up to so many places chance may outweigh that.
_CHANCE = 64

# For each layer of a network that has been asked for: whether it is channels-last, or the shape that does not tell.
_KNOWN: WeakKeyDictionary[nn.Module, dict[str, bool | tuple[int, ...]]] = WeakKeyDictionary()


def channels_last(module: nn.Module, x: Tensor, layers: Sequence[str]) -> dict[str, bool]:
    """For each layer, whether its output is (B, h, w, K) rather than (B, K, h, w).

    The layer's type decides where it can. Otherwise a probe does: a change of the upper half of an image shows at the
    top of a feature map, and one of the left half at its left, whichever axes these are. If that shows nothing, and on
    small maps, the axes in the proportions of the image are the places. Layers that are never called, or return
    something else, are left out.

    Args:
        module: a network in eval mode.
        x: images (B, 3, H, W) of the size that it takes.
        layers: names as in `module.named_modules()`.

    Raises:
        ValueError: an unknown layer, one that none of these settles (attention matrices, for instance), or a network in
            training mode.
    """
    require_eval(module)
    settled = {}
    for name, found in layouts(module, x, layers).items():
        if not isinstance(found, bool):
            raise ValueError(
                f"it cannot be told which axes of layer {name!r} are channels and which are places in the image: for "
                f"one image it returns {found}; choose a layer that returns (B, K, h, w) or (B, h, w, K)"
            )
        settled[name] = found
    return settled


def layouts(module: nn.Module, x: Tensor, layers: Sequence[str]) -> dict[str, bool | tuple[int, ...]]:
    """For each layer, whether it is channels-last, or its shape for one image if that cannot be told."""
    known = _KNOWN.setdefault(module, {})
    asked = [name for name in dict.fromkeys(layers) if name not in known]
    if asked:
        parts = dict(module.named_modules())
        certain = [name for name in asked if name in parts and _is_channels_first(parts[name])]
        known.update(dict.fromkeys(certain, False))
        known.update(_by_probe(module, x, [name for name in asked if name not in known]))
    return {name: known[name] for name in layers if name in known}


def as_channels_first(output: Tensor, is_last: bool) -> Tensor:
    """A layer's output as (B, K, h, w)."""
    return output.permute(0, 3, 1, 2) if is_last else output


def as_the_network_has_it(activations: Tensor, is_last: bool) -> Tensor:
    """The reverse of `as_channels_first`."""
    return activations.permute(0, 2, 3, 1) if is_last else activations


def _is_channels_first(part: nn.Module) -> bool:
    """Whether the type of a layer alone says that its channels come first.

    No type says the contrary: what normalises or multiplies the last axis may do so for each head of an attention.
    """
    if type(part) is nn.Sequential and len(part):
        return _is_channels_first(part[-1])
    return isinstance(part, _CHANNELS_FIRST)


def _by_probe(module: nn.Module, x: Tensor, layers: Sequence[str]) -> dict[str, bool | tuple[int, ...]]:
    """The same for layers whose types do not tell."""
    if not layers:
        return {}
    plain, upper, left = (_outputs(module, image, layers) for image in _probe_images(x))
    called = [name for name in layers if name in plain]
    if not called:
        return {}
    # For each axis, how much nearer to its end the left half's change lies than the upper half's: above 0 for the
    # vertical axis, below 0 for the horizontal one.
    apart = torch.stack([_centres(left[name] - plain[name]) - _centres(upper[name] - plain[name]) for name in called])
    shares = torch.stack([_sums_to_one(plain[name]) for name in called])
    facts = torch.cat([apart, shares[:, None]], 1).tolist()  # one wait for the device
    proportions = x.shape[-2] / x.shape[-1]
    return {
        name: _settled((*plain[name].shape,), of_axes, bool(is_share), proportions)
        for name, (*of_axes, is_share) in zip(called, facts, strict=True)
    }


def _probe_images(x: Tensor) -> list[Tensor]:
    """Three images (1, 3, H, W): one, the same with another upper half, and with another left half."""
    generator = torch.Generator().manual_seed(0)
    height, width = x.shape[-2:]
    one, other = (
        F.interpolate(torch.randn(1, x.shape[1], 16, 16, generator=generator), (height, width)).to(x) for _ in range(2)
    )
    upper, left = one.clone(), one.clone()
    upper[:, :, : height // 2] = other[:, :, : height // 2]
    left[..., : width // 2] = other[..., : width // 2]
    return [one, upper, left]


def _outputs(module: nn.Module, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The last output of each layer for an image, of those that are called and return (1, a, b, c)."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> object:
        if isinstance(output, Tensor) and output.ndim == 4 and len(output) == 1:
            outputs[name] = output.detach().clone()
        return output

    with torch.no_grad(), layer_hooks(module, {name: partial(keep, name) for name in layers}):
        module(image)
    return outputs


def _settled(
    shape: tuple[int, ...], apart: Sequence[float], is_share: bool, proportions: float
) -> bool | tuple[int, ...]:
    """Whether a layer of this shape (1, a, b, c) is channels-last; the shape if nothing tells."""
    a, b, c = shape[1:]
    if b == c == 1:
        return False  # one place, whatever it is
    if b == c and is_share:
        return shape  # attention: how much each place looks at each other one
    fits_first, fits_last = _fits(b, c, proportions), _fits(a, b, proportions)
    if fits_first != fits_last and (a * b if fits_last else b * c) <= _CHANCE:
        return fits_last
    first = _is_clear(apart[1], -apart[2], fits_first)
    last = _is_clear(apart[0], -apart[1], fits_last)
    if first or last:
        return last
    if min(apart[1:]) >= _CLEAR or max(apart[1:]) <= -_CLEAR:
        return shape  # its last two axes stand for the same
    return shape if fits_first == fits_last else fits_last


def _is_clear(down: float, right: float, fits: bool) -> bool:
    """Whether changes lie apart on both a vertical and a horizontal axis; more so where their proportions are odd."""
    return min(down, right) >= (_EACH if fits else _CLEAR) and down + right >= _CLEAR


def _sums_to_one(output: Tensor) -> Tensor:
    """Whether an output (1, a, b, c) holds shares along its last axis, as 0 or 1."""
    sums = output.float().sum(-1)
    return ((output >= 0).all() & ((sums - 1).abs() < 1e-3).all()).float()


def _centres(change: Tensor) -> Tensor:
    """The centre of a change (1, a, b, c) along each of the last axes, from 0 to 1: (3,); 0.5 if nothing changes."""
    energy = change[0].float().square()
    centres = []
    for axis, size in enumerate(energy.shape):
        profile = energy.sum([other for other in range(3) if other != axis])
        places = torch.linspace(0, 1, size, device=energy.device) if size > 1 else torch.full_like(profile, 0.5)
        centres.append((profile * places).sum() / profile.sum())
    found = torch.stack(centres)
    return torch.where(torch.isfinite(found), found, 0.5)


def _fits(height: int, width: int, proportions: float) -> bool:
    """Whether a map of these sides has the proportions of the image, but for rounding."""
    return abs(height - width * proportions) <= max(1.0, proportions)
