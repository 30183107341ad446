"""The command line: what it writes, really read; what it says where something is wrong; and its exit codes."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from shape_result import FEW_PASSES, LAYERS, MODEL, PNG, photo
from skimage import data
from zip_files import members, packed

import camviz
from camviz import cli, shapes
from camviz.noise.measure import Perturbation
from camviz.render import overlay
from camviz.results import bundle
from camviz.results.finding import RESULT
from camviz.results.output_folder import MANIFEST

ROOT = Path(__file__).parent.parent
QUICK = ["--model", MODEL, "--device", "cpu", "--no-scores"]


@pytest.fixture(scope="module", autouse=True)
def one_network():
    """Load each network once: every call of the command would load it again."""
    known, load = {}, cli.load_model

    def kept(name, device, progress):
        if (name, device) not in known:
            known[name, device] = load(name, device, progress)
        return known[name, device]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "load_model", kept)
        yield


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a photo.jpg"
    path.write_bytes(photo())
    return path


def run(*arguments):
    """The exit code of a command, run in this process."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def explain(image, out, *more):
    return run("explain", image, "--out", out, *QUICK, *more)


def stored(out):
    return bundle.read((out / cli.BUNDLE).read_bytes())


def in_a_process(*arguments):
    """Run the command as a person does."""
    command = [sys.executable, "-m", "camviz", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def one_sentence(capsys, *words):
    """Assert that stderr holds one line, with these words, and no traceback."""
    told = capsys.readouterr().err.strip()
    assert told.startswith("camviz: ")
    assert "\n" not in told
    assert told.endswith(".")
    for word in words:
        assert word in told


def test_everything_that_is_written(tmp_path, lite0):
    """The bundled ImageNet network in a process of its own, against the library called by hand."""
    image, out = tmp_path / "cat.png", tmp_path / "new" / "folder"
    Image.fromarray(data.chelsea()).save(image)
    layers = lite0.layers[-2:]
    asked = ("--method", "layercam", "--layers", ",".join(layers), "--device", "cpu")
    done = in_a_process("explain", image, *asked, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cat.png: LayerCAM for" in done.stdout

    cap = camviz.capture(lite0.module, lite0.preprocess(data.chelsea()), layers=layers)
    maps = camviz.cam(cap, "layercam")
    merged = camviz.refine(maps)
    with np.load(out / "maps.npz", allow_pickle=False) as read:
        np.testing.assert_allclose(read["maps"], maps[:, 0], atol=1e-4)
        np.testing.assert_allclose(read["merged"], merged[0], atol=1e-4)
        np.testing.assert_array_equal(read["view"], lite0.view(data.chelsea()))
        told = json.loads(str(read["metadata"]))
        result = overlay(read["view"], torch.tensor(read["merged"]))
    assert told["label"] == lite0.labels[int(cap.target)]
    assert told["settings"]["recipe"]["layers"] == list(layers)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "result.png")), result)

    rows = list(csv.DictReader(io.StringIO((out / "scores.csv").read_text())))
    assert [row["map"] for row in rows] == [RESULT, *reversed(layers), "baseline", "baseline"]
    parts = [float(rows[0]["coherency"]), 1 - float(rows[0]["complexity"]), float(rows[0]["road"])]
    assert float(rows[0]["arcc"]) == pytest.approx(
        3 / sum(1 / part for part in parts) if min(parts) > 0 else 0, abs=1e-5
    )
    assert float(rows[0]["complexity"]) == pytest.approx(float(merged.mean()), abs=1e-4)

    with np.load(out / "maps.npz", allow_pickle=False) as read:
        by_key = dict(zip((RESULT, *layers), (read["merged"], *read["maps"]), strict=True))
    told = pd.read_csv(out / "hotspots.csv")
    assert [tuple(each) for each in told[["share", "map"]].drop_duplicates().to_numpy()] == [
        (share, key) for share in (0.05, 0.1, 0.2) for key in (RESULT, *reversed(layers))
    ]
    for (share, key), found in told.groupby(["share", "map"]):
        expected = camviz.hotspots(by_key[key], share)
        assert found.region.tolist() == ["all", *(str(n + 1) for n in range(len(expected.regions)))]
        whole, regions = found.iloc[0], found.iloc[1:]
        assert (whole.pixels, whole.area, whole.threshold) == (expected.pixels, expected.area, expected.threshold)
        assert (whole.centre_x, whole.centre_y) == expected.centre
        assert list(regions[["x", "y", "width", "height"]].itertuples(index=False, name=None)) == list(expected.boxes)
        assert list(zip(regions.centre_x, regions.centre_y, strict=True)) == [r.centre for r in expected.regions]
        assert regions.pixels.sum() == whole.pixels

    assert (out / "figure.pdf").read_bytes().startswith(b"%PDF")
    finding = stored(out)
    assert finding.picture == image.read_bytes()
    assert finding.name == "cat.png"
    assert {path.name for path in out.iterdir()} == {
        "view.png",
        "result.png",
        *(f"{kind}-{n:02d}-{name}.png" for kind in ("layer", "merge") for n, name in enumerate(layers[::-1], 1)),
        "maps.npz",
        "scores.csv",
        "hotspots.csv",
        "figure.pdf",
        "report.html",
        cli.BUNDLE,
        MANIFEST,
    }


