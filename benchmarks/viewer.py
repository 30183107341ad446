"""How fast the viewer draws, and how much data it receives, in headless Chromium: a table.

python -m benchmarks.viewer [--browser /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from playwright.sync_api import BrowserContext, Page, sync_playwright

from benchmarks.app_latency import running_app
from benchmarks.tables import table

FRAME, PAINT, BYTES = 12.0, 150.0, 5e6  # limits: milliseconds, milliseconds, bytes
STEPS = 100

# Draw all panels repeatedly, each time with another setting; return the milliseconds of each drawing.
DRAW = """async ([name, steps]) => {
    const names = Object.keys(PALETTE_NAMES);
    const times = [];
    for (let step = 0; step < steps; step++) {
        const value = name === 'colours' ? names[step % names.length] : step / steps;
        camvizViewers.set({ [name]: value });
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        times.push(camvizViewers.drawing);
    }
    return times;
}"""
# The names of the colour maps in the viewer's tools.
NAMES = (
    "Object.fromEntries([...document.querySelectorAll('.cv-tools select option')].slice(0, 5).map(o => [o.value, 1]))"
)

# When messages with maps reached the browser, when the viewer received their data, and when the frame after drawing its
# panels began: a new result has new canvases.
WATCH = """() => {
    window.came = []; window.given = []; window.painted = [];
    const Socket = window.WebSocket;
    window.WebSocket = class extends Socket {
        constructor(...args) {
            super(...args);
            this.addEventListener('message', ({ data }) => {
                const size = data.byteLength ?? data.size ?? 0;
                if (size > 500_000) window.came.push([performance.now(), size]);
            });
        }
    };
    let store;
    Object.defineProperty(window, 'camvizViewers', {
        get: () => store,
        set: made => {
            store = made;
            const add = made.viewers.add.bind(made.viewers);
            made.viewers.add = one => { window.given.push(performance.now()); return add(one); };
        },
    });
    let last = null;
    const look = () => {
        const now = document.querySelector('.cv-result canvas');
        if (now && now !== last) requestAnimationFrame(() => { window.painted.push(performance.now()); });
        last = now ?? last;
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""
# Milliseconds to the first new paint, since the viewer had its data and since the message arrived.
DELAYS = "[painted[0] - given.findLast(time => time < painted[0]), painted[0] - came[0][0]]"
VISITS = 5
SAMPLES = ("Cat", "Rocket", "Motorcycle", "Cameraman", "Astronaut")

Row = tuple[str, str, str, str]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--browser", default="/usr/bin/chromium")
    args = options.parse_args()
    with running_app() as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=args.browser, args=["--no-sandbox", "--disable-gpu"])
        browser = chromium.new_context(
            viewport={"width": 1440, "height": 900}
        )  # caches the app's files, as users' browsers do
        page = visit(browser, address)
        rows = [*painting(page), *changing(page), *drawing(page)]
        page.close()
        rows += revisiting(browser, address)
        chromium.close()
    print(table(["what", "measured", "target", "met"], rows))


def visit(browser: BrowserContext, address: str) -> Page:
    """Open the app in a new page, and wait until the first screen is complete."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(f"({WATCH})()")
    page.goto(address)
    page.wait_for_selector(".cv-tools button")
    rest(page)
    return page


def rest(page: Page) -> None:
    """Wait until all scores are shown, so that the server is idle."""
    page.wait_for_function("document.querySelector('.cv-result canvas')?.ariaLabel.includes('ARCC')")
    page.wait_for_function("!document.querySelector('.cv-wait')")


def painting(page: Page) -> Iterator[Row]:
    """The first paint of the strip on the very first visit, and the bytes sent for it."""
    yield from _paints("first paint of a strip of 5, first visit", [page.evaluate(DELAYS)])
    yield _row("sent to the browser for 10 panels", page.evaluate("came[0][1]") / 1e6, BYTES / 1e6, "{:.2f} MB")


def revisiting(browser: BrowserContext, address: str) -> Iterator[Row]:
    """The first paint on later visits: everything is cached, so the data arrive while the browser still loads."""
    delays = []
    for _ in range(VISITS):
        page = visit(browser, address)
        delays.append(page.evaluate(DELAYS))
        page.close()
    yield from _paints(f"first paint, slowest of {VISITS} later visits", delays)


def changing(page: Page) -> Iterator[Row]:
    """The paint of another picture's maps."""
    delays = []
    for name in SAMPLES:
        page.evaluate("came.length = given.length = painted.length = 0")
        box = page.get_by_role("combobox", name="Sample").first
        box.click()
        box.fill(name)
        page.keyboard.press("Enter")
        page.wait_for_function("came.length && painted.length")
        delays.append(page.evaluate(DELAYS))
        rest(page)
    yield from _paints(f"paint of another picture, slowest of {len(SAMPLES)}", delays)


def _paints(what: str, delays: list[list[float]]) -> Iterator[Row]:
    """The slowest paint, and the slowest including Streamlit's work before it, which has no target."""
    paint, whole = (max(times) for times in zip(*delays, strict=True))
    yield _row(f"{what}: after the viewer had its data", paint, PAINT, "{:.0f} ms")
    yield f"{what}: after the message reached the browser", f"{whole:.0f} ms", "", ""


def drawing(page: Page) -> Iterator[Row]:
    """A frame of 10 panels of 224 x 224 for each setting, and the requests meanwhile."""
    sent: list[object] = []
    page.on("request", lambda request: sent.append(request))
    before = page.evaluate("performance.getEntriesByType('resource').length")
    for name in ("opacity", "threshold", "colours"):
        times = page.evaluate(DRAW.replace("PALETTE_NAMES", NAMES), [name, STEPS])
        yield _row(f"a frame of 10 panels, {name}: median", float(np.median(times)), FRAME, "{:.1f} ms")
        yield _row(
            f"a frame of 10 panels, {name}: 95th percentile", float(np.percentile(times, 95)), FRAME, "{:.1f} ms"
        )
    requests = page.evaluate("performance.getEntriesByType('resource').length") - before + len(sent)
    yield _row("requests meanwhile", requests, 0, "{:.0f}")


def _row(what: str, value: float, limit: float, form: str) -> Row:
    return what, form.format(value), form.format(limit), "yes" if value <= limit else "NO"


if __name__ == "__main__":
    main()
