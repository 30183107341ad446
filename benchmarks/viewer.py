"""How fast the viewer draws, and what it sends, in headless Chromium: a table.

python -m benchmarks.viewer [--browser /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.app_latency import running_app
from benchmarks.tables import table

FRAME, PAINT, BYTES = 12.0, 150.0, 5e6  # milliseconds, milliseconds, bytes at most
STEPS = 100

# Draw all panels again and again, each time with another setting; return the milliseconds of each.
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
# The names of the colours, as the tools offer them.
NAMES = (
    "Object.fromEntries([...document.querySelectorAll('.cv-tools select option')].slice(0, 5).map(o => [o.value, 1]))"
)

# From the message with the maps to the frame after the panels were drawn.
WATCH = """() => {
    window.came = []; window.painted = 0;
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
    const look = () => {
        if (!window.painted && document.querySelector('.cv-result canvas')) {
            requestAnimationFrame(() => { window.painted = performance.now(); });
            return;
        }
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""

Row = tuple[str, str, str, str]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--browser", default="/usr/bin/chromium")
    args = options.parse_args()
    with running_app() as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=args.browser, args=["--no-sandbox", "--disable-gpu"])
        visit(chromium.new_page(viewport={"width": 1440, "height": 900}), address)  # fills the server's cache
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(f"({WATCH})()")
        visit(page, address)
        rows = [*painting(page), *drawing(page)]
        chromium.close()
    print(table(["what", "measured", "at most", "met"], rows))


def visit(page: Page, address: str) -> None:
    """Wait until the first screen has everything."""
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector(".cv-tools button")
    page.wait_for_function("document.querySelector('.cv-result canvas')?.ariaLabel.includes('ARCC')")


def painting(page: Page) -> Iterator[Row]:
    """The first paint of the strip, and how much was sent for it."""
    (moment, size), painted = page.evaluate("[window.came[0], window.painted]")
    yield _row("first paint after the data came", painted - moment, PAINT, "{:.0f} ms")
    yield _row("sent to the browser for 10 panels", size / 1e6, BYTES / 1e6, "{:.2f} MB")


def drawing(page: Page) -> Iterator[Row]:
    """A frame of 10 panels of 224 x 224 for each setting, and the traffic meanwhile."""
    sent: list[object] = []
    page.on("request", lambda request: sent.append(request))
    before = page.evaluate("performance.getEntriesByType('resource').length")
    for name in ("opacity", "threshold", "colours"):
        times = page.evaluate(DRAW.replace("PALETTE_NAMES", NAMES), [name, STEPS])
        yield _row(f"a frame of 10 panels, {name}: median", float(np.median(times)), FRAME, "{:.1f} ms")
        yield _row(
            f"a frame of 10 panels, {name}: 95th percentile", float(np.percentile(times, 95)), FRAME, "{:.1f} ms"
        )
    asked = page.evaluate("performance.getEntriesByType('resource').length") - before + len(sent)
    yield _row("requests meanwhile", asked, 0, "{:.0f}")


def _row(what: str, value: float, most: float, form: str) -> Row:
    return what, form.format(value), form.format(most), "yes" if value <= most else "NO"


if __name__ == "__main__":
    main()
