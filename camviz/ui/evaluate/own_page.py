"""The Evaluate page for one's own pictures and network: the run, and its results so far."""

from __future__ import annotations

from collections import Counter
from html import escape

import streamlit as st

from camviz.html.words import counted
from camviz.trust.run import EvaluationRun
from camviz.trust.study_results import StudyResults
from camviz.ui.evaluate import own, view
from camviz.ui.evaluate.link import Link
from camviz.ui.evaluate.pictures import RunGallery
from camviz.ui.evaluate.study import Study
from camviz.ui.page_frame import require_net
from camviz.ui.panels.run_bar import show_run_bar
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.session import TRUST_RESULTS
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.picture import choose_fit
from camviz.workbench.maps import is_predicted, view_uri

_SHOWN = 16  # pictures before a run


def show_own(main: DeltaGenerator, choices: DeltaGenerator, foot: DeltaGenerator, link: Link) -> None:
    """Ask what is measured, measure it a slice at a time, and show the results so far."""
    with choices:
        wanted = own.choose_pictures()
        fit = "squeeze" if wanted.synthetic else choose_fit(None)
        info = model_and_method.choose_model(wanted.synthetic)
    own_files = bool(wanted.pictures)
    net = require_net(link.place, info, lambda: link.keep(foot, own_files))
    with gpu_memory(net):
        notices = main.container()
        with choices:
            run = own.choose_run(wanted, net, fit, notices)
        if run is None:
            link.keep(foot, own_files)
            return
        with main:
            bar, shown = Slot(st.container()), st.container()
        with bar.container(key="trust-bar"):
            go_on = show_run_bar(own.work_of(run), own.KEYS)
            if left_out := _left_out_html(run):
                st.html(left_out)
        results = _results(run)
        if results.rows and (own.KEYS.has_begun() or run.done == run.total):
            view.show_study(Study(results, lambda _: RunGallery(run)), shown, choices, foot)
        else:
            shown.html(_pictures_html(run))
        if go_on:
            link.keep(foot, own_files)  # the next slice ends this run of the page
            go_on()
    link.keep(foot, own_files)


def _results(run: EvaluationRun) -> StudyResults:
    """The results so far; those of the last run of the page, if nothing has been measured since."""
    last = TRUST_RESULTS.get()
    if last is not None and last[:2] == (run.key, run.done):
        return last[2]
    results = run.results()
    TRUST_RESULTS.set((run.key, run.done, results))
    return results


def _pictures_html(run: EvaluationRun) -> str:
    """The pictures as the network sees them, each with the outline of its mask."""
    figures = "".join(
        f'<figure><div class="cv-pic"><img src="{view_uri(case.seen)}" alt="">'
        f'<img class="cv-outline" src="{own.outline_uri(case)}" alt=""></div>'
        f"<figcaption>{escape(case.seen.picture.title)}</figcaption></figure>"
        for case in run.cases[:_SHOWN]
    )
    more = len(run.cases) - _SHOWN
    return f'<div class="cv-pictures" hidden>{figures}{f"<p>and {more} more</p>" if more > 0 else ""}</div>'


def _left_out_html(run: EvaluationRun) -> str:
    """How many pictures are left out, and why."""
    reasons = Counter(case.left_out for case in run.cases if is_predicted(case.seen) and case.left_out)
    if not reasons:
        return ""
    words = "; ".join(f"{escape(reason)} ({count})" for reason, count in reasons.most_common(3))
    return f'<p class="cv-note">{counted(sum(reasons.values()), "picture")} left out: {words}.</p>'
