"""An evaluation of metrics on pictures of one's own, piece by piece: what is measured, and the results so far."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from camviz.metrics import SCORES
from camviz.models import Net
from camviz.recipe import Recipe
from camviz.shapes import class_and_band
from camviz.trust.evaluation import seen_otherwise
from camviz.trust.ranked_maps import makers_of
from camviz.trust.sealed_study import Picture as Measured
from camviz.trust.sealed_study import Stage, deliberate, ordinary_scores, score_columns, scored, slow_scores
from camviz.trust.study_results import AS_THEY_ARE, METRICS, TRUTHS, StudyResults, with_arcc, with_derived
from camviz.workbench.cache_keys import Key, Kind
from camviz.workbench.host import telling
from camviz.workbench.maps import get_capture, is_predicted, likeliest
from camviz.workbench.networks import pass_seconds
from camviz.workbench.pictures import Explained, SeenPicture, network_key

MOST_MAPS = 17  # of a picture
OWN = "own"  # what the rows have instead of the kind of sealed samples
# The scores of each step, which is taken for all pictures before the next: a first answer comes without ROAD.
QUICK = (
    *("complexity", "entropy", "gini", "average_drop", "average_gain", "increase", "coherency", "adcc"),
    *("faithfulness", "fidelity", "infidelity"),
)
_REMOVING = ("road_raw", "morf", "lerf")
_SLOW = ("insertion", "deletion", "max_sensitivity")
_RANDOMISED = METRICS["randomisation"]
# What each step measures; "deliberate" measures other maps than the rest.
STEPS: dict[str, tuple[str, ...]] = {
    "ordinary": QUICK,
    "road": (*_REMOVING, "arcc"),
    "deliberate": (*QUICK, *_REMOVING),
    "slow": _SLOW,
    "randomisation": _RANDOMISED,
}
DELIBERATE = "deliberate"
_SHARED = 85  # passes for all of a picture's maps together
_RUN_AGAIN = 3  # passes that running a fast method again takes as long as


Columns = dict[str, NDArray[np.generic]]  # of a picture's rows, by name


@dataclass(frozen=True, eq=False)
class Case:
    """A picture with a known answer.

    Attributes:
        seen: the picture as the network sees it.
        mask: what a map should show, bool (h, w) in the network's view.
        target: the class that is explained; None for the predicted one.
        label: the class that the network has to predict, or the picture is left out; None for any.
        shape: the index of a single drawn shape in the test split; None for another picture.
        mask_key: what identifies the mask.
    """

    seen: SeenPicture
    mask: NDArray[np.bool_] = field(repr=False)
    target: int | None = None
    label: int | None = None
    shape: int | None = None
    mask_key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Every look into the cache needs it.
        object.__setattr__(self, "mask_key", hashlib.sha256(self.mask.tobytes()).hexdigest())

    @property
    def explained(self) -> Explained:
        """The picture with the class that is explained."""
        return self.seen.explaining(likeliest(self.seen) if self.target is None else self.target)

    @property
    def left_out(self) -> str:
        """Why it is left out, or ""."""
        return seen_otherwise(self.seen.net, likeliest(self.seen), self.label)


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """What is measured on which pictures; each piece is cached by the pictures' host, and kept as long as this lives.

    Attributes:
        net: the network.
        cases: the pictures.
        recipes: the maps of each picture, by name.
        steps: names in `STEPS`, "ordinary" first.
        truths: what may say which map is better, the usual one first.
    """

    net: Net
    cases: tuple[Case, ...]
    recipes: Mapping[str, Recipe]
    steps: tuple[str, ...]
    truths: tuple[str, ...] = TRUTHS
    # Large results of later pictures make the host drop those of earlier ones.
    _reasons: dict[Case, str] = field(default_factory=dict, init=False, repr=False)
    _measured: dict[tuple[Case, str], Columns] = field(default_factory=dict, init=False, repr=False)

    @property
    def key(self) -> Hashable:
        """The run's identity."""
        cases = tuple((case.seen.seen_key, case.mask_key, case.target, case.label) for case in self.cases)
        return network_key(self.net), cases, tuple(self.recipes.items()), self.steps

    @property
    def total(self) -> int:
        """The number of pieces: each step of each picture."""
        return len(self.cases) * len(self.steps)

    @property
    def done(self) -> int:
        """How many of them are known; a picture that is left out has none left to do."""
        return sum(self._is_known(case, step) for step in self.steps for case in self.cases)

    def go_on(self, seconds: float) -> bool:
        """Measure for about this many seconds, at least one piece; return whether there is more to do."""
        until, worked = time.monotonic() + seconds, False
        for step in self.steps:
            for case in self.cases:
                if self._is_known(case, step):
                    continue
                if worked and time.monotonic() > until:
                    return True
                self._reasons[case] = case.left_out
                if not self._reasons[case]:
                    self._values(case, step)
                worked = True
        return False

    def expected_seconds(self) -> float:
        """Approximately how long all of it takes."""
        passes = 0
        for step in self.steps:
            maps = len(self.recipes) * (1 if step in AS_THEY_ARE else 2)  # as they are, and at equal area
            own = [SCORES[name] for name in STEPS[step] if name != "arcc"]
            passes += maps * max((score.cost for score in own if score.cost != _SHARED), default=0)
            passes += maps * _RUN_AGAIN * sum(score.runs_method and score.cost == 0 for score in own)
            passes += _SHARED * any(score.cost == _SHARED for score in own)
        host = self.cases[0].seen.host
        return len(self.cases) * passes * pass_seconds(host, self.net)

    def results(self) -> StudyResults:
        """Everything known so far; without rows if there is nothing yet."""
        samples = pd.DataFrame(
            [
                {
                    "picture": number,
                    "left_out": self._reason(case),
                    "network": self.net.info.name,
                    "kind": OWN,
                    **({} if case.shape is None else {"band": class_and_band(case.shape)[1]}),
                }
                for number, case in enumerate(self.cases)
                if self._reason(case) is not None
            ]
        )
        metrics = {step: STEPS[step] for step in self.steps if step != DELIBERATE}
        rows = {step: self._rows(step) for step in self.steps}
        if rows["ordinary"].empty:  # without the truths that it holds, other steps say nothing
            return StudyResults(samples, {}, metrics, self.truths)
        if "road" in rows and not rows["road"].empty:
            keys = ["network", "kind", "picture", "map", "equal_area"]
            parts = rows["ordinary"][[*keys, "coherency", "complexity"]]
            rows["road"] = with_arcc(rows["road"].merge(parts, on=keys)).drop(columns=["coherency", "complexity"])
        known = {step: table for step, table in rows.items() if not table.empty}
        if DELIBERATE in known:
            known[DELIBERATE] = with_derived(known[DELIBERATE])
        return StudyResults(samples, known, metrics, self.truths)

    def _rows(self, step: str) -> pd.DataFrame:
        tables = []
        for number, case in enumerate(self.cases):
            if self._is_measured(case, step):
                values = pd.DataFrame(self._values(case, step))
                tables.append(values.assign(picture=number, network=self.net.info.name, kind=OWN))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _reason(self, case: Case) -> str | None:
        """Why a picture is left out, or ""; None as long as its prediction is unknown."""
        if case not in self._reasons and is_predicted(case.seen):
            self._reasons[case] = case.left_out
        return self._reasons.get(case)

    def _is_known(self, case: Case, step: str) -> bool:
        return bool(self._reason(case)) or self._is_measured(case, step)

    def _is_measured(self, case: Case, step: str) -> bool:
        if (case, step) in self._measured:
            return True
        return self._reason(case) == "" and case.seen.host.results.has(self._cache_key(case, step))

    def _cache_key(self, case: Case, step: str) -> Key:
        recipes = () if step == DELIBERATE else tuple(self.recipes.items())  # its maps are always the same
        return case.explained.cache_key(Kind.EVALUATED, step, recipes, case.mask_key)

    def _values(self, case: Case, step: str) -> Columns:
        """The columns of a picture's rows."""

        def compute() -> Columns:
            table = _measure(case, step, self.recipes)
            return {str(name): column.to_numpy() for name, column in table.items()}

        if (case, step) not in self._measured:
            self._measured[case, step] = case.seen.host.kept(self._cache_key(case, step), compute)
        return self._measured[case, step]


def _measure(case: Case, step: str, recipes: Mapping[str, Recipe]) -> pd.DataFrame:
    of = case.explained
    cap, host = get_capture(of), of.host
    mask = torch.from_numpy(case.mask)[None].to(cap.x.device)
    stage = Stage(
        step,
        1,
        deliberate if step == DELIBERATE else lambda _: makers_of(recipes),
        _SCORES[step],
        step not in AS_THEY_ARE,
    )
    with host.working() as give_way:
        seen = Measured(of.net, cap.x, mask, cap.logits, cap.target, of.picture.title, telling(None, give_way))
        return scored(seen, stage)


_SCORES = {
    "ordinary": partial(score_columns, (*QUICK, *TRUTHS)),
    "road": partial(score_columns, _REMOVING),
    "deliberate": ordinary_scores,
    "slow": slow_scores,
    "randomisation": partial(score_columns, _RANDOMISED),
}


def too_many_maps(recipes: Sequence[str]) -> str:
    """What to do if a picture has too many maps, or ""."""
    if len(recipes) <= MOST_MAPS:
        return ""
    return (
        f"That makes {len(recipes)} maps of each picture, and the limit is {MOST_MAPS}: choose fewer methods, layers "
        "or merging rules."
    )
