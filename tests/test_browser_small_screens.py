"""Every page on a phone and on a tablet: nothing scrolls sideways, nothing overprints, and the picture comes first."""

from itertools import combinations

import pytest
from playwright.sync_api import expect
from shape_result import MODEL, PNG, RECIPE

import camviz
from camviz.html.report import report
from camviz.results import bundle
from camviz.results.finding import Settings
from camviz.workbench.findings import find

SCREENS = {"phone": (390, 844), "tablet": (1024, 768)}

# What no two of may share a place, by page; headings and labels as wide as their words.
PRINTED = {
    "explore": ".cv-title, .cv-tools, .cv-strip :is(h4, .cv-pic, figcaption, .cv-class), .cv-legend span, "
    ".cv-scores :is([role=columnheader], [role=rowheader], [role=cell]), .st-key-score-words p, .cv-guide p",
    "compare": ".cv-title, .cv-tools, .cv-grid > p, .cv-grid :is(.cv-pic, h4, .cv-grid-name > p, .cv-bar)",
    "robustness": "h1, .cv-step-by-step p, .cv-pictures :is(.cv-pic, figcaption), [data-testid=stProgress]",
    "sweep": "h1, .cv-intervals :is(h4, [role=rowheader], [role=cell], .cv-ticks), .js-plotly-plot, "
    "[data-testid=stDataFrame]",
    "evaluate": "h1, .cv-verdict, .cv-intervals :is(h4, [role=rowheader], [role=cell], .cv-ticks), "
    ".cv-examples :is(h4, .cv-pic, figcaption, a), .js-plotly-plot",
    "own": "h1, .cv-pictures :is(.cv-pic, figcaption), [data-testid=stProgress]",
    "play": "h1, .cv-pair :is(.cv-pic, figcaption), .cv-played :is(th, td), .stSlider",
    "report": ".cv-title, .cv-tools, .cv-strip :is(h4, .cv-pic, figcaption), .cv-below p, "
    ".cv-scores :is([role=columnheader], [role=rowheader], [role=cell]), td, th, caption",
    "reproduce": ".cv-title, .cv-tools, .cv-panes :is(h4, .cv-pic, figcaption), .cv-opened :is(h4, th, td, dt, dd)",
}
PLACES = """selector => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility()).map(e => {
    const { left, top, right, bottom } = e.getBoundingClientRect();
    const wide = getComputedStyle(e).overflowX === "visible" ? left + e.scrollWidth : right;
    const said = `${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}`;
    return { said, left, top, right: Math.max(right, wide), bottom };
})"""
SIDEWAYS = """() => [document.documentElement, document.querySelector(".stMain")]
    .map(e => e.scrollWidth - e.clientWidth)"""


@pytest.fixture
def small(visit):
    """A function that opens a path on a phone, which is touched."""

    def shrink(page):
        resize(page, "phone")
        page.context.new_cdp_session(page).send(
            "Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1}
        )

    return lambda path: visit(path, before=shrink)


def resize(page, screen):
    width, height = SCREENS[screen]
    page.set_viewport_size({"width": width, "height": height})


def on_both(page, name, first, tools=True):
    """Check the page on the phone, and on a tablet, which shows the sidebar beside it."""
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar).to_have_attribute("data-collapsed", "true")
    check(page, name, first, tools)
    resize(page, "tablet")
    expect(sidebar).to_have_attribute("data-collapsed", "false")
    page.wait_for_timeout(500)  # it slides in
    check(page, name, first, tools)


def places(page, selector):
    return page.evaluate(PLACES, selector)


def check(page, name, first, tools):
    """Nothing scrolls sideways or overprints, and what matters most is on the first screen."""
    page.wait_for_function(f"({SIDEWAYS})().every(wide => wide === 0)")  # charts take their new width a moment later
    printed = places(page, PRINTED[name])
    assert len(printed) > 3
    assert [(a["said"], b["said"]) for a, b in combinations(printed, 2) if overlap(a, b)] == []
    size, place = page.viewport_size, places(page, first)[0]
    assert place["left"] >= 0
    assert place["right"] <= size["width"]
    assert place["bottom"] <= size["height"], f"{place['said']} is not on the first screen"
    if tools:
        check_tools(page)


