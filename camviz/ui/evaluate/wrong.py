"""Maps made right or wrong on purpose: how often a metric scores them higher than RefineCAM."""

from __future__ import annotations

from functools import partial

from camviz.html.interval_chart import intervals_html
from camviz.metrics import SCORES
from camviz.statistics import Interval
from camviz.trust.deliberate import MASK
from camviz.trust.study_results import win_intervals
from camviz.ui.evaluate.study import Shown, Study, chosen, metric_title

_WRONG = {
    "inverted": "Inverted",
    "moved": "Moved by half a side",
    "another class": "Another class's map",
    "the mask, moved": "The mask, moved",
}
_SAID = {
    "inverted": "1 - RefineCAM: hot where it is cold.",
    "moved": "RefineCAM, moved by half of both sides.",
    "another class": "RefineCAM of the second most probable class.",
    "the mask, moved": "The true mask, moved by a quarter of both sides.",
    MASK: "The true mask as a map of 0 and 1.",
    "the mask, blurred": "The true mask, blurred by a Gaussian of 8 pixels.",
}


# The same metrics under the other tie rule.
_EXACT = {"arcc": "arcc_exact", "road_raw": "road_exact"}


def has_wrong_maps(study: Study, shown: Shown, metric: str) -> bool:
    """Whether such maps were scored by a metric."""
    rows = study.results.rows.get("deliberate")
    if rows is None or metric not in rows:
        return False
    return not chosen(study.results, shown, rows[rows["kind"] == shown.samples]).empty


def wins_of(study: Study, shown: Shown, score: str) -> dict[str, Interval]:
    """In what share of the pictures shown each such map scores higher than RefineCAM."""
    return win_intervals(
        study.results,
        score,
        equal_area=shown.equal_area,
        kind=shown.samples,
        chosen=partial(chosen, study.results, shown),
    )


def wrong_html(study: Study, shown: Shown, metric: str) -> str:
    """For each such map, in how many pictures a metric scores it higher than RefineCAM, and whether it is better."""
    wins, truths = (wins_of(study, shown, name) for name in (metric, shown.truth))
    truth = SCORES[shown.truth].title
    groups = {
        "Wrong maps": [name for name in _WRONG if name in wins],
        # The map that has seen the answers of one metric belongs to neither.
        "The true mask as a map": [name for name in wins if name.startswith("the mask") and name not in _WRONG],
    }
    charts = "".join(
        intervals_html(
            {title: {_title(name): wins[name] for name in names}},
            dict.fromkeys(map(_title, names), "var(--cv-accent)"),
            {_title(name): [(f"{truth} prefers it", truths[name].value)] for name in names},
            {_title(name): _SAID.get(name, "") for name in names},
        )
        for title, names in groups.items()
    )
    exact = _exact_shares(study, shown, metric)
    return (
        f'<div class="cv-wrong">{charts}</div><p class="cv-note">Dot: in what share of pictures '
        f"{metric_title(metric)} scores it higher than RefineCAM of Grad-CAM++. Ring: in what share it fits the mask "
        f"better, by {truth}. The closer the two, the better. Equal scores count half.{exact}</p>"
    )


def _exact_shares(study: Study, shown: Shown, metric: str) -> str:
    """How often ARCC or ROAD scores the mask higher under the other tie rule, in a sentence; "" if nothing ties."""
    exact = _EXACT.get(metric)
    if exact is None or shown.equal_area or exact not in study.results.rows["deliberate"]:
        return ""
    wins = wins_of(study, shown, exact)
    return (
        " A map of 0 and 1 ties at every percentile, and pixels that tie are removed together; in exact shares, "
        f"{metric_title(metric)} scores the mask higher in {100 * wins[MASK].value:.0f} %."
    )


def _title(name: str) -> str:
    return _WRONG.get(name, name.replace(" x ", " × ").capitalize())