def test_every_option(picture, tmp_path):
    more = "--method random --layers layer4,layer2 --rule mean --class SQUARE --fit pad --noise gaussian --level 0.25"
    assert explain(picture, tmp_path / "out", *more.split(), "--seed", "9") == 0
    asked = stored(tmp_path / "out").settings
    assert asked.model == MODEL
    assert asked.recipe == camviz.Recipe("random", ("layer2", "layer4"), "mean", 9)
    assert (asked.target, asked.fit) == (shapes.CLASSES.index("square"), "pad")
    assert asked.noise == Perturbation("gaussian", 0.25, 9)


def test_colours(picture, tmp_path):
    assert explain(picture, tmp_path / "out", "--colours", "viridis") == 0
    finding = stored(tmp_path / "out")
    result = np.asarray(Image.open(tmp_path / "out" / "result.png"))
    np.testing.assert_array_equal(result, overlay(finding.view, torch.tensor(finding.merged), "viridis"))


def test_defaults(picture, tmp_path):
    assert explain(picture, tmp_path / "out") == 0
    finding = stored(tmp_path / "out")
    assert finding.settings.recipe == camviz.Recipe("gradcam++", LAYERS)
    assert (finding.settings.fit, finding.settings.noise) == ("crop", None)
    assert finding.settings.target == shapes.CLASSES.index(finding.top[0][0])
    assert finding.scores == {}


def test_a_class_by_its_number(picture, tmp_path):
    assert explain(picture, tmp_path / "out", "--class", "2") == 0
    assert stored(tmp_path / "out").label == shapes.CLASSES[2]


def test_a_synthetic_sample(tmp_path):
    assert explain("shapes:val/7", tmp_path / "out") == 0
    finding = stored(tmp_path / "out")
    np.testing.assert_array_equal(camviz.load_image(finding.picture), shapes.sample(7, "val").image)
    np.testing.assert_array_equal(finding.view, shapes.sample(7, "val").image)
    assert (finding.name, finding.settings.fit) == ("shapes:val/7", "squeeze")


