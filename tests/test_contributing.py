"""The files that CONTRIBUTING.md shows: pasted as they are, each is offered, computed and written everywhere."""

import csv
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import hmean
from shape_result import MODEL, PNG, SAMPLE
from streamlit.testing.v1 import AppTest
from torch.nn import functional as F

import camviz
from camviz import cli, noise
from camviz.html.report import report
from camviz.html.words import scores_table
from camviz.models import Net
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.exports import csv as scores_csv
from camviz.results.exports import npz
from camviz.results.finding import Finding, Settings
from camviz.workbench.findings import find
from camviz.workbench.host import PlainHost
from camviz.workbench.pictures import Explained, SeenPicture, read_picture

ROOT = Path(__file__).parent.parent
REGISTERS = {"method": camviz.METHODS, "rule": camviz.RULES, "noise": noise.KINDS, "score": camviz.SCORES}
# What each example adds, by the word that its section's heading ends with, and how many lines it may have.
ADDED = {"method": "positive", "rule": "harmonic mean", "noise": "rows", "score": "hot_area"}
MOST_LINES = {"method": 15, "rule": 20, "noise": 20, "score": 20}
SECTION = re.compile(
    r"^### [^\n]*?(\w+)\n\n`([^`]+\.py)`, and in `([^`]+\.py)`\n`([^`]+)`:\n\n```python\n(.*?)^```$", re.M | re.S
)
LAYER = "layer4"
LEVEL = 0.4


@dataclass(frozen=True)
class Example:
    """A file of CONTRIBUTING.md: where it goes, the file that imports it and how, and its text."""

    path: str
    init: str
    line: str
    text: str


EXAMPLES = {
    kind: Example(*example)
    for kind, *example in SECTION.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
}


@contextmanager
def pasted(folder):
    """Run each example as a module; afterwards the registers are what they were."""
    before = {kind: dict(register) for kind, register in REGISTERS.items()}
    try:
        for example in EXAMPLES.values():
            path = folder / Path(example.path).name
            path.write_text(example.text, encoding="utf-8")
            spec = importlib.util.spec_from_file_location(f"contributed_{path.stem}", path)
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        yield
    finally:
        for kind, register in REGISTERS.items():
            register.clear()
            register.update(before[kind])


@dataclass(frozen=True)
class Contributed:
    """A picture explained by the new method, rule and noise, and scored by the new score as well."""

    net: Net
    explained: Explained
    finding: Finding


@pytest.fixture(scope="module")
def contributed(tmp_path_factory):
    with pasted(tmp_path_factory.mktemp("pasted")):
        host, net = PlainHost(), camviz.load_model(MODEL, "cpu")
        lost = Perturbation(ADDED["noise"], LEVEL, 0)
        recipe = Recipe(ADDED["method"], (LAYER,), ADDED["rule"])
        finding = find(net, PNG, "shape", Settings(MODEL, recipe, "squeeze", SAMPLE.label, lost), host=host)
        seen = SeenPicture(host, read_picture(host, PNG, "shape"), net, "squeeze")
        yield Contributed(net, seen.explaining(SAMPLE.label), finding)


def stretched(map_):
    return (map_ - map_.min()) / (map_.max() - map_.min())


def test_the_examples_are_there_and_short():
    assert list(EXAMPLES) == list(ADDED)
    for kind, example in EXAMPLES.items():
        assert len(example.text.splitlines()) <= MOST_LINES[kind], kind


def test_the_registers_are_restored(tmp_path):
    before = {kind: list(register.items()) for kind, register in REGISTERS.items()}
    with pasted(tmp_path):
        for kind, register in REGISTERS.items():
            assert list(register.items()) != before[kind]
            assert ADDED[kind] in register
    assert {kind: list(register.items()) for kind, register in REGISTERS.items()} == before


