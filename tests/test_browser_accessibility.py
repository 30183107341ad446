"""Every page as axe-core sees it, in both themes, with all that opens: nothing that it calls serious or critical."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

PAGES = {
    "explore": ("/?v=1&photo=Cat&method=layercam&layers=_swish", ".cv-scores"),
    "compare": ("/compare?v=1&compare=layers&photo=Cat&layers=_swish&methods=gradcam~layercam", ".cv-grid canvas"),
    "robustness": (
        "/robustness?v=1&photos=Cat&shapes=0&methods=hirescam~gradcam&merged=&noises=jpeg&levels=0.5&draws=1",
        ".stMultiSelect [data-tag]",
    ),
    "evaluate": ("/evaluate", ".cv-examples img"),
    "an evaluation to come": ("/evaluate?v=1&study=own&count=4&model=shapes-textured", ".cv-pictures img"),
    "play": ("/play?v=1&shape=circle&size=medium&model=shapes-textured&layers=layer4", ".cv-played"),
    "a sweep to come": ("/robustness?v=1&photos=Coffee", ".stMultiSelect [data-tag]"),
    "reproduce": ("/reproduce", ".cv-lead"),
}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_serious_in_either_theme(visit, name):
    path, there = PAGES[name]
    page = visit(path)
    page.wait_for_selector(there)
    if name == "robustness":
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector(".cv-regions canvas")
    expect(page.locator("h1")).to_have_count(1)
    page.wait_for_function("!document.querySelector('.cv-wait')")
    expect(page.locator("[data-testid=stApp]")).to_have_attribute(
        "data-test-script-state", "notRunning"
    )  # none is faded
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        # While the page runs, what it will replace is faded.
        expect(page.locator(".stApp")).to_have_attribute("data-test-script-state", "notRunning")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert serious(page) == set(), scheme
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = false)")


def test_nothing_serious_in_what_opens_over_the_page(visit):
    page = visit("/?v=1&layers=_swish")
    page.wait_for_selector(".cv-guide")
    for name in ("About this model", "Download", "Link", "Server"):
        page.get_by_test_id("stPopoverButton").filter(has_text=name).click()
        check_in_both(page, "[data-testid=stPopoverBody]")
    page.get_by_role("radio", name="Shapes").click()
    page.get_by_role("button", name="Gallery").click()
    expect(page.get_by_role("dialog").locator("img")).to_have_count(18)
    check_in_both(page, "[role=dialog]")


def check_in_both(page, part):
    expect(page.locator(part)).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)
        page.wait_for_function("part => document.querySelector(part).getAnimations().length === 0", arg=part)
        assert serious(page, part) == set(), scheme
    page.keyboard.press("Escape")
    expect(page.locator(part)).to_have_count(0)


def serious(page, part=None):
    """What axe-core calls serious or critical, on the page or within a part of it."""
    return {
        f"{fault['id']}: {node['target'][0]} {node['html'][:90]}"
        for fault in Axe().run(page, part).response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    }
