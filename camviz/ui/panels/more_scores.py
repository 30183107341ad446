"""More scores than those that are always there: computed on request, and at once on a GPU."""

from __future__ import annotations

from collections.abc import Iterable

from camviz.html.measured_trust import measured_estimate
from camviz.metrics import SCORES
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.ui.session import MORE_SCORES_SHOWN
from camviz.ui.sidebar.model_and_method import duration
from camviz.workbench.cache_keys import Kind
from camviz.workbench.networks import pass_seconds
from camviz.workbench.pictures import Explained
from camviz.workbench.scores import MORE_SCORES, score_names, with_more


def shown_scores(of: Explained) -> list[str]:
    """The scores that the page shows of a picture's maps."""
    names = score_names(of)
    return with_more(names, MORE_SCORES) if _at_once(of) or MORE_SCORES_SHOWN.get(False) else names


def offer_more(place: DeltaGenerator, pictures: Iterable[Explained]) -> None:
    """Offer to show more scores, or fewer again; nothing on a GPU, where they are always shown.

    Args:
        place: where.
        pictures: the pictures and classes whose maps would be scored.
    """
    waiting = [of for of in pictures if not _at_once(of)]
    if not waiting:
        return
    if MORE_SCORES_SHOWN.get(False):
        place.button("Fewer scores", icon=":material/remove:", type="tertiary", on_click=MORE_SCORES_SHOWN.forget)
        return
    seconds = sum(_seconds(of) for of in waiting)
    titles = " and ".join(f"the {SCORES[name].title}" for name in MORE_SCORES)
    place.button(
        f"More scores: {titles}" + (f" · {duration(seconds)}" if seconds >= 1 else ""),
        icon=":material/add:",
        type="tertiary",
        on_click=lambda: MORE_SCORES_SHOWN.set(True),
        help=f"{' '.join(SCORES[name].sentence for name in MORE_SCORES)} Not part of ARCC. {measured_estimate()}",
    )


def _at_once(of: Explained) -> bool:
    return of.net.device.type != "cpu"


def _seconds(of: Explained) -> float:
    """How long it takes, once for all maps of a picture."""
    if of.has(Kind.EFFECTS):
        return 0.0
    return max(SCORES[name].cost for name in MORE_SCORES) * pass_seconds(of.host, of.net)
