"""Downloads of a study: tables, and the study as a file that opens again."""

from __future__ import annotations

import io
from collections.abc import Callable

import pandas as pd
import streamlit as st

from camviz.metrics import SCORES
from camviz.results.exports import as_safe_csv
from camviz.trust.ordering import MARGIN
from camviz.trust.run import DELIBERATE
from camviz.trust.sealed_study import REFINED
from camviz.trust.study_figure import metrics_figure
from camviz.trust.study_file import pack
from camviz.trust.study_results import StudyResults
from camviz.ui.evaluate.study import TO_BEAT, Shown, Study, counts, metric_rows, metric_title, metrics_table
from camviz.ui.server.streamlit_internals import DeltaGenerator
from camviz.versions import __version__

_PDF, _CSV = "application/pdf", "text/csv"
_PARQUET, _ZIP = "application/vnd.apache.parquet", "application/zip"


def offer_study(place: DeltaGenerator, study: Study, shown: Shown) -> None:
    """Offer what is shown as a table, and the whole study as tables and as a file."""
    results = study.results
    with place.popover("Download", icon=":material/download:", width="stretch"):
        st.caption("The table of metrics as it is shown; and every map of the study, as it is and at equal area.")
        _offer("Figure, PDF", lambda: figure(study, shown), "camviz-metrics.pdf", _PDF)
        _offer("Metrics, CSV", lambda: shown_csv(results, shown), "camviz-metrics.csv", _CSV)
        _offer("Every map, CSV", lambda: as_safe_csv(every_map(results)), "camviz-maps.csv", _CSV)
        _offer("Every map, Parquet", lambda: _parquet(every_map(results)), "camviz-maps.parquet", _PARQUET)
        _offer("Study file", lambda: pack(results), "study.camviz-study.zip", _ZIP)
        st.caption("A study file opens again on this page, under *A file*. It holds numbers, not pictures.")


def _offer(label: str, data: Callable[[], str | bytes], name: str, mime: str) -> None:
    st.download_button(label, data, name, mime, key=f"trust-{name}", on_click="ignore", width="stretch")


def figure(study: Study, shown: Shown) -> bytes:
    """The table of metrics as the page shows it, drawn for a paper."""
    rows, networks = metric_rows(study.results, shown)
    measured, protocol = counts(study.results, shown), study.results.protocol
    of = ", ".join(f"{number} pictures of {network}" for network, number in measured.items())
    area = "at equal area" if shown.equal_area else "as they are"
    blind = "with" if shown.blind else "without"
    foot = [
        f"{of}.",
        f"Maps {area}, {blind} blind guesses; the better map by {SCORES[shown.truth].title}, a margin of {MARGIN}; "
        f"samples: {shown.samples}, sizes: {shown.size}.",
        f"camviz {__version__}" + ("" if protocol is None else f"; protocol {protocol}"),
    ]
    values = {name: [value for _, value in found] for name, found in networks.items()}
    to_beat = metric_title(TO_BEAT)
    return metrics_figure(
        rows, values, "Which metric finds the better of two maps?", foot, to_beat if to_beat in rows else None
    )


def shown_csv(results: StudyResults, shown: Shown) -> str:
    """The table of metrics as the page shows it."""
    table = metrics_table(results, shown)
    titles = [SCORES[str(name)].title for name in table.index]
    said = {"samples": shown.samples, "equal_area": shown.equal_area, "truth": shown.truth, "sizes": shown.size}
    return as_safe_csv(
        table.assign(title=titles, **said, blind_guesses=shown.blind).rename_axis("metric").reset_index()
    )


def every_map(results: StudyResults) -> pd.DataFrame:
    """A row for each map, as it is and at equal area, with the scores of all stages; empty where not measured.

    Maps made right or wrong on purpose come last.
    """
    keys = ["network", "kind", "picture", "map", "equal_area"]
    tables = [
        rows.set_index(keys)[[name for name in rows if name not in keys]]
        for stage, rows in results.rows.items()
        if stage in results.metrics
    ]
    found = pd.concat(tables, axis=1).reset_index()
    if DELIBERATE not in results.rows:
        return found
    made = results.rows[DELIBERATE]
    others = made[made["map"] != REFINED].reindex(columns=found.columns)
    return pd.concat([found, others], ignore_index=True)


def _parquet(table: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()
