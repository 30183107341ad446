"""Cached calls of the core: what was computed once, for whoever, is instant again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camviz import shapes
from camviz.cache import ByteCache
from camviz.capture import Capture, capture
from camviz.chunks import is_out_of_memory
from camviz.explain import Recipe, explain
from camviz.images import Fit, load_image
from camviz.methods import METHODS, Progress, cam_with_notes, twins
from camviz.methods.passes import passes
from camviz.methods.registry import shifted
from camviz.metrics.arcc import coherency
from camviz.metrics.road import Road, roads
from camviz.models import Net, load_model
from camviz.models.registry import probe_input
from camviz.refine import refine, running
from camviz.render import data_uri, overlay

_LOG = logging.getLogger(__name__)
CACHE_BYTES = 512 * 2**20
NETS_BYTES = 2 * 2**30
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image to explain, named by the SHA-256 of the bytes it came as; a synthetic one with what it holds."""

    id: str
    title: str
    credit: str
    pixels: NDArray[np.uint8] = field(repr=False)
    sample: shapes.Sample | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Scene:
    """What is explained: a picture, as a network sees it, and a class."""

    picture: Picture
    net: Net
    fit: Fit
    target: int

    @property
    def key(self) -> tuple[str, str, Fit, int]:
        """What tells it from every other scene, without holding on to picture or network."""
        return self.picture.id, _at(self.net), self.fit, self.target


def _at(net: Net) -> str:
    """A network and where it runs, as results do not leave their device."""
    return f"{net.info.name} on {net.device}"


@st.cache_resource(show_spinner=False)
def cache() -> ByteCache:
    """The one cache of all who use this server: pictures and what was computed from them."""
    return ByteCache(CACHE_BYTES)


@st.cache_resource(show_spinner=False)
def _nets() -> ByteCache:
    return ByteCache(NETS_BYTES)


@st.cache_resource(show_spinner=False)
def _moved() -> set[str]:
    """The networks that run on the CPU because the GPU's memory did not suffice."""
    return set()


def get_net(name: str) -> Net:
    """Load a network once for everybody; those not used for longest make room for new ones."""
    if not was_moved(name):
        try:
            return _nets().get((name, "default"), lambda: load_model(name))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            _move(name, error)

    def load_anew() -> Net:
        torch.cuda.empty_cache()  # by now nothing holds on to what did not fit
        return load_model(name, "cpu")

    return _nets().get((name, "cpu"), load_anew)


def was_moved(name: str) -> bool:
    """Whether a network had to leave the GPU."""
    return name in _moved()


@contextmanager
def gpu_memory(net: Net) -> Iterator[None]:
    """Should the GPU's memory not suffice in this block, move the network to the CPU and run the page again.

    Results are computed anew there; nothing that a person chose is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error) or (net.device.type == "cpu" and was_moved(net.info.name)):
            raise
        _move(net.info.name, error)
        cache().forget(_at(net), place=1)
    else:
        return
    st.rerun()


def _move(name: str, error: RuntimeError) -> None:
    """Let a network run on the CPU from now on, until the server starts anew."""
    _LOG.warning("%s leaves the GPU, whose memory does not suffice: %s", name, error)
    _moved().add(name)
    _nets().forget(name)


def picture(data: bytes, title: str, credit: str = "") -> Picture:
    """Read a picture from its bytes.

    Raises:
        ImageError: it is not one.
    """
    digest = hashlib.sha256(data).hexdigest()
    pixels = cache().get((digest, "pixels"), lambda: load_image(data))
    return Picture(digest, title, credit, pixels)


def synthetic(title: str, number: str, draw: Callable[[], shapes.Sample]) -> Picture:
    """Draw a synthetic sample, unless it is at hand under its number."""
    sample = cache().get(("shapes", number), draw)
    digest = hashlib.sha256(f"shapes {number}".encode()).hexdigest()
    return Picture(digest, title, "", sample.image, sample)


def predict(picture: Picture, net: Net, fit: Fit) -> NDArray[np.float32]:
    """The probability of each class (classes,). Keeps the capture of the likeliest one on the way."""

    def compute() -> NDArray[np.float32]:
        cap = capture(net.module, net.preprocess(picture.pixels, fit), layers=net.layers)
        scene = Scene(picture, net, fit, int(cap.target))
        cache().put(_key(scene, "capture"), _without_network(cap))
        return cap.logits[0].float().softmax(0).cpu().numpy()

    return cache().get((picture.id, _at(net), fit, "probabilities"), compute)


def get_capture(scene: Scene) -> Capture:
    """The capture of all the network's layers for a scene."""

    def compute() -> Capture:
        x = scene.net.preprocess(scene.picture.pixels, scene.fit)
        return _without_network(capture(scene.net.module, x, scene.target, scene.net.layers))

    return replace(cached(scene, "capture", compute=compute), module=scene.net.module)


