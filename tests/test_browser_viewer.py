"""The viewer in a real browser: what it draws, how it answers hands and keys, and what it tells the server."""

import base64
import re

import cv2
import numpy as np
import pytest
from browsing import SLOW, choose, pixels, png, result, upload, wait_for_change
from PIL import Image
from playwright.sync_api import Page, expect
from scipy import ndimage

import camviz
from camviz.html.report import report
from camviz.recipe import Recipe
from camviz.render import COLORMAPS, overlay, palette
from camviz.results.finding import Settings
from camviz.samples import SAMPLES
from camviz.workbench.findings import find

RESULT = ".cv-result canvas"


@pytest.fixture(scope="module")
def known():
    """What the first screen shows, by the core alone: the view, and the maps from the deepest layer on."""
    net = camviz.load_model("efficientnet-lite0", "cpu")
    image = camviz.load_image(SAMPLES["Coffee"].path)
    maps = camviz.cam(camviz.capture(net.module, net.preprocess(image), layers=net.layers))
    return net.view(image), maps.flip(0)[:, 0], camviz.refine(maps)[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory, lite0):
    """The first screen's result as a report, in which the same script draws."""
    sample, recipe = SAMPLES["Coffee"], Recipe("gradcam++", lite0.layers)
    found = find(lite0, sample.path.read_bytes(), sample.title, Settings("efficientnet-lite0", recipe), scores=False)
    path = tmp_path_factory.mktemp("viewer") / "report.html"
    path.write_bytes(report(found))
    return path


@pytest.fixture
def viewer(profile, file):
    """The viewer in that report, which is there sooner than in the app."""
    opened = profile.new_page()
    opened.set_default_timeout(SLOW)
    opened.goto(file.as_uri())
    opened.wait_for_selector(".cv-tools button")
    opened.wait_for_selector(".cv-strip canvas")
    yield opened
    opened.close()


@pytest.fixture
def calm(page):
    """The first screen with its tools, once everything has come."""
    page.wait_for_selector(".cv-tools button")
    page.wait_for_function("!document.querySelector('.cv-wait')")
    return page


def settle(page: Page) -> None:
    """Wait until what was changed is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def slide(page: Page, name: str, value: float) -> None:
    page.get_by_role("slider", name=name).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true })) }",
        value,
    )
    settle(page)


def lines(page: Page, kind: str) -> None:
    page.get_by_label("Lines").select_option(kind)
    settle(page)


def close_to(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal but for rounding: half a step of a map or of a colour."""
    return np.abs(found.astype(int) - expected.astype(int)).max() <= 2


def panel(page: Page, number: int) -> np.ndarray:
    """The layer alone, 0 the deepest, as it is drawn."""
    return pixels(page, f".cv-strip canvas[data-map='{number}']")


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_colours_are_those_of_the_colormap(viewer, known, colormap):
    view, alone, refined = known
    viewer.get_by_label("Colours").select_option(colormap)
    settle(viewer)
    assert close_to(pixels(viewer, RESULT), overlay(view, refined, colormap))
    for number, map_ in enumerate(alone):
        assert close_to(panel(viewer, number), overlay(view, map_, colormap))
    assert np.array_equal(pixels(viewer, ".cv-input canvas"), view)


def test_opacity_from_the_picture_to_the_colours_alone(calm, known):
    view, alone, refined = known
    slide(calm, "Opacity", 0)
    assert close_to(pixels(calm, RESULT), view)
    slide(calm, "Opacity", 0.4)
    assert close_to(pixels(calm, RESULT), overlay(view, refined, opacity=0.4))
    slide(calm, "Opacity", 1)
    assert close_to(panel(calm, 0), palette()[(alone[0].numpy() * 255).round().astype(int)])


def test_below_the_threshold_is_the_grey_picture(viewer, known):
    view, alone, _ = known
    slide(viewer, "Threshold", 0.5)
    grey = (view @ np.array([0.299, 0.587, 0.114]))[..., None].repeat(3, 2)
    expected = np.where((alone[0] < 0.5)[..., None], grey, overlay(view, alone[0]))
    sure = ((alone[0] - 0.5).abs() > 1e-4).numpy()
    assert close_to(panel(viewer, 0)[sure], expected[sure])


def test_contours_run_where_the_map_passes_a_quarter(viewer, known):
    _, alone, _ = known
    before = panel(viewer, 0)
    lines(viewer, "quarters")
    changed = (panel(viewer, 0) != before).any(2)
    band = (alone[0].numpy() * 4).astype(int).clip(0, 3)
    border = np.zeros_like(changed)
    border[1:, 1:] = (band[1:, 1:] != band[1:, :-1]) | (band[1:, 1:] != band[:-1, 1:])
    assert (changed == border).mean() > 0.9995
    assert border.any()


