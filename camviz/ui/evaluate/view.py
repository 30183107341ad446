"""The study on the page: the verdict in words, and a row for each metric."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import pandas as pd

from camviz.html.interval_chart import intervals_html
from camviz.metrics import SCORES
from camviz.models import list_models
from camviz.statistics import Interval
from camviz.trust.resampling import LEAST_FOR_WINNER
from camviz.trust.sealed_study import PICTURES
from camviz.ui.evaluate.study import Shown, chosen, metric_title, metrics_table, shipped
from camviz.ui.links.link_format import ALL_SIZES

_TO_BEAT = "complexity"


def titles() -> dict[str, str]:
    """The networks' names."""
    return {info.name: info.title for info in list_models()}


def verdict_html(shown: Shown) -> str:
    """The study in a few words."""
    found = metrics_table(shown)
    table = found["pair_accuracy"]
    # No winner from a few pictures, as long as other metrics were measured on more.
    best = str(found[found["pictures"] >= min(LEAST_FOR_WINNER, found["pictures"].max())].index[0])
    others = [f"{_named(name)} {_percent(table[name])}" for name in ("faithfulness", "arcc", _TO_BEAT) if name != best]
    counts = ordinary_counts(shown)
    across = f"{len(counts)} networks" if len(counts) > 1 else "1 network"
    few = " That is too few to name a winner." if counts.min() < LEAST_FOR_WINNER else ""
    growing = (
        " The study is still growing: its protocol asks for more pictures."
        if measured_at_least(shown) < PICTURES
        else ""
    )
    return (
        '<h1 class="cv-title" hidden>Which metric can be trusted?<small>Take two maps of one picture, of which one '
        "clearly fits the true mask better. How often does a metric score that one higher? A coin gets 50 %.</small>"
        "</h1>"
        f'<p class="cv-lead cv-verdict">On {counts.sum()} pictures with {across}, <b>{_named(best)}</b> gets '
        f"<b>{_percent(table[best])}</b> right, {', '.join(others[:-1])} and {others[-1]}.{few}{growing}</p>"
    )


def measured_at_least(shown: Shown) -> int:
    """How many pictures of these samples were measured with each network, whatever their size."""
    return int(ordinary_counts(replace(shown, size=ALL_SIZES)).min())


def ordinary_counts(shown: Shown) -> pd.Series:
    """How many pictures of each network were measured."""
    rows = chosen(shown, shipped().of("ordinary", equal_area=shown.equal_area, kind=shown.samples))
    return rows.groupby("network")["picture"].nunique()


def _named(metric: str) -> str:
    """A metric in a sentence."""
    words = {"faithfulness": "the Faithfulness Estimate", _TO_BEAT: "the smallness of a map alone"}
    return escape(words.get(metric, metric_title(metric)))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def metrics_html(shown: Shown, metric: str) -> str:
    """A row for each metric, with a ring for each network."""
    table, names = metrics_table(shown), titles()
    networks = [name for name in table.columns if name in names]
    rows: dict[str, Interval] = {}
    dots: dict[str, list[tuple[str, float]]] = {}
    for name in map(str, table.index):
        row = table.loc[name].to_dict()
        rows[metric_title(name)] = Interval(row["pair_accuracy"], row["low"], row["high"], int(row["pictures"]))
        dots[metric_title(name)] = [(names[network], row[network]) for network in networks]
    paint = {metric_title(name): _paint(name, metric) for name in table.index}
    notes = {metric_title(name): SCORES[name].sentence for name in table.index}
    return intervals_html({"How often the better map scores higher; 0.5 is a coin": rows}, paint, dots, notes)


def _paint(name: str, metric: str) -> str:
    if name == metric:
        return "var(--cv-accent)"
    return "var(--cv-text)" if name == _TO_BEAT else "var(--cv-quiet)"
