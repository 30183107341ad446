"""One result: a picture, the settings that explain it and everything computed, as one value to keep and share."""

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

# The blind guesses that a map is compared with: methods that ignore the network.
BASELINES = ("centre", "random")
RESULT = "merged"  # the merged map's key among the scores; the others are layers
TOP = 5


@dataclass(frozen=True)
class Settings:
    """Everything needed to get the same explanation again.

    Attributes:
        model: the network's name.
        recipe: method, layers from finest to deepest, merging rule and seed.
        fit: how the picture is fitted into the network's view.
        target: the class to explain, an index in the network's labels; None for the class predicted for the view, noise
            included.
        noise: the perturbation of the view; None for none.
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
        values: by the score's name in `camviz.SCORES`; None if undefined. Scores that were not computed are missing.
            A bundle may hold scores that this version does not know.
        note: a warning for the reader, or "".
    """

    values: dict[str, float | None]
    note: str = ""

    def __getitem__(self, name: str) -> float | None:
        return self.values.get(name)


@dataclass(frozen=True)
class LayerFacts:
    """What a reader must know about a layer's map.

    Attributes:
        size: (h, w) of the layer's activations.
        blank: why its map is blank, or "".
        negative: whether some activations are below 0, a case that Grad-CAM++ was not derived for.
        twins: other methods that give the same map for this layer, names in `camviz.METHODS`.
    """

    size: tuple[int, int]
    blank: str = ""
    negative: bool = False
    twins: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class KnownShape:
    """A shape that a picture is known to contain.

    Attributes:
        label: its class, in words.
        mask: bool (H, W), its pixels in the picture or in a network's view of it.
        is_tag: whether it is not a shape itself, but a tag that tells a shape's class.
    """

    label: str
    mask: NDArray[np.bool_] = field(repr=False)
    is_tag: bool = False

    @property
    def noun(self) -> str:
        """What a sentence calls it."""
        return "tag" if self.is_tag else self.label


@dataclass(frozen=True, eq=False)
class Finding:
    """An explanation of one picture, with everything needed to show it and to compute it again.

    Attributes:
        settings: the settings; their target is a number.
        name: the picture's name.
        picture: the picture's original bytes; a PNG for a synthetic sample.
        view: uint8 (h, w, 3), what the network sees, noise included.
        maps: float32 (L, h, w) in [0, 1], in the order of the recipe's layers.
        merged: float32 (h, w) in [0, 1].
        label: the explained class, in words.
        probability: the network's probability of that class in this view.
        top: the likeliest classes and their probabilities, the likeliest first.
        scores: of the merged map under `RESULT`, and of each layer's map under its name; empty if none were requested.
        baselines: the scores of blind guesses, by the name of the method.
        layers: facts about each layer; empty if unknown, as in bundles of version 1.
        merges: the merge down to each layer, float32 (L, h, w), if the rule needs more than the maps; else None, and
            `running_merges` computes them.
        shapes: the shapes that the picture is known to contain, as the network sees them: masks bool (h, w). The
            picture is named after the first.
        floor: the probability of that class with nothing left of the picture; None if unknown.
        versions: the versions of the software that computed it.
        device: the device that computed it.
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
    floor: float | None = None
    versions: dict[str, str] = field(default_factory=versions, repr=False)
    device: str = "cpu"

    @property
    def layer_titles(self) -> list[str]:
        """Each layer's title: its resolution, if known, and its name."""
        names = self.settings.recipe.layers
        sizes = [size_title(facts.size) for facts in self.layers]
        return [f"{size} · {name}" for size, name in zip(sizes, names, strict=True)] if sizes else list(names)

    @property
    def score_names(self) -> list[str]:
        """The names of its scores, known ones in the order of the registry; the parts of ARCC if it has no scores."""
        stored = dict.fromkeys(
            name for scores in (*self.scores.values(), *self.baselines.values()) for name in scores.values
        ) or dict.fromkeys(PARTS)
        return [*(name for name in SCORES if name in stored), *(name for name in stored if name not in SCORES)]


def running_merges(finding: Finding) -> NDArray[np.float32]:
    """The merge down to each layer, float32 (L, h, w), in the order of the layers: the first merges all of them."""
    if finding.merges is not None:
        return finding.merges
    return running(torch.tensor(finding.maps)[:, None], finding.settings.recipe.rule)[:, 0].numpy()


def merge_ranges(finding: Finding) -> list[tuple[float, float]]:
    """The values that became 0 and 1 when each running merge was stretched; (0, 1) if unknown."""
    if finding.merges is not None:
        return [(0.0, 1.0)] * len(finding.merges)
    low, high = heights(torch.tensor(finding.maps)[:, None], finding.settings.recipe.rule)
    return list(zip(low[:, 0].tolist(), high[:, 0].tolist(), strict=True))


def size_title(size: tuple[int, int]) -> str:
    """A layer's resolution (h, w) as text without line breaks."""
    return f"{size[0]}\u00a0×\u00a0{size[1]}"


def result_title(recipe: Recipe) -> str:
    """The title of a recipe's map."""
    merged = "RefineCAM" if recipe.rule == "product" else f"Merged: {recipe.rule}"
    return averaged("One layer" if len(recipe.layers) == 1 else merged, recipe)


def averaged(title: str, recipe: Recipe) -> str:
    """A map's title, which says if it is averaged with that of the mirrored picture."""
    return f"{title} (mirror-averaged)" if recipe.mirror_averaged else title


def shape_to_show(shapes: Sequence[KnownShape], label: str) -> KnownShape | None:
    """The known shape that a map of this class should show, else the first; None if there are none."""
    return next((shape for shape in shapes if shape.label == label), shapes[0] if shapes else None)


def likeliest(probabilities: NDArray[np.float32], labels: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The `TOP` likeliest classes with their probabilities, from the probabilities of all classes (classes,)."""
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    return tuple((labels[index], float(probabilities[index])) for index in order)


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels (H, W, 3) as PNG, for pictures that have no original bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
