"""The app as a person meets it: a real server, a real browser, real clicks."""

import io
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",  # a camera that shows a moving test pattern
    "--use-fake-ui-for-media-stream",
]
SLOW = 60_000  # milliseconds that a loaded machine may need for a picture
expect.set_options(timeout=SLOW)


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """A server of the app with no way to the network and no stored weights."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("torch")
    nowhere = "http://127.0.0.1:9"  # the discard port: every connection is refused
    environment = {**os.environ, "TORCH_HOME": str(home), "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    environment["OMP_NUM_THREADS"] = "1"  # leaves a core to the browser
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen(
        [*command, "--server.headless", "true", "--server.address", "127.0.0.1"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = []
    for line in server.stdout:  # ends if the server does
        log.append(line)
        if "URL:" in line:
            break
    assert server.poll() is None, "".join(log)
    reader = threading.Thread(target=lambda: log.extend(server.stdout))
    reader.start()
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(timeout=20)
    reader.join()
    assert "Traceback" not in "".join(log), "".join(log)


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """A fresh visit, on which nothing may be asked of another host and no exception may be shown."""
    visit = browser.new_page(viewport={"width": 1440, "height": 900})
    foreign = []
    visit.on("request", lambda request: foreign.append(request.url) if _foreign(request.url, address) else None)
    visit.set_default_timeout(SLOW)
    visit.goto(address)
    for part in (".cv-title b", ".cv-strip img", ".cv-scores", ".cv-guide"):  # they come in any order
        visit.wait_for_selector(part)
    yield visit
    assert visit.locator(".stException").count() == 0
    assert foreign == []
    visit.close()


def _foreign(url, address):
    return not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))


def result(page: Page) -> str:
    """The large picture, as its data."""
    return page.locator(".cv-result img").first.get_attribute("src")


def choose(page: Page, key: str, text: str) -> None:
    """Type into a select box and take the first hit."""
    box = page.locator(f".st-key-{key} input").first
    box.click()
    box.fill(text)
    page.keyboard.press("Enter")


def wait_for_change(page: Page, before: str) -> str:
    page.wait_for_function(
        "before => { const i = document.querySelector('.cv-result img'); return i && i.src !== before }",
        arg=before,
    )
    return result(page)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def upload(page: Page, name: str, data: bytes) -> None:
    page.get_by_role("radio", name="Upload").click()
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def test_first_screen_explains_a_photograph_without_a_click(page):
    expect(page.locator(".cv-title")).to_contain_text("Where does EfficientNet-Lite0 see espresso?")
    pictures = page.locator(".cv-strip img")
    expect(pictures).to_have_count(1 + 4 + 4 + 1)
    assert pictures.evaluate_all("all => all.every(i => i.naturalWidth === 224)")
    page.wait_for_function("!document.querySelector('.cv-scores .cv-wait')")
    scores = page.locator(".cv-scores .cv-main").all_inner_texts()
    assert len(scores) == 7
    assert all(0 <= float(score) <= 1 for score in scores)
    expect(page.get_by_text("RefineCAM scores")).to_be_visible()
    bottom = page.locator(".cv-scores").bounding_box()
    assert bottom["y"] + bottom["height"] < 900, "the scores must be on the first screen"


def test_the_strip_keeps_its_place_while_scores_arrive(browser, address):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(SLOW)
    page.goto(address)
    page.wait_for_selector(".cv-guide")
    places = {name: page.locator(name).bounding_box() for name in (".cv-strip", ".cv-scores", ".cv-guide")}
    page.wait_for_selector(".cv-strip img")
    page.wait_for_function("!document.querySelector('.cv-wait')")
    for name, place in places.items():
        now = page.locator(name).bounding_box()
        assert all(abs(now[side] - place[side]) <= 3 for side in place), f"{name} moved from {place} to {now}"
    page.close()


def test_another_method_gives_another_picture(page):
    before = result(page)
    choose(page, "method", "LayerCAM")
    after = wait_for_change(page, before)
    expect(page.locator(".cv-result figcaption")).to_contain_text("LayerCAM over 4 layers")
    choose(page, "method", "Grad-CAM++")
    assert wait_for_change(page, after) == before


def test_another_model_gives_another_picture(page):
    before = result(page)
    choose(page, "model", "EfficientNet-Lite1")
    wait_for_change(page, before)
    expect(page.locator(".cv-title")).to_contain_text("EfficientNet-Lite1")
    assert page.locator(".cv-strip img").first.evaluate("i => i.naturalWidth") == 240


def test_a_layer_can_be_switched_off_and_on(page):
    before = result(page)
    layer = page.get_by_role("button", name=re.compile("56 × 56"))
    layer.click()
    after = wait_for_change(page, before)
    expect(page.locator(".cv-strip img")).to_have_count(1 + 3 + 3 + 1)
    layer.click()
    assert wait_for_change(page, after) == before


def test_a_class_can_be_found_by_typing(page):
    before = result(page)
    page.locator("[class*='st-key-class-'] input").first.click()
    page.locator("[class*='st-key-class-'] input").first.fill("Egyptian cat")
    page.keyboard.press("Enter")
    wait_for_change(page, before)
    expect(page.locator(".cv-title")).to_contain_text("see Egyptian cat?")
    expect(page.locator(".cv-chosen")).to_contain_text("Egyptian cat")
    expect(page.get_by_text("little room")).to_be_visible()


def test_an_upload_is_explained_whatever_its_name_and_can_be_forgotten(page):
    before = result(page)
    rng = np.random.RandomState(0)
    pixels = rng.randint(0, 256, (90, 160, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    upload(page, "holiday.txt", png(pixels))
    wait_for_change(page, before)
    expect(page.locator(".cv-title")).to_contain_text("holiday.txt")
    first = result(page)
    upload(page, "another.txt", png(255 - pixels))
    wait_for_change(page, first)
    page.get_by_role("radio", name="Photos").click()
    expect(page.locator(".cv-title")).to_contain_text("Coffee")
    page.get_by_role("button", name="Forget my picture").click()
    expect(page.get_by_text("are gone")).to_be_visible()
    page.get_by_role("radio", name="Upload").click()
    expect(page.locator(".cv-title")).to_contain_text("Coffee")
    expect(page.locator("[data-testid=stFileUploaderFile]")).to_have_count(0)


def test_rubbish_is_refused_in_one_sentence_and_nothing_is_lost(page):
    before = result(page)
    upload(page, "rubbish.png", b"this is no picture at all" * 20)
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("PNG, JPEG, WebP, BMP, GIF or TIFF")
    assert result(page) == before
    expect(page.locator(".cv-title")).to_contain_text("Coffee")


def test_a_name_full_of_markup_is_only_text(page):
    before = result(page)
    upload(page, "<img src=x onerror=alert(1)>.png", png(np.full((40, 40, 3), 90, np.uint8)))
    wait_for_change(page, before)
    expect(page.locator(".cv-title")).to_contain_text("onerror=alert(1)")
    assert page.locator(".cv-title img").count() == 0


def test_without_a_network_a_download_says_so_and_bundled_models_still_work(page):
    before = result(page)
    choose(page, "model", "ResNet-18")
    expect(page.get_by_text("is not on this server yet")).to_contain_text("47 MB")
    page.get_by_role("button", name="Download ResNet-18").click()
    expect(page.locator("[data-testid=stAlert]").last).to_contain_text("could not be downloaded")
    choose(page, "model", "EfficientNet-Lite0")
    page.wait_for_selector(".cv-strip img")
    assert result(page) == before


def test_a_slow_method_shows_progress_and_can_be_stopped(page):
    before = result(page)
    choose(page, "method", "Score-CAM")
    expect(page.locator(".st-key-slow-progress")).to_contain_text("Score-CAM")
    page.get_by_role("button", name="Stop", exact=True).last.click()
    expect(page.locator(".cv-result figcaption")).to_contain_text("Grad-CAM++")
    assert result(page) == before


def test_nothing_is_shown_without_its_style(page):
    drawn = page.locator(":is(.cv-title, .cv-strip, .cv-scores, .cv-guide)")
    assert [part.is_visible() for part in drawn.all()] == [True] * 4
    page.evaluate("document.querySelector('.stHtml style').remove()")  # as if it were still to come
    assert [part.is_visible() for part in drawn.all()] == [False] * 4


def test_the_guide_is_on_the_first_screen(page):
    page.wait_for_function("document.querySelector('.cv-guide').getBoundingClientRect().bottom <= innerHeight")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable(browser, address, scheme):
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(SLOW)
    page.goto(address)
    page.wait_for_selector(".cv-strip img")
    assert contrast(page, ".cv-title") > 7
    assert contrast(page, ".cv-result h4") > 4
    page.close()


def contrast(page: Page, selector: str) -> float:
    """WCAG contrast of an element's text against the page."""
    text = page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
    ground = page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor")
    bright, dim = sorted((_luminance(text), _luminance(ground)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(css: str) -> float:
    channels = np.array([float(n) for n in re.findall(r"[\d.]+", css)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_nothing_flickers_or_jumps_when_a_control_is_changed(page):
    """Frame by frame: the strip is never empty, and what lies below the scores never moves."""
    page.wait_for_function("!document.querySelector('.cv-scores .cv-wait')")
    page.evaluate(
        """() => {
            window.frames_seen = [];
            const look = () => {
                const guide = document.querySelector('.cv-guide');
                frames_seen.push([
                    document.querySelectorAll('.cv-strip img').length,
                    guide ? Math.round(guide.getBoundingClientRect().y) : null,
                ]);
                requestAnimationFrame(look);
            };
            look();
        }"""
    )
    before = result(page)
    choose(page, "method", "LayerCAM")
    after = wait_for_change(page, before)
    page.wait_for_function("!document.querySelector('.cv-scores .cv-wait')")
    choose(page, "method", "Grad-CAM++")
    wait_for_change(page, after)
    seen = page.evaluate("frames_seen")
    assert {pictures for pictures, _ in seen} == {10}
    places = [y for _, y in seen]
    assert None not in places
    assert max(places) - min(places) <= 40, "the words beside the chart may be a line longer"


def test_no_other_menu_flashes_up_while_loading(browser, address):
    """Beside a folder named pages, Streamlit may show its own menu for a moment."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(SLOW)
    page.add_init_script(
        """window.menus_seen = 0;
        new MutationObserver(() => {
            menus_seen += document.querySelectorAll('[data-testid=stSidebarNavItems]').length;
        }).observe(document, { childList: true, subtree: true });"""
    )
    page.goto(address)
    page.wait_for_selector(".cv-strip img")
    assert page.evaluate("menus_seen") == 0
    page.close()


def test_a_photograph_can_be_taken_and_explained(page):
    before = result(page)
    page.get_by_role("radio", name="Camera").click()
    page.wait_for_function("() => { const v = document.querySelector('video'); return v && v.videoWidth > 0 }")
    page.get_by_role("button", name="Take Photo").click()
    wait_for_change(page, before)
    expect(page.locator(".cv-title")).not_to_contain_text("Coffee")
    expect(page.get_by_role("button", name="Forget my picture")).to_be_visible()


def test_a_shape_is_picked_from_the_gallery_and_its_outline_switched_off(page):
    page.get_by_role("radio", name="Shapes").click()
    outlines = page.locator(".cv-strip img[alt='outline of the true shape']")
    expect(outlines).to_have_count(10)
    before = result(page)
    page.get_by_role("button", name="Gallery").click()
    expect(page.get_by_role("dialog").locator("img")).to_have_count(18)
    page.get_by_role("button", name="Medium square frame").click()
    wait_for_change(page, before)
    expect(page.locator(".cv-title")).to_contain_text("Medium square frame")
    expect(page.locator(".cv-known [role=row]")).to_have_count(1 + 5 + 2)
    page.get_by_text("Outline the true square frame").click()
    expect(outlines).to_have_count(0)
