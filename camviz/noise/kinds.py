"""Perturbations of a network's view: seeded noise, blur, JPEG and an adversarial step, from faint to strong.

A level in [0, 1] sets the strength. A seed makes the same random draws at every level, so that a higher level
scales the same pattern instead of drawing another. "White" is a pixel value of 1, stored as 255.
"""

from __future__ import annotations

import io
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import special

from camviz.models import Net
from camviz.network.hooks import require_eval
from camviz.network.logits import network_logits

Picture = NDArray[np.uint8]
AtStrength = Callable[[float], NDArray[Any]]  # strength -> grey values (H, W, 3) up to 255, neither clipped nor rounded


@dataclass(frozen=True, eq=False)
class NoiseInput:
    """The clean image, uint8 (H, W, 3), and what else a kind of noise may need."""

    image: Picture
    rng: np.random.Generator
    net: Net | None
    target: int | None


@dataclass(frozen=True)
class Noise:
    """One kind of perturbation.

    Attributes:
        name: its key in `KINDS`.
        title: its display name.
        sentence: what it does, in one plain sentence.
        amount: noise level in [0, 1] -> physical strength, in the unit that `wording` states.
        wording: physical strength -> text for display.
        prepare: does the work shared by all levels: the draws, or the gradient.
        seeded: whether the result depends on the seed.
        needs_net: whether it needs a network and a class.
    """

    name: str
    title: str
    sentence: str
    amount: Callable[[float], float]
    wording: Callable[[float], str] = field(repr=False)
    prepare: Callable[[NoiseInput], AtStrength] = field(repr=False)
    seeded: bool
    needs_net: bool

    def strength(self, level: float) -> str:
        """The physical strength at a level in [0, 1], as text such as "strength 0.12"."""
        return self.wording(self.amount(level)) if level else "no change"


KINDS: dict[str, Noise] = {}


def register(
    name: str,
    title: str,
    sentence: str,
    amount: Callable[[float], float],
    wording: Callable[[float], str],
    *,
    seeded: bool = True,
    needs_net: bool = False,
) -> Callable[[Callable[[NoiseInput], AtStrength]], Callable[[NoiseInput], AtStrength]]:
    """Register a function of a clean image as a kind of noise."""

    def decorator(prepare: Callable[[NoiseInput], AtStrength]) -> Callable[[NoiseInput], AtStrength]:
        KINDS[name] = Noise(name, title, sentence, amount, wording, prepare, seeded, needs_net)
        return prepare

    return decorator


def apply(
    image: Picture, kind: str, level: float, seed: int = 0, net: Net | None = None, target: int | None = None
) -> Picture:
    """Perturb an image at one level, as `apply_levels`.

    Returns:
        uint8 (H, W, 3), a new array even at level 0.
    """
    return apply_levels(image, kind, (level,), seed, net, target)[0]


def apply_levels(
    image: Picture,
    kind: str,
    levels: Sequence[float],
    seed: int = 0,
    net: Net | None = None,
    target: int | None = None,
) -> Picture:
    """Perturb an image at several levels with one set of random draws and at most one gradient.

    Args:
        image: uint8 (H, W, 3), a network's view if there is a network; it is not changed.
        kind: a name in `KINDS`.
        levels: each in [0, 1]; 0 leaves the image unchanged.
        seed: a whole number >= 0, for seeded kinds.
        net: the network that "fgsm" attacks; the image must have its input size. Other kinds ignore it.
        target: the class whose loss "fgsm" raises, an index into net.labels.

    Returns:
        uint8 (levels, H, W, 3), a new array.

    Raises:
        ValueError: an unknown kind, a level outside [0, 1], an invalid image, seed or target, or "fgsm" without net or
            target, or with a network in training mode.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown noise {kind!r}; choose from {', '.join(KINDS)}")
    _check_image(image)
    levels = [_checked_level(level) for level in levels]
    seed = _checked_seed(seed)
    if KINDS[kind].needs_net:
        net, target = _checked_attack(kind, image, net, target)
    results = np.repeat(image[None], len(levels), axis=0)
    if any(levels):
        # The name in the seed makes the draws of different kinds independent.
        rng = np.random.Generator(np.random.PCG64([*kind.encode(), seed]))
        perturbed = KINDS[kind].prepare(NoiseInput(image, rng, net, target))
        for result, level in zip(results, levels, strict=True):
            if level:
                result[...] = np.rint(np.clip(perturbed(KINDS[kind].amount(level)), 0, 255))
    return results


def _check_image(image: Any) -> None:  # noqa: ANN401
    """Raise a ValueError unless this is uint8 (H, W, 3)."""
    array = isinstance(image, np.ndarray)
    if not array or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        got = f"{image.dtype} {image.shape}" if array else type(image).__name__
        raise ValueError(f"image must be uint8 (H, W, 3), got {got}: pass what camviz.load_image or net.view returns")


def _checked_level(level: Any) -> float:  # noqa: ANN401
    """Return a level as a float, or raise a ValueError."""
    if not isinstance(level, Real) or not 0 <= float(level) <= 1:
        raise ValueError(f"level must be a number from 0 to 1, got {level!r}: 0 changes nothing, 1 is the strongest")
    return float(level)


def _whole(value: Any) -> int | None:  # noqa: ANN401
    """Convert a whole number of any integer type to an int; None for anything else."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _checked_seed(seed: object) -> int:
    """Return a seed as an int, or raise a ValueError."""
    number = _whole(seed)
    if number is None or number < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}: pass 0, 1, 2, ...")
    return number


