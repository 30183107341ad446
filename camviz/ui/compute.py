"""Cached calls of the core: what was computed once, for whoever, is instant again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camviz import noise, shapes
from camviz.capture import Capture, capture
from camviz.chunks import run_network
from camviz.explain import Recipe, explain
from camviz.images import Fit, load_image
from camviz.methods import METHODS, Progress, cam_with_notes, twins
from camviz.methods.registry import shifted
from camviz.metrics.arcc import coherency
from camviz.metrics.road import Road, roads
from camviz.models import Net
from camviz.refine import heights, refine, running
from camviz.render import data_uri
from camviz.robustness import Perturbation
from camviz.ui.engine import cache, heavy, kept
from camviz.ui.nets import at
from camviz.ui.streamlit_internals import yield_point

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image to explain, named by the SHA-256 of the bytes it came as; a synthetic one with what it holds instead."""

    id: str
    title: str
    credit: str
    pixels: NDArray[np.uint8] = field(repr=False)
    sample: shapes.Sample | None = field(default=None, repr=False)
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, eq=False)
class Sight:
    """A picture as a network sees it, perturbed or not."""

    picture: Picture
    net: Net
    fit: Fit
    noise: Perturbation | None = None

    @property
    def seen(self) -> tuple[Hashable, ...]:
        """What tells it from every other, without holding on to picture or network."""
        return self.picture.id, at(self.net), self.fit, self.noise

    @property
    def clean(self) -> Sight:
        """The same without noise."""
        return replace(self, noise=None)


@dataclass(frozen=True, eq=False)
class Scene(Sight):
    """What is explained: a picture, as a network sees it, and a class."""

    target: int = 0

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What tells it from every other scene, likewise."""
        return *self.seen, self.target


def scene(sight: Sight, target: int) -> Scene:
    """Ask for a class in what a network sees."""
    return Scene(sight.picture, sight.net, sight.fit, sight.noise, target)


def picture(data: bytes, title: str, credit: str = "") -> Picture:
    """Read a picture from its bytes.

    Raises:
        ImageError: it is not one.
    """
    digest = hashlib.sha256(data).hexdigest()
    pixels = cache().get((digest, "pixels"), lambda: load_image(data))
    return Picture(digest, title, credit, pixels, data=data)


def synthetic(title: str, number: str, draw: Callable[[], shapes.Sample]) -> Picture:
    """Draw a synthetic sample, unless it is at hand under its number."""
    sample = cache().get(("shapes", number), draw)
    digest = hashlib.sha256(f"shapes {number}".encode()).hexdigest()
    return Picture(digest, title, "", sample.image, sample)


def predict(sight: Sight) -> NDArray[np.float32]:
    """The probability of each class (classes,).

    Of a clean picture this keeps the capture of the likeliest class on the way; under noise the prediction is wanted
    first, and a capture takes three times as long.
    """

    def compute() -> NDArray[np.float32]:
        x = _input(sight)
        with heavy():
            if sight.noise is not None:
                with torch.inference_mode():
                    return _probabilities(run_network(sight.net.module, x))
            cap = capture(sight.net.module, x, layers=sight.net.layers)
        cache().put(_key(scene(sight, int(cap.target)), "capture"), _without_network(cap))
        return _probabilities(cap.logits)

    return kept((*sight.seen, "probabilities"), compute)


def _probabilities(logits: Tensor) -> NDArray[np.float32]:
    return logits[0].float().softmax(0).cpu().numpy()


def likeliest(sight: Sight) -> int:
    """The class that a network predicts."""
    return int(predict(sight).argmax())


def _input(sight: Sight) -> Tensor:
    """The normalised view (1, 3, h, w), on the network's device."""
    return sight.net.inputs(get_view(sight)[None])


def get_capture(scene: Scene) -> Capture:
    """The capture of all the network's layers for a scene."""

    def compute() -> Capture:
        x = _input(scene)
        with heavy():
            return _without_network(capture(scene.net.module, x, scene.target, scene.net.layers))

    return replace(cached(scene, "capture", compute=compute), module=scene.net.module)


def _without_network(cap: Capture) -> Capture:
    """Make a capture fit to keep: it must not keep a network alive that has made room for others."""
    return replace(cap, module=nn.Identity())


def sides(scene: Scene) -> dict[str, int]:
    """The resolution of each of the network's layers, in places per side."""
    return {layer: a.shape[-1] for layer, a in zip(scene.net.layers, get_capture(scene).activations, strict=True)}


def get_view(sight: Sight) -> NDArray[np.uint8]:
    """The picture as the network sees it, uint8 (h, w, 3)."""

    def compute() -> NDArray[np.uint8]:
        point = sight.noise
        if point is None:
            return sight.net.view(sight.picture.pixels, sight.fit)
        clean = get_view(sight.clean)
        attacked = likeliest(sight.clean) if noise.KINDS[point.kind].needs_net else None
        with heavy():
            return noise.apply(clean, point.kind, point.level, point.seed, sight.net, attacked)

    return kept((*sight.seen, "view"), compute)


def view_uri(sight: Sight) -> str:
    """The same as a data URI."""
    return kept((*sight.seen, "view as a data URI"), lambda: data_uri(get_view(sight)))


