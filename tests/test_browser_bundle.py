"""A bundle as a person opens it: it agrees, and Explore goes on with its picture; bundles of every page come back."""

import numpy as np
import pytest
from browsing import pixels, result
from playwright.sync_api import Page, expect

from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.finding import Settings
from camviz.samples import SAMPLES
from camviz.workbench.findings import find

LAYERS = ("_blocks.10._swish", "_swish")


def test_a_bundle_is_opened_agrees_and_goes_on_in_explore(page, lite0):
    settings = Settings("efficientnet-lite0", Recipe("gradcam++", LAYERS), "pad", 285)
    found = find(lite0, SAMPLES["Cat"].path.read_bytes(), "my <b>cat</b>.jpg", settings)
    page.locator("header").get_by_text("Reproduce").click()
    expect(page.locator(".cv-lead")).to_be_visible()
    file = {"name": "cat.camviz.zip", "mimeType": "application/zip", "buffer": bundle.write(found)}
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("the one computed now agree.")
    expect(page.locator(".cv-panes canvas")).to_have_count(8)
    expect(page.locator(".cv-title")).to_contain_text("my <b>cat</b>.jpg")
    for row in (".st-key-bundle-stored", ".st-key-bundle-fresh"):
        np.testing.assert_array_equal(pixels(page, f"{row} canvas"), found.view)
        assert pixels(page, f"{row} canvas[data-result]").std() > 5
    expect(page.locator(".cv-opened tbody tr")).to_have_count(3)
    label = page.locator(".cv-title b").inner_text()

    page.get_by_role("button", name="Continue in Explore").click()
    page.wait_for_selector(".cv-strip .cv-result canvas")
    expect(page.locator(".cv-title")).to_contain_text("my <b>cat</b>.jpg")
    assert page.locator(".cv-title b").inner_text() == label == found.label
    expect(page.locator(".cv-strip canvas")).to_have_count(6)
    assert result(page)
    assert "class=285" in page.url


def take_a_bundle(page: Page, popover: str) -> bytes:
    page.get_by_role("button", name=popover).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Bundle", exact=True).click()
    page.keyboard.press("Escape")
    return download.value.path().read_bytes()


@pytest.mark.parametrize(
    ("link", "popover", "method"),
    [
        ("/?v=1&photo=Cat&method=layercam&layers=_swish&noise=shot&level=0.2", "Download", "layercam"),
        ("/compare?v=1&compare=layers&photo=Cat&layers=_swish&methods=gradcam", "Download", "gradcam"),
        (
            "/robustness?v=1&photos=Cat&shapes=0&methods=hirescam&merged=&noises=blur&levels=0.5&draws=1",
            "Download this copy",
            "hirescam",
        ),
    ],
)
def test_the_bundle_of_every_page_comes_back_and_agrees(visit, link, popover, method):
    page = visit(link)
    if "robustness" in link:
        page.get_by_role("button", name="Start").click()
    if (
        "noise=" in link
    ):  # each piece of the curve is a run, and two runs may come between a file's address and its data
        expect(page.locator(".st-key-curve")).to_contain_text("All 20 levels")
    if "compare" in link:  # a menu that opens before the sidebar is complete stays where its button was
        expect(page.get_by_text("Average with the mirrored picture")).to_be_visible()
        expect(page.locator(".cv-numbers .cv-wait")).to_have_count(0)
    data = take_a_bundle(page, popover)
    found = bundle.read(data)
    assert found.settings.recipe.method == method
    assert found.name == "Cat"
    page.locator("header").get_by_text("Reproduce").click()
    expect(page.locator(".cv-lead")).to_be_visible()  # until then the uploads may be another page's
    expect(page.locator("input[type=file]")).to_have_count(1)
    file = {"name": "cat.camviz.zip", "mimeType": "application/zip", "buffer": data}
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("the one computed now agree.")
    page.wait_for_selector(".st-key-bundle-fresh canvas")
    np.testing.assert_array_equal(pixels(page, ".st-key-bundle-fresh canvas"), found.view)
