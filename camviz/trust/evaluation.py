"""Hold metrics against a known truth: score many maps of each picture, and see which metric finds the better ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camviz.images import Fit
from camviz.methods.registry import Progress
from camviz.metrics import SCORES, Evidence
from camviz.metrics.evidence import ExplainOn
from camviz.metrics.mask_scores import mask_scores
from camviz.models import Net
from camviz.network.logits import network_logits
from camviz.recipe import Recipe
from camviz.trust.ordering import MARGIN, kendall, pair_accuracy
from camviz.trust.ranked_maps import at_equal_area, default_recipes, makers_of
from camviz.trust.resampling import interval

# What is scored unless something else is asked for: what takes few passes for each map, cheapest first.
DEFAULT_SCORES = (
    *("complexity", "entropy", "gini", "average_drop", "average_gain", "coherency", "adcc"),
    *("faithfulness", "fidelity", "infidelity", "road_raw", "road", "morf", "lerf", "arcc"),
)
# The better of two maps is the one with the higher of this score against the true mask: the usual one, and the share of
# heat inside, for masks that a map should not fill.
TRUTH, MASS = "best_iou", "mass"
TRUST_COLUMNS = ("pair_accuracy", "low", "high", "tau", "tau_low", "tau_high", "pictures")


class Case(Protocol):
    """A picture with a known truth, as `camviz.shapes.sample` gives them.

    A case can say more, as a mosaic does: `target`, the class to explain whatever the network predicts (None: the
    predicted one), and `truth`, the score against its mask that says which map is better ("best_iou" if it says none).
    """

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture, uint8 (H, W, 3)."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """What a map should show, bool (H, W)."""

    @property
    def label(self) -> int | None:
        """The class that the network has to predict, an index into its labels; None for any."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics held against the truth.

    Attributes:
        table: a row for each picture and map: "network", "picture" (the case's number), "map", "method", "layers",
            "rule", "mirror_averaged", "probability" of the explained class, and a column for each score, those against
            the mask included (NaN where undefined).
        trust: what `trust` makes of it: a row for each score.
        left_out: the numbers of cases left out, each with the reason.
        truth: the column of `table` that says which map is better: "best_iou" or "mass".
    """

    table: pd.DataFrame
    trust: pd.DataFrame
    left_out: list[tuple[int, str]]
    truth: str


def evaluate(
    net: Net,
    cases: Sequence[Case],
    recipes: Mapping[str, Recipe] | None = None,
    scores: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    fit: Fit = "crop",
    same_area: bool = False,
    truth: str | None = None,
) -> Evaluation:
    """Score many maps of each picture, and find out how often each score prefers the better of two.

    A case whose label the network does not predict is left out, and one whose mask is empty or everything in the
    network's view. The class that is explained is the case's target; without one, the predicted class.

    Args:
        net: the network.
        cases: the pictures.
        recipes: the maps of each picture, by name; None for `default_recipes`.
        scores: names in `camviz.SCORES`; None for `DEFAULT_SCORES`. Scores against the mask are always included.
        seed: seed of all random draws.
        progress: called with (cases done, all cases); an exception from it stops the work.
        fit: how pictures and masks are fitted into the network's view.
        same_area: whether maps are first given equal areas, see `equal_area`.
        truth: what says which of two maps is better: "best_iou", or "mass", the share of heat inside the mask (Wang et
            al., arXiv 1910.01279); None for what the cases say: "mass" for mosaics, else "best_iou".

    Raises:
        ValueError: an unknown score, method, layer or truth; a mask that is not bool or not of the picture's size; a
            label or target that is no class of the network; mosaics with "best_iou", or among other cases without a
            `truth`.
    """
    recipes = default_recipes(net) if recipes is None else recipes
    names = list(DEFAULT_SCORES if scores is None else scores)
    _check(names)
    truth = truth_of(cases, truth)

    def rows_of(x: Tensor, mask: Tensor, logits: Tensor, target: Tensor) -> Rows:
        return _rows(net, x, mask, logits, target, recipes, names, seed, same_area)

    rows, left_out = rows_of_cases(net, cases, rows_of, fit, progress)
    made = ("method", "layers", "rule", "mirror_averaged")
    columns = ["network", "picture", "map", *made, "probability", *_with_masks(names)]
    table = pd.DataFrame(rows, columns=columns)
    return Evaluation(table, trust(table, names, truth, seed=seed), left_out, truth)


def truth_of(cases: Sequence[Case], truth: str | None) -> str:
    """What says which of two maps is better, "best_iou" or "mass": what is asked for, or else what the cases say.

    Raises:
        ValueError: another one; mosaics among other cases, unless "mass" is asked for; "best_iou" asked for of mosaics.
    """
    said = {getattr(case, "truth", None) or TRUTH for case in cases} or {TRUTH}
    if unknown := {truth, *said} - {None, TRUTH, MASS}:
        raise ValueError(f"unknown truth {unknown.pop()!r}; choose from {TRUTH}, {MASS}")
    if truth is None and len(said) > 1:
        raise ValueError(f"only some of the cases are mosaics: evaluate them apart, or all with truth={MASS!r}")
    if truth == TRUTH and MASS in said:
        raise ValueError(f"a map should not fill a mosaic's quarter: its truth is {MASS!r}, the share of heat inside")
    return truth or said.pop()


Rows = list[dict[str, object]]


def rows_of_cases(
    net: Net,
    cases: Sequence[Case],
    rows_of: Callable[[Tensor, Tensor, Tensor, Tensor], Rows],
    fit: Fit,
    progress: Progress | None,
) -> tuple[Rows, list[tuple[int, str]]]:
    """The rows of every case, each with its number as "picture"; and the numbers of those left out, with the reason.

    Args:
        net: the network.
        cases: the pictures.
        rows_of: (x, mask, logits) as `seen_by` returns them, and the class to explain (1,) -> the rows of a case.
        fit: how pictures and masks are fitted into the network's view.
        progress: called with (cases done, all cases).

    Raises:
        ValueError: as for `seen_by`.
    """
    rows: Rows = []
    left_out: list[tuple[int, str]] = []
    for number, case in enumerate(cases):
        seen = seen_by(net, case, fit, f"case {number}: ")
        if isinstance(seen, str):
            left_out.append((number, seen))
        else:
            rows += [{"picture": number} | row for row in rows_of(*seen, _target(case, seen[2]))]
        if progress is not None:
            progress(number + 1, len(cases))
    return rows, left_out


def trust(
    table: pd.DataFrame, scores: Sequence[str], truth: str = TRUTH, margin: float = MARGIN, seed: int = 0
) -> pd.DataFrame:
    """How far each score can be trusted: how it orders a picture's maps, compared with the truth.

    Args:
        table: `Evaluation.table`, of one network or of several; drop rows to leave maps or pictures out.
        scores: the scores to judge.
        truth: the column that says which map is better.
        margin: how much the truths of two maps have to differ for one of them to be the better one.
        seed: seed of the bootstrap.

    Returns:
        a table with one row for each score and the columns "pair_accuracy" (0.5 = a coin), "low" and "high" (its 95 %
        interval over pictures), "tau" (Kendall's tau-b), "tau_low" and "tau_high", and "pictures" (how many have two
        maps that differ enough).
    """
    rows = {}
    for name in scores:
        accuracy = interval(accuracies(table, name, truth, margin).to_numpy(), seed=seed)
        tau = interval(by_picture(table, name, truth, kendall).to_numpy(), seed=seed)
        rows[name] = (accuracy.value, accuracy.low, accuracy.high, tau.value, tau.low, tau.high, accuracy.n)
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TRUST_COLUMNS))


Pairs = Callable[[str, str], bool]  # whether two maps, by their names, are compared


def accuracies(
    table: pd.DataFrame, score: str, truth: str = TRUTH, margin: float = MARGIN, pairs: Pairs | None = None
) -> pd.DataFrame:
    """A score's pair accuracy: a row for each network and a column for each picture, sorted; NaN where it has none."""
    compared = None
    if pairs is not None:
        names = sorted(table["map"].unique())  # as the columns of `by_picture`
        compared = np.array([[pairs(first, second) for second in names] for first in names])
    return by_picture(table, score, truth, partial(pair_accuracy, margin=margin, pairs=compared))


Ordering = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def by_picture(table: pd.DataFrame, score: str, truth: str, ordering: Ordering) -> pd.DataFrame:
    """What an ordering function says of each network (rows) and picture (columns)."""
    if table.empty:
        return pd.DataFrame(index=[0])  # one network, no pictures
    wide = table.set_index(["network", "picture", "map"])[list({score, truth})].unstack("map")
    found = pd.Series(ordering(wide[truth].to_numpy(), oriented(score) * wide[score].to_numpy()), index=wide.index)
    return found.unstack("picture")


def oriented(score: str) -> int:
    """1 if higher values of a score are better, -1 if lower ones are."""
    return -1 if score in SCORES and SCORES[score].better == "lower" else 1


def _check(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in SCORES]
    if unknown:
        raise ValueError(f"unknown score {unknown[0]!r}; choose from {', '.join(SCORES)}")


def _with_masks(names: Sequence[str]) -> list[str]:
    return [*names, *(name for name in mask_scores() if name not in names)]


def seen_by(net: Net, case: Case, fit: Fit = "crop", where: str = "") -> tuple[Tensor, Tensor, Tensor] | str:
    """A case as the network sees it: x (1, 3, h, w), its mask, bool (1, h, w), and logits; or why it is left out.

    Raises:
        ValueError: a mask that is not bool or not of the picture's size, a label or target that is no class of the
            network; the message begins with `where`.
    """
    image, mask = np.asarray(case.image), np.asarray(case.mask)
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise ValueError(
            f"{where}the mask must be bool and of the picture's size {image.shape[:2]}, got {mask.dtype} {mask.shape}"
        )
    for index in (case.label, _wanted(case)):
        if index is not None and not 0 <= index < len(net.labels):
            raise ValueError(f"{where}{net.info.title} has {len(net.labels)} classes, so no class {index}")
    shown = net.view(mask, fit)
    if shown.all() or not shown.any():
        return f"the mask is {'everything' if shown.all() else 'empty'} in the network's view"
    x = net.preprocess(image, fit)
    with torch.no_grad():
        logits = network_logits(net.module, x)
    return seen_otherwise(net, int(logits.argmax()), case.label) or (x, torch.from_numpy(shown)[None], logits)


def _wanted(case: Case) -> int | None:
    """The class that a case wants explained, or None."""
    return getattr(case, "target", None)


def _target(case: Case, logits: Tensor) -> Tensor:
    """The class to explain (1,): the one that the case wants, or the predicted one."""
    wanted = _wanted(case)
    return logits.argmax(1) if wanted is None else torch.tensor([wanted], device=logits.device)


def seen_otherwise(net: Net, predicted: int, label: int | None) -> str:
    """Why a picture of a class is left out if the network predicts another one, or ""."""
    if label is None or label == predicted:
        return ""
    return f"the network sees {net.labels[predicted]}, not {net.labels[label]}"


def _rows(
    net: Net,
    x: Tensor,
    mask: Tensor,
    logits: Tensor,
    target: Tensor,
    recipes: Mapping[str, Recipe],
    names: Sequence[str],
    seed: int,
    same_area: bool,
) -> list[dict[str, object]]:
    """The scores of each map of one class (1,) in one picture, x (1, 3, h, w), whose mask is bool (1, h, w)."""
    makers = list(makers_of(recipes).values())
    if same_area:
        makers = [partial(at_equal_area, maker, seed) for maker in makers]
    evidence = evidence_of(net.module, x, mask, logits, target, makers, seed)
    values = {name: evidence.values(name)[:, 0].tolist() for name in _with_masks(names)}
    return [
        {
            "network": net.info.name,
            "map": name,
            "method": recipe.method,
            "layers": ", ".join(recipe.layers),
            "rule": recipe.rule if len(recipe.layers) > 1 else "",
            "mirror_averaged": recipe.mirror_averaged,
            "probability": float(logits.softmax(1)[0, target]),
            **{score: of_maps[number] for score, of_maps in values.items()},
        }
        for number, (name, recipe) in enumerate(recipes.items())
    ]


def evidence_of(
    module: nn.Module,
    x: Tensor,
    mask: Tensor,
    logits: Tensor,
    target: Tensor,
    makers: Sequence[ExplainOn],
    seed: int,
    progress: Progress | None = None,
) -> Evidence:
    """What the scores of one picture's maps are computed from.

    Args:
        module: the network.
        x: the picture (1, 3, h, w).
        mask: what its maps should show, bool (1, h, w).
        logits: the network's logits for x (1, classes).
        target: the class that is explained (1,).
        makers: make the maps.
        seed: seed of all random draws.
        progress: see `Evidence`.
    """
    return Evidence(
        module,
        x,
        torch.stack([maker(module, x, target) for maker in makers]),
        target,
        [partial(maker, module) for maker in makers],
        makers,
        mask=mask.to(x.device),
        seed=seed,
        logits=logits,
        progress=progress,
    )
