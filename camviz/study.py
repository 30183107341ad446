"""Sweeps over pictures, explanations and noise, which can be stopped and gone on with; and one value a picture."""

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

# Copies measured between two stops. Fixed, so that a sweep that was stopped gives what an unbroken one gives.
PART = 16


@dataclass(frozen=True, eq=False)
class Case:
    """A picture in a sweep: its name, uint8 (H, W, 3), and how it is fitted into the network's view."""

    name: str
    image: NDArray[np.uint8] = field(repr=False)
    fit: Fit = "crop"


def parts(points: Sequence[Perturbation], size: int = PART) -> list[tuple[Perturbation, ...]]:
    """Cut the perturbations of a picture into pieces between which a sweep can stop."""
    return [tuple(points[start : start + size]) for start in range(0, len(points), size)]


def sweep(
    net: Net,
    cases: Sequence[Case],
    recipes: Mapping[str, Recipe],
    points: Sequence[Perturbation],
    done: Collection[tuple[str, int]] = (),
    progress: Progress | None = None,
) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    """Perturb each picture in every way, and measure every explanation.

    Args:
        net: the network.
        cases: the pictures, their names all different.
        recipes: how to explain, by name.
        points: the perturbations.
        done: pieces that are known already, as yielded before; these are passed over.
        progress: called with (perturbed copies done, all of them); what it raises stops the work.

    Yields:
        piece by piece, which it is (picture, number), and its rows: `Outcome`'s fields after "image" and "method".

    Raises:
        ValueError: two pictures of the same name, or what `camviz.robustness` raises.
    """
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two pictures are called {', '.join(sorted(twice))}; give each its own name")
    pieces, more = parts(points), extra_layers(net, recipes.values())
    for number, case in enumerate(cases):
        seen = SeenPicture(PlainHost(), pixels_as_picture(case.image, case.name), net, case.fit, more_layers=more)
        for index, piece in enumerate(pieces):
            if (case.name, index) in done:
                continue
            told = _within(progress, number * len(points) + index * PART, len(piece), len(cases) * len(points))
            of = seen.explaining(likeliest(seen))
            yield (case.name, index), rows(case.name, outcomes(of, recipes, piece, progress=told))


def _within(progress: Progress | None, before: int, count: int, total: int) -> Progress | None:
    """Make the progress within a piece of `count` copies, of which fewer may be computed, one within the sweep."""
    return None if progress is None else lambda done, of: progress(before + count * done // of, total)


def rows(image: str, outcomes: Mapping[str, Sequence]) -> pd.DataFrame:
    """The outcomes of one picture as a table, with its name and each explanation's."""
    tables = [as_table(found).assign(image=image, method=name) for name, found in outcomes.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["image", "method", *table.columns.drop(["image", "method"])]]


def per_image(table: pd.DataFrame) -> pd.DataFrame:
    """One value a picture and explanation: levels and seeds are no independent samples, so they are averaged.

    Args:
        table: what `sweep` yields, put together.

    Returns:
        one row an explanation and picture (index "method", "image"): consistency, responsiveness, rm, NaN where
        undefined, the share of copies that flipped, and the overlap on these for the class predicted at first.
    """
    found = {}
    for key, group in table.groupby(["method", "image"], sort=False):
        flipped = group[group.flipped]
        found[key] = (*summary(group), float(group.flipped.mean()), float(flipped.overlap_same.mean()))
    columns = ["consistency", "responsiveness", "rm", "flips", "same_class"]
    index = pd.MultiIndex.from_tuples(list(found), names=["method", "image"])
    return pd.DataFrame(list(found.values()), index=index, columns=columns)
