"""The bundled network, photographs and small networks that several test files share."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from browsing import CHROMIUM, SLOW
from playwright.sync_api import sync_playwright
from skimage import data
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F

import camviz
from camviz import shapes
from camviz.models import checkpoint
from camviz.models.architectures import ARCHITECTURES
from camviz.models.checkpoint import Accuracy
from camviz.train.__main__ import card
from camviz.train.data import ALL
from camviz.train.run import Options

ROOT = Path(__file__).parent.parent


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


@contextmanager
def running_app(home):
    """Run the app on a free port until the block ends; yield its address. `home` is for PyTorch's downloads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
    for part in (".cv-title b", ".cv-strip canvas", ".cv-scores", ".cv-guide"):  # they come in any order
        visit.wait_for_selector(part)
    yield visit
    assert visit.locator(".stException").count() == 0
    assert foreign == []
    visit.close()


@pytest.fixture
def visit(browser, address):
    """A function that opens a path of the app in a fresh browser profile; no exception may be shown there."""
    pages = []

    def open_(path="/", scheme="light"):
        page = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme).new_page()
        page.set_default_timeout(SLOW)
        page.goto(address + path)
        pages.append(page)
        return page

    yield open_
    for page in pages:
        assert page.locator(".stException").count() == 0
        page.context.close()


def _foreign(url, address):
    return not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))


@pytest.fixture(scope="session")
def lite0():
    return camviz.load_model("efficientnet-lite0", "cpu")


@pytest.fixture(scope="session")
def photos():
    return {
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "astronaut": data.astronaut(),
        "rocket": data.rocket(),
        "china": np.array(load_sample_image("china.jpg")),
        "flower": np.array(load_sample_image("flower.jpg")),
    }


@pytest.fixture(scope="session")
def inputs(lite0, photos):
    """A function of names and a side: those photographs as one batch (B, 3, side, side), normalised."""

    def make(*names, side=224):
        x = torch.cat([lite0.preprocess(photos[name]) for name in names])
        return x if side == 224 else F.interpolate(x, (side, side), mode="bilinear", antialias=True)

    return make


def noise_images(batch, height=12, width=16, seed=0, dtype=torch.float64):
    """Random images (B, 3, H, W), neither square nor all alike."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator, dtype=dtype)


def seeded(make, seed=0, dtype=torch.float64):
    """A network in eval mode whose random weights are always the same; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval().to(dtype)


class Plain(nn.Module):
    """Three convolutions, each with an in-place ReLU, and a head with a hidden layer."""

    def __init__(self, inplace=True):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace)
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace)
        self.conv3, self.relu3 = nn.Conv2d(8, 10, 3, stride=2, padding=1), nn.ReLU(inplace)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(40, 16), nn.ReLU(inplace), nn.Linear(16, 5)
        )

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        x = self.relu2(self.conv2(x))
        return self.head(self.relu3(self.conv3(x)))


class Pooled(nn.Module):
    """Two convolutions, global average pooling and one linear layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.relu(self.conv2(self.conv1(x).relu())).mean((2, 3)))


class Shared(nn.Module):
    """One ReLU that is called three times."""

    def __init__(self, inplace=False):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(8, 10, 3, padding=1)
        self.relu = nn.ReLU(inplace)
        self.fc = nn.Linear(10 * 6, 5)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.relu(conv(x))
        return self.fc(F.adaptive_avg_pool2d(x, (2, 3)).flatten(1))


class Functional(nn.Module):
    """A functional in-place ReLU right after the last named layer, as in DenseNet."""

    def __init__(self, inplace=True):
        super().__init__()
        self.conv, self.norm, self.inplace = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), inplace
        self.fc = nn.Linear(6 * 4, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)), inplace=self.inplace)
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Residual(nn.Module):
    """Blocks that add their input in place, `out += identity`."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.conv1, self.conv2 = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.relu(self.stem(x))
        for conv in (self.conv1, self.conv2):
            identity = x
            out = conv(x)
            out += identity
            x = self.relu(out)
        return self.fc(x.mean((2, 3)))


class Dense(nn.Module):
    """Later layers see all earlier ones through torch.cat."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 4, 3, padding=1)
        self.fc = nn.Linear(12 * 4, 5)

    def forward(self, x):
        first = self.conv1(x).relu()
        second = self.conv2(first).relu()
        third = self.conv3(torch.cat([first, second], 1)).relu()
        return self.fc(F.adaptive_avg_pool2d(torch.cat([first, second, third], 1), 2).flatten(1))


class Sized(nn.Module):
    """Reads the batch size in its forward pass, before and after its layers."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.shift = nn.Parameter(torch.randn(1, 6, 1, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        batch = x.size(0)
        first = self.conv1(x).relu() + self.shift.expand(batch, -1, 1, 1)
        second = self.conv2(first.view(batch, 6, *x.shape[2:])).relu()
        return self.fc(second.view(x.size(0), 8, -1).mean(2))


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
