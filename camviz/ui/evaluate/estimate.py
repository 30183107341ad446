"""The Faithfulness Estimate's controls: would it do as well with another grid, another filling, or the answers?"""

from __future__ import annotations

from functools import partial

from camviz.html.interval_chart import intervals_html
from camviz.metrics import SCORES
from camviz.trust.deliberate import CHEATS
from camviz.trust.study_results import estimate_with_controls
from camviz.ui.evaluate.study import Shown, Study, chosen
from camviz.ui.evaluate.wrong import has_wrong_maps, wins_of

ESTIMATE = "faithfulness"
_ROWS = {
    ESTIMATE: ("As it is defined", "Squares filled by the project's own imputation, on a grid that fits the picture."),
    "faithfulness_shifted": ("Grid shifted", "By half a square, so that squares and cells of the network differ."),
    "faithfulness_blur": ("Filled by a blur", "Each square shows the picture blurred."),
    "faithfulness_mean": ("Filled by a colour", "Each square shows the picture's mean colour."),
}


def estimate_html(study: Study, shown: Shown) -> str:
    """The estimate beside its controls, and the map that has seen its answers; "" if they were not measured."""
    picked = partial(chosen, study.results, shown)
    found = estimate_with_controls(
        study.results, equal_area=shown.equal_area, truth=shown.truth, kind=shown.samples, chosen=picked
    )
    if not found:
        return ""
    rows = {_ROWS[name][0]: value for name, value in found.items()}
    chart = intervals_html(
        {"How often the better map scores higher, on the same pictures": rows},
        {_ROWS[name][0]: "var(--cv-accent)" if name == ESTIMATE else "var(--cv-quiet)" for name in found},
        notes={_ROWS[name][0]: _ROWS[name][1] for name in found},
    )
    return (
        f'<div class="cv-wrong">{chart}<p class="cv-note">The squares of the grid coincide with the cells of many '
        "networks' deepest layers, and a filled square is itself a change that a network may react to. The less the "
        "answer depends on either, the more it says about the maps."
        f"{_cheats(study, shown)}</p></div>"
    )


def _cheats(study: Study, shown: Shown) -> str:
    """How the map made of the estimate's own measurements does, in a sentence; "" if it was not measured."""
    if not has_wrong_maps(study, shown, ESTIMATE):
        return ""
    wins = [wins_of(study, shown, name) for name in (ESTIMATE, shown.truth)]
    if CHEATS not in wins[0]:
        return ""
    higher, better = (found[CHEATS].value for found in wins)
    return (
        " A map made of the estimate's own measurements has seen the answers: it scores higher than RefineCAM in "
        f"{100 * higher:.0f} % of pictures and fits the mask better in {100 * better:.0f} %, by "
        f"{SCORES[shown.truth].title}. So it stands outside every ranking."
    )
