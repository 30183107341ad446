"""The Evaluate and Play pages in a browser: dots, one's own pictures, a study that opens again, and sliders."""

import io
import re
from pathlib import Path

import numpy as np
from browsing import choose
from PIL import Image
from playwright.sync_api import expect

from camviz import shapes
from camviz.trust.study_file import unpack


def test_dots_pictures_and_metrics(visit):
    page = visit("/evaluate")
    expect(page.locator(".cv-examples img")).to_have_count(8)
    page.locator(".js-plotly-plot .points path").nth(5).click(force=True)
    expect(page.locator(".cv-one img")).to_be_visible()
    expect(page.locator(".cv-one p")).to_contain_text("Best IoU 0.")
    before = page.locator(".cv-examples").first.inner_text()
    choose(page, "trust_metric", "Coherency")
    expect(page.locator(".cv-examples").first).to_contain_text("Coherency")
    assert page.locator(".cv-examples").first.inner_text() != before
    page.wait_for_function("location.search.includes('metric=coherency')")
    with page.expect_popup() as opened:
        page.locator(".cv-examples a").first.click()
    expect(opened.value.locator(".cv-title")).to_contain_text("Where does Shapes")
    expect(opened.value.locator(".cv-result canvas")).to_be_visible()
    opened.value.close()


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def upload(page, number, files):
    box = page.get_by_test_id("stFileUploader").nth(number)
    box.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": png(pixels)} for name, pixels in files.items()]
    )
    for name in files:
        expect(box).to_contain_text(name)


def test_a_chosen_folder_comes_with_its_subfolders(visit, tmp_path):
    """Six shapes, one of each class, and one in a folder that means no class."""
    for number in range(7):
        folder = tmp_path / "photos" / (shapes.CLASSES[number] if number < 6 else "holiday")
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(png(shapes.sample(number).image))
    page = visit("/evaluate?v=1&study=own&pictures=mosaics&count=3&model=shapes-textured&methods=gradcam&steps=")
    page.get_by_test_id("stFileUploader").locator("input[type=file]").set_input_files(tmp_path / "photos")
    expect(page.get_by_text("1 picture left out, as these folders' names match no class")).to_contain_text("holiday")
    expect(page.locator(".cv-pictures .cv-pic")).to_have_count(3)
    expect(page.get_by_text("Not in a class's folder")).to_have_count(0)


def test_pictures_with_masks_and_a_study_that_opens_again(visit):
    samples = {f"shape{number}": shapes.sample(number) for number in (6, 7, 8)}
    page = visit("/evaluate?v=1&study=own&pictures=masks&model=shapes-textured&methods=gradcam&steps=")
    upload(page, 0, {f"{name}.png": sample.image for name, sample in samples.items()})
    masks = {f"{name}_mask.png": sample.mask.astype(np.uint8) * 255 for name, sample in samples.items()}
    masks["shape8_mask.png"] = masks["shape8_mask.png"][:100]
    upload(page, 1, masks)
    expect(page.get_by_text("224 × 100 pixels and its picture 224 × 224")).to_be_visible()
    expect(page.locator(".cv-pictures .cv-pic")).to_have_count(2)
    page.get_by_role("button", name="Start").click()
    progress = page.locator("[data-testid=stProgress]")
    expect(progress).to_contain_text("Done: 2 pictures × 7 maps")
    expect(page.locator(".cv-verdict")).to_contain_text("On 2 pictures with 1 network")
    expect(page.locator(".cv-verdict")).to_contain_text("too few to name a winner")
    verdict = page.locator(".cv-verdict").inner_text()
    page.get_by_test_id("stPopoverButton").filter(has_text="Download").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Study file").click()
    data = Path(saved.value.path()).read_bytes()
    assert set(unpack(data).rows["ordinary"]["map"]) >= {"gradcam, layer4", "gradcam, merged", "centre"}
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="A file").click()
    expect(page.locator("input[type=file]")).to_have_count(1)
    file = {"name": "study.camviz-study.zip", "mimeType": "application/zip", "buffer": data}
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator(".cv-verdict")).to_have_text(verdict)
    page.locator("input[type=file]").set_input_files({**file, "buffer": b"no zip"})
    expect(page.get_by_text("This isn't a camviz study")).to_be_visible()
    expect(page.locator(".cv-verdict")).to_have_text(verdict)  # nothing is lost


def test_stopped_and_resumed(visit):
    page = visit("/evaluate?v=1&study=own&pictures=shapes&count=8&model=shapes-textured&methods=gradcam&steps=")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name=re.compile("Start|Resume"))).to_be_visible()
    page.get_by_role("button", name=re.compile("Start|Resume")).click()
    expect(page.locator("[data-testid=stProgress]")).to_contain_text("Done: 8 pictures")
    expect(page.locator(".cv-examples img").first).to_be_visible()


def test_a_slider_changes_the_map_and_its_scores(visit):
    page = visit("/play?v=1&shape=circle&size=medium&model=shapes-textured&layers=layer4&right=0")
    table, changed = page.locator(".cv-played"), page.locator(".cv-pair img[alt=Changed]")
    expect(page.locator(".cv-lead")).to_contain_text("Both maps fit the true mask equally well")
    before = changed.get_attribute("src")
    slider = page.get_by_role("slider", name="Shift right")
    slider.focus()
    for _ in range(40):
        slider.press("ArrowRight")
    expect(page.locator(".cv-lead")).to_contain_text("The map as it is fits the true mask better")
    expect(table.locator("tr", has_text="Best IoU")).to_contain_text("the truth")
    assert changed.get_attribute("src") != before
    page.wait_for_function("location.search.includes('right=40')")
    page.get_by_role("button", name="Back to the map as it is").click()
    expect(page.locator(".cv-lead")).to_contain_text("equally well")
