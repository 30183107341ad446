"""What is known of a synthetic sample: its mask as the model sees it, as an outline, and the scores against it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from camviz import shapes
from camviz.explain import Recipe
from camviz.metrics.truth import TRUTH
from camviz.ui.compute import Scene, cached, merged


@dataclass(frozen=True, eq=False)
class Truth:
    """The shape that a map of this scene should show.

    Attributes:
        label: its class, in words.
        explained: whether that is the class explained; if not, the map has no reason to show it.
        mask: bool (h, w), as the model sees it.
        outline: every shape's outline as a data URI of an SVG, the other shapes' dashed.
    """

    label: str
    explained: bool
    mask: NDArray[np.bool_] = field(repr=False)
    outline: str = field(repr=False)


def get_truth(scene: Scene) -> Truth | None:
    """The shape of the class explained, else the sample's first; None where nothing is known or left in view."""

    def compute() -> Truth | None:
        sample = scene.picture.sample
        if sample is None:
            return None
        target = scene.net.labels[scene.target]
        names = [shapes.CLASSES[shape.label] for shape in sample.shapes]
        masks = [scene.net.view(shape.mask, scene.fit) for shape in sample.shapes]
        chosen = names.index(target) if target in names else 0
        if not masks[chosen].any():
            return None
        outline = "".join(outline_path(mask, dashed=number != chosen) for number, mask in enumerate(masks))
        return Truth(names[chosen], target in names, masks[chosen], svg_uri(outline, masks[chosen].shape))

    return cached(scene, "truth", compute=compute)


def get_truth_scores(scene: Scene, recipe: Recipe) -> dict[str, float]:
    """Every score in TRUTH of a recipe's map, by name; none where no mask is known."""

    def compute() -> dict[str, float]:
        truth = get_truth(scene)
        if truth is None:
            return {}
        map_ = merged(scene, recipe)
        mask = torch.from_numpy(truth.mask)[None].to(map_.device)
        return {name: float(score(map_, mask)) for name, score in TRUTH.items()}

    return cached(scene, "truth scores", recipe, compute=compute)


def outline_path(mask: NDArray[np.bool_], dashed: bool = False) -> str:
    """A mask's outline (h, w) as SVG paths, dark under light so that it shows on every map."""
    rings = find_contours(np.pad(mask, 1).astype(float), 0.5)
    # Contours run through pixel centres of the padded mask, (row, column): half a pixel from its corner.
    smooth: list[NDArray[np.float64]] = [approximate_polygon(ring - 0.5, 0.4) for ring in rings]
    d = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in ring) + "Z" for ring in smooth)
    dash = " stroke-dasharray='4 3'" if dashed else ""
    return "".join(
        f"<path d='{d}' fill='none' stroke='{colour}' stroke-width='{width}' vector-effect='non-scaling-stroke'{dash}/>"
        for colour, width in (("#000", 3), ("#fff", 1.4))
    )


def svg_uri(body: str, size: tuple[int, ...]) -> str:
    """A data URI of an SVG, drawn in the pixels of a picture (h, w)."""
    text = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {size[1]} {size[0]}'>{body}</svg>"
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
