"""A picture, a picture as a network sees it, and one with a class to explain: the inputs of all work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from camviz.images import Fit, ImageError
from camviz.models import Net
from camviz.noise.measure import Perturbation
from camviz.results.finding import KnownShape, as_png
from camviz.shapes import CLASSES, Sample, Tagged
from camviz.workbench.byte_cache import Value
from camviz.workbench.cache_keys import Key, Kind
from camviz.workbench.host import Host


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture to explain.

    Attributes:
        id: the key of its results, from `picture_id`, or the SHA-256 of a synthetic sample's number.
        title: its name.
        credit: its author, or "".
        content: its original bytes, or uint8 (H, W, 3) if camviz drew it or was given its pixels.
        shapes: the shapes that it is known to contain; it is named after the first.
        synthetic: whether camviz drew it.
    """

    id: str
    title: str
    credit: str
    content: bytes | NDArray[np.uint8] = field(repr=False)
    shapes: tuple[KnownShape, ...] = field(default=(), repr=False)
    synthetic: bool = False


@dataclass(frozen=True, eq=False)
class SeenPicture:
    """A picture as a network sees it, noisy or not.

    Attributes:
        host: where its results are cached and its work is done.
        picture: the picture.
        net: the network.
        fit: how the picture is fitted into the network's view.
        noise: the perturbation of the view; None for none.
        more_layers: layers to capture besides the network's own.
    """

    host: Host = field(repr=False)
    picture: Picture
    net: Net
    fit: Fit = "crop"
    noise: Perturbation | None = None
    more_layers: tuple[str, ...] = ()

    @property
    def seen_key(self) -> tuple[Hashable, ...]:
        """What identifies it, without a reference to the picture or the network."""
        return self.picture.id, network_key(self.net), self.fit, self.noise, self.more_layers

    def seen_cache_key(self, kind: Kind) -> Key:
        """The cache key of something computed from it, whatever class is explained."""
        return Key(kind, self.picture.id, network_key(self.net), (self.fit, self.noise, self.more_layers))

    @property
    def clean(self) -> SeenPicture:
        """The same picture without noise."""
        return replace(self, noise=None)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are captured."""
        return (*self.net.layers, *self.more_layers)

    def explaining(self, target: int) -> Explained:
        """The picture with a class to explain."""
        return Explained(self.host, self.picture, self.net, self.fit, self.noise, self.more_layers, target)


@dataclass(frozen=True, eq=False)
class Explained(SeenPicture):
    """A picture as a network sees it, and the class to explain.

    Attributes:
        target: the class, an index in the network's labels.
    """

    target: int = 0

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What identifies it, like `seen_key`."""
        return *self.seen_key, self.target

    def cache_key(self, kind: Kind, *details: Hashable) -> Key:
        """The cache key of something computed from it and its class."""
        seen = self.seen_cache_key(kind)
        return replace(seen, settings=(*seen.settings, self.target, *details))

    def kept(self, kind: Kind, *details: Hashable, compute: Callable[[], Value]) -> Value:
        """Return what is cached for it, or compute it."""
        return self.host.kept(self.cache_key(kind, *details), compute)

    def has(self, kind: Kind, *details: Hashable) -> bool:
        """Whether it is cached."""
        return self.host.results.has(self.cache_key(kind, *details))


def network_key(net: Net) -> str:
    """A key for a network and its device, as results do not move between devices."""
    return f"{net.info.name} on {net.device}"


def picture_id(data: bytes, shapes: Sequence[KnownShape] = ()) -> str:
    """The SHA-256 of a picture's bytes and of its known shapes.

    The shapes count because scores depend on them: a bundle that claims shapes in a picture must not change the results
    of people who use the same picture without them.
    """
    digest = hashlib.sha256(data)
    for shape in shapes:
        facts = (shape.noun, shape.label, shape.mask.shape)
        digest.update(repr(facts).encode() + np.ascontiguousarray(shape.mask).tobytes())
    return digest.hexdigest()


def read_picture(host: Host, data: bytes, title: str, credit: str = "", shapes: tuple[KnownShape, ...] = ()) -> Picture:
    """Read a picture from its bytes; `shapes` are its known shapes.

    Raises:
        ImageError: the bytes are not a picture.
    """
    digest = picture_id(data, shapes)
    refusal = host.kept(Key(Kind.REFUSAL, digest), lambda: _refusal(host, data))
    if refusal:
        raise ImageError(refusal)
    return Picture(digest, title, credit, data, shapes)


def _refusal(host: Host, data: bytes) -> str:
    """Why bytes are no picture; "" if they are one."""
    try:
        with host.working():
            host.reader.size(data)
    except ImageError as error:
        return str(error)
    return ""


def draw_picture(host: Host, title: str, number: str, draw: Callable[[], Sample]) -> Picture:
    """Draw a synthetic sample, or take the one cached under its number."""
    sample = host.results.get(Key(Kind.SAMPLE, settings=(number,)), draw)
    digest = hashlib.sha256(f"shapes {number}".encode()).hexdigest()
    return Picture(digest, title, "", sample.image, known_shapes(sample), synthetic=True)


def known_shapes(sample: Sample) -> tuple[KnownShape, ...]:
    """The shapes in a synthetic sample, and its tag."""
    known = tuple(KnownShape(CLASSES[shape.label], shape.mask) for shape in sample.shapes)
    if not isinstance(sample, Tagged):
        return known
    return (*known, KnownShape(CLASSES[sample.tag.label], sample.tag.mask, is_tag=True))


def pixels_as_picture(pixels: NDArray[np.uint8], title: str) -> Picture:
    """Make a picture from its pixels, uint8 (H, W, 3)."""
    digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return Picture(digest, title, "", pixels)


def picture_bytes(of: SeenPicture) -> bytes:
    """The picture's original bytes; a PNG if there are none."""
    content = of.picture.content
    if isinstance(content, bytes):
        return content
    return of.host.kept(Key(Kind.PNG, of.picture.id), lambda: as_png(content))


def fitted(of: SeenPicture) -> NDArray[np.uint8]:
    """The picture as the network sees it without noise, uint8 (h, w, 3)."""
    content, how = of.picture.content, of.net.preprocessing
    if not isinstance(content, bytes):
        return of.net.view(content, of.fit)
    with of.host.working():
        return of.host.reader.view(content, how.size, how.resize, of.fit, how.resample)


def forget(host: Host, picture_id: str) -> None:
    """Drop a picture and everything derived from it."""
    host.results.forget(lambda key: key.picture == picture_id)
    host.reader.forget()