def test_the_method(contributed):
    net = contributed.net
    cap = camviz.capture(net.module, net.preprocess(SAMPLE.image), SAMPLE.label, [LAYER])
    a, g = cap.activations[0].double(), cap.gradients[0].double()
    raw = sum(g[0, k].clamp(min=0).mean() * a[0, k] for k in range(a.shape[1]))
    large = F.interpolate(raw.clamp(min=0)[None, None], cap.x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    found = camviz.cam(cap, ADDED["method"])[0, 0]
    np.testing.assert_allclose(found, stretched(large), atol=1e-4)
    assert (found - camviz.cam(cap, "gradcam")[0, 0]).abs().max() > 0.01


@pytest.mark.usefixtures("contributed")
def test_the_rule():
    maps = torch.rand(3, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    maps[1, 0, 2, 3] = 0
    merged = camviz.refine(maps, ADDED["rule"])
    assert merged[0, 2, 3] == 0
    np.testing.assert_allclose(merged[0], stretched(hmean(maps[:, 0].double().numpy(), axis=0)), atol=1e-5)


@pytest.mark.usefixtures("contributed")
def test_the_noise():
    def lost(level):
        noisy = camviz.noise.apply(SAMPLE.image, ADDED["noise"], level, seed=3)
        black = ~noisy.any((1, 2))
        np.testing.assert_array_equal(noisy[~black], SAMPLE.image[~black])
        return black

    assert SAMPLE.image.any((1, 2)).all()
    assert not lost(0).any()
    assert lost(1).mean() == pytest.approx(0.5, abs=0.15)  # more than four standard deviations of 224 rows
    assert (lost(LEVEL) <= lost(1)).all()
    assert camviz.noise.KINDS[ADDED["noise"]].strength(LEVEL) == "20% of rows"


def test_the_score(contributed):
    found = contributed.finding
    hot = np.count_nonzero(found.merged >= 0.5) / found.merged.size
    assert 0 < hot < 1
    assert found.scores["merged"][ADDED["score"]] == pytest.approx(hot, abs=1e-6)
    assert found.scores["merged"]["arcc"] is not None
    assert all(0 < scores[ADDED["score"]] < 1 for scores in found.baselines.values())


@pytest.mark.usefixtures("contributed")
def test_the_command_line_lists_them(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["explain", "--help"])
    assert stopped.value.code == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  --")}
    options = {"method": "--method", "rule": "--rule", "noise": "--noise", "score": "--no-scores"}
    for kind, option in options.items():
        assert re.search(rf"[ ,]{ADDED[kind]}\b", lines[option]), option


def test_the_app_offers_them(contributed):
    def sidebar(of):
        from camviz.ui.sidebar.model_and_method import choose_recipe
        from camviz.ui.sidebar.noise import choose_kind

        choose_recipe(of)
        choose_kind()

    app = AppTest.from_function(sidebar, default_timeout=120, kwargs={"of": contributed.explained}).run()
    assert not app.exception
    menus = {"Method": "Positive Grad-CAM", "Merging rule": "Harmonic mean", "Noise": "Lost rows"}
    for label, title in menus.items():
        (menu,) = [each for each in app.selectbox if each.label == label]
        assert title in menu.options
    app.selectbox(key="method").set_value(ADDED["method"]).run()
    assert not app.exception
    assert any("mean positive gradient" in caption.value for caption in app.caption)


def test_tables_and_files_hold_the_score(contributed):
    found, name = contributed.finding, ADDED["score"]
    value = found.scores["merged"][name]
    assert f"| Hot area | **{value:.2f}** |" in scores_table(found.scores["merged"], "result")

    rows = list(csv.DictReader(io.StringIO(scores_csv(found).decode())))
    assert (rows[0]["map"], rows[0]["method"], rows[0]["rule"]) == ("merged", ADDED["method"], ADDED["rule"])
    assert float(rows[0][name]) == value
    assert [float(row[name]) for row in rows if row["map"] == "baseline"] == [
        each[name] for each in found.baselines.values()
    ]

    with np.load(io.BytesIO(npz(found)), allow_pickle=False) as read:
        told = json.loads(str(read["metadata"]))
    assert told["scores"]["merged"][name] == value
    assert told["settings"]["recipe"]["method"] == ADDED["method"]
    assert told["settings"]["recipe"]["rule"] == ADDED["rule"]
    assert told["settings"]["noise"] == {"kind": ADDED["noise"], "level": LEVEL, "seed": 0}


def test_a_bundle_holds_them(contributed):
    found = contributed.finding
    stored = bundle.read(bundle.write(found))
    assert stored.settings == found.settings
    assert stored.scores == found.scores
    assert stored.baselines == found.baselines
    np.testing.assert_array_equal(stored.merged, found.merged)


def test_the_report_shows_them(contributed):
    found = contributed.finding
    page = report(found).decode()
    for words in ("Positive Grad-CAM", "Harmonic mean", "Lost rows, 20% of rows"):
        assert escape(words) in page
    (head,) = re.findall(r'<div role="columnheader"[^>]*><span>1 − hot area</span> ([^<]*)</div>', page)
    assert head == "how large is the core?"
    assert f"<span>{1 - found.scores['merged'][ADDED['score']]:.2f}</span>" in page


def test_pasted_into_a_copy_of_camviz(tmp_path):
    """With the imports that CONTRIBUTING.md names, all checks pass, and a new process lists what was added."""
    shutil.copytree(ROOT / "camviz", tmp_path / "camviz", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for example in EXAMPLES.values():
        (tmp_path / example.path).write_text(example.text, encoding="utf-8")
        init = tmp_path / example.init
        init.write_text(after_docstring(init.read_text(encoding="utf-8"), example.line), encoding="utf-8")
    env = {**os.environ, "COLUMNS": "2000", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}

    def run(*command):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "ruff", "check", "--no-cache", "--fix", "--select", "I", "camviz")
    run("-m", "ruff", "check", "--no-cache", "camviz")
    run("-m", "ruff", "format", "--no-cache", "--check", "camviz")
    run("-c", "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run(['--no-cache']))")
    listed = run("-m", "camviz", "explain", "--help")
    for name in ADDED.values():
        assert re.search(rf"[ ,]{name}\b", listed), name


def after_docstring(text, line):
    """A module's text with one more line below its docstring."""
    docstring, rest = text.split("\n\n", 1)
    return f"{docstring}\n\n{line}\n{rest}"


# What the steps that have no example name, and the file in which they say it stands.
NAMED = {
    "FEATURED": "camviz/models/torchvision.py",
    "stage_layers": "camviz/models/layers.py",
    "test_layers_of_torchvision_families": "tests/test_models.py",
    "ARCHITECTURES": "camviz/models/architectures.py",
    "camviz.train": "camviz/train/__main__.py",
    "begin_page": "pages/compare.py",
    "with gpu_memory(net)": "pages/compare.py",
    "shared_host()": "pages/compare.py",
    "st.Page(...)": "camviz/ui/page_frame.py",
    "PageState": "camviz/ui/links/link_format.py",
}


def test_the_steps_for_a_model_family_and_a_page_name_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = text[text.index("## Add a model family") : text.index("## Words")]
    for name, file in NAMED.items():
        assert f"`{name}`" in steps
        assert file in steps or file == "camviz/train/__main__.py"
        assert name.removesuffix("...)") in (ROOT / file).read_text(encoding="utf-8")
    paths = {path for path in re.findall(r"`((?:tests|pages|camviz|docs)/[^`*]+)`", steps) if "yours" not in path}
    assert len(paths) >= 4
    assert [path for path in paths if not (ROOT / path).exists()] == []