def _without_network(cap: Capture) -> Capture:
    """Make a capture fit to keep: it must not keep a network alive that has made room for others."""
    return replace(cap, module=nn.Identity())


def sides(scene: Scene) -> dict[str, int]:
    """The resolution of each of the network's layers, in places per side."""
    return {layer: a.shape[-1] for layer, a in zip(scene.net.layers, get_capture(scene).activations, strict=True)}


def get_view(scene: Scene) -> tuple[NDArray[np.uint8], str]:
    """The picture as the network sees it, uint8 (h, w, 3), and the same as a data URI."""

    def compute() -> tuple[NDArray[np.uint8], str]:
        view = scene.net.view(scene.picture.pixels, scene.fit)
        return view, data_uri(view)

    return cache().get((scene.picture.id, _at(scene.net), scene.fit, "view"), compute)


def layer_map(scene: Scene, method: str, layer: str, progress: Progress | None = None) -> tuple[Tensor, str]:
    """One method's map of one layer (1, H, W), and why it is blank, if it is."""

    def compute() -> tuple[Tensor, str]:
        maps, notes = cam_with_notes(get_capture(scene).select([layer]), method, progress=progress)
        return maps[0], notes[0][0]

    return cached(scene, "map", method, layer, compute=compute)


def is_ready(scene: Scene, recipe: Recipe) -> bool:
    """Whether every layer map of a recipe is at hand."""
    return all(cache().has(_key(scene, "map", recipe.method, layer)) for layer in recipe.layers)


def layer_maps(scene: Scene, recipe: Recipe, progress: Progress | None = None) -> Tensor:
    """The maps of a recipe's layers (L, 1, H, W), with the progress over all of them."""
    cap = get_capture(scene).select(recipe.layers)
    channels = [activation.shape[1] for activation in cap.activations]
    return torch.stack(
        [
            layer_map(scene, recipe.method, layer, shifted(progress, sum(channels[:index]), sum(channels)))[0]
            for index, layer in enumerate(recipe.layers)
        ]
    )


def merged(scene: Scene, recipe: Recipe) -> Tensor:
    """A recipe's map (1, H, W)."""
    return refine(layer_maps(scene, recipe), recipe.rule)


@dataclass(frozen=True)
class Panels:
    """The strip's pictures as data URIs, in the order of the layers, and whether the merges are blank."""

    alone: list[str]
    merged: list[str]
    merged_blank: list[bool]


def get_panels(scene: Scene, recipe: Recipe) -> Panels:
    """Draw one overlay per layer, and the running merge down to each."""

    def compute() -> Panels:
        maps = layer_maps(scene, recipe)
        merges = running(maps, recipe.rule)
        view, _ = get_view(scene)
        return Panels(
            alone=[data_uri(overlay(view, m[0])) for m in maps],
            merged=[data_uri(overlay(view, m[0])) for m in merges],
            merged_blank=[not bool(m.any()) for m in merges],
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
        cap = get_capture(scene)
        module = scene.net.module
        score, notes = coherency(
            cap.x, merged(scene, recipe), cap.target, lambda x, target: explain(module, x, target, recipe, progress)
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
        return roads(scene.net.module, cap.x, maps, cap.target, recipe.seed, logits=cap.logits)[0]

    return cached(scene, "road", recipe, compute=compute)


def expected_seconds(net: Net, method: str, layers: tuple[str, ...]) -> float:
    """How long a method will take on these layers, about; 0 if it answers at once."""
    if METHODS[method].cost == "at once":
        return 0.0
    costs = _nets().get((_at(net), "seconds"), lambda: _layer_seconds(net))
    return sum(costs[method, layer] for layer in layers)


def _layer_seconds(net: Net) -> dict[tuple[str, str], float]:
    """Time a forward pass -> seconds that each many-pass method takes on each layer.

    The second pass counts: the first is slower.
    """
    x = probe_input(net.preprocessing.size).to(net.device)
    cap = [capture(net.module, x, layers=net.layers) for _ in range(2)][-1]
    slow = [name for name, method in METHODS.items() if method.cost == "many passes"]
    return {(n, layer): passes(cap.select([layer]), n) * cap.seconds for n in slow for layer in net.layers}


def forget(picture_id: str) -> None:
    """Drop a picture and everything that was derived from it."""
    cache().forget(picture_id)


def _key(scene: Scene, *parts: Hashable) -> tuple[Hashable, ...]:
    return (*scene.key, *parts)


def cached(scene: Scene, *parts: Hashable, compute: Callable[[], Value]) -> Value:
    """What was computed of a scene under these names, or else compute it."""
    return cache().get(_key(scene, *parts), compute)
