"""Evaluate: which metric finds the better of two maps, from a study on pictures with a known answer."""

import streamlit as st

from camviz.html.words import ABOUT_EVALUATION
from camviz.trust.sealed_study import PICTURES
from camviz.ui.evaluate import controls
from camviz.ui.evaluate import link as evaluatelink
from camviz.ui.evaluate.opened import choose_file
from camviz.ui.evaluate.own_page import show_own
from camviz.ui.evaluate.pictures import gallery_of
from camviz.ui.evaluate.study import Study, shipped
from camviz.ui.evaluate.view import HEADING, show_study
from camviz.ui.page_frame import begin_page, show_limits
from camviz.ui.server.sharing import show_queue
from camviz.ui.server.streamlit_internals import Slot

begin_page("pages/evaluate.py")

link = evaluatelink.open_link()
main = st.container()
main.html(HEADING)
show_limits(ABOUT_EVALUATION)
show_queue(Slot(st.container()))

with st.sidebar:
    source = controls.choose_source()
    choices, foot = st.container(), st.container()
if source == "own":
    show_own(main, choices, foot, link)  # which keeps the link
elif source == "shipped":
    show_study(Study(shipped(), gallery_of, PICTURES), main, choices, foot)
elif opened := choose_file(choices):
    show_study(Study(opened, gallery_of), main, choices, foot)
else:
    main.info("Choose a study file on the left. The page offers one under *Download*.", icon=":material/upload_file:")
if source != "own":
    link.keep(foot)
