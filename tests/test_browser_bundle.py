"""A bundle as a person opens it: it agrees, and Explore goes on with its picture."""

import numpy as np
from browsing import pixels, result
from playwright.sync_api import expect

from camviz import bundle
from camviz.explain import Recipe
from camviz.finding import Settings, find
from camviz.samples import SAMPLES

LAYERS = ("_blocks.10._swish", "_swish")


def test_a_bundle_is_opened_agrees_and_goes_on_in_explore(page, lite0):
    settings = Settings("efficientnet-lite0", Recipe("gradcam++", LAYERS), "pad", 285)
    found = find(lite0, SAMPLES["Cat"].path.read_bytes(), "my <b>cat</b>.jpg", settings)
    page.locator("header").get_by_text("Bundle").click()
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

    page.get_by_role("button", name="Go on in Explore").click()
    page.wait_for_selector(".cv-strip .cv-result canvas")
    expect(page.locator(".cv-title")).to_contain_text("my <b>cat</b>.jpg")
    assert page.locator(".cv-title b").inner_text() == label == found.label
    expect(page.locator(".cv-strip canvas")).to_have_count(6)
    assert result(page)
    assert "class=285" in page.url
