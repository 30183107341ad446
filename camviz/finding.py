"""One finding: a picture, the settings that explain it, and all that came out, as one value to keep and to share."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from camviz import noise
from camviz.capture import Capture, capture
from camviz.explain import Recipe, explain
from camviz.images import Fit, load_image
from camviz.methods import METHODS, Progress, cam_with_notes
from camviz.methods.registry import shifted
from camviz.metrics.arcc import Arcc, Explain, arccs
from camviz.models import Net
from camviz.refine import refine
from camviz.robustness import Perturbation
from camviz.versions import versions

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
class Score:
    """ARCC of one map and its parts, as in `camviz.metrics.arcc.Arcc`; None for what was not computed.

    Attributes:
        arcc: the harmonic mean of coherency, 1 - complexity and road.
        road: clip(2 road_raw, 0, 1).
        road_raw: ROAD before it is clipped, in [-0.5, 0.5].
        coherency: (Pearson + 1) / 2.
        complexity: the mean of the map; low is good.
        note: "" or what a reader must know.
    """

    arcc: float | None
    road: float | None
    road_raw: float | None
    coherency: float | None
    complexity: float | None
    note: str = ""


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
    scores: dict[str, Score] = field(repr=False)
    versions: dict[str, str] = field(default_factory=versions, repr=False)
    device: str = "cpu"


def find(
    net: Net, data: bytes, name: str, settings: Settings, progress: Progress | None = None, scores: bool = True
) -> Finding:
    """Explain a picture from its bytes, and score the explanation.

    Args:
        net: the network; its name replaces the one in the settings.
        data: the picture's bytes, as `camviz.load_image` reads them.
        name: what the picture is called.
        settings: what is asked for. The layers come back in the order in which the network reaches them.
        progress: called with (passes done, all passes) by the methods that run the network again, through maps and
            scores; what it raises stops the work.
        scores: whether to compute ARCC. It runs the whole method again, once for the merged map and once more for
            the layers.

    Raises:
        ImageError: the bytes are no picture.
        ValueError: an unknown method, layer, rule, fit or kind of noise, or a target that the network has not.
    """
    view = _seen(net, data, settings)
    recipe = settings.recipe
    cap = capture(net.module, net.inputs(view[None]), settings.target, recipe.layers)
    order = sorted(range(len(cap.layers)), key=lambda index: cap.reached[index])
    recipe = replace(recipe, layers=tuple(cap.layers[index] for index in order))
    cap = cap.select(recipe.layers)
    told = _shared(cap, recipe, progress, scores)
    maps, notes = cam_with_notes(cap, recipe.method, recipe.seed, told(0))
    merged = refine(maps, recipe.rule)
    target = int(cap.target)
    probabilities = cap.logits[0].float().softmax(0).nan_to_num(0).cpu()
    return Finding(
        settings=replace(settings, model=net.info.name, recipe=recipe, target=target),
        name=name,
        picture=data,
        view=view,
        maps=maps[:, 0].cpu().numpy(),
        merged=merged[0].cpu().numpy(),
        label=net.labels[target],
        probability=float(probabilities[target]),
        top=likeliest(probabilities.numpy(), net.labels),
        scores=_scored(cap, maps, merged, recipe, [note for (note,) in notes], told) if scores else {},
        device=str(net.device),
    )


def likeliest(probabilities: NDArray[np.float32], labels: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The `TOP` likeliest classes with their probabilities, from those of all classes (classes,)."""
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    return tuple((labels[index], float(probabilities[index])) for index in order)


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels (H, W, 3) without loss: what stands for the bytes of a picture that came as none."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _seen(net: Net, data: bytes, settings: Settings) -> NDArray[np.uint8]:
    """What the network sees of a picture, uint8 (h, w, 3); an attack is against the class found in the clean view."""
    view = net.view(load_image(data), settings.fit)
    how = settings.noise
    if how is None:
        return view
    attacked = None
    if how.kind in noise.KINDS and noise.KINDS[how.kind].needs_net:
        with torch.inference_mode():
            attacked = int(net.module(net.inputs(view[None])).argmax())
    return noise.apply(view, how.kind, how.level, how.seed, net, attacked)


def _shared(cap: Capture, recipe: Recipe, progress: Progress | None, scores: bool) -> Callable[[int], Progress | None]:
    """How the passes done before a step count into a progress over all: the maps, and twice more to score them."""
    method = METHODS.get(recipe.method)
    once = sum(method.runs(each) for each in cap.activations) if method else 0
    return lambda before: shifted(progress, before, once * (1 + 2 * scores))


def _scored(
    cap: Capture,
    maps: Tensor,
    merged: Tensor,
    recipe: Recipe,
    notes: Sequence[str],
    told: Callable[[int], Progress | None],
) -> dict[str, Score]:
    """Score the merged map (1, H, W) and those of the layers (L, 1, H, W), each by the recipe that made it."""
    alone = [replace(recipe, layers=(layer,)) for layer in recipe.layers]
    runs = [METHODS[recipe.method].runs(each) for each in cap.activations]
    starts = [sum(runs), *(2 * sum(runs) + sum(runs[:index]) for index in range(len(runs)))]
    explains: list[Explain] = [
        partial(_again, cap, each, told(start)) for each, start in zip((recipe, *alone), starts, strict=True)
    ]
    found = arccs(
        cap.module,
        cap.x,
        torch.cat([merged[None], maps]),
        cap.target,
        explains=explains,
        seed=recipe.seed,
        logits=cap.logits,
    )
    return {
        key: as_score(each, note) for key, each, note in zip((RESULT, *recipe.layers), found, ("", *notes), strict=True)
    }


def _again(cap: Capture, recipe: Recipe, progress: Progress | None, x: Tensor, target: Tensor) -> Tensor:
    return explain(cap.module, x, target, recipe, progress)


def as_score(arcc: Arcc, note: str = "") -> Score:
    """The numbers of one map's ARCC, with one more note before its own."""
    parts = torch.stack([arcc.arcc, arcc.road, arcc.road_raw, arcc.coherency, arcc.complexity]).flatten().tolist()
    whole, road, road_raw, coherency, complexity = [part if math.isfinite(part) else None for part in parts]
    return Score(whole, road, road_raw, coherency, complexity, "; ".join(filter(None, (note, *arcc.notes))))