def test_a_checkpoint(untaught, picture, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("explain", picture, "--out", out, "--model", untaught, "--no-scores", "--device", "cpu") == 0
    assert stored(out).settings.model == untaught.stem
    assert run("open", out / cli.BUNDLE, "--model", untaught, "--device", "cpu") == 0
    capsys.readouterr()
    assert run("open", out / cli.BUNDLE, "--device", "cpu") == 1
    one_sentence(capsys, "camviz has no network", "--model PATH")
    assert run("open", out / cli.BUNDLE, "--model", MODEL, "--device", "cpu") == 1
    one_sentence(capsys, "was made with")


def test_a_slow_method_tells_how_far_it_is(picture, tmp_path, capsys):
    assert explain(picture, tmp_path / "out", "--method", FEW_PASSES, "--layers", "layer4") == 0
    assert "32 of 32 network passes" in capsys.readouterr().err
    assert explain(picture, tmp_path / "out") == 0
    assert capsys.readouterr().err == ""


def test_a_second_run_replaces_the_first(picture, tmp_path):
    out = tmp_path / "out"
    assert explain(picture, out) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert explain(picture, out) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert explain(picture, out, "--layers", "layer4") == 0
    assert {path.name for path in out.glob("*-*.png")} == {"layer-01-layer4.png", "merge-01-layer4.png"}


def test_files_of_the_users_stay(picture, tmp_path):
    assert explain(picture, tmp_path) == 0
    assert picture.read_bytes() == photo()
    assert (tmp_path / cli.BUNDLE).exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no file"),
        (b"", "empty"),
        (b"hello", "unsupported format"),
        (PNG[:9000], "damaged or truncated"),
    ],
)
def test_pictures_that_cannot_be_read(tmp_path, capsys, content, words):
    image, out = tmp_path / "image.png", tmp_path / "out"
    if content is not None:
        image.write_bytes(content)
    assert explain(image, out) == 1
    one_sentence(capsys, words.split("|")[-1])
    assert not list(out.glob("*"))


def test_a_folder_or_a_device_is_no_picture(tmp_path, capsys):
    for path in (tmp_path, "/dev/zero"):
        assert explain(path, tmp_path / "out") == 1
        one_sentence(capsys, "There is no file")


def test_too_large_a_picture(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "MAX_PICTURE", 100)
    assert explain(picture, tmp_path / "out") == 1
    one_sentence(capsys, "more than 100 bytes")


@pytest.mark.parametrize("out", ["a photo.jpg", "a photo.jpg/out", "/proc/out"])
def test_folders_that_cannot_be_written(picture, tmp_path, capsys, out):
    assert explain(picture, tmp_path / out) == 1
    one_sentence(capsys, "is not a folder" if out == "a photo.jpg" else "cannot be used", "choose another")


def test_a_layer_that_gives_no_map(picture, tmp_path, capsys):
    assert explain(picture, tmp_path / "out", "--layers", "fc") == 1
    one_sentence(capsys, "cannot be computed", "'fc'")