def _checked_attack(kind: str, image: Picture, net: Net | None, target: object) -> tuple[Net, int]:
    """Return the network and the class that an attack needs, or raise a ValueError."""
    if net is None or target is None:
        missing = " and ".join(name for name, value in (("net", net), ("target", target)) if value is None)
        raise ValueError(f"{kind} needs a network and a class, got no {missing}: pass net= and target=")
    size, (height, width) = net.preprocessing.size, image.shape[:2]
    if (height, width) != (size, size):
        raise ValueError(
            f"{kind} needs the network's own view of {size} x {size} pixels, got {height} x {width}: "
            "pass net.view(image)"
        )
    index = _whole(target)
    if index is None or not 0 <= index < len(net.labels):
        raise ValueError(
            f"target must be a whole number in 0..{len(net.labels) - 1}, got {target!r}: pass an index into net.labels"
        )
    require_eval(net.module)
    return net, index


@register(
    "gaussian",
    "Gaussian noise",
    "Adds a random amount from a bell curve to every colour value, like the noise of a warm camera sensor.",
    lambda level: 0.6 * level,
    lambda sigma: f"strength {sigma:.3g}",
)
def _gaussian(clean: NoiseInput) -> AtStrength:
    """Return x + N(0, sigma)."""
    normal = clean.rng.standard_normal(clean.image.shape)
    return lambda sigma: clean.image + 255 * sigma * normal


def _photons(level: float) -> float:
    """Photons at white: 1 / level**2, capped at 10**8, where half a grey value is over 19 standard deviations."""
    return min(1 / level, 1e4) ** 2 if level else math.inf


def _photons_in_words(photons: float) -> str:
    """Format as in "11.1 photons at white"."""
    number = f"{photons:.3g}" if photons < 100 else f"{photons:.0f}"
    return f"{number} photon{'' if number == '1' else 's'} at white"


@register(
    "shot",
    "Shot noise",
    "Counts a random number of photons for every colour value, like a photo taken in very little light.",
    _photons,
    _photons_in_words,
)
def _shot(clean: NoiseInput) -> AtStrength:
    """Return Poisson(x * photons) / photons, by looking fixed draws up in one table for each of the 256 values."""
    draws = clean.rng.random(clean.image.size)
    order = np.argsort(clean.image, axis=None, kind="stable")  # on bytes a radix sort
    values, starts = np.unique(clean.image.ravel()[order], return_index=True)
    groups = np.split(order, starts[1:])

    def perturbed(photons: float) -> NDArray[Any]:
        needed = np.ceil(
            (np.arange(1, 256) - 0.5) / 255 * photons
        )  # photons that round to grey value 1, 2, ... or more
        fewer = special.pdtr(needed - 1, values[:, None] / 255 * photons)  # the probability of fewer
        result = np.empty(clean.image.size)
        for group, table in zip(groups, fewer, strict=True):
            result[group] = np.searchsorted(table, draws[group], side="right")
        return result.reshape(clean.image.shape)

    return perturbed


