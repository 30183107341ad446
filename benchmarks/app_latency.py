"""How long the app takes from a changed control to the new picture, in a real browser.

Run from the repository's root: `python -m benchmarks.app_latency`. It starts the app and a headless Chromium on this
machine, so server and browser share its cores. The browser itself records when the key was pressed and when the large
picture was redrawn; with noise, the noisy picture and the curve.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.tables import table
from benchmarks.timing import machine

ROOT = Path(__file__).resolve().parents[1]
METHODS = ["LayerCAM", "XGrad-CAM", "HiResCAM", "Grad-CAM elementwise", "EigenGrad-CAM", "Eigen-CAM"]
SAMPLES = ["Cat", "Rocket", "Motorcycle", "Cameraman", "Astronaut", "Coins"]
CLASSES = [
    "Egyptian cat",
    "lynx",
    "Siamese cat",
    "Persian cat",
    "tabby",
]  # for the cat, which is predicted as tiger cat
NOISE = ["Shot noise", "Salt and pepper", "Blur", "JPEG compression"]
POLL = 100  # milliseconds between polls; polling at every frame would keep the browser drawing
CACHED, NEW, NOISY, CURVE = 0.3, 1.5, 0.3, 2.0  # limits in seconds

# The time of the last key press or click, and of the first change after it in the large picture (with noise, the noisy
# one); and when the curve first had fewer points than before, because it is another curve.
WATCH = """() => {
    const note = () => { window.asked = performance.now(); window.shown = window.curved = 0; };
    const keys = ['Enter', 'ArrowRight', 'ArrowLeft'];
    document.addEventListener('keydown', event => { if (keys.includes(event.key)) note(); }, true);
    document.addEventListener('click', note, true);
    const picture = () => {  // a new picture has a new canvas
        const noisy = document.querySelectorAll('.cv-seen')[1];
        return noisy ? noisy.querySelector('canvas') : document.querySelector('.cv-result canvas');
    };
    window.points = 0;
    const curve = () => {  // a replaced chart stays in the page, hidden
        const charts = [...document.querySelectorAll('.st-key-curve .js-plotly-plot')].filter(it => it.offsetParent);
        const there = Math.max(0, ...charts.map(it => it.querySelectorAll('.points path').length));
        if (there && there < window.points && !window.curved) window.curved = performance.now();
        window.points = there || window.points;
    };
    let last = picture(), shown = false, looks = false;
    new MutationObserver(() => {  // looks once per frame, and only after a change: a look takes a few ms
        const now = picture();
        if (now && now !== last) shown = true;
        last = now || last;
        if (looks) return;
        looks = true;
        requestAnimationFrame(() => {
            looks = false;
            if (shown && !window.shown) window.shown = performance.now();
            shown = false;
            curve();
        });
    }).observe(document.body, { childList: true, subtree: true, attributes: true });
}"""


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--browser", default="/usr/bin/chromium")
    args = options.parse_args()
    with running_app() as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=args.browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(address)
        finish(page)
        page.evaluate(WATCH)
        rows = []
        for what, target, seconds in measure(page):
            rows.append(row(what, seconds, target))
            print(*rows[-1], sep=" · ", file=sys.stderr, flush=True)
        chromium.close()
    print(table(["changed control", "median", "slowest", "changes", "target", "met"], rows))
    print(f"\n{machine('cpu', 1).partition('; fastest')[0]}")


def row(what: str, seconds: list[float], target: float) -> list[object]:
    """One row of the result; the target applies to the slowest change."""
    slowest = max(seconds)
    met = "yes" if slowest <= target else "NO"
    return [what, f"{statistics.median(seconds):.2f} s", f"{slowest:.2f} s", len(seconds), f"{target} s", met]


def measure(page: Page) -> Iterator[tuple[str, float, list[float]]]:
    """Yield what was changed, the target, and the seconds that each change took."""
    yield "another method, first time", NEW, [choose(page, "Method", name) for name in METHODS]
    yield "another method, seen before", CACHED, [choose(page, "Method", name) for name in METHODS]
    yield "another picture, first time", NEW, [choose(page, "Sample", name) for name in SAMPLES]
    yield "another picture, seen before", CACHED, [choose(page, "Sample", name) for name in SAMPLES]
    yield "a layer off, first time", NEW, [timed(page, lambda: layer(page, "28 × 28"))]
    yield "a layer on, seen before", CACHED, [timed(page, lambda: layer(page, "28 × 28"))]
    choose(page, "Sample", "Cat")
    choose(page, "Method", "LayerCAM")  # its map depends on the class
    yield "another class, first time", NEW, [choose(page, "Class to explain", name) for name in CLASSES]
    yield "another class, seen before", CACHED, [choose(page, "Class to explain", name) for name in CLASSES]
    slide(page, "ArrowRight")  # to the layout with noise
    yield "noise, another level", NOISY, [slide(page, "ArrowRight") for _ in range(6)]
    yield "noise, a level seen before", CACHED, [slide(page, "ArrowLeft") for _ in range(5)]
    kinds = [(choose(page, "Noise", name), first_point(page)) for name in NOISE]
    yield "another kind of noise, first time", NEW, [picture for picture, _ in kinds]
    yield "another kind of noise, first points of its curve", CURVE, [curve for _, curve in kinds]


def choose(page: Page, label: str, text: str) -> float:
    """Type into a select box, choose the first match, and return the seconds until the new picture."""
    box = page.get_by_role("combobox", name=label, exact=False).first
    box.click()
    box.fill(text)
    expect(page.get_by_role("option").first).to_contain_text(text)  # the list is filtered
    return timed(page, lambda: page.keyboard.press("Enter"))


def slide(page: Page, key: str) -> float:
    """Move the noise slider by one step, and return the seconds until the new noisy picture."""
    page.get_by_role("slider").first.focus()
    return timed(page, lambda: page.keyboard.press(key))


def first_point(page: Page) -> float:
    """Wait for the complete new curve, and return the seconds from the last change to its first points."""
    page.wait_for_function("window.curved > 0", polling=POLL)
    page.wait_for_function("window.points === 2 * 21", polling=POLL)
    return float(page.evaluate("(window.curved - window.asked) / 1000"))


def layer(page: Page, name: str) -> None:
    """Switch a layer on or off."""
    page.get_by_role("button", name=name).click()


def timed(page: Page, change: Callable[[], None]) -> float:
    """Change something, wait for the picture and its scores, and return the seconds until the picture."""
    change()
    page.wait_for_function("window.shown > 0", polling=POLL)
    seconds = float(page.evaluate("(window.shown - window.asked) / 1000"))
    finish(page)
    return seconds


def finish(page: Page) -> None:
    """Wait until picture, scores and curve are complete."""
    page.wait_for_selector(".cv-scores")
    page.wait_for_function("!document.querySelector('.cv-wait')", polling=POLL)
    page.wait_for_function(
        "!document.querySelector('.cv-seen') || document.querySelector('.st-key-curve')?.innerText.includes('All 20')",
        polling=POLL,
    )
    page.wait_for_timeout(500)


@contextmanager
def running_app() -> Iterator[str]:
    """Start the app on a free port and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.address", "127.0.0.1"]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as server:  # noqa: S603
        try:
            while not _answers(address):
                time.sleep(0.2)
            yield address
        finally:
            server.terminate()


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/_stcore/health", timeout=5).ok
    except requests.ConnectionError:
        return False


if __name__ == "__main__":
    main()
