"""What `robustness` measured, read back: a table of perturbed copies for each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from camviz.study import per_image

REFINED = "RefineCAM"
# What a row of a model's file is about: there are no two with the same.
KEY = ["image", "method", "kind", "level", "seed"]
# Explanations that differ by no more on any picture are shown, and tested, as one: near-ties of segments may turn
# with the last digit of a map.
SAME = 1e-3


@dataclass(frozen=True, eq=False)
class Study:
    """What was measured with one model.

    Attributes:
        model: its name.
        table: a row for each perturbed copy and explanation.
        twins: for each explanation shown, those that are the same on every picture.
    """

    model: str
    table: pd.DataFrame = field(repr=False)
    twins: dict[str, list[str]]

    @property
    def names(self) -> list[str]:
        """The explanations shown."""
        return list(self.twins)

    @cached_property
    def values(self) -> pd.DataFrame:
        """One value a picture: see `camviz.study.per_image`."""
        return per_image(self.table)

    def of(self, measure: str, names: Sequence[str] | None = None) -> pd.DataFrame:
        """One measure, a row a picture and a column an explanation."""
        return self.values[measure].unstack("method", sort=False)[names or self.names]

    def label(self, name: str) -> str:
        """An explanation and those that are the same."""
        return " = ".join([name, *self.twins[name]])


def read(file: Path) -> pd.DataFrame:
    """The rows of a model's file."""
    return pd.read_csv(file, dtype={"image": str})


def load(file: Path) -> Study:
    """What a model's file tells."""
    rows = read(file)
    return Study(file.stem, rows, _twins(per_image(rows)))


def _twins(values: pd.DataFrame) -> dict[str, list[str]]:
    """Group the explanations that are the same on every picture, under the first of them."""
    found: dict[str, list[str]] = {}
    measured = {str(name): group.to_numpy() for name, group in values.groupby("method", sort=False)}
    for name, numbers in measured.items():
        same = (one for one in found if np.allclose(measured[one], numbers, rtol=0, atol=SAME, equal_nan=True))
        first = next(same, None)
        if first is None:
            found[name] = []
        else:
            found[first].append(name)
    return found


def matched(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean overlap of kept and of changed copies at equal kind and level, where both occur; a row a method."""
    apart = rows.assign(kept=rows.overlap.where(~rows.flipped), changed=rows.overlap.where(rows.flipped))
    cells = apart.groupby(["method", "kind", "level"])[["kept", "changed"]].mean().dropna()
    return cells.groupby("method").mean()
