"""Sweeps over pictures, explanations and noise that can be stopped and resumed, and their averages per picture."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from camviz.images import Fit
from camviz.methods import Progress
from camviz.models import Net
from camviz.noise.measure import Perturbation, as_table, summary
from camviz.recipe import Recipe
from camviz.workbench.host import PlainHost
from camviz.workbench.maps import extra_layers, likeliest
from camviz.workbench.noisy_copies import outcomes
from camviz.workbench.pictures import SeenPicture, pixels_as_picture

# Copies measured between two possible stops. Fixed, so that a resumed sweep gives the same results as an unbroken one.
PART = 16


@dataclass(frozen=True, eq=False)
class Case:
    """A picture in a sweep: its name, uint8 (H, W, 3), and how it is fitted into the network's view."""

    name: str
    image: NDArray[np.uint8] = field(repr=False)
    fit: Fit = "crop"


def parts(points: Sequence[Perturbation], size: int = PART) -> list[tuple[Perturbation, ...]]:
    """Split a picture's perturbations into pieces; a sweep can stop between them."""
    return [tuple(points[start : start + size]) for start in range(0, len(points), size)]


def sweep(
    net: Net,
    cases: Sequence[Case],
    recipes: Mapping[str, Recipe],
    points: Sequence[Perturbation],
    done: Collection[tuple[str, int]] = (),
    progress: Progress | None = None,
) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    """Apply every perturbation to each picture, and measure every explanation.

    Args:
        net: the network.
        cases: the pictures, with unique names.
        recipes: how to explain, by name.
        points: the perturbations.
        done: keys of pieces that were yielded before; these are skipped.
        progress: called with (perturbed copies done, total); an exception from it stops the work.

    Yields:
        for each piece its key (picture name, number) and its rows: "image", "method", then the fields of `Outcome`.

    Raises:
        ValueError: two pictures with the same name, or as `camviz.robustness`.
    """
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"several pictures are called {', '.join(sorted(twice))}; give each a unique name")
    pieces, more = parts(points), extra_layers(net, recipes.values())
    for number, case in enumerate(cases):
        seen = SeenPicture(PlainHost(), pixels_as_picture(case.image, case.name), net, case.fit, more_layers=more)
        for index, piece in enumerate(pieces):
            if (case.name, index) in done:
                continue
            piece_progress = _within(
                progress, number * len(points) + index * PART, len(piece), len(cases) * len(points)
            )
            explained = seen.explaining(likeliest(seen))
            yield (case.name, index), rows(case.name, outcomes(explained, recipes, piece, progress=piece_progress))


def _within(progress: Progress | None, before: int, count: int, total: int) -> Progress | None:
    """Convert progress within a piece of `count` copies (fewer may be computed) to progress within the sweep."""
    return None if progress is None else lambda done, computed: progress(before + count * done // computed, total)


def rows(image: str, outcomes: Mapping[str, Sequence]) -> pd.DataFrame:
    """The outcomes of one picture as a table, with columns for the picture's and each explanation's name."""
    tables = [as_table(results).assign(image=image, method=name) for name, results in outcomes.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["image", "method", *table.columns.drop(["image", "method"])]]


def per_image(table: pd.DataFrame) -> pd.DataFrame:
    """Average per picture and explanation: levels and seeds are not independent samples.

    Args:
        table: the rows that `sweep` yields, concatenated.

    Returns:
        one row per explanation and picture (index "method", "image"): consistency, responsiveness and rm, NaN where
        undefined; the share of copies that flipped; and these copies' overlap for the class predicted on the clean
        picture.
    """
    averages = {}
    for key, group in table.groupby(["method", "image"], sort=False):
        flipped = group[group.flipped]
        averages[key] = (*summary(group), float(group.flipped.mean()), float(flipped.overlap_same.mean()))
    columns = ["consistency", "responsiveness", "rm", "flips", "same_class"]
    index = pd.MultiIndex.from_tuples(list(averages), names=["method", "image"])
    return pd.DataFrame(list(averages.values()), index=index, columns=columns)
