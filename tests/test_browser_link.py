"""Links as a person meets them: the address follows the controls, and opens the same picture elsewhere."""

import re
from urllib.parse import urlencode

import numpy as np
from browsing import SLOW, choose, upload
from pictures import png
from playwright.sync_api import Page, expect

PIXELS = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def says(page: Page, *parts: str) -> None:
    """Wait until the address says all of these."""
    page.wait_for_function("parts => parts.every(part => location.search.includes(part))", arg=list(parts))


def at_rest(page: Page) -> None:
    expect(page.locator("[data-testid=stApp]")).to_have_attribute("data-test-script-state", "notRunning")


def path(page: Page, address: str) -> str:
    return page.url.removeprefix(address)


def controls(page: Page) -> list[str]:
    """What the sidebar shows: its texts, what is chosen in each box, and which buttons are pressed."""
    at_rest(page)
    return page.locator("[data-testid=stSidebarUserContent]").evaluate(
        """bar => [
            bar.innerText,
            ...[...bar.querySelectorAll('input')].map(i => `${i.value} ${i.checked}`),
            ...[...bar.querySelectorAll('[aria-checked], [aria-pressed], [kind$=Active]')].map(b => b.innerText),
        ]"""
    )


def title(page: Page) -> str:
    return page.locator(".cv-title").inner_text()


def test_the_address_follows_without_reloading_and_opens_the_same_elsewhere(visit, address):
    page = visit()
    says(page, "v=1", "photo=Coffee", "class=967", "level=0.00")
    page.evaluate("window.same = true")
    choose(page, "sample", "Rocket")
    says(page, "photo=Rocket")
    choose(page, "method", "LayerCAM")
    says(page, "method=layercam")
    for side, left in (
        (56, "_blocks.4._swish~_blocks.10._swish~_swish"),
        (28, "_blocks.10._swish~_swish"),
        (14, "_swish"),
    ):
        page.get_by_role("button", name=re.compile(rf"{side}\s×\s{side}")).click()
        says(page, f"layers={left}&")
    choose(page, "noise_kind", "Blur")
    says(page, "noise=blur")
    page.get_by_role("slider", name="Level").press("ArrowRight")
    says(page, "level=0.05")
    assert page.evaluate("window.same"), "the page was loaded anew"
    expect(page.locator(".cv-title")).to_contain_text("LayerCAM")
    before = controls(page), title(page)
    other = visit(path(page, address))
    expect(other.locator(".cv-title")).to_contain_text("LayerCAM")
    at_rest(other)
    assert (controls(other), title(other)) == before
    assert other.url == page.url
    expect(other.get_by_text("left at their defaults")).to_have_count(0)


def test_back_and_forward_undo_and_redo(visit):
    page = visit("/?v=1&photo=Cat&method=hirescam&layers=_swish")
    says(page, "class=")
    expect(page.locator(".cv-title")).to_contain_text("HiResCAM")
    at_rest(page)
    choose(page, "method", "LayerCAM")
    says(page, "method=layercam")
    expect(page.locator(".cv-title")).to_contain_text("LayerCAM")
    at_rest(page)
    page.get_by_role("link", name="Robustness").click()
    says(page, "photos=")
    at_rest(page)
    page.go_back()
    expect(page.locator(".cv-title")).to_contain_text("LayerCAM")
    says(page, "method=layercam", "photo=Cat")
    at_rest(page)
    page.go_back()
    expect(page.locator(".cv-title")).to_contain_text("HiResCAM")
    at_rest(page)
    page.go_forward()
    expect(page.locator(".cv-title")).to_contain_text("LayerCAM")
    at_rest(page)
    expect(page.locator(".st-key-method input")).to_have_value("LayerCAM")


