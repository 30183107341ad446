"""Robustness: whether explanations follow the prediction under noise, over several pictures and methods."""

from functools import partial

import streamlit as st

from camviz.html.words import ABOUT_ROBUSTNESS, LIMITS_OF_ROBUSTNESS, ROBUSTNESS_GUIDE
from camviz.ui.page_frame import begin_page, name_tab, require_net, show_limits
from camviz.ui.robustness import controls as sweepcontrols
from camviz.ui.robustness import link as sweeplink
from camviz.ui.robustness import sweep
from camviz.ui.robustness.point import show_point
from camviz.ui.robustness.run import is_presentable, run_bar
from camviz.ui.robustness.view import show_pictures, show_results
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import show_queue
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.sidebar import model_and_method
from camviz.ui.sidebar.picture import choose_fit

begin_page("pages/robustness.py")

link = sweeplink.open_link()
main = st.container()
main.html(ROBUSTNESS_GUIDE)
bar, results = Slot(main.container()), main.container()
bar.html('<p class="cv-waiting">Preparing the pictures …</p>')
show_limits(ABOUT_ROBUSTNESS, LIMITS_OF_ROBUSTNESS)
show_queue(Slot(st.container()))

with st.sidebar:
    pictures = sweepcontrols.choose_pictures()
    fit = choose_fit(None)
    synthetic = bool(pictures) and all(picture.synthetic for picture in pictures)
    info = model_and_method.choose_model(synthetic)
net = require_net(link.place, info, partial(link.keep, pictures, info))

with gpu_memory(net):
    with st.sidebar:
        plan = sweepcontrols.choose_plan(pictures, net, fit)
        foot = st.container()
    if plan is None:
        link.keep(pictures, info, foot)
        st.stop()
    name_tab(", ".join(picture.title for picture in plan.pictures), "Robustness")
    with bar.container(key="sweep-bar"):
        running = run_bar(plan)
    table = sweep.results(plan)
    with results:
        if table.empty or not is_presentable(plan):
            show_pictures(plan)
        else:
            show_results(plan, table)
            if not running:
                show_point(plan, table)
    link.keep(pictures, info, foot)  # with the results' controls
    if running:
        running()
