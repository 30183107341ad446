"""The app as a person meets it: a real server, a real browser, real clicks."""

import re

import numpy as np
from browsing import choose, result, upload, wait_for_change
from pictures import png
from playwright.sync_api import expect


def test_first_screen_explains_a_photograph_without_a_click(page):
    expect(page.locator(".cv-title")).to_contain_text("Where does EfficientNet-Lite0 see espresso?")
    expect(page).to_have_title("Coffee: espresso · Explore · camviz")
    pictures = page.locator(".cv-strip canvas")
    expect(pictures).to_have_count(1 + 4 + 4 + 1)
    assert pictures.evaluate_all("all => all.every(i => i.width === 224)")
    page.wait_for_function("!document.querySelector('.cv-scores .cv-wait')")
    scores = page.locator(".cv-scores .cv-main").all_inner_texts()
    assert len(scores) == 7
    assert all(0 <= float(score) <= 1 for score in scores)
    expect(page.locator(".st-key-score-words").get_by_text("RefineCAM scores")).to_be_visible()
    bottom = page.locator(".cv-scores").bounding_box()
    assert bottom["y"] + bottom["height"] < 900, "the scores must be on the first screen"


def test_the_strip_keeps_its_place_while_scores_arrive(visit):
    page = visit()
    names = (".cv-strip", ".cv-scores", ".cv-guide")
    for name in names:  # they are drawn in any order
        page.wait_for_selector(name)
    places = {name: page.locator(name).bounding_box() for name in names}
    page.wait_for_selector(".cv-strip canvas")
    page.wait_for_function("!document.querySelector('.cv-wait')")
    for name, place in places.items():
        now = page.locator(name).bounding_box()
        assert all(abs(now[side] - place[side]) <= 3 for side in place), f"{name} moved from {place} to {now}"


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
    assert page.locator(".cv-strip canvas").first.evaluate("i => i.width") == 240


def test_a_layer_can_be_switched_off_and_on(page):
    before = result(page)
    layer = page.get_by_role("button", name=re.compile(r"56\s×\s56"))
    layer.click()
    after = wait_for_change(page, before)
    expect(page.locator(".cv-strip canvas")).to_have_count(1 + 3 + 3 + 1)
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
    expect(page.locator(".st-key-score-words").get_by_text("No map can be scored here")).to_be_visible()


def test_a_click_on_a_class_explains_it(page):
    """By pointer and by keyboard; the title, the bar and the menu follow."""
    before = result(page)
    page.locator(".cv-class").filter(has_text="cup").first.click()
    after = wait_for_change(page, before)
    expect(page.locator(".cv-title b")).to_have_text("cup")
    expect(page.locator(".cv-class[aria-pressed=true]")).to_contain_text("cup")
    expect(page.get_by_role("combobox", name="Class to explain")).to_have_value(re.compile("cup"))
    espresso = page.locator(".cv-class").filter(has_text="espresso")
    espresso.focus()
    espresso.press("Enter")
    assert wait_for_change(page, after) == before


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
    expect(page.get_by_text("are deleted")).to_be_visible()
    page.get_by_role("radio", name="Upload").click()
    expect(page.locator(".cv-title")).to_contain_text("Coffee")
    expect(page.locator("[data-testid=stFileUploaderFile]")).to_have_count(0)


def test_rubbish_is_refused_in_one_sentence_and_nothing_is_lost(page):
    before = result(page)
    upload(page, "rubbish.png", b"this is no picture at all" * 20)
    expect(page.locator("[data-testid=stAlert]")).to_contain_text("PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF")
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
    for part in (".cv-strip", ".cv-title", ".cv-scores"):  # the result from before
        expect(page.locator(f".stMainBlockContainer > div > :has({part})")).to_have_css("opacity", "0.3")
    assert page.locator(".cv-title").inner_text().count("EfficientNet-Lite0") == 1
    assert result(page) == before
    page.get_by_role("button", name="Download ResNet-18").click()
    expect(page.locator("[data-testid=stAlert]").last).to_contain_text("could not be downloaded")
    choose(page, "model", "EfficientNet-Lite0")
    page.wait_for_selector(".cv-strip canvas")
    assert result(page) == before


def test_a_slow_method_shows_progress_and_can_be_stopped(page):
    before = result(page)
    choose(page, "method", "Score-CAM")
    expect(page.locator(".st-key-slow-progress-strip")).to_contain_text("Score-CAM")
    expect(page.locator(".cv-strip:visible")).to_have_count(1)
    expect(page.locator(".cv-viewer:has(.cv-strip)")).to_have_css("opacity", "0.3")  # the maps from before
    assert result(page) == before
    page.get_by_role("button", name="Stop", exact=True).last.click()
    expect(page.locator(".st-key-slow-progress-strip")).to_have_count(0)
    expect(page.locator(".cv-result figcaption")).to_contain_text("Grad-CAM++")
    assert result(page) == before


def test_nothing_is_shown_without_its_style(page):
    drawn = page.locator(":is(.cv-title, .cv-strip, .cv-scores, .cv-guide)")
    assert [part.is_visible() for part in drawn.all()] == [True] * 4
    page.evaluate("document.querySelector('.stHtml style').remove()")  # as if it were still to come
    assert [part.is_visible() for part in drawn.all()] == [False] * 4


def test_the_guide_is_on_the_first_screen(page):
    page.wait_for_function("document.querySelector('.cv-guide').getBoundingClientRect().bottom <= innerHeight")


def test_nothing_flickers_or_jumps_when_a_control_is_changed(page):
    """Frame by frame: the strip is never empty, and what lies below the scores never moves."""
    page.wait_for_function("!document.querySelector('.cv-scores .cv-wait')")
    page.evaluate(
        """() => {
            window.frames_seen = [];
            const look = () => {
                const guide = document.querySelector('.cv-guide');
                frames_seen.push([
                    document.querySelectorAll('.cv-strip canvas').length,
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


def test_no_other_menu_flashes_up_while_loading(visit):
    """Beside a folder named pages, Streamlit may show its own menu for a moment."""
    count = """window.menus_seen = 0;
        new MutationObserver(() => {
            menus_seen += document.querySelectorAll('[data-testid=stSidebarNavItems]').length;
        }).observe(document, { childList: true, subtree: true });"""
    page = visit(before=lambda page: page.add_init_script(count))
    page.wait_for_selector(".cv-strip canvas")
    assert page.evaluate("menus_seen") == 0


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
    outlines = page.locator(".cv-strip img[alt='Outline of the true shape']")
    expect(outlines).to_have_count(10)
    before = result(page)
    page.get_by_role("button", name="Gallery").click()
    expect(page.get_by_role("dialog").locator("img")).to_have_count(18)
    page.get_by_role("button", name="Medium square frame").click()
    wait_for_change(page, before)
    expect(page.locator(".cv-title")).to_contain_text("Medium square frame")
    expect(page.locator(".cv-scores [role=row]")).to_have_count(1 + 5 + 2)
    expect(page.locator(".cv-scores .cv-mask[role=columnheader]")).to_have_count(3)
    expect(outlines.first).to_be_visible()
    page.get_by_role("checkbox", name="True shape").click()
    expect(outlines.first).to_be_hidden()


def test_the_engine_panel(page):
    page.get_by_role("button", name="Server").click()
    panel = page.locator(".cv-engine")
    expect(panel).to_contain_text("Cached results")
    expect(panel).to_contain_text("nobody")
    bar = panel.locator(".cv-bar").first
    assert bar.evaluate("e => getComputedStyle(e).backgroundImage").startswith("linear-gradient")
