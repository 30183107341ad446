"""The figure of the `robustness` report: means and intervals, one row per model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

import camviz
from benchmarks.robustness_rows import Study
from camviz.noise.rank_overlap import chance
from camviz.statistics import bootstrap

_TITLES = {"consistency": "Consistency C", "responsiveness": "Responsiveness R", "rm": "RM = C · R"}
_COLOURS = ("#0072B2", "#D55E00", "#009E73")  # colour-blind safe (Okabe and Ito)


def draw(studies: Sequence[Study]) -> mpl.figure.Figure:
    """C, R and RM of every explanation; dotted lines: the values for arbitrary rankings."""
    figure, axes = plt.subplots(
        len(studies), len(_TITLES), figsize=(4 * len(_TITLES), 2.9 * len(studies)), squeeze=False, sharey="row",
        layout="constrained",
    )  # fmt: skip
    for row, study in zip(axes, studies, strict=True):
        floor = float(study.table.groupby("image").segments.first().map(chance).mean())
        arbitrary = (floor, 1 - floor, floor * (1 - floor))
        for axis, measure, colour, expected in zip(row, _TITLES, _COLOURS, arbitrary, strict=True):
            _dots(axis, study, measure, colour)
            axis.axvline(expected, color="grey", linestyle=":")
            axis.set(xlim=(0, 1), title=f"{_TITLES[measure]}, {_title(study.model)}")
            axis.grid(axis="x", alpha=0.3)
        row[0].set_yticks(range(len(study.names)), [study.label(name).replace(" = ", " =\n") for name in study.names])
        row[0].set_ylim(len(study.names) - 0.4, -0.6)
    return figure


def _dots(axis: Any, study: Study, measure: str, colour: str) -> None:
    for place, name in enumerate(study.names):
        interval = bootstrap(study.of(measure)[name])
        axis.plot([interval.low, interval.high], [place] * 2, color=colour, linewidth=2)
        axis.plot(interval.value, place, "o", color=colour, markersize=6)


def _title(model: str) -> str:
    return next(info.title for info in camviz.list_models() if info.name == model)
