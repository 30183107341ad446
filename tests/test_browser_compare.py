"""The Compare page as a person meets it: the grid is drawn and calm, zooms as one, pins, sorts, in both themes."""

import re

import numpy as np
import pytest
from browsing import choose, drawn, pixels
from playwright.sync_api import Page, expect

import camviz
from camviz.render import DIVERGING, overlay, palette
from camviz.samples import SAMPLES

FIRST = ".st-key-grid canvas[data-map='0']"


def complete(page: Page, maps: int) -> None:
    """Wait until all maps and numbers are there."""
    expect(page.locator(".st-key-grid canvas[data-map]")).to_have_count(maps)
    expect(page.locator(".st-key-grid .cv-number")).to_have_count(maps)
    page.wait_for_function("!document.querySelector('.cv-wait')")


def names(page: Page) -> list[str]:
    return page.locator(".cv-grid-name h4").all_inner_texts()


# Where two rows' numbers are, at a moment at which both are drawn: they are replaced while they come.
NUMBERS = """() => {
    const found = [...document.querySelectorAll(".cv-numbers")].map((row) => row.getBoundingClientRect());
    return found.length === 2 && found.every((place) => place.height) && found.map((place) => place.toJSON());
}"""


def places_of_numbers(page: Page) -> list[dict[str, float]]:
    return page.wait_for_function(NUMBERS).json_value()


@pytest.fixture
def grid(visit):
    """Two methods by two layers and their merge."""
    page = visit("/compare?v=1&compare=layers&methods=gradcam~gradcam%2B%2B&layers=_blocks.10._swish~_swish")
    complete(page, 6)
    return page


def test_the_navigation_leads_there_and_the_grid_is_drawn(page):
    page.get_by_role("link", name="Compare").click()
    page.wait_for_selector(FIRST)
    expect(page.locator(".cv-title")).to_contain_text("Where is espresso?")
    expect(page.locator(".st-key-grid canvas[data-map]")).to_have_count(20)
    net = camviz.load_model("efficientnet-lite0", "cpu")
    image = camviz.load_image(SAMPLES["Coffee"].path)
    maps = camviz.cam(camviz.capture(net.module, net.preprocess(image), layers=net.layers))
    expected = overlay(net.view(image), maps[-1, 0])
    assert np.abs(pixels(page, FIRST).astype(int) - expected).max() <= 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_moves_while_the_numbers_come(visit):
    page = visit("/compare?v=1&compare=layers&photo=Cat&methods=gradcam~layercam&layers=_blocks.10._swish~_swish")
    expect(page.locator(".st-key-grid canvas[data-map]")).to_have_count(6)
    expect(page.locator(".st-key-grid .cv-number")).to_have_count(6)
    expect(page.locator(".cv-tools select").first).to_be_visible()  # the last thing to come above the grid
    before = places_of_numbers(page)
    expect(page.locator(".st-key-grid .cv-best").nth(1)).to_be_visible()  # the last to come, one for each picture
    expect(page.locator(".cv-announced")).to_have_text(re.compile("^Best of their rows by ARCC: .+; .+\\.$"))
    after = places_of_numbers(page)
    assert all(abs(now[side] - then[side]) <= 1 for then, now in zip(before, after, strict=True) for side in now)


def test_all_cells_zoom_together(grid):
    box = grid.locator(FIRST).first.bounding_box()
    grid.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    grid.mouse.wheel(0, -400)
    found = "canvas => getComputedStyle(canvas).transform"
    grid.wait_for_function("document.querySelector('.cv-zoomed')")
    zooms = grid.locator(".st-key-grid canvas[data-map]").evaluate_all(f"all => all.map({found})")
    assert len(zooms) == 6
    assert len(set(zooms)) == 1
    assert zooms[0] not in ("none", "matrix(1, 0, 0, 1, 0, 0)")
    assert grid.locator(".cv-pointing output:not(:empty)").count() == 6


def test_a_map_is_pinned_stays_and_is_let_go(grid):
    grid.locator(".st-key-grid figure").nth(3).hover()
    grid.get_by_role("button", name=re.compile("^Pin Grad-CAM, RefineCAM")).click()
    expect(grid.locator(".cv-pinned")).to_contain_text("Coffee")
    before = drawn(grid, ".cv-pinned canvas")
    choose(grid, "sample", "Rocket")
    expect(grid.locator(".cv-title")).to_contain_text("Rocket")
    complete(grid, 6)
    assert drawn(grid, ".cv-pinned canvas") == before
    expect(grid.locator(".cv-pinned")).to_contain_text("Coffee")
    grid.locator(".cv-pinned figure").hover()
    grid.get_by_role("button", name=re.compile("^Unpin")).click()
    expect(grid.locator(".cv-pinned")).to_have_count(0)


def test_a_map_is_pinned_by_the_keyboard(grid):
    grid.locator(".cv-grid .cv-pin").nth(1).press("Enter")
    expect(grid.locator(".cv-pinned")).to_have_count(1)
    grid.locator(".cv-pinned .cv-pin").press("Enter")
    expect(grid.locator(".cv-pinned")).to_have_count(0)


def test_a_click_on_a_map_asks_nothing_of_the_server(grid):
    grid.evaluate(
        """() => {
            window.runs = 0;
            const app = document.querySelector('[data-testid=stApp]');
            new MutationObserver(() => runs++).observe(app, { attributeFilter: ['data-test-script-state'] });
        }"""
    )
    grid.locator(FIRST).first.click(position={"x": 40, "y": 40}, force=True)
    grid.locator(FIRST).first.dblclick(position={"x": 40, "y": 40}, force=True)
    grid.wait_for_timeout(500)
    assert grid.evaluate("runs") == 0


def test_rows_are_sorted_by_their_best_number(grid):
    assert names(grid) == ["Grad-CAM", "Grad-CAM++"]
    choose(grid, "compare_sort", "Best ARCC")
    grid.wait_for_function("location.search.includes('sort=arcc')")
    expect(grid.locator("[data-testid=stApp]")).to_have_attribute("data-test-script-state", "notRunning")
    complete(grid, 6)
    best = [
        max(float(text) for text in re.findall(r"ARCC (\d\.\d\d)", row.inner_text()))
        for row in grid.locator(".st-key-grid .cv-numbers").all()
    ]
    assert best == sorted(best, reverse=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_difference_has_two_colours_about_the_bare_picture(visit, scheme):
    page = visit("/compare?v=1&compare=classes&photo=Cat&classes=282~285&methods=gradcam%2B%2B", scheme)
    complete(page, 3)
    net = camviz.load_model("efficientnet-lite0", "cpu")
    view = net.view(camviz.load_image(SAMPLES["Cat"].path))
    maps = [
        camviz.refine(camviz.cam(camviz.capture(net.module, net.inputs(view[None]), target, net.layers)))[0].numpy()
        for target in (282, 285)
    ]
    apart = (maps[0] - maps[1]) / np.abs(maps[0] - maps[1]).max()
    shown = pixels(page, "[class*='st-key-row-difference'] canvas, .st-key-grid > :last-child canvas[data-map]")
    grey = view @ np.array([0.299, 0.587, 0.114])
    cover = (1 - (1 - 0.67) ** 1.6) * np.abs(apart)[..., None]
    colours = palette(DIVERGING)[((0.5 + apart / 2) * 255 + 0.5).astype(int)]
    assert np.abs(shown - ((1 - cover) * grey[..., None] + cover * colours)).max() <= 4
    ground = page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor")
    assert (np.mean([float(n) for n in re.findall(r"\d+", ground)[:3]]) > 128) == (scheme == "light")
