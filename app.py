"""camviz: the server that `streamlit run app.py` finds in here, and what it runs for each visitor."""

import streamlit as st

from camviz.ui.server.streamlit_internals import runs_for_a_visitor

if runs_for_a_visitor():
    from camviz.ui.page_frame import show_page

    show_page()
else:
    from camviz.ui.server.web_server import MIDDLEWARE, warmed_up

    app = st.App(__file__, lifespan=warmed_up, middleware=MIDDLEWARE)