def test_weights_that_cannot_be_downloaded(picture, tmp_path, monkeypatch, capsys):
    """Without any on this machine, and with the way to the network closed."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert run("explain", picture, "--out", tmp_path / "out", "--model", "resnet18") == 1
    one_sentence(capsys, "could not be downloaded")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--model", "efficientnet-lite9"], "did you mean efficientnet-lite"),
        (["--model", "zzz"], "unknown model 'zzz'"),
        (["--method", "gradcam+++"], "unknown method 'gradcam+++': choose from"),
        (["--rule", "sum"], "choose from product"),
        (["--fit", "stretch"], "choose from"),
        (["--noise", "hum", "--level", "1"], "choose from gaussian"),
        (["--noise", "blur"], "go together"),
        (["--level", "0.5"], "go together"),
        (["--noise", "blur", "--level", "nan"], "from 0 to 1"),
        (["--layers", "layer5"], "did you mean layer"),
        (["--layers", "zzz"], "choose from layer1, layer2"),
        (["--layers", "layer1,,layer2"], "not a list of names"),
        (["--layers", "layer1,layer1"], "twice"),
        (["--class", "sqare"], "did you mean square"),
        (["--class", "6"], "from 0 to 5"),
        (["--class", "-1"], "no class '-1'"),
        (["--class", "zzz"], "choose from circle"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "9" * 5000], "--seed"),
        (["--device", "abacus"], "no device 'abacus'"),
        (["--what"], "--what"),
    ],
)
def test_what_was_not_understood(picture, tmp_path, capsys, more, words):
    assert explain(picture, tmp_path / "out", *more) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    "image", ["shapes:", "shapes:test/", "shapes:tent/1", "shapes:test/-1", "shapes:test/2147483648"]
)
def test_samples_that_are_none(tmp_path, capsys, image):
    assert explain(image, tmp_path / "out") == 2
    assert "sample" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["explain"], ["explain", "a.png"], ["paint"], ["open"], ["bench"]])
def test_half_a_command(capsys, arguments):
    assert run(*arguments) == 2
    assert "usage: python -m camviz" in capsys.readouterr().err


def test_help(capsys):
    for arguments in (["--help"], ["explain", "--help"], ["open", "--help"], ["bench", "--help"]):
        assert run(*arguments) == 0
        assert "usage: python -m camviz" in capsys.readouterr().out


def test_stopped_by_hand(picture, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "find", stop)
    assert explain(picture, tmp_path / "out") == 1
    one_sentence(capsys, "Stopped")


def test_open(picture, tmp_path, capsys):
    out = tmp_path / "out"
    assert explain(picture, out, "--noise", "shot", "--level", "0.3") == 0
    capsys.readouterr()
    assert run("open", out / cli.BUNDLE, "--device", "cpu") == 0
    assert "agree. Both explain" in capsys.readouterr().out


def test_open_one_that_does_not_agree(tmp_path, capsys):
    """A forged map, its hashes right."""
    out = tmp_path / "out"
    assert explain("shapes:test/12", out) == 0
    finding = stored(out)
    finding.merged[:50] = 1
    forged = tmp_path / "forged.zip"
    forged.write_bytes(bundle.write(finding))
    assert run("open", forged, "--device", "cpu") == 1
    assert "do not agree" in capsys.readouterr().out


def test_open_one_whose_layers_stand_in_another_order(tmp_path, capsys):
    out = tmp_path / "out"
    assert explain("shapes:test/12", out, "--layers", ",".join(LAYERS[:2])) == 0
    found = stored(out)
    recipe = replace(found.settings.recipe, layers=found.settings.recipe.layers[::-1])
    turned = replace(found, settings=replace(found.settings, recipe=recipe), maps=found.maps[::-1].copy())
    forged = tmp_path / "forged.zip"
    forged.write_bytes(bundle.write(turned))
    capsys.readouterr()
    assert run("open", forged, "--device", "cpu") == 1
    one_sentence(capsys, "cannot be checked", "the same settings")


@pytest.mark.parametrize("target", [999, 2**62])
def test_open_one_whose_class_the_network_has_not(tmp_path, capsys, target):
    out = tmp_path / "out"
    assert explain("shapes:test/12", out) == 0
    parts = members((out / cli.BUNDLE).read_bytes())
    raw = json.loads(parts["manifest.json"])
    raw["settings"]["target"] = target
    forged = tmp_path / "forged.zip"
    forged.write_bytes(packed({**parts, "manifest.json": json.dumps(raw).encode()}))
    capsys.readouterr()
    assert run("open", forged, "--device", "cpu") == 1
    one_sentence(capsys, "cannot be computed", "target")


@pytest.mark.parametrize("content", [None, b"", b"hello", PNG])
def test_open_what_is_no_bundle(tmp_path, capsys, content):
    path = tmp_path / "a.zip"
    if content is not None:
        path.write_bytes(content)
    assert run("open", path) == 1
    one_sentence(capsys, "There is no file" if content is None else "isn't a camviz bundle")


def test_a_bundle_names_no_path(tmp_path, capsys, untaught):
    """The network's name in a stranger's bundle must not open a file."""
    out = tmp_path / "out"
    assert explain("shapes:test/12", out) == 0
    parts = members((out / cli.BUNDLE).read_bytes())
    raw = json.loads(parts["manifest.json"])
    raw["settings"]["model"] = str(untaught)
    forged = tmp_path / "forged.zip"
    forged.write_bytes(packed({**parts, "manifest.json": json.dumps(raw).encode()}))
    capsys.readouterr()
    assert run("open", forged, "--device", "cpu") == 1
    one_sentence(capsys, "camviz has no network")
