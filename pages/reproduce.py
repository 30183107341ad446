"""Reproduce: a bundle's stored result, the same result computed now below it, and whether the two agree."""

from functools import partial

import streamlit as st

from camviz.html.report import report
from camviz.results.agreement import check_agreement
from camviz.ui.page_frame import begin_page, name_tab
from camviz.ui.reproduce import opened
from camviz.ui.reproduce import view as openedview
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import show_queue
from camviz.ui.server.streamlit_internals import Slot

begin_page("pages/reproduce.py")

main = st.container()
show_queue(Slot(st.container()))
with st.sidebar:
    bundle, another_was_refused = opened.choose_bundle()
    actions = st.container()
if bundle is None:
    main.html(openedview.INTRO)
    st.stop()

name_tab(f"{bundle.stored.name}: {bundle.stored.label}", "Reproduce")
places = openedview.Places(main)
places.show_stored(bundle)
if another_was_refused:  # one judgement at a time: about the file that was chosen last
    places.show_alone(bundle)
    st.stop()
with places.network:
    net = opened.ready_net(bundle)
with actions:
    if opened.is_known(bundle):
        opened.offer_explore(bundle, net)
    st.download_button(
        "Report, HTML",
        partial(report, bundle.stored),
        "camviz-report.html",
        icon=":material/description:",
        help="The stored result in one file that opens in any browser, offline",
        on_click="ignore",
        width="stretch",
    )
    opened.offer_to_close()
with places.network:
    if net is None or opened.was_stopped(bundle):
        places.show_alone(bundle)
        st.stop()

with gpu_memory(net):
    fresh = opened.compute_again(bundle, net, partial(places.show_waiting, bundle), places.verdict)
    if fresh is None:
        places.show_alone(bundle)
    else:
        places.show_fresh(bundle, fresh, check_agreement(bundle.stored, fresh))