def layer_map(scene: Scene, method: str, layer: str, progress: Progress | None = None) -> tuple[Tensor, str]:
    """One method's map of one layer (1, H, W), and why it is blank, if it is."""

    def compute() -> tuple[Tensor, str]:
        cap = get_capture(scene).select([layer])
        if not METHODS[method].is_slow:
            maps, notes = cam_with_notes(cap, method)
        else:
            with heavy() as give_way:
                maps, notes = cam_with_notes(cap, method, progress=polite(progress, give_way))
        return maps[0], notes[0][0]

    return cached(scene, "map", method, layer, compute=compute)


def is_ready(scene: Scene, recipe: Recipe) -> bool:
    """Whether every layer map of a recipe is at hand."""
    return all(cache().has(_key(scene, "map", recipe.method, layer)) for layer in recipe.layers)


def layer_maps(scene: Scene, recipe: Recipe, progress: Progress | None = None) -> Tensor:
    """The maps of a recipe's layers (L, 1, H, W), with the progress over all of them."""
    cap = get_capture(scene).select(recipe.layers)
    runs = [METHODS[recipe.method].runs(activation) for activation in cap.activations]
    return torch.stack(
        [
            layer_map(scene, recipe.method, layer, shifted(progress, sum(runs[:index]), sum(runs)))[0]
            for index, layer in enumerate(recipe.layers)
        ]
    )


def merged(scene: Scene, recipe: Recipe) -> Tensor:
    """A recipe's map (1, H, W)."""
    return refine(layer_maps(scene, recipe), recipe.rule)


@dataclass(frozen=True, eq=False)
class Panels:
    """The maps that the strip shows, from the deepest layer on.

    Attributes:
        maps: float32 (2 L, h, w): each layer's map, then the merges down to each layer.
        ranges: for each what its 0 and 1 were before a merge was stretched.
        blank: whether each is blank.
    """

    maps: NDArray[np.float32] = field(repr=False)
    ranges: list[tuple[float, float]]
    blank: list[bool]


def get_panels(scene: Scene, recipe: Recipe) -> Panels:
    """Each layer's map, and the running merge down to each."""

    def compute() -> Panels:
        maps = layer_maps(scene, recipe)
        merges = running(maps, recipe.rule)
        every = torch.cat([maps.flip(0), merges.flip(0)])[:, 0]
        low, high = (end[:, 0].flip(0).tolist() for end in heights(maps, recipe.rule))
        return Panels(
            maps=every.cpu().numpy(),
            ranges=[(0.0, 1.0)] * len(maps) + list(zip(low, high, strict=True)),
            blank=[not bool(m.any()) for m in every],
        )

    return cached(scene, "panels", recipe, compute=compute)


def get_twins(scene: Scene, method: str) -> dict[str, list[str]]:
    """For each layer, the titles of other methods that give the same map there."""

    def compute() -> dict[str, list[str]]:
        cap = get_capture(scene)
        names = twins(cap, method)
        return {layer: [METHODS[n].title for n in same] for layer, same in zip(cap.layers, names, strict=True)}

    return cached(scene, "twins", method, compute=compute)


def get_coherency(scene: Scene, recipe: Recipe, progress: Progress | None = None) -> tuple[float, str]:
    """Coherency of a recipe's map, and why it is undefined, if it is."""

    def compute() -> tuple[float, str]:
        cap, map_ = get_capture(scene), merged(scene, recipe)
        with heavy() as give_way:
            told = polite(progress, give_way)
            score, notes = coherency(
                cap.x, map_, cap.target, lambda x, target: explain(scene.net.module, x, target, recipe, told)
            )
        return float(score), notes[0]

    return cached(scene, "coherency", recipe, compute=compute)


def has(scene: Scene, what: Literal["coherency", "road"], recipe: Recipe) -> bool:
    """Whether a score of a recipe is at hand."""
    return cache().has(_key(scene, what, recipe))


def get_road(scene: Scene, recipe: Recipe) -> Road:
    """ROAD of a recipe's map."""

    def compute() -> Road:
        cap, maps = get_capture(scene), merged(scene, recipe)[None]
        with heavy() as give_way:
            told = polite(None, give_way)
            return roads(scene.net.module, cap.x, maps, cap.target, recipe.seed, logits=cap.logits, progress=told)[0]

    return cached(scene, "road", recipe, compute=compute)


def forget(picture_id: str) -> None:
    """Drop a picture and everything that was derived from it."""
    cache().forget(picture_id)


def _key(scene: Scene, *parts: Hashable) -> tuple[Hashable, ...]:
    return (*scene.key, *parts)


def cached(scene: Scene, *parts: Hashable, compute: Callable[[], Value]) -> Value:
    """What was computed of a scene under these names, or else compute it."""
    return kept(_key(scene, *parts), compute)


def polite(progress: Progress | None, give_way: Callable[[], None]) -> Progress:
    """Tell the progress, and let others work in between."""

    def told(done: int, total: int) -> None:
        yield_point()
        if progress is not None:
            progress(done, total)
        give_way()

    return told
