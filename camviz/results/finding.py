"""One finding: a picture, the settings that explain it, and all that came out, as one value to keep and to share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from camviz.images import Fit
from camviz.merging import heights, running
from camviz.metrics import SCORES
from camviz.metrics.arcc import PARTS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.versions import versions

# The blind guesses that a map is held against: methods that know nothing of the network.
BASELINES = ("centre", "random")
RESULT = "merged"  # the merged map's key among the scores; the others are layers
TOP = 5


@dataclass(frozen=True)
class Settings:
    """All that one has to say to get the same explanation again.

    Attributes:
        model: the network's name.
        recipe: method, layers from shallow to deep, merging rule and seed.
        fit: how the picture is fitted into the network's view.
        target: the class explained, an index in the network's labels; None for the one that it finds likeliest in
            what it sees, noise included.
        noise: what is done to the view; None for nothing.
    """

    model: str
    recipe: Recipe
    fit: Fit = "crop"
    target: int | None = None
    noise: Perturbation | None = None


@dataclass(frozen=True)
class MapScores:
    """The scores of one map.

    Attributes:
        values: by the score's name in `camviz.SCORES`; None for what is undefined. What was not computed is left
            out, or None in a bundle of version 1. A bundle may hold scores that this version does not know.
        note: "" or what a reader must know.
    """

    values: dict[str, float | None]
    note: str = ""

    def __getitem__(self, name: str) -> float | None:
        return self.values.get(name)


@dataclass(frozen=True)
class LayerFacts:
    """What a reader must know of a layer's map.

    Attributes:
        size: (h, w) of the layer's activations.
        blank: why its map is blank, or "".
        negative: whether its activations fall below 0, for which Grad-CAM++ was not derived.
        twins: the other methods that give the same map there, names in `camviz.METHODS`.
    """

    size: tuple[int, int]
    blank: str = ""
    negative: bool = False
    twins: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class KnownShape:
    """Something that a picture is known to hold.

    Attributes:
        label: its class, in words.
        mask: bool (H, W), its pixels, in the picture or in a network's view of it.
    """

    label: str
    mask: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Finding:
    """An explanation of one picture, with everything needed to show it and to compute it again.

    Attributes:
        settings: what was asked for; its target is a number.
        name: what the picture is called.
        picture: the bytes that it came as; of a synthetic sample, its PNG.
        view: uint8 (h, w, 3), what the network sees, noise included.
        maps: float32 (L, h, w) in [0, 1], in the order of the recipe's layers.
        merged: float32 (h, w) in [0, 1].
        label: the class explained, in words.
        probability: the network's, of that class in this view.
        top: the likeliest classes and their probabilities, the likeliest first.
        scores: of the merged map under `RESULT`, and of each layer's map under its name; empty if none was asked for.
        baselines: the same of maps that are blind to the network, by the name of the method.
        layers: what there is to say of each layer; empty if that is unknown, as in bundles of the first version.
        merges: the merge down to each layer, float32 (L, h, w), where the rule needs more than the maps; else None, and
            `running_merges` makes them.
        shapes: what the picture is known to hold, as the network sees it: masks bool (h, w). The first one is the one
            that it is named after.
        versions: what it was computed with.
        device: where it was computed.
    """

    settings: Settings
    name: str
    picture: bytes = field(repr=False)
    view: NDArray[np.uint8] = field(repr=False)
    maps: NDArray[np.float32] = field(repr=False)
    merged: NDArray[np.float32] = field(repr=False)
    label: str
    probability: float
    top: tuple[tuple[str, float], ...] = field(repr=False)
    scores: dict[str, MapScores] = field(repr=False)
    baselines: dict[str, MapScores] = field(default_factory=dict, repr=False)
    layers: tuple[LayerFacts, ...] = field(default=(), repr=False)
    merges: NDArray[np.float32] | None = field(default=None, repr=False)
    shapes: tuple[KnownShape, ...] = field(default=(), repr=False)
    versions: dict[str, str] = field(default_factory=versions, repr=False)
    device: str = "cpu"

    @property
    def layer_titles(self) -> list[str]:
        """What each layer is called in print: its resolution, where that is known, and its name."""
        names = self.settings.recipe.layers
        sizes = [size_title(facts.size) for facts in self.layers]
        return [f"{size} · {name}" for size, name in zip(sizes, names, strict=True)] if sizes else list(names)

    @property
    def score_names(self) -> list[str]:
        """The names of its scores, those that are known in the order of the registry; of ARCC's parts without any."""
        stored = dict.fromkeys(
            name for each in (*self.scores.values(), *self.baselines.values()) for name in each.values
        ) or dict.fromkeys(PARTS)
        return [*(name for name in SCORES if name in stored), *(name for name in stored if name not in SCORES)]


def running_merges(finding: Finding) -> NDArray[np.float32]:
    """The merge down to each layer, float32 (L, h, w), in the order of the layers: the first is of all of them."""
    if finding.merges is not None:
        return finding.merges
    return running(torch.tensor(finding.maps)[:, None], finding.settings.recipe.rule)[:, 0].numpy()


def merge_ranges(finding: Finding) -> list[tuple[float, float]]:
    """What 0 and 1 of each running merge were before it was stretched; (0, 1) where that is unknown."""
    if finding.merges is not None:
        return [(0.0, 1.0)] * len(finding.merges)
    low, high = heights(torch.tensor(finding.maps)[:, None], finding.settings.recipe.rule)
    return list(zip(low[:, 0].tolist(), high[:, 0].tolist(), strict=True))


def size_title(size: tuple[int, int]) -> str:
    """A layer's resolution (h, w) in print, which does not break."""
    return f"{size[0]}\u00a0×\u00a0{size[1]}"


def result_title(recipe: Recipe) -> str:
    """What a recipe's map is called in print."""
    if len(recipe.layers) == 1:
        return "One layer"
    return "RefineCAM" if recipe.rule == "product" else f"Merged: {recipe.rule}"


def shape_to_show(shapes: Sequence[KnownShape], label: str) -> KnownShape | None:
    """Of known shapes the one that a map of this class should show, else the first; None if there is none."""
    return next((shape for shape in shapes if shape.label == label), shapes[0] if shapes else None)


def likeliest(probabilities: NDArray[np.float32], labels: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The `TOP` likeliest classes with their probabilities, from those of all classes (classes,)."""
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    return tuple((labels[index], float(probabilities[index])) for index in order)


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels (H, W, 3) without loss: what stands for the bytes of a picture that came as none."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
