"""A picture, as a network sees it, and with a class to explain in it: the values that all work is asked of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from camviz.images import Fit, load_image
from camviz.models import Net
from camviz.noise.measure import Perturbation
from camviz.results.finding import KnownShape, as_png
from camviz.shapes import CLASSES, Sample
from camviz.workbench.byte_cache import Value
from camviz.workbench.host import Host


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture to explain.

    Attributes:
        id: what its results are kept under, as `picture_id` makes it, or the SHA-256 of a synthetic sample's number.
        title: what it is called.
        credit: whose it is, or "".
        pixels: uint8 (H, W, 3).
        shapes: what it is known to hold; the first one is the one that it is named after.
        synthetic: whether it was drawn here.
        data: the bytes that it came as; b"" for one that was drawn here.
    """

    id: str
    title: str
    credit: str
    pixels: NDArray[np.uint8] = field(repr=False)
    shapes: tuple[KnownShape, ...] = field(default=(), repr=False)
    synthetic: bool = False
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, eq=False)
class SeenPicture:
    """A picture as a network sees it, noisy or not.

    Attributes:
        host: where its results are kept and its work is done.
        picture: the picture.
        net: the network.
        fit: how the picture is fitted into the network's view.
        noise: what is done to the view; None for nothing.
        more_layers: layers to capture beside the network's own.
    """

    host: Host = field(repr=False)
    picture: Picture
    net: Net
    fit: Fit = "crop"
    noise: Perturbation | None = None
    more_layers: tuple[str, ...] = ()

    @property
    def seen_key(self) -> tuple[Hashable, ...]:
        """What tells it from every other, without holding on to picture or network."""
        return self.picture.id, network_key(self.net), self.fit, self.noise, self.more_layers

    @property
    def clean(self) -> SeenPicture:
        """The same without noise."""
        return replace(self, noise=None)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are captured."""
        return (*self.net.layers, *self.more_layers)

    def explaining(self, target: int) -> Explained:
        """Ask for a class in it."""
        return Explained(self.host, self.picture, self.net, self.fit, self.noise, self.more_layers, target)


@dataclass(frozen=True, eq=False)
class Explained(SeenPicture):
    """What is explained: a picture, as a network sees it, and a class.

    Attributes:
        target: the class, an index in the network's labels.
    """

    target: int = 0

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What tells it from every other, likewise."""
        return *self.seen_key, self.target

    def kept(self, *parts: Hashable, compute: Callable[[], Value]) -> Value:
        """What was computed of it under these names, or else compute it."""
        return self.host.kept((*self.key, *parts), compute)

    def has(self, *parts: Hashable) -> bool:
        """Whether that was computed."""
        return self.host.results.has((*self.key, *parts))


def network_key(net: Net) -> str:
    """A network and where it runs, as results do not leave their device."""
    return f"{net.info.name} on {net.device}"


def picture_id(data: bytes, shapes: Sequence[KnownShape] = ()) -> str:
    """The SHA-256 of a picture's bytes and of what it is known to hold.

    The shapes count, as scores depend on them: a bundle that claims shapes in a picture must not change the results of
    those who use the same picture without them.
    """
    digest = hashlib.sha256(data)
    for shape in shapes:
        digest.update(repr((shape.label, shape.mask.shape)).encode() + np.ascontiguousarray(shape.mask).tobytes())
    return digest.hexdigest()


def read_picture(host: Host, data: bytes, title: str, credit: str = "", shapes: tuple[KnownShape, ...] = ()) -> Picture:
    """Read a picture from its bytes; `shapes` are what it is known to hold.

    Raises:
        ImageError: it is not one.
    """
    digest = picture_id(data, shapes)
    pixels = host.results.get((digest, "pixels"), lambda: load_image(data))
    return Picture(digest, title, credit, pixels, shapes, data=data)


def draw_picture(host: Host, title: str, number: str, draw: Callable[[], Sample]) -> Picture:
    """Draw a synthetic sample, unless it is kept under its number."""
    sample = host.results.get(("shapes", number), draw)
    digest = hashlib.sha256(f"shapes {number}".encode()).hexdigest()
    return Picture(digest, title, "", sample.image, known_shapes(sample), synthetic=True)


def known_shapes(sample: Sample) -> tuple[KnownShape, ...]:
    """What a synthetic sample holds."""
    return tuple(KnownShape(CLASSES[shape.label], shape.mask) for shape in sample.shapes)


def pixels_as_picture(pixels: NDArray[np.uint8], title: str) -> Picture:
    """A picture from its pixels, uint8 (H, W, 3)."""
    digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return Picture(digest, title, "", pixels)


def picture_bytes(of: SeenPicture) -> bytes:
    """The bytes that the picture came as; a synthetic one's PNG."""
    return of.picture.data or of.host.kept((of.picture.id, "png"), lambda: as_png(of.picture.pixels))


def forget(host: Host, picture_id: str) -> None:
    """Drop a picture and everything that was derived from it."""
    host.results.forget(picture_id)