def test_an_uploaded_picture_is_asked_for_by_name_and_then_accepted(visit, address):
    page = visit("/?v=1&layers=_swish")
    page.wait_for_selector(".cv-title b")
    upload(page, "my cat.png", png(PIXELS))
    says(page, "name=my+cat.png", "upload=")
    choose(page, "method", "XGrad-CAM")
    says(page, "method=xgradcam")
    expect(page.locator(".cv-title")).to_contain_text("XGrad-CAM")
    at_rest(page)
    shown, link = title(page), path(page, address)
    page.get_by_role("button", name="Forget my picture").click()  # the server keeps nothing of it
    expect(page.get_by_text("are deleted")).to_be_visible()
    other = visit(link)
    expect(other.locator("[data-testid=stAlert]")).to_contain_text("upload my cat.png on the left")
    choose_file(other, "wrong.png", png(255 - PIXELS))
    expect(other.locator("[data-testid=stAlert]")).to_contain_text("wrong.png isn't the picture the link was made from")
    choose_file(other, "my cat.png", png(PIXELS))
    expect(other.locator(".cv-title")).to_contain_text("my cat.png")
    expect(other.locator("[data-testid=stAlert]")).to_have_count(0)
    at_rest(other)
    assert title(other) == shown
    says(other, link[2:])
    other.get_by_role("button", name="Forget my picture").click()
    expect(other.get_by_text("are deleted")).to_be_visible()


def choose_file(page: Page, name: str, data: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def test_hostile_words_are_shown_as_words(visit):
    foreign = "![x](http://example.org/x.png)"
    page = visit(
        f"/?{urlencode({'v': '1', 'model': foreign, 'method': '<img src=x onerror=alert(1)>', 'rule': 'mean'})}"
    )
    alert = page.locator("[data-testid=stAlert]")
    expect(alert).to_contain_text(foreign)
    expect(alert).to_contain_text("<img src=x onerror=alert(1)>")
    assert alert.locator("img").count() == 0
    says(page, "rule=mean", "model=efficientnet-lite0")


def test_the_link_is_there_to_copy_with_the_way_of_looking_and_opens_elsewhere(visit, address):
    page = visit("/?v=1&layers=_swish")
    says(page, "class=967")
    at_rest(page)
    page.get_by_label("Opacity").fill("0.4")
    page.get_by_label("Colours").select_option("viridis")
    page.wait_for_function("location.hash === '#colours=viridis&opacity=0.4'")
    page.get_by_test_id("stPopoverButton").filter(has_text="Link").click()
    link = page.locator("[data-testid=stPopoverBody] code")
    expect(link).to_have_text(page.url)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == page.url
    page.keyboard.press("Escape")
    choose(page, "method", "LayerCAM")  # the server writes the address without the fragment
    says(page, "method=layercam")
    assert page.url.endswith("#colours=viridis&opacity=0.4")
    other = visit(path(page, address))
    other.wait_for_selector(".cv-strip canvas")
    assert other.get_by_label("Opacity").input_value() == "0.4"
    assert other.get_by_label("Colours").input_value() == "viridis"


def test_a_hostile_fragment_changes_nothing(visit):
    page = visit("/?v=1&layers=_swish#opacity=7&colours=toString&lines=<img>&shared=maybe&result=swipe&x=1")
    page.wait_for_selector(".cv-strip canvas")
    page.wait_for_function("location.hash === '#result=swipe'")
    assert page.get_by_label("Opacity").input_value() == "0.67"
    assert page.get_by_label("Colours").input_value() == "inferno"


def test_a_link_to_the_robustness_page_opens_on_a_server_that_nobody_has_visited(browser, fresh_address):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(SLOW)
    page.goto(f"{fresh_address}/robustness?v=1&photos=Cat&draws=3&noises=blur&levels=0.5")
    says(page, "photos=Cat", "draws=3", "noises=blur", "levels=0.5", "methods=")
    expect(page.get_by_text("1 picture × 3 noisy copies")).to_be_visible()
    expect(page.get_by_role("link", name="Explore")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    assert page.locator("[data-testid=stSidebarNavItems]").count() == 0
    assert page.locator(".stException").count() == 0
    page.close()


def test_what_a_link_chose_stays_over_a_change_of_pages(visit):
    page = visit("/?v=1&photo=Cat&model=efficientnet-lite1&class=285&fit=squeeze&layers=_swish")
    expect(page.locator(".cv-title")).to_contain_text("Where does EfficientNet-Lite1 see Egyptian cat?")
    page.get_by_role("link", name="Compare").click()
    expect(page.locator(".cv-title")).to_contain_text("Where is Egyptian cat?")
    expect(page.locator(".cv-title small")).to_contain_text("Cat · EfficientNet-Lite1")
    says(page, "photo=Cat", "fit=squeeze", "class=285", "layers=_swish&")
