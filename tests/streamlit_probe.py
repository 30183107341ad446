"""A page that tells what `camviz.ui.server.streamlit_internals` finds, for tests/test_streamlit_internals.py."""

import importlib.util
import json
import time

import streamlit as st

# By its path, without the rest of camviz, so that the server is there at once.
spec = importlib.util.spec_from_file_location("streamlit_internals", "camviz/ui/server/streamlit_internals.py")
internals = importlib.util.module_from_spec(spec)
spec.loader.exec_module(internals)

LONGEST = 10  # seconds until work gives up that nobody ended


@st.cache_resource
def seconds_worked() -> list[float]:
    """How long each piece of work took until it was ended, or gave up."""
    return []


worked = seconds_worked()  # asked for while work is being ended, it would end that again
found = {
    "session": internals.session_id(),
    "history": internals.came_by_history(),
    "browser": internals.browser_token(),
    "visits": internals.visits(),
    "visitor": internals.runs_for_a_visitor(),
    "worked": worked,
}
st.text(json.dumps(found))
if "work" in st.query_params:
    begun = time.monotonic()
    try:
        st.text(json.dumps("at work"))  # from here on an end is noted
        while time.monotonic() - begun < LONGEST:
            time.sleep(0.01)
            internals.yield_point()
    finally:
        worked.append(time.monotonic() - begun)
