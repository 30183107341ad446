"""The bundled network, photographs and small networks that several test files share."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from browsing import BINARY, CHROMIUM, new_tab
from playwright.sync_api import sync_playwright
from server import running_app
from skimage import data
from small_networks import at_half_size, seeded
from torch.nn import functional as F

import camviz
from camviz import shapes
from camviz.models import checkpoint
from camviz.models.architectures import ARCHITECTURES
from camviz.models.checkpoint import Accuracy
from camviz.train.__main__ import card
from camviz.train.data import ALL
from camviz.train.run import Options
from camviz.workbench import networks

# What makes a test slow wherever it is used: a server of the app, and every photograph, two of them scikit-learn's.
SLOW_FIXTURES = {"address", "fresh_address", "views"}
# The tests that were measured to be slow: {file name: names of functions, or "*"}.
SLOW_TESTS = defaultdict(set)
for line in (Path(__file__).parent / "slow_tests.txt").read_text(encoding="utf-8").splitlines():
    if not line.startswith("#"):
        file, _, function = line.partition("::")
        SLOW_TESTS[file].add(function)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items):
    """Mark the tests that use Chromium, and those that are slow by what they use or by their list."""
    for item in items:
        listed = SLOW_TESTS.get(item.path.name, set())
        if unknown := {name for name in listed - {"*"} if not hasattr(item.module, name)}:
            raise pytest.UsageError(f"slow_tests.txt lists what {item.path.name} has not: {', '.join(sorted(unknown))}")
        if "playwright" in item.fixturenames:
            if not item.path.name.startswith("test_browser"):  # run.sh looks for them only there
                raise pytest.UsageError(f"{item.nodeid} uses the browser: move it to a file test_browser_*.py")
            item.add_marker(pytest.mark.browser)
        elif SLOW_FIXTURES & set(item.fixturenames) or listed & {"*", item.originalname}:
            item.add_marker(pytest.mark.slow)


def pytest_ignore_collect(collection_path, config):
    """Do not even import a file of slow tests only in a run without slow tests: one of them needs scikit-learn.

    In any other run its absence is an error.
    """
    without_slow = "not slow" in config.option.markexpr and " or " not in config.option.markexpr
    return True if without_slow and "*" in SLOW_TESTS.get(collection_path.name, ()) else None


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """A server of the app with no way to the network and no stored weights."""
    with running_app(tmp_path_factory.mktemp("torch")) as found:
        yield found


@pytest.fixture
def fresh_address(tmp_path):
    """Another server, which nobody has visited yet."""
    with running_app(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright):
    chromium = playwright.chromium.launch(executable_path=BINARY, args=CHROMIUM)
    yield chromium
    chromium.close()


@pytest.fixture(scope="session")
def profile(playwright, tmp_path_factory):
    """A browser that has been here before: it reads the app's scripts from its cache, which saves a second a visit."""
    folder, size = tmp_path_factory.mktemp("profile"), {"width": 1440, "height": 900}
    known = playwright.chromium.launch_persistent_context(folder, executable_path=BINARY, args=CHROMIUM, viewport=size)
    yield known
    known.close()


@pytest.fixture
def page(profile, address):
    """A visit that remembers no earlier one, on which nothing may be asked of another host or shown as an exception."""
    visit, foreign = new_tab(profile, address), []
    visit.on("request", lambda request: foreign.append(request.url) if _foreign(request.url, address) else None)
    visit.goto(address)
    for part in (".cv-title b", ".cv-strip canvas", ".cv-scores", ".cv-guide"):  # they come in any order
        visit.wait_for_selector(part)
    yield visit
    assert visit.locator(".stException").count() == 0
    assert foreign == []
    visit.close()


@pytest.fixture
def visit(profile, address):
    """A function that opens a path of the app, as a visit that remembers no earlier one; no exception may be shown.

    What `before` does to the page is done before it opens.
    """
    pages = []

    def open_(path="/", scheme="light", before=lambda page: None):
        page = new_tab(profile, address)
        page.emulate_media(color_scheme=scheme)
        before(page)
        page.goto(address + path)
        pages.append(page)
        return page

    yield open_
    for page in pages:
        assert page.locator(".stException").count() == 0
        page.close()


def _foreign(url, address):
    return not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))


@pytest.fixture
def unscored(monkeypatch):
    """Explore without its scores, which take most of a page's time, for tests of anything else on it."""
    from camviz.ui.panels import score_chart  # the fast tests do without Streamlit

    monkeypatch.setattr(score_chart, "show_scores", lambda *args: None)


@pytest.fixture(scope="module")
def half_size():
    """The app's networks look at pictures of half the side while a file's tests run, which takes a quarter of the time.

    Returns the function that loads them: other fixtures that load a network in these files do it by this one.
    """
    from apphost import forget_everything  # the fast tests do without Streamlit

    load = networks.load_model

    def load_small(name, device=None):
        return at_half_size(load(name, device))

    forget_everything()  # its keys do not tell what size a network looks at
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "load_model", load_small)
        yield load_small
    forget_everything()


@pytest.fixture(scope="session")
def lite0():
    return camviz.load_model("efficientnet-lite0", "cpu")


class Photographs(Mapping):
    """Photographs of scikit-image and scikit-learn, uint8 (h, w, 3), each read when it is asked for."""

    READERS: ClassVar = {
        "chelsea": data.chelsea,
        "coffee": data.coffee,
        "astronaut": data.astronaut,
        "rocket": data.rocket,
        "china": lambda: _of_scikit_learn("china.jpg"),
        "flower": lambda: _of_scikit_learn("flower.jpg"),
    }

    def __init__(self):
        self._read = {}

    def __getitem__(self, name):
        if name not in self._read:
            self._read[name] = self.READERS[name]()
        return self._read[name]

    def __iter__(self):
        return iter(self.READERS)

    def __len__(self):
        return len(self.READERS)


def _of_scikit_learn(name):
    from sklearn.datasets import load_sample_image  # the fast tests do without it

    return np.array(load_sample_image(name))


@pytest.fixture(scope="session")
def photos():
    return Photographs()


@pytest.fixture(scope="session")
def inputs(lite0, photos):
    """A function of names and a side: those photographs as one batch (B, 3, side, side), normalised."""

    def make(*names, side=224):
        x = torch.cat([lite0.preprocess(photos[name]) for name in names])
        return x if side == 224 else F.interpolate(x, (side, side), mode="bilinear", antialias=True)

    return make


@pytest.fixture(scope="session")
def untaught(tmp_path_factory):
    """A checkpoint of a network for shapes, with seeded random weights."""
    module = seeded(lambda: ARCHITECTURES["resnet18"](6), dtype=torch.float32)
    share = dict.fromkeys(shapes.CLASSES, 1 / 6)
    accuracy = Accuracy(3006, 1 / 6, share, dict.fromkeys(shapes.BANDS, 1 / 6))
    options = Options("resnet18", ((56, 64, ALL),), "random", 8, 1e-3, 0.05, 0, False)
    path = tmp_path_factory.mktemp("checkpoint") / "shapes-untaught.safetensors"
    checkpoint.save(path, module, card(options, module, accuracy))
    return path
