"""If the GPU runs out of memory, the network moves to the CPU and the page runs again."""

from __future__ import annotations

from contextlib import AbstractContextManager

import streamlit as st

from camviz.models import Net
from camviz.ui.server.sharing import shared_host
from camviz.workbench.networks import on_full_memory


def gpu_memory(net: Net) -> AbstractContextManager[None]:
    """If the GPU runs out of memory in this block, move the network to the CPU and run the page again.

    Results are computed again there; all of the user's choices are kept.
    """
    return on_full_memory(shared_host(), net, st.rerun)
