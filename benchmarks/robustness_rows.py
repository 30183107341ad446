"""Reads the results of `robustness`: a table of perturbed copies for each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from camviz.study import per_image

REFINED = "RefineCAM"
# The columns that identify a row of a model's file.
KEY = ["image", "method", "kind", "level", "seed"]
# Explanations that never differ by more than this are shown and tested as one: the last digit of a map can decide
# near-ties of segments.
SAME = 1e-3


@dataclass(frozen=True, eq=False)
class Study:
    """The measurements of one model.

    Attributes:
        model: its name.
        table: a row for each perturbed copy and explanation.
        twins: for each explanation shown, the other ones that are the same on every picture.
    """

    model: str
    table: pd.DataFrame = field(repr=False)
    twins: dict[str, list[str]]

    @property
    def names(self) -> list[str]:
        """The explanations that are shown."""
        return list(self.twins)

    @cached_property
    def values(self) -> pd.DataFrame:
        """One value per picture: see `camviz.study.per_image`."""
        return per_image(self.table)

    def of(self, measure: str, names: Sequence[str] | None = None) -> pd.DataFrame:
        """One measure, with a row per picture and a column per explanation."""
        return self.values[measure].unstack("method", sort=False)[names or self.names]

    def label(self, name: str) -> str:
        """The names of an explanation and its twins."""
        return " = ".join([name, *self.twins[name]])


def read(file: Path) -> pd.DataFrame:
    """The rows of a model's file."""
    return pd.read_csv(file, dtype={"image": str})


def load(file: Path) -> Study:
    """The measurements in a model's file."""
    rows = read(file)
    return Study(file.stem, rows, _twins(per_image(rows)))


def _twins(values: pd.DataFrame) -> dict[str, list[str]]:
    """Group explanations that are the same on every picture under the first of them."""
    groups: dict[str, list[str]] = {}
    measured = {str(name): group.to_numpy() for name, group in values.groupby("method", sort=False)}
    for name, numbers in measured.items():
        same = (other for other in groups if np.allclose(measured[other], numbers, rtol=0, atol=SAME, equal_nan=True))
        first = next(same, None)
        if first is None:
            groups[name] = []
        else:
            groups[first].append(name)
    return groups


def matched(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean overlap of kept and of changed copies at the kinds and levels with both; a row per method."""
    split = rows.assign(kept=rows.overlap.where(~rows.flipped), changed=rows.overlap.where(rows.flipped))
    cells = split.groupby(["method", "kind", "level"])[["kept", "changed"]].mean().dropna()
    return cells.groupby("method").mean()
