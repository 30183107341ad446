"""What strangers name is shown as words wherever it stands: in Markdown, in HTML, and in tables."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from pictures import png
from streamlit.testing.v1 import AppTest
from streamlit_messages import html
from viewing import messages

from camviz import shapes
from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.finding import Settings, as_png
from camviz.ui.escaping import as_text, code
from camviz.workbench.findings import find

pytestmark = pytest.mark.usefixtures("half_size")
APP = str(Path(__file__).parent.parent / "app.py")
PICTURE, MARKUP = "![x](http://example.org/x.png)", "<img src=x onerror=alert(1)>"
BOTH = PICTURE + MARKUP
NAMES = [
    PICTURE,
    MARKUP,
    "**bold** _slanted_ ~~gone~~ `code`",
    "[a link](javascript:alert(1))",
    "www.example.org and http://example.org and me@example.org",
    "$x^2$ :material/bolt: :red[x] &lt; a|b",
    "# a heading",
    "- a list",
    "12. a list",
    "=",
    "two\nlines \u202e turned",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("escape", [as_text, code])
def test_markdown_shows_the_words_and_nothing_else(name, escape):
    """By another reader of Markdown: a paragraph of text, or of code."""
    tokens = MarkdownIt("gfm-like").parse(escape(name))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    kinds = {token.type for token in tokens[1].children}
    assert kinds <= {"text", "text_special"} if escape is as_text else kinds == {"code_inline"}
    shown = "".join(token.content for token in tokens[1].children).replace("\u2060", "")
    printable = "".join(sign if sign.isprintable() else " " for sign in name)
    if escape is as_text:
        assert shown == printable
    else:
        assert shown.rstrip("…") in printable.replace("`", " ")


def visit(page):
    test = AppTest.from_file(APP, default_timeout=120).switch_page(f"pages/{page}.py").run()
    assert not test.exception
    return test


def shown_by(app):
    """All that a page gave to Markdown, and all its HTML."""
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "toast", "title", "header", "subheader")
    markdown = [element.value for kind in kinds for element in getattr(app, kind)]
    markdown += [
        element.label for kind in ("button", "checkbox", "toggle", "radio", "slider") for element in app.get(kind)
    ]
    return markdown, [*html(app), *(message.markup for message in messages(app))]


def is_harmless(app):
    """The name is mark-up neither in Markdown nor in HTML."""
    assert not app.exception
    markdown, pages = shown_by(app)
    assert not [text for text in markdown if PICTURE in text or MARKUP in text]
    assert not [text for text in pages if MARKUP in text]


@pytest.fixture
def names_alone(unscored, monkeypatch):  # noqa: ARG001
    """Neither Explore nor Compare scores its maps: no name stands among the scores."""
    monkeypatch.setattr("camviz.ui.compare.view.compute_fast_scores", lambda *args: None)


@pytest.mark.usefixtures("names_alone")
def test_an_upload_in_explore_and_compare():
    app = visit("explore")
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].set_value((f"{BOTH}.png", png(np.full((40, 60, 3), 90, np.uint8)), "image/png")).run()
    is_harmless(app)
    assert any("&lt;img src=x" in text for text in html(app))
    is_harmless(app.switch_page("pages/compare.py").run())
    is_harmless(app.run())  # under AppTest a page shows the upload from its second run on
    assert any("&lt;img src=x" in text for text in html(app))
    app.switch_page("pages/explore.py").run()
    app.file_uploader[0].set_value((f"{BOTH}.png", b"no picture", "image/png")).run()
    is_harmless(app)
    assert app.error


def test_uploads_in_robustness():
    app = visit("robustness")
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    flat = np.full((60, 60, 3), 90, np.uint8)
    uploader = app.file_uploader[0]
    uploader.upload(f"{BOTH}.png", b"no picture", "image/png")
    uploader.upload(f"{BOTH}2.png", png(flat), "image/png")
    uploader.upload(f"{BOTH}3.png", png(noise), "image/png")
    app.run()
    is_harmless(app)
    assert any(as_text(BOTH) in box.value for box in app.error)
    assert any(as_text(BOTH) in box.value for box in app.warning)


def test_a_bundle_in_reproduce(half_size):
    net = half_size("efficientnet-lite0")
    settings = Settings("efficientnet-lite0", Recipe("gradcam", net.layers[-1:]))
    found = find(net, as_png(shapes.sample(3).image), BOTH, settings, scores=False)
    app = visit("reproduce")
    app.file_uploader[0].set_value((f"{BOTH}.zip", bundle.write(found), "application/zip")).run()
    is_harmless(app)
    app.file_uploader[0].set_value((f"{BOTH}.zip", b"no bundle", "application/zip")).run()
    is_harmless(app)
    assert app.error


@pytest.mark.usefixtures("names_alone")
def test_links():
    for page in ("explore", "compare", "robustness"):
        app = AppTest.from_file(APP, default_timeout=120)
        app.query_params["v"] = "1"
        for field in ("model", "method", "rule", "photo", "noise", "name"):
            app.query_params[field] = PICTURE
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception
        markdown, pages = shown_by(app)
        assert not [text for text in markdown if PICTURE in text.replace(code(PICTURE), "")]
        assert not [text for text in pages if PICTURE in text]


def test_tables_hold_no_formula():
    """A sweep's tables of pictures whose names begin like one."""
    import pandas as pd

    from camviz.results.exports import as_safe_csv

    table = pd.DataFrame({"image": ["=1+1", "+a", "-b", "@c", "fine"], "overlap": [-0.5, 1.0, 0.0, 2.0, 3.0]})
    rows = list(csv.reader(io.StringIO(as_safe_csv(table))))
    assert [row[0] for row in rows] == ["image", "'=1+1", "'+a", "'-b", "'@c", "fine"]
    assert rows[1][1] == "-0.5"