def maps_in(page: Page) -> np.ndarray:
    """The maps that the browser draws, float32 (n, h, w)."""
    texts = page.evaluate(
        "() => [...camvizViewers.viewers].find(v => v.maps).maps.map(m => {"
        " const b = new Uint8Array(m.buffer, m.byteOffset, m.byteLength); let t = '';"
        " for (let i = 0; i < b.length; i += 8192) t += String.fromCharCode(...b.subarray(i, i + 8192));"
        " return btoa(t) })"
    )
    found = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
    side = round(found.shape[1] ** 0.5)
    return found.reshape(-1, side, side)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_the_outline_of_the_hottest_pixels_is_that_of_the_core(viewer, share):
    """Pixel by pixel: white along the region's own, black along those just outside, all else as before."""
    slide(viewer, "Opacity", 0.5)  # no white or black in the maps themselves
    maps, canvases = maps_in(viewer), viewer.locator(".cv-strip canvas[data-map]")
    numbers = canvases.evaluate_all("all => all.map(c => Number(c.dataset.map))")
    assert len(numbers) >= 8
    before = {number: panel(viewer, number) for number in numbers}
    lines(viewer, f"{share:g}")
    for number in numbers:
        found = camviz.hotspots(maps[number], share)
        hot = np.zeros(maps[number].shape, np.uint8)
        for region in found.regions:
            left, top, width, height = region.box
            hot[top : top + height, left : left + width] = 1
        hot &= maps[number] >= found.threshold
        assert hot.sum() == found.pixels
        inner = (hot == 1) & ~ndimage.binary_erosion(hot)
        outer = (hot == 0) & ndimage.binary_dilation(hot)
        expected = np.where(inner[..., None], 255, np.where(outer[..., None], 0, before[number]))
        assert np.array_equal(panel(viewer, number), expected)
        drawn_ = np.zeros(hot.shape, np.uint8)
        cv2.polylines(drawn_, [c for r in found.regions for c in (r.contour, *r.holes)], isClosed=True, color=1)
        assert (inner[drawn_ == 1]).all(), "the contours of the core run along the white pixels"


def test_the_shared_scale_moves_no_outline(viewer):
    lines(viewer, "0.1")
    before = panel(viewer, 6)
    viewer.get_by_label("True scale").check()
    settle(viewer)
    after = panel(viewer, 6)
    assert not np.array_equal(before, after)
    white = (before == 255).all(2)
    assert white.sum() > 50
    assert np.array_equal((after == 255).all(2), white)


def test_the_key_goes_through_all_lines(viewer):
    kinds = viewer.get_by_label("Lines").locator("option").all_inner_texts()
    assert kinds == ["none", "0.25, 0.5, 0.75", "hottest 5 %", "hottest 10 %", "hottest 20 %"]
    viewer.locator(".cv-viewer").first.focus()
    pictures = [result(viewer)]
    for _ in kinds:
        viewer.keyboard.press("n")
        settle(viewer)
        pictures.append(result(viewer))
    assert len(set(pictures)) == len(kinds)
    assert pictures[-1] == pictures[0]


def test_the_shared_scale_shows_merges_unstretched(viewer, known):
    view, alone, _ = known
    viewer.get_by_label("True scale").check()
    settle(viewer)
    product = alone.prod(0)
    assert float(product.max()) < 0.9
    assert close_to(pixels(viewer, RESULT), overlay(view, product))
    assert close_to(panel(viewer, 0), overlay(view, alone[0]))


def zooms(page: Page) -> set[str]:
    canvases = page.locator(".cv-strip canvas")
    return set(
        canvases.evaluate_all(
            "all => all.map(c => { const style = getComputedStyle(c);"
            " const m = new DOMMatrix(style.transform), w = parseFloat(style.width);"
            " return [m.a, m.e / w, m.f / w].map(v => v.toFixed(3)).join(' ') })"
        )
    )


