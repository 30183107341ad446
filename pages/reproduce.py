"""Bundle: a finding from a file, above the same computed now, and whether the two agree."""

from functools import partial

import streamlit as st

from camviz.html.report import report
from camviz.results.agreement import check_agreement
from camviz.ui.page_frame import require_frame
from camviz.ui.panels import viewer
from camviz.ui.reproduce import opened
from camviz.ui.reproduce import view as openedview
from camviz.ui.server.full_memory import gpu_memory
from camviz.ui.server.sharing import prepare_server, show_queue
from camviz.ui.server.streamlit_internals import Slot
from camviz.ui.style import show_style

require_frame("pages/reproduce.py")
prepare_server()
show_style()
viewer.prepare()

main = st.container()
show_queue(Slot(st.container()))
with st.sidebar:
    found = opened.choose_bundle()
    onward = st.container()
if found is None:
    main.html(openedview.INTRO)
    st.stop()

places = openedview.Places(main)
places.show_stored(found)
with places.network:
    net = opened.ready_net(found)
with onward:
    if opened.is_known(found):
        opened.offer_explore(found, net)
    st.download_button(
        "Report, HTML",
        partial(report, found.stored),
        "camviz-report.html",
        icon=":material/description:",
        help="The stored result in one file that opens anywhere, without a network",
        on_click="ignore",
        width="stretch",
    )
    opened.offer_to_close()
with places.network:
    if net is None or opened.was_stopped(found):
        places.show_alone(found)
        st.stop()

with gpu_memory(net):
    fresh = opened.compute_again(found, net, partial(places.show_waiting, found), places.verdict)
    if fresh is None:
        places.show_alone(found)
    else:
        places.show_fresh(found, fresh, check_agreement(found.stored, fresh))
