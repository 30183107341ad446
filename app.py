"""camviz: the app's pages and their frame."""

import streamlit as st

st.set_page_config(page_title="camviz", page_icon="assets/icon.png", layout="wide")
st.navigation([st.Page("pages/explore.py", title="Explore", default=True)], position="hidden").run()
