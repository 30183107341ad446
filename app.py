"""camviz: the app's pages and their frame."""

import streamlit as st

from camviz.ui.page_frame import enter_frame

st.set_page_config(page_title="camviz", page_icon="assets/icon.png", layout="wide")
pages = [
    st.Page("pages/explore.py", title="Explore", icon=":material/image_search:", default=True),
    st.Page("pages/compare.py", title="Compare", icon=":material/grid_view:"),
    st.Page("pages/robustness.py", title="Robustness", icon=":material/grain:"),
    st.Page("pages/reproduce.py", title="Reproduce", icon=":material/folder_zip:"),
]
# The page's former address, so that old links still work.
pages.append(st.Page(lambda: st.switch_page(pages[3]), title="Bundle", url_path="bundle", visibility="hidden"))
page = st.navigation(pages, position="top")
if wanted := enter_frame():
    st.switch_page(wanted, query_params=st.query_params.to_dict())
page.run()
