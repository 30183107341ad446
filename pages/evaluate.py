"""Evaluate: which metric finds the better of two maps, from a study on pictures with a known answer."""

import streamlit as st

from camviz.html.words import ABOUT_EVALUATION
from camviz.ui.evaluate import controls, dots, pictures, view
from camviz.ui.evaluate import link as evaluatelink
from camviz.ui.evaluate.study import maps_table, metric_title
from camviz.ui.page_frame import begin_page, show_limits
from camviz.ui.server.sharing import show_queue
from camviz.ui.server.streamlit_internals import Slot

begin_page("pages/evaluate.py")

link = evaluatelink.open_link()
main = st.container()
show_limits(ABOUT_EVALUATION)
show_queue(Slot(st.container()))

with st.sidebar:
    shown = controls.choose_shown()
    metric = controls.choose_metric(shown)
    foot = st.container()

with main:
    st.html(view.verdict_html(shown))
    left, right = st.columns([1.15, 1], gap="medium")
    left.html(view.metrics_html(shown, metric))
    with right:
        examples = Slot(st.container())
    st.markdown(f"**Every map as a dot:** {metric_title(metric)} against the truth")
    networks = sorted(maps_table(shown, metric)["network"].unique())
    with st.container(key="dots"):
        network = controls.choose_network(networks, view.titles())
        dots.show_dots(shown, metric, network)
examples.html(pictures.examples_html(shown, metric))
link.keep(foot)
