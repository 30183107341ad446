"""Each part of Streamlit that camviz uses beyond the documented API, by its name, tried on the installed version.

After an upgrade, what fails here is what the upgrade broke.
"""

import ast
import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
from server import ROOT, running_app
from streamlit.testing.v1 import AppTest
from streamlit_messages import (
    Tab,
    chart_specs,
    component_data,
    cookie_of,
    download_labels,
    has_finished,
    html,
    is_caption,
    new_element,
    progress,
)

from camviz.ui.server import streamlit_internals as internals

PRODUCT = [
    path
    for path in (ROOT / "app.py", *ROOT.glob("pages/*.py"), *ROOT.glob("camviz/**/*.py"))
    if path != Path(internals.__file__)
]
PATIENCE = 60  # seconds that a loaded machine may need for an answer


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A server of tests/streamlit_probe.py, by its address."""
    with running_app(tmp_path_factory.mktemp("torch"), "tests/streamlit_probe.py") as address:
        yield address


@pytest.fixture
def tab(probe):
    """A function that opens a tab with a cookie; all are closed at the end."""
    opened = []

    def open_(cookie):
        opened.append(Tab(probe, cookie, PATIENCE))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def told(tab):
    """What the probe tells in the run that comes next."""
    return next(json.loads(e.text.body) for m in tab.messages() if (e := new_element(m)) and e.HasField("text"))


def finish(tab):
    """Wait for the run to end."""
    next(message for message in tab.messages() if has_finished(message))


def ask(tab, **how):
    """Ask for a run, and return what it tells."""
    tab.rerun(**how)
    found = told(tab)
    finish(tab)
    return found


def test_session_id_is_the_tabs(probe, tab):
    cookie = cookie_of(probe)
    one, other = tab(cookie), tab(cookie)
    first, second = ask(one)["session"], ask(other)["session"]
    assert isinstance(first, str)
    assert first != second
    assert ask(one)["session"] == first


def test_session_id_outside_of_a_run_is_none():
    assert internals.session_id() is None


def test_runs_for_a_visitor(probe, tab):
    assert ask(tab(cookie_of(probe)))["visitor"] is True
    assert internals.runs_for_a_visitor() is False


def test_visits(probe, tab):
    one, other = tab(cookie_of(probe)), tab(cookie_of(probe))
    ask(other)
    tabs, uploaded = ask(one)["visits"]
    assert tabs >= 2
    one.upload("a.png", bytes(5000))
    assert ask(one)["visits"][1] == uploaded + 5000
    assert internals.visits() == (0, 0)


def test_inline_scripts(probe):
    """Every script in the page that the server sends, and all others are files."""
    with urllib.request.urlopen(probe) as answer:  # noqa: S310
        page = answer.read().decode()
    assert [f"<script>{script}</script>" in page for script in internals.inline_scripts()] == [True]
    assert page.count("<script") == 1 + page.count('<script type="module" crossorigin src="./static/')


def test_came_by_history(probe, tab):
    visit = tab(cookie_of(probe))
    assert [ask(visit, by_history=by_history)["history"] for by_history in (False, True, False)] == [False, True, False]


def test_came_by_history_outside_of_a_run_is_false():
    assert internals.came_by_history() is False


def test_xsrf_cookie_is_masked_anew_and_unmasked_the_same(probe):
    """Why `unmasked` is there, and that it finds what Streamlit does."""
    first = cookie_of(probe)
    again, another = cookie_of(probe, first), cookie_of(probe)
    assert first != again
    assert internals.unmasked(first) == internals.unmasked(again) != internals.unmasked(another)
    assert re.fullmatch("[0-9a-f]{32}", internals.unmasked(first))


def test_browser_token_is_one_in_all_tabs_of_a_browser(probe, tab):
    first = cookie_of(probe)
    cookies = [first, cookie_of(probe, first), cookie_of(probe)]
    same, too, other = (ask(tab(cookie))["browser"] for cookie in cookies)
    assert same == too == internals.unmasked(first)
    assert other == internals.unmasked(cookies[2]) != same


def test_unmasked_by_hand():
    token = bytes(range(16))
    masked = [bytes(byte ^ mask[place % 4] for place, byte in enumerate(token)) for mask in (b"abcd", b"wxyz")]
    tabs = [f"2|{mask.hex()}|{cookie.hex()}|17" for mask, cookie in zip((b"abcd", b"wxyz"), masked, strict=True)]
    assert tabs[0] != tabs[1]
    assert {internals.unmasked(tab) for tab in tabs} == {token.hex()}
    for other in ("a session's number", "2||ab|1", "2|zz|ab|1", "2|abc|ab|1"):
        assert internals.unmasked(other) == other


def begin_work(tab):
    """Have the probe work until somebody ends that."""
    tab.rerun("work=1")
    while told(tab) != "at work":
        pass


def seconds_worked(tab, before):
    """How long the work took, once its end is noted: a new run may begin before the old one has ended."""
    end = time.monotonic() + PATIENCE
    while (worked := ask(tab)["worked"]) == before:
        assert time.monotonic() < end, "the work has not ended"
    return worked[-1]


def test_yield_point_ends_a_run_that_another_replaces(probe, tab):
    visit = tab(cookie_of(probe))
    before = ask(visit)["worked"]
    begin_work(visit)
    assert seconds_worked(visit, before) < 5, "the run went on although its person wanted something else"


def test_yield_point_ends_the_run_of_a_closed_tab(probe, tab):
    watching, gone = tab(cookie_of(probe)), tab(cookie_of(probe))
    before = ask(watching)["worked"]
    begin_work(gone)
    gone.close()
    assert seconds_worked(watching, before) < 5, "the run went on although its tab was closed"


def slot_page(how):
    """One place that shows Markdown and then something else, above something that stays."""
    import streamlit as st

    from camviz.ui.server.streamlit_internals import Slot

    slot = Slot(st.container())
    st.caption("below")
    slot.markdown("first")
    if how in ("html", "markdown"):
        getattr(slot, how)("second")
    elif how == "container":
        slot.container("inner").text("second")
    elif how == "mount":
        slot.mount(lambda: st.text("second"))
    else:
        slot.say(how, "second", "⏳")


@pytest.mark.parametrize("how", ["html", "markdown", "info", "success", "warning", "mount", "container"])
def test_slot_replaces_what_was_there(how):
    app = AppTest.from_function(slot_page, args=(how,)).run()
    assert not app.exception
    assert "first" not in [element.value for element in app.markdown]
    assert [element.value for element in app.caption] == ["below"]
    type_ = {"mount": "text", "container": "text"}.get(how, how)
    shown = html(app) if how == "html" else [element.value for element in getattr(app, type_)]
    assert shown == ["second"]


def typed_page():
    import streamlit as st

    st.session_state["container"] = type(st.container())
    st.session_state["upload"] = type(st.file_uploader("file"))
    st.session_state["column"] = st.column_config.NumberColumn("Level", help="0 to 1", format="%.2f")


@pytest.fixture(scope="module")
def typed():
    app = AppTest.from_function(typed_page).run()
    app.file_uploader[0].set_value(("a.txt", b"a", "text/plain")).run()
    assert not app.exception
    return app.session_state


def test_delta_generator_is_what_containers_are(typed):
    assert typed["container"] is internals.DeltaGenerator


def test_uploaded_file_is_what_an_uploader_gives(typed):
    assert typed["upload"] is internals.UploadedFile


def test_column_config_is_what_columns_are(typed):
    assert set(typed["column"]) <= set(internals.ColumnConfig.__annotations__)


def message_page():
    import plotly.graph_objects as go
    import streamlit as st

    st.html("<p>some HTML</p>")
    st.caption("a caption")
    st.markdown("no caption")
    st.progress(0.5, "half")
    st.download_button("Take it", b"data")
    st.plotly_chart(go.Figure(go.Scatter(x=[1], y=[2], name="a line")))
    st.components.v2.component("camviz_probe", js="export default () => {}")(key="probe", data=b"\x01\x02")


@pytest.fixture(scope="module")
def sent():
    """A page with one element of each kind whose message the tests read."""
    app = AppTest.from_function(message_page).run()
    assert not app.exception
    return app


def test_message_of_html(sent):
    assert html(sent) == ["<p>some HTML</p>"]


def test_message_of_progress(sent):
    assert progress(sent) == ["half"]


def test_message_of_download_button(sent):
    assert download_labels(sent) == ["Take it"]


def test_message_of_plotly_chart(sent):
    (spec,) = chart_specs(sent)
    assert json.loads(spec)["data"][0]["name"] == "a line"


def test_message_of_component(sent):
    assert component_data(sent) == [b"\x01\x02"]


def test_message_of_caption(sent):
    (caption,), (markdown,) = sent.caption, sent.markdown
    assert (is_caption(caption.proto), is_caption(markdown.proto)) == (True, False)


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_other_file_imports_streamlits_parts(path):
    """Everything but `import streamlit` goes through `camviz.ui.server.streamlit_internals`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.startswith("streamlit.")]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "st":
            assert not node.attr.startswith("_"), f"st.{node.attr}"


def test_the_list_of_files_is_not_empty():
    assert ROOT / "app.py" in PRODUCT
    assert ROOT / "camviz/ui/server/sharing.py" in PRODUCT
    assert Path(internals.__file__) not in PRODUCT