def test_zoom_and_pan_are_linked_over_all_panels(viewer):
    assert zooms(viewer) == {"1.000 0.000 0.000"}
    box = viewer.locator(RESULT).bounding_box()
    spot = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5
    viewer.mouse.move(*spot)
    viewer.mouse.wheel(0, -300 * np.log(2))
    settle(viewer)
    (zoomed,) = zooms(viewer)
    assert [float(v) for v in zoomed.split()] == pytest.approx([2, -0.25, -0.5], abs=0.01), "what is pointed at stays"
    viewer.mouse.down()
    viewer.mouse.move(spot[0] + box["width"] * 0.1, spot[1] - box["height"] * 0.2, steps=5)
    viewer.mouse.up()
    (moved,) = zooms(viewer)
    assert [float(v) for v in moved.split()] == pytest.approx([2, -0.15, -0.7], abs=0.02)
    viewer.mouse.dblclick(*spot)
    assert zooms(viewer) == {"1.000 0.000 0.000"}


def test_the_pointer_is_shown_in_all_panels_with_its_values(viewer, known):
    view, alone, refined = known
    box = viewer.locator(".cv-input canvas").bounding_box()
    expect(viewer.locator(".cv-input .cv-pic")).to_have_css("cursor", "crosshair")
    viewer.mouse.move(box["x"] + box["width"] * 100.5 / 224, box["y"] + box["height"] * 60.5 / 224)
    values = viewer.locator(".cv-strip output").all_inner_texts()
    assert values[0] == ""
    assert values[1:5] == [f"{float(map_[60, 100]):.2f}" for map_ in alone]
    assert values[-1] == f"{float(refined[60, 100]):.2f}"
    r, g, b = view[60, 100]
    expect(viewer.locator(".cv-here")).to_have_text(re.compile(rf"^x 100, y 60 · rgb {r}, {g}, {b} · region \d+$"))
    viewer.mouse.move(5, 5)
    expect(viewer.locator(".cv-here")).to_be_empty()


def test_keys(calm):
    """From wherever the focus is, unless somebody types."""
    calm.locator(".cv-title").click()
    calm.keyboard.press("ArrowRight")
    expect(calm.locator(".cv-here")).to_contain_text("x 113, y 112")
    calm.keyboard.press("Shift+ArrowUp")
    expect(calm.locator(".cv-here")).to_contain_text("x 113, y 102")
    calm.keyboard.press("+")
    assert [zoom.split()[0] for zoom in zooms(calm)] == ["1.500"]
    calm.keyboard.press("0")
    assert zooms(calm) == {"1.000 0.000 0.000"}
    before = result(calm)
    for key in ("c", "[", ".", "n"):
        calm.keyboard.press(key)
        settle(calm)
        now = result(calm)
        assert now != before, f"{key} changes the picture"
        before = now
    assert calm.get_by_label("Colours").input_value() == list(COLORMAPS)[1]
    calm.keyboard.press("l")
    expect(calm.locator(".stSidebar")).to_be_hidden()
    calm.get_by_role("slider", name="Opacity").focus()
    calm.keyboard.press("Escape")
    expect(calm.locator(".stSidebar")).to_be_visible()
    calm.locator(".st-key-method input").first.click()
    calm.keyboard.press("l")
    expect(calm.locator(".stSidebar")).to_be_visible()


def test_the_merge_plays_from_the_deepest_map_to_the_result(viewer, known):
    view, alone, _ = known
    before = result(viewer)
    viewer.get_by_role("button", name="Merge").click()
    settle(viewer)
    assert close_to(pixels(viewer, RESULT), overlay(view, alone[0]))
    assert viewer.locator(".cv-lit").count() == 2, "the deepest layer, alone and merged"
    viewer.wait_for_function("() => document.querySelectorAll('.cv-lit').length === 8")
    viewer.wait_for_function("() => document.querySelectorAll('.cv-lit').length === 0")
    assert result(viewer) == before


def test_the_result_against_a_panel_by_swipe(calm, known):
    view, alone, refined = known
    calm.get_by_label("Compare").select_option("swipe")
    calm.locator(".cv-strip canvas[data-map='2']").locator("..").click()
    settle(calm)
    half = pixels(calm, RESULT)
    border = round(0.5 * 223)
    assert close_to(half[:, :border], overlay(view, alone[2])[:, :border])
    assert close_to(half[:, border + 1 :], overlay(view, refined)[:, border + 1 :])
    box = calm.locator(RESULT).bounding_box()
    calm.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
    calm.mouse.down()
    calm.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 30, steps=4)
    calm.mouse.up()
    assert close_to(pixels(calm, RESULT)[:, :190], overlay(view, alone[2])[:, :190])