def overlap(a, b, slack=1):
    return (
        min(a["right"], b["right"]) - max(a["left"], b["left"]) > slack
        and min(a["bottom"], b["bottom"]) - max(a["top"], b["top"]) > slack
    )


def check_tools(page):
    """The toolbar's buttons fit a finger, and its menus the screen."""
    buttons = places(page, ".cv-tools > :is(button, details > summary)")
    assert min(button["bottom"] - button["top"] for button in buttons) >= 28
    for name in ("Save", "Keys"):
        button = page.locator(".cv-tools summary", has_text=name)
        button.click()
        (menu,) = places(page, ".cv-tools details[open] > div")
        assert menu["left"] >= 0
        assert menu["right"] <= page.viewport_size["width"]
        assert menu["bottom"] <= page.viewport_size["height"]
        button.click()


def test_explore(small):
    page = small("/?v=1&photo=Cat&layers=_swish")
    page.wait_for_selector(".cv-strip canvas")
    page.wait_for_function("!document.querySelector('.cv-wait')")
    on_both(page, "explore", ".cv-result .cv-pic")


def test_compare(small):
    page = small("/compare?v=1&compare=layers&photo=Cat&methods=gradcam")
    page.wait_for_selector(".cv-grid figure:has(.cv-pin) canvas")
    page.wait_for_function("!document.querySelector('.cv-wait')")
    grid = page.locator(".st-key-grid")
    assert grid.evaluate("grid => grid.scrollWidth - grid.clientWidth") <= 0  # five maps side by side
    on_both(page, "compare", ".cv-grid figure:has(.cv-pin)")


def test_robustness(small):
    page = small("/robustness?v=1&photos=Cat&methods=hirescam&noises=blur&levels=0.5&draws=1")
    for part in (".cv-pictures img", "[data-testid=stBaseButton-primary]"):  # they come in any order
        page.wait_for_selector(part)
    on_both(page, "robustness", "[data-testid=stBaseButton-primary]", tools=False)
    page.get_by_role("button", name="Start").click()
    expect(page.locator("[data-testid=stProgress]")).to_contain_text("Done")
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    resize(page, "phone")
    on_both(page, "sweep", "[data-testid=stProgress]", tools=False)


def test_evaluate(small):
    page = small("/evaluate")
    expect(page.locator(".cv-examples img")).to_have_count(8)
    expect(page.locator(".js-plotly-plot")).to_be_visible()
    on_both(page, "evaluate", ".cv-verdict", tools=False)


def test_an_evaluation_of_ones_own(small):
    page = small("/evaluate?v=1&study=own&count=4&model=shapes-textured")
    expect(page.locator(".cv-pictures .cv-pic")).to_have_count(4)
    expect(page.get_by_test_id("stProgress")).to_be_visible()  # they come in any order
    on_both(page, "own", "[data-testid=stProgress]", tools=False)


def test_play(small):
    page = small("/play?v=1&shape=circle&size=medium&model=shapes-textured&layers=layer4")
    expect(page.locator(".cv-played").first).to_be_visible()
    on_both(page, "play", ".cv-pair", tools=False)


def test_reproduce(small):
    page = small("/reproduce")
    expect(page.locator(".cv-lead")).to_be_visible()
    found = find(camviz.load_model(MODEL, "cpu"), PNG, "shapes:test/12", Settings(MODEL, RECIPE), scores=False)
    file = {"name": "a.camviz.zip", "mimeType": "application/zip", "buffer": bundle.write(found)}
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator(".cv-panes canvas[data-result]")).to_have_count(2)
    on_both(page, "reproduce", ".cv-panes [data-result]")


def test_a_report_on_a_phone(profile, tmp_path):
    found = find(camviz.load_model(MODEL, "cpu"), PNG, "shapes:test/12", Settings(MODEL, RECIPE))
    (tmp_path / "report.html").write_bytes(report(found))
    page = profile.new_page()
    resize(page, "phone")
    page.goto(f"file://{tmp_path}/report.html")
    page.locator(".cv-strip canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    printed = places(page, PRINTED["report"])
    assert len(printed) > 30
    assert [(a["said"], b["said"]) for a, b in combinations(printed, 2) if overlap(a, b)] == []
    page.close()
