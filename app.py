"""camviz: the app's pages and their frame."""

import streamlit as st

from camviz.ui.page_frame import enter_frame

st.set_page_config(page_title="camviz", page_icon="assets/icon.png", layout="wide")
reproduce = st.Page("pages/reproduce.py", title="Reproduce", icon=":material/folder_zip:")
page = st.navigation(
    [
        st.Page("pages/explore.py", title="Explore", icon=":material/image_search:", default=True),
        st.Page("pages/compare.py", title="Compare", icon=":material/grid_view:"),
        st.Page("pages/robustness.py", title="Robustness", icon=":material/grain:"),
        reproduce,
        # Reproduce's former address, so that old links still work.
        st.Page(lambda: st.switch_page(reproduce), title="Bundle", url_path="bundle", visibility="hidden"),
    ],
    position="top",
)
if wanted := enter_frame():
    st.switch_page(wanted, query_params=st.query_params.to_dict())
page.run()