def test_two_layers_against_each_other(viewer, known):
    view, alone, refined = known
    viewer.get_by_label("Compare").select_option("swipe")
    viewer.locator(".cv-strip canvas[data-map='2']").locator("..").click()
    viewer.locator(".cv-strip canvas[data-map='1']").locator("..").click(modifiers=["Shift"])
    settle(viewer)
    half = pixels(viewer, RESULT)
    border = round(0.5 * 223)
    assert close_to(half[:, :border], overlay(view, alone[2])[:, :border])
    assert close_to(half[:, border + 1 :], overlay(view, alone[1])[:, border + 1 :])
    expect(viewer.locator(".cv-partner, .cv-instead")).to_have_count(2)
    expect(viewer.locator(".cv-sides")).to_have_text("Map of _blocks.4._swish ↔ Map of _blocks.10._swish")
    viewer.locator(RESULT).locator("..").click(modifiers=["Shift"])
    settle(viewer)
    assert close_to(pixels(viewer, RESULT)[:, border + 1 :], overlay(view, refined)[:, border + 1 :])
    expect(viewer.locator(".cv-sides")).to_have_text("Map of _blocks.4._swish ↔ RefineCAM")
    viewer.get_by_label("Compare").select_option("alone")
    expect(viewer.locator(".cv-sides")).to_be_hidden()


def test_the_result_against_a_panel_by_blinking(viewer, known):
    view, alone, refined = known
    viewer.get_by_label("Compare").select_option("blink")
    wanted = {overlay(view, map_).tobytes(): name for map_, name in ((alone[0], "layer"), (refined, "result"))}
    seen = set()
    for _ in range(40):
        shown = pixels(viewer, RESULT)
        seen |= {
            name for data, name in wanted.items() if close_to(shown, np.frombuffer(data, np.uint8).reshape(shown.shape))
        }
        if len(seen) == 2:
            return
        viewer.wait_for_timeout(100)
    raise AssertionError(f"only the {seen} was shown")


def test_no_traffic_while_one_plays_with_the_pictures(visit):
    sent: list[object] = []

    def listen(page):
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))

    page = visit(before=listen)
    page.wait_for_selector(".cv-tools button")
    page.wait_for_function("document.querySelector('.cv-result canvas')?.ariaLabel.includes('ARCC')")
    page.wait_for_timeout(500)
    before, requests = len(sent), []
    assert before, "the page speaks with its server otherwise"
    page.on("request", lambda request: requests.append(request))
    box = page.get_by_role("slider", name="Opacity").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2, steps=20)
    page.mouse.up()
    page.get_by_label("Colours").select_option("cividis")
    canvas = page.locator(RESULT).bounding_box()
    page.mouse.move(canvas["x"] + 50, canvas["y"] + 50)
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(canvas["x"] + 150, canvas["y"] + 80, steps=10)
    page.mouse.up()
    page.locator(".cv-strip canvas[data-map='1']").locator("..").click()
    page.wait_for_timeout(500)
    assert len(sent) == before
    assert requests == []


def test_the_look_is_kept_over_runs_and_pages(calm, known):
    calm.get_by_label("Colours").select_option("viridis")
    slide(calm, "Opacity", 0.8)
    before = result(calm)
    choose(calm, "method", "LayerCAM")
    wait_for_change(calm, before)
    calm.get_by_role("link", name="Robustness").click()
    expect(calm.get_by_text("Does the explanation follow the prediction?")).to_be_visible()
    calm.get_by_role("link", name="Explore").click()
    figcaption = calm.locator(".cv-viewer .cv-result figcaption")
    expect(figcaption).to_contain_text("LayerCAM")
    choose(calm, "method", "Grad-CAM++")
    expect(figcaption).to_contain_text("Grad-CAM++")
    settle(calm)
    view, _, refined = known
    assert calm.get_by_label("Colours").input_value() == "viridis"
    assert close_to(pixels(calm, RESULT), overlay(view, refined, "viridis", 0.8))


def test_words_for_those_who_do_not_see_the_pictures(calm):
    result_ = calm.get_by_role(
        "img", name=re.compile(r"RefineCAM: Grad-CAM\+\+ over 4 layers, .*espresso, ARCC 0\.\d\d")
    )
    expect(result_).to_have_count(1)
    layers = calm.get_by_role("img", name=re.compile(r"^Map of .*_swish, \d+ by \d+, .*ARCC \d\.\d\d"))
    expect(layers).to_have_count(4)
    expect(calm.get_by_role("toolbar", name="How the maps are drawn")).to_be_visible()


