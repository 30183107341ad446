"""Streamlit's own elements, as the style sheets select them: each selector still finds something on a real page."""

import json
import re

import pytest
from browsing import choose, new_tab
from playwright.sync_api import expect
from server import ROOT
from shape_result import MODEL, PNG, RECIPE

import camviz
from camviz.results import bundle
from camviz.results.finding import Settings
from camviz.workbench.findings import find

SHEETS = ("assets/style.css", "assets/viewer/viewer.css")
# What a person or the app does to an element: it may be found without.
STATES = re.compile(r":is\(:hover, :focus-within\)|:hover|:focus-within|:focus-visible|^\.cv-large ")


def selectors(sheet):
    """Each selector of a sheet that names an element of Streamlit's: by class ("stHtml") or by test id."""
    heads = re.findall(r"([^{};]+)\{", re.sub(r"/\*.*?\*/", "", sheet, flags=re.S))
    each = [part.strip() for head in heads for part in re.split(r",(?![^(]*\))", head)]
    return [STATES.sub("", one) for one in each if re.search(r"\.st[A-Z]|data-testid", one)]


SELECTORS = list(dict.fromkeys(one for path in SHEETS for one in selectors((ROOT / path).read_text(encoding="utf-8"))))

# Looks again and again for what has not been found yet, since some elements are there for a moment only.
LOOK = """
window.unseen = new Set(SELECTORS);
const look = () => {
  for (const one of unseen) if (document.querySelector(one)) unseen.delete(one);
};
setInterval(look, 50);
"""


@pytest.fixture(scope="module")
def unseen(profile, address):
    """The selectors that found nothing in a visit to all that the sheets dress."""
    page = new_tab(profile, address)
    page.add_init_script(LOOK.replace("SELECTORS", json.dumps(SELECTORS)))
    page.goto(address)
    page.wait_for_selector(".cv-strip canvas")
    choose(page, "method", "Score-CAM")
    expect(page.locator(".st-key-slow-progress-strip")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).last.click()
    expect(page.locator(".st-key-slow-progress-strip")).to_have_count(0)
    choose(page, "model", "ResNet-18")
    page.wait_for_selector(".cv-outdated", state="attached")
    choose(page, "model", "EfficientNet-Lite0")
    expect(page.locator(".cv-outdated")).to_have_count(0)
    page.get_by_role("button", name="Server").click()
    expect(page.locator(".cv-engine")).to_be_visible()
    page.wait_for_function("![...unseen].some(one => document.querySelector(one))")  # it is about to go again
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Shapes").click()
    page.get_by_role("button", name="Gallery").click()
    expect(page.get_by_role("dialog").locator("img")).to_have_count(18)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Compare").click()
    page.wait_for_selector(".cv-grid canvas")
    page.locator(".cv-grid .cv-pin").first.press("Enter")
    expect(page.locator(".cv-pinned")).to_have_count(1)
    page.get_by_role("link", name="Evaluate").click()
    page.wait_for_selector(".st-key-dots .stSelectbox")
    open_bundle(page)
    left = page.evaluate("[...unseen]")
    page.goto(f"{address}/?v=1&noise=gaussian&level=0.4")
    page.wait_for_selector(".st-key-pair", state="attached")
    left = [one for one in left if page.locator(one).count() == 0]
    page.close()
    return left


def open_bundle(page):
    page.locator("header").get_by_text("Reproduce").click()
    expect(page.locator(".cv-lead")).to_be_visible()
    expect(page.locator("input[type=file]")).to_have_count(1)
    found = find(camviz.load_model(MODEL, "cpu"), PNG, "shapes:test/12", Settings(MODEL, RECIPE), scores=False)
    file = {"name": "a.camviz.zip", "mimeType": "application/zip", "buffer": bundle.write(found)}
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator(".cv-opened")).to_be_visible()


def test_selectors_are_read_from_a_sheet():
    sheet = """/* .stComment */ .stApp, [data-testid="stA"] > b { color: red; }
    .cv-own { gap: 0 } .st-key-pair { gap: 0 }
    .cv-large .stSidebar { display: none; }
    @media (hover: none) { .stX:is(a, b):hover i { gap: 0 } }"""
    assert selectors(sheet) == [".stApp", '[data-testid="stA"] > b', ".stSidebar", ".stX:is(a, b) i"]
    assert len(SELECTORS) > 20


@pytest.mark.parametrize("selector", SELECTORS, ids=SELECTORS)
def test_selector_finds_an_element(unseen, selector):
    assert selector not in unseen
