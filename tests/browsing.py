"""What the browser tests share: how Chromium is started, and what a person does on the page."""

import base64
import io

import numpy as np
from pictures import png as png
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

BINARY = "/usr/bin/chromium"
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--in-process-gpu",  # there is none to use: a process less to wait for
    "--use-fake-device-for-media-stream",  # a camera that shows a moving test pattern
    "--use-fake-ui-for-media-stream",
]
SLOW = 60_000  # milliseconds that a loaded machine may need for a picture
expect.set_options(timeout=SLOW)


def new_tab(profile: BrowserContext, address: str) -> Page:
    """An empty tab of a browser that has forgotten what the app stored in it, but not the app's scripts."""
    page = profile.new_page()
    stored = {"origin": address, "storageTypes": "local_storage"}
    profile.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    page.set_default_timeout(SLOW)
    return page


# What a canvas shows, as a data URI; "" while it is not there.
DRAWN = "(selector => document.querySelector(selector)?.toDataURL() ?? '')"


def drawn(page: Page, selector: str) -> str:
    """A panel's picture, as its data."""
    return page.evaluate(DRAWN, selector)


def pixels(page: Page, selector: str) -> np.ndarray:
    """A panel's picture, uint8 (h, w, 3)."""
    data = drawn(page, selector).partition(",")[2]
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def result(page: Page) -> str:
    """The large picture, as its data."""
    return drawn(page, ".cv-result canvas")


def choose(page: Page, key: str, text: str) -> None:
    """Type into a select box and take the first hit."""
    box = page.locator(f".st-key-{key} input").first
    box.click()
    box.fill(text)
    page.keyboard.press("Enter")


def wait_for_change(page: Page, before: str) -> str:
    page.wait_for_function(
        f"before => {{ const now = {DRAWN}('.cv-result canvas'); return now && now !== before }}", arg=before
    )
    return result(page)


def upload(page: Page, name: str, data: bytes) -> None:
    page.get_by_role("radio", name="Upload").click()
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