def test_a_name_full_of_markup_is_only_text_in_the_viewer(calm):
    before = result(calm)
    upload(calm, '"><img src=x onerror=alert(1)>.png', png(np.full((40, 40, 3), 90, np.uint8)))
    wait_for_change(calm, before)
    assert calm.locator(".cv-strip img").count() == 0


@pytest.mark.parametrize(("what", "scale"), [("Result", 1), ("All panels", 4)])
def test_pictures_are_saved_at_a_chosen_scale(viewer, tmp_path, what, scale):
    viewer.get_by_text("Save", exact=True).click()
    viewer.get_by_label("Size").select_option(str(scale))
    with viewer.expect_download() as download:
        viewer.get_by_role("button", name=f"{what}, PNG").click()
    file = tmp_path / "saved.png"
    download.value.save_as(file)
    saved = Image.open(file)
    box = viewer.locator(".cv-result" if what == "Result" else ".cv-strip").bounding_box()
    assert saved.width >= scale * (box["width"] - 30)
    colours = np.asarray(saved.convert("RGB")).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    assert len(np.unique(colours)) > 5000


def test_the_panel_that_is_clicked_is_saved(calm, tmp_path):
    calm.get_by_text("Save", exact=True).click()
    calm.get_by_label("Size").select_option("2")
    calm.get_by_role("button", name="One panel, PNG").click()
    frame = calm.locator(".cv-pic:has(canvas[data-map='1'])")
    box = frame.bounding_box()
    with calm.expect_download() as download:
        frame.click()
    file = tmp_path / "panel.png"
    download.value.save_as(file)
    saved = Image.open(file)
    margin = 2 * 16
    assert abs(saved.width - 2 * box["width"] - 2 * margin) <= 4
    assert saved.height > saved.width + margin, "with its words below"
    inside = saved.convert("RGB").crop((margin, margin, saved.width - margin, saved.width - margin))
    expected = Image.fromarray(panel(calm, 1)).resize(inside.size, Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(inside, float) - np.asarray(expected, float)).mean() < 6
    assert calm.locator(".cv-partner").count() == 0, "nothing was chosen for another purpose"
    frame.click()
    calm.get_by_label("Compare").select_option("swipe")
    expect(calm.locator(".cv-partner")).to_have_count(1)


def test_a_key_lets_go_of_saving_a_panel(viewer):
    viewer.get_by_text("Save", exact=True).click()
    viewer.get_by_role("button", name="One panel, PNG").click()
    assert viewer.evaluate("camvizViewers.awaited !== null")
    viewer.keyboard.press("Escape")
    assert viewer.evaluate("camvizViewers.awaited === null")
    assert not viewer.evaluate("document.documentElement.classList.contains('cv-awaiting')")


def test_a_blank_map_says_so(calm):
    """One colour has no edges: whatever the maps are, nothing breaks, and the regions are left out."""
    before = result(calm)
    upload(calm, "grey.png", png(np.full((64, 64, 3), 128, np.uint8)))
    wait_for_change(calm, before)
    box = calm.locator(RESULT).bounding_box()
    calm.mouse.move(box["x"] + 20, box["y"] + 20)
    expect(calm.locator(".cv-here")).to_contain_text("rgb 128, 128, 128")
    expect(calm.locator(".cv-here")).not_to_contain_text("region")


def test_panels_are_reached_and_chosen_by_keyboard(viewer):
    """First the viewer as a whole, then each of its maps."""
    viewer.get_by_label("Compare").select_option("swipe")
    viewer.get_by_text("Keys", exact=True).focus()
    viewer.keyboard.press("Tab")
    assert viewer.evaluate("document.activeElement.className") == "cv-viewer"
    for number in range(3):
        viewer.keyboard.press("Tab")
        assert viewer.evaluate("document.activeElement.querySelector('canvas').dataset.map") == str(number)
    viewer.keyboard.press("Enter")
    settle(viewer)
    assert viewer.locator(".cv-partner canvas").get_attribute("data-map") == "2"
    viewer.keyboard.press("Tab")
    viewer.keyboard.press("Shift+Enter")
    settle(viewer)
    assert viewer.locator(".cv-instead canvas").get_attribute("data-map") == "3"


def test_the_result_is_announced(calm):
    expect(calm.locator(".cv-announced[aria-live=polite]")).to_contain_text(re.compile(r"RefineCAM.*ARCC 0\.\d\d"))
    expect(calm.locator(".cv-announced")).to_contain_text(re.compile(r"RefineCAM scores 0\.\d\d"))  # the verdict
    choose(calm, "method", "LayerCAM")
    expect(calm.locator(".cv-announced")).to_contain_text("LayerCAM")
