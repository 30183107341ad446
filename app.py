"""camviz: the app's pages and their frame."""

import streamlit as st

from camviz.ui.frame import enter_frame

st.set_page_config(page_title="camviz", page_icon="assets/icon.png", layout="wide")
pages = [
    st.Page("pages/explore.py", title="Explore", icon=":material/image_search:", default=True),
    st.Page("pages/compare.py", title="Compare", icon=":material/grid_view:"),
    st.Page("pages/robustness.py", title="Robustness", icon=":material/grain:"),
    st.Page("pages/bundle.py", title="Bundle", icon=":material/folder_zip:"),
]
page = st.navigation(pages, position="top")
if wanted := enter_frame():
    st.switch_page(wanted, query_params=st.query_params.to_dict())
page.run()
