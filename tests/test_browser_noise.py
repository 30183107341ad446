"""Noise in Explore and the Robustness page, in a real browser."""

import csv
import io
import re

import pytest
from browsing import DRAWN, choose, drawn
from pictures import png
from playwright.sync_api import Page, expect

from camviz import shapes

NOISY = ".st-key-seen-noisy canvas"
NOISY_REGIONS = ".st-key-regions-noisy canvas"


def noisy(page: Page) -> str:
    """The noisy picture, as its data; "" while there is none."""
    return drawn(page, NOISY)


def wait_for_noisy(page: Page, before: str) -> str:
    page.wait_for_function(f"before => {{ const s = {DRAWN}('{NOISY}'); return s && s !== before }}", arg=before)
    return noisy(page)


def drag(page: Page, share: float) -> None:
    """Drag the noise slider to a share of its length."""
    track = page.locator(".st-key-noise_level [data-testid=stSlider], .st-key-noise_level").first
    thumb = track.get_by_role("slider")
    box, here = track.bounding_box(), thumb.bounding_box()
    middle = here["y"] + here["height"] / 2
    page.mouse.move(here["x"] + here["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=8)
    page.mouse.up()


def level(page: Page) -> float:
    return float(page.locator(".st-key-noise_level [data-testid=stSliderThumbValue]").inner_text())


def points(page: Page):
    """The points of the curve's upper line, RefineCAM's."""
    chart = page.locator(".st-key-curve .js-plotly-plot:visible").last  # one that was replaced stays hidden for a while
    return chart.locator(".scatterlayer .trace").last.locator(".points path")


def click_point(page: Page, number: int) -> None:
    """Click on a point of the curve once the page has come to rest: until then its chart may be drawn anew."""
    page.wait_for_function(
        "() => { const b = document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning';"
        " window.rest = b ? (window.rest ?? performance.now()) : undefined;"
        " return b && performance.now() - window.rest > 500 }"
    )
    expect(points(page)).to_have_count(1 + 20)
    box = points(page).nth(number).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_dragging_the_slider_shows_the_noisy_picture_and_the_whole_curve(page):
    drag(page, 0.5)
    first = wait_for_noisy(page, "")
    expect(page.locator(".cv-seen")).to_have_count(2)
    assert level(page) == pytest.approx(0.5, abs=0.1)
    expect(page.locator(".cv-seen h4").last).to_contain_text("Gaussian noise, strength 0.")
    expect(points(page)).to_have_count(1 + 20)
    expect(page.locator(".st-key-curve")).to_contain_text("All 20 levels: consistency")
    page.get_by_role("button", name="casino").click()
    assert wait_for_noisy(page, first) != first
    page.wait_for_function("!document.querySelector('.cv-scores .cv-wait')")
    expect(page.locator(".cv-bar s")).to_have_count(7 * 4)  # the clean picture is scored second


def test_a_click_on_a_point_goes_to_its_level_again_and_again(visit):
    page = visit("/?v=1&layers=_swish")
    page.wait_for_selector(".cv-guide")
    drag(page, 0.2)
    before = wait_for_noisy(page, "")
    for number in (16, 4, 16):
        click_point(page, number)
        before = wait_for_noisy(page, before)
        assert level(page) == pytest.approx(number * 0.05)
    expect(page.locator(".cv-seen .cv-flip")).to_be_visible()


def test_the_noisy_half_never_blanks_while_the_slider_moves(page):
    drag(page, 0.3)
    before = wait_for_noisy(page, "")
    expect(points(page)).to_have_count(1 + 20)
    page.evaluate(
        """() => {
            window.frames_seen = new Set();
            const look = () => {
                frames_seen.add(document.querySelectorAll('.st-key-pair canvas').length);
                requestAnimationFrame(look);
            };
            look();
        }"""
    )
    drag(page, 0.7)
    wait_for_noisy(page, before)
    page.wait_for_function("!document.querySelector('.cv-scores .cv-wait')")
    assert page.evaluate("[...frames_seen]") == [2 * (1 + 4 + 4 + 1)]


def test_the_outline_lies_over_both_bands_of_a_shape(page):
    page.get_by_role("radio", name="Shapes").click()
    expect(page.locator(".cv-title")).to_contain_text("circle")
    drag(page, 0.2)
    wait_for_noisy(page, "")
    expect(page.locator(".st-key-pair img[alt='Outline of the true shape']")).to_have_count(2 * 10)


@pytest.fixture
def robustness(page):
    """The Robustness page, reached by its link."""
    page.get_by_role("link", name="Robustness").click()
    expect(page.locator("[data-testid=stProgress]")).to_be_visible()
    return page


def test_a_sweep_is_stopped_resumed_looked_at_and_taken_away(visit, address, tmp_path):
    page = visit("/robustness?v=1&photos=Coffee~Cat&shapes=0&draws=10&noises=gaussian~blur&levels=0.2~0.6~1.0")
    expect(page.locator(".cv-pictures img")).to_have_count(2)
    progress = page.locator("[data-testid=stProgress]")
    page.get_by_role("button", name="Start").click()
    expect(progress).to_contain_text(re.compile(r"[1-9]\d* of 120 noisy copies"))
    page.get_by_role("button", name="Stop").click()  # long before the end, however fast the machine is
    expect(progress).to_contain_text("already computed")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    draws = page.get_by_role("spinbutton", name="Repeats per noise")
    draws.fill("2")
    draws.press("Enter")
    expect(progress).to_contain_text(re.compile(r"2 pictures|[1-9]\d* of 24 noisy copies"))
    page.get_by_role("button", name=re.compile("Start|Resume")).click()
    expect(progress).to_contain_text("Done")
    expect(page.locator(".cv-intervals [role=row]")).to_have_count(3 * 5)
    expect(page.locator(".js-plotly-plot")).to_have_count(3)
    expect(page.locator(".cv-regions canvas")).to_have_count(3)
    expect(page.locator(".cv-step")).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("button", name="Every copy, CSV").click()
    file = tmp_path / "copies.csv"
    download.value.save_as(file)
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert len(rows) == 2 * 12 * 5
    assert {row["image"] for row in rows} == {"Coffee", "Cat"}
    before = drawn(page, NOISY_REGIONS)
    choose(page, "point_picture", "Cat")
    page.wait_for_function(f"before => {DRAWN}('{NOISY_REGIONS}') !== before", arg=before)
    panel = page.locator(".st-key-regions-noisy .cv-pic").first
    panel.hover(position={"x": 20, "y": 30})
    expect(panel.locator("output")).to_have_text(re.compile(r"\d+ of \d+"))
    region = re.search(r"region (\d+)", page.locator(".cv-here").inner_text())
    assert region
    panel.click(position={"x": 20, "y": 30})
    expect(page.get_by_text(f"Region {region[1]} (picked)")).to_be_visible()
    choose(page, "point_level", "1")
    expect(page.get_by_text(f"Region {region[1]} (picked)")).to_be_visible()
    page.locator(".st-key-sweep_shown").get_by_text("Blur").click()
    page.wait_for_function("location.search.includes('shown=blur')")
    other = visit(page.url.removeprefix(address))
    expect(other.get_by_text(f"Region {region[1]} (picked)")).to_be_visible()
    expect(other.locator(".st-key-point_picture input")).to_have_value("Cat")
    expect(other.locator(".st-key-point_level input")).to_have_value("1.0")
    expect(other.get_by_role("radio", name="Blur")).to_be_checked()
    assert other.url == page.url


def test_several_uploads_at_once(robustness):
    page = robustness
    rubbish = {"name": "![x](http://example.org/x.png) www.example.org.png", "mimeType": "image/png", "buffer": b"none"}
    page.locator("input[type=file]").set_input_files([rubbish])
    alert = page.locator("[data-testid=stAlert]")
    expect(alert).to_contain_text("![x](http")
    assert alert.locator("img, a").count() == 0
    pictures = [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": png(shapes.sample(number).image)}
        for number in range(3)
    ]
    page.locator("input[type=file]").set_input_files(pictures)
    expect(page.locator("[data-testid=stProgress]")).to_contain_text(re.compile("7 pictures|of 140 noisy copies"))
    page.get_by_role("button", name="Forget my pictures").click()
    expect(page.locator("[data-testid=stProgress]")).to_contain_text(re.compile("4 pictures|of 80 noisy copies"))


def test_controls_keep_their_values_over_a_change_of_pages(robustness):
    page = robustness
    page.get_by_role("link", name="Explore").click()
    choose(page, "model", "EfficientNet-Lite1")
    expect(page.locator(".cv-title")).to_contain_text("EfficientNet-Lite1")
    page.get_by_role("link", name="Robustness").click()
    expect(page.get_by_role("combobox", name="Model")).to_have_value("EfficientNet-Lite1")
    page.get_by_role("link", name="Explore").click()
    expect(page.locator(".cv-title")).to_contain_text("EfficientNet-Lite1")