@register(
    "impulse",
    "Salt and pepper",
    "Turns a random share of the pixels black or white, like dead pixels of a sensor.",
    lambda level: 0.5 * level,
    lambda share: f"{100 * share:.3g} % of pixels",
)
def _impulse(clean: NoiseInput) -> AtStrength:
    """Set a share of the pixels to 0 or 1, equally likely, in all three channels together."""
    rank, coin = clean.rng.random((2, *clean.image.shape[:2], 1))
    extreme = np.where(coin < 0.5, 0, 255)
    return lambda share: np.where(rank < share, extreme, clean.image)


@register(
    "speckle",
    "Speckle noise",
    "Multiplies every colour value by a random factor, so bright parts suffer most, as in radar and ultrasound.",
    lambda level: 2 * level,
    lambda sigma: f"strength {sigma:.3g} times the value",
)
def _speckle(clean: NoiseInput) -> AtStrength:
    """Return x * (1 + N(0, sigma))."""
    scaled = clean.image * clean.rng.standard_normal(clean.image.shape)
    return lambda sigma: clean.image + sigma * scaled


@register(
    "uniform",
    "Uniform noise",
    "Adds a random amount within fixed limits to every colour value, each amount equally likely.",
    lambda level: level,
    lambda limit: f"within ±{limit:.3g}",
)
def _uniform(clean: NoiseInput) -> AtStrength:
    """Return x + U(-limit, limit)."""
    unit = 2 * clean.rng.random(clean.image.shape) - 1
    return lambda limit: clean.image + 255 * limit * unit


@register(
    "blur",
    "Blur",
    "Mixes every pixel with its neighbours, like a lens out of focus.",
    lambda level: 6 * level,
    lambda sigma: f"sigma {sigma:.3g} px",
    seeded=False,
)
def _blur(clean: NoiseInput) -> AtStrength:
    """Convolve with a Gaussian of sigma pixels, cut off at 4 sigma; the image is mirrored at its edges."""
    import cv2  # takes about 0.1 s, which `import camviz` should not

    values = clean.image.astype(np.float64)  # in lower precision, OpenCV rounds some pixels differently

    def perturbed(sigma: float) -> NDArray[Any]:
        width = 2 * int(4 * sigma + 0.5) + 1
        return cv2.GaussianBlur(values, (width, width), sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT)

    return perturbed


@register(
    "jpeg",
    "JPEG compression",
    "Saves the image as a low-quality JPEG, which leaves blocks and smears colours.",
    lambda level: round(100 ** (1 - level)),
    lambda quality: f"quality {quality}",
    seeded=False,
)
def _jpeg(clean: NoiseInput) -> AtStrength:
    """Encode and decode with Pillow at its default chroma subsampling: same bits as OpenCV, but faster."""
    picture = Image.fromarray(clean.image)

    def perturbed(quality: float) -> NDArray[Any]:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(quality))
        return np.asarray(Image.open(stream))

    return perturbed


@register(
    "fgsm",
    "Adversarial step (FGSM)",
    "Moves every colour value a small step in the direction that most reduces the network's confidence in the class.",
    lambda level: level * 16 / 255,
    lambda epsilon: f"epsilon {255 * epsilon:.3g}/255",
    seeded=False,
    needs_net=True,
)
def _fgsm(clean: NoiseInput) -> AtStrength:
    """Return x + epsilon * sign(d cross-entropy / d x). Source: Goodfellow et al., arXiv 1412.6572, section 4.

    A step below half a grey value is rounded away. Where the gradient is near 0, its sign may differ between devices.
    """
    net, target = cast(Net, clean.net), cast(int, clean.target)
    with torch.inference_mode(False), torch.enable_grad():
        x = net.preprocess(clean.image).requires_grad_()
        logits = network_logits(net.module, x)
        others = logits[0, [label for label in range(logits.shape[1]) if label != target]]
        # Cross-entropy is log(1 + exp(odds)), so the gradients differ only by the factor 1 - p. It is positive, but
        # rounds to 0 in single precision if the network is sure of the class.
        odds = others.logsumexp(0) - logits[0, target]
        (gradient,) = torch.autograd.grad(odds, x)
    # Normalisation divides by a positive number, so the sign also holds for the pixels.
    direction = gradient[0].permute(1, 2, 0).sign().cpu().numpy()
    return lambda epsilon: clean.image + 255 * epsilon * direction
