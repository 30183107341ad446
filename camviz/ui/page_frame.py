"""What pages have in common: they run inside app.py, however they are reached, and share some places and steps."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from camviz.models import ModelInfo, Net, list_models, needs_download
from camviz.ui.panels import viewer
from camviz.ui.server.sharing import prepare_server
from camviz.ui.server.streamlit_internals import DeltaGenerator, Slot
from camviz.ui.session import FRAMED, PAGE_SHOWN, WANTED_PAGE, carry_over_controls, shown_model_key
from camviz.ui.sidebar.model_and_method import ready_net
from camviz.ui.style import show_style


def show_page() -> None:
    """Show the page that the visitor has chosen, below the navigation."""
    st.set_page_config(page_title="camviz", page_icon="assets/icon.png", layout="wide")
    reproduce = st.Page("pages/reproduce.py", title="Reproduce", icon=":material/folder_zip:")
    page = st.navigation(
        [
            st.Page("pages/explore.py", title="Explore", icon=":material/image_search:", default=True),
            st.Page("pages/compare.py", title="Compare", icon=":material/grid_view:"),
            st.Page("pages/robustness.py", title="Robustness", icon=":material/grain:"),
            st.Page("pages/evaluate.py", title="Evaluate", icon=":material/fact_check:"),
            st.Page("pages/play.py", title="Play", icon=":material/tune:"),
            reproduce,
            # Reproduce's former address, so that old links still work.
            st.Page(lambda: st.switch_page(reproduce), title="Bundle", url_path="bundle", visibility="hidden"),
        ],
        position="top",
    )
    FRAMED.set(True)
    if wanted := WANTED_PAGE.pop():
        st.switch_page(wanted, query_params=st.query_params.to_dict())
    name_tab(page.title)
    page.run()


def name_tab(*words: str) -> None:
    """Name the browser's tab and the history's entries: what is shown, then the page."""
    st.set_page_config(page_title=" · ".join([*words, "camviz"]))


def begin_page(page: str) -> None:
    """Begin a page, given its path: inside app.py, on a prepared server, with the style and the viewer's script."""
    _require_frame(page)
    if PAGE_SHOWN.get() != page:
        PAGE_SHOWN.set(page)
        carry_over_controls()
    prepare_server()
    show_style()
    viewer.prepare()


def _require_frame(page: str) -> None:
    """If a page was run on its own, run it again through app.py.

    Until app.py has run once on a server, Streamlit treats the folder "pages" as its older kind of multipage app, and a
    link to a page runs only that page, without the frame.
    """
    if not FRAMED.is_set():
        WANTED_PAGE.set(page)
        st.switch_page("app.py", query_params=st.query_params.to_dict())


class HeadingPlaces:
    """The places of the page's title and of the viewer's toolbar below it."""

    def __init__(self, parent: DeltaGenerator) -> None:
        self.title, self.tools = Slot(parent.container()), Slot(parent.container())

    def hold(self) -> None:
        """Reserve the space while there is nothing to show yet."""
        self.title.html('<h1 class="cv-title" hidden>&nbsp;<small>&nbsp;</small></h1>')
        self.tools.html('<div class="cv-tools"></div>')


class FootPlaces:
    """The foot of the sidebar: popovers with the downloads, the link (in a column of its own) and the server."""

    def __init__(self) -> None:
        self.downloads = st.popover("Download", icon=":material/download:", width="stretch")
        self.link, server = st.columns(2)
        self.server = Slot(server.popover("Server", icon=":material/memory:", width="stretch"))


def show_limits(*texts: str) -> None:
    """Explain the page's numbers, in Markdown, for readers who open it."""
    with st.expander("What these numbers mean, and their limits", icon=":material/menu_book:"):
        for text in texts:
            st.markdown(text)


def require_net(place: DeltaGenerator, info: ModelInfo, keep_link: Callable[[], None]) -> Net:
    """Load a network; if that is impossible, say what to do in a place.

    The page then goes on with the network shown last for such pictures, dimmed. If there is none, it ends here, after
    keeping the link.
    """
    with place:
        net = ready_net(info)
        if net is not None:
            shown_model_key(info.data).set(info.name)
            return net
        before = _shown_before(info.data)
        net = ready_net(before) if before else None
        if net is None:
            keep_link()
            st.stop()
        st.html('<span class="cv-outdated"></span>')
        st.caption(f"Until then, everything below is about {net.info.title}.")
        return net


def _shown_before(data: str) -> ModelInfo | None:
    """The network shown last for pictures that suit some training data, if it is still there."""
    name = shown_model_key(data).get()
    return next((info for info in list_models() if info.name == name and not needs_download(info)), None)
