"""Files taken from the page in a real browser, and the report opened without its server."""

import base64
import re

import numpy as np
import pytest
import torch
from browsing import SLOW, pixels, result, wait_for_change
from pictures import png
from playwright.sync_api import expect

import camviz
from camviz.html.report import report
from camviz.recipe import Recipe
from camviz.render import overlay
from camviz.results import bundle
from camviz.results.finding import Settings
from camviz.samples import SAMPLES
from camviz.workbench.findings import find


@pytest.fixture
def taken(page, tmp_path):
    """The report and the bundle of the first screen, with the picture that it showed."""
    page.wait_for_selector(".cv-tools button")
    page.wait_for_function("!document.querySelector('.cv-wait')")
    page.get_by_role("button", name="Download").click()
    files = {}
    for name in ("Report, HTML", "Bundle"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        files[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[name])
    assert {file.name for file in files.values()} == {
        "coffee-espresso-gradcampp.html",
        "coffee-espresso-gradcampp.camviz.zip",
    }
    return files["Report, HTML"], bundle.read(files["Bundle"].read_bytes()), pixels(page, ".cv-result canvas")


def test_the_report_opens_offline_with_the_viewer_working_in_it(browser, taken):
    report, found, shown = taken
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(SLOW)
    wrong, asked = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector(".cv-tools button")
    assert np.array_equal(pixels(page, ".cv-result canvas"), shown)
    page.get_by_label("Colours").select_option("viridis")
    for _ in range(500):  # wait_for_function asks by eval, which a report does not allow
        if not page.evaluate("camvizViewers.pending"):
            break
        page.wait_for_timeout(20)
    refined = camviz.refine(camviz_maps(found))[0]
    drawn = pixels(page, ".cv-result canvas").astype(int)
    assert np.abs(drawn - overlay(found.view, refined, "viridis")).max() <= 2
    box = page.locator(".cv-result canvas").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.wheel(0, -300)
    expect(page.locator(".cv-zoomed")).to_have_count(1)
    expect(page.locator(".cv-here")).to_contain_text("region")
    text = page.locator("main").inner_text()
    for word in ("RefineCAM scores", "efficientnet-lite0", "SHA-256", "camviz", "torch"):
        assert word in text
    box = camviz.hotspots(found.merged, 0.05).boxes[0]
    row = page.locator(".cv-hottest tr").nth(1)
    expect(row).to_contain_text("RefineCAM")
    expect(row).to_contain_text(f"{box[2]} × {box[3]} at x {box[0]}, y {box[1]}")
    expect(page.locator(".cv-hottest tr")).to_have_count(1 + 1 + 4)
    assert asked == [report.as_uri()]
    assert wrong == []
    context.close()


def test_the_report_of_a_finding_alone(browser, tmp_path, lite0):
    """What the command line writes, and the Bundle page offers."""
    settings = Settings("efficientnet-lite0", Recipe("layercam", lite0.layers), "crop", 285)
    found = find(lite0, SAMPLES["Cat"].path.read_bytes(), "<b>cat</b>.jpg", settings)
    file = tmp_path / "report.html"
    file.write_bytes(report(found))
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(SLOW)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(file.as_uri())
    expect(page.locator(".cv-strip canvas")).to_have_count(1 + 4 + 4 + 1)
    drawn = pixels(page, "canvas[data-result]").astype(int)
    assert np.abs(drawn - overlay(found.view, torch.tensor(found.merged))).max() <= 2
    expect(page.locator(".cv-title")).to_contain_text("<b>cat</b>.jpg")
    expect(page.locator(".cv-scores .cv-main")).to_have_count(1 + 4 + 2)
    expect(page.locator(".cv-score-result .cv-main")).to_have_text(f"{found.scores['merged']['arcc']:.2f}")
    expect(page.get_by_text("RefineCAM scores")).to_be_visible()
    assert wrong == []
    context.close()


def camviz_maps(found):
    """The stored maps (L, 1, h, w), as `refine` takes them."""
    return torch.from_numpy(found.maps.copy())[:, None]


PASTE = """data => {
    const bytes = Uint8Array.from(atob(data.content), c => c.charCodeAt(0));
    const clipboard = new DataTransfer();
    clipboard.items.add(new File([bytes], data.name, { type: data.type }));
    document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: clipboard, bubbles: true }));
}"""


def test_a_picture_is_pasted_from_the_clipboard(page):
    page.wait_for_selector(".cv-tools button")
    before = result(page)
    pixels_ = np.random.RandomState(0).randint(0, 256, (30, 30, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    page.evaluate(PASTE, {"name": "image.png", "type": "image/png", "content": base64.b64encode(png(pixels_)).decode()})
    after = wait_for_change(page, before)
    expect(page.locator(".cv-title")).to_contain_text("image.png")
    page.evaluate(PASTE, {"name": "x.png", "type": "image/png", "content": base64.b64encode(b"no picture").decode()})
    expect(page.locator("[data-testid=stAlert]")).to_contain_text(re.compile("PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF"))
    assert result(page) == after
