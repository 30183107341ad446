"""Findings, what is taken away of them, and whether two agree: each number derived a second way."""

import csv
import io
import json
import zipfile
import zlib
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from shape_result import FEW_PASSES, LAYERS, MODEL, PNG, RECIPE, SAMPLE, photo
from small_networks import at_half_size

import camviz
from camviz import shapes
from camviz.html.report import report
from camviz.images import ImageError
from camviz.merging import RULES
from camviz.metrics.arcc import PARTS
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.render import overlay
from camviz.results.agreement import MAP_TOLERANCE, SCORE_TOLERANCE, check_agreement
from camviz.results.exports import csv as table
from camviz.results.exports import hotspots_csv, npz, panels, settings_in_words
from camviz.results.figure import figure
from camviz.results.finding import BASELINES, RESULT, MapScores, Settings
from camviz.ui.panels.downloads import file_name
from camviz.workbench.findings import find

TORCH = torch.__version__.partition("+")[0]  # the build is left out


@pytest.fixture(scope="module")
def net():
    return at_half_size(camviz.load_model(MODEL, "cpu"))


@pytest.fixture(scope="module")
def found(net):
    return find(net, PNG, "shapes:test/12", Settings(MODEL, RECIPE))


def test_png_is_lossless():
    np.testing.assert_array_equal(camviz.load_image(PNG), SAMPLE.image)


def test_same_as_the_parts(net, found):
    """Capture, CAM, refine and ARCC, called by hand."""
    x = net.preprocess(SAMPLE.image)
    cap = camviz.capture(net.module, x, layers=LAYERS)
    maps = camviz.cam(cap, "gradcam++")
    merged = camviz.refine(maps)
    np.testing.assert_array_equal(found.view, net.view(SAMPLE.image))
    np.testing.assert_allclose(found.maps, maps[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.merged, merged[0], atol=1e-5)
    assert found.maps.dtype == found.merged.dtype == np.float32
    with torch.no_grad():
        probabilities = net.module(x)[0].softmax(0)
    assert found.settings == Settings(MODEL, RECIPE, "crop", int(probabilities.argmax()), None)
    assert found.label == shapes.CLASSES[found.settings.target]
    assert found.probability == pytest.approx(float(probabilities.max()), abs=1e-5)
    expected = sorted(zip(probabilities.tolist(), shapes.CLASSES, strict=True), reverse=True)[:5]
    assert [label for label, _ in found.top] == [label for _, label in expected]
    assert [share for _, share in found.top] == pytest.approx([share for share, _ in expected], abs=1e-5)


def test_at_its_full_size_the_shape_is_recognised():
    found = find(camviz.load_model(MODEL, "cpu"), PNG, "a", Settings(MODEL, RECIPE), scores=False)
    assert found.settings.target == SAMPLE.label
    assert found.label == shapes.CLASSES[SAMPLE.label]


def test_scores_are_those_of_arcc(net, found):
    x = net.preprocess(SAMPLE.image)
    assert set(found.scores) == {RESULT, *LAYERS}
    for key, map_, layers in ((RESULT, found.merged, LAYERS), ("layer3", found.maps[2], ("layer3",))):
        recipe = replace(RECIPE, layers=layers)
        score = camviz.arcc(
            net.module,
            x,
            torch.tensor(map_)[None],
            found.settings.target,
            explain=lambda x, target, recipe=recipe: camviz.explain(net.module, x, target, recipe),
        )
        mine = found.scores[key]
        assert mine.note == score.notes[0]
        for name in ("arcc", "road", "road_raw", "coherency", "complexity"):
            assert mine[name] == pytest.approx(float(getattr(score, name)), abs=1e-3)
        assert mine["complexity"] == pytest.approx(map_.mean(), abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule(net, rule):
    found = find(net, PNG, "a", Settings(MODEL, replace(RECIPE, rule=rule)), scores=False)
    cap = camviz.capture(net.module, net.preprocess(SAMPLE.image), layers=LAYERS)
    expected = camviz.refine(torch.tensor(found.maps)[:, None], rule, cap)[0]
    np.testing.assert_allclose(found.merged, expected, atol=1e-6)
    assert found.scores == {}


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
def test_every_fit(net, fit):
    found = find(net, photo(), "a.jpg", Settings(MODEL, RECIPE, fit), scores=False)
    np.testing.assert_array_equal(found.view, net.view(camviz.load_image(photo()), fit))


def test_a_class_that_is_not_predicted(net):
    found = find(net, PNG, "a", Settings(MODEL, RECIPE, target=3), scores=False)
    cap = camviz.capture(net.module, net.preprocess(SAMPLE.image), 3, LAYERS)
    np.testing.assert_allclose(found.maps, camviz.cam(cap)[:, 0], atol=1e-5)
    assert found.label == shapes.CLASSES[3] != found.top[0][0]


def test_layers_come_in_the_networks_order(net):
    found = find(net, PNG, "a", Settings(MODEL, replace(RECIPE, layers=("layer4", "layer1"))), scores=False)
    assert found.settings.recipe.layers == ("layer1", "layer4")
    cap = camviz.capture(net.module, net.preprocess(SAMPLE.image), layers=("layer1", "layer4"))
    np.testing.assert_allclose(found.maps, camviz.cam(cap)[:, 0], atol=1e-5)


def test_seeded_noise(net):
    found = find(net, PNG, "a", Settings(MODEL, RECIPE, noise=Perturbation("gaussian", 0.3, 7)), scores=False)
    view = camviz.noise.apply(net.view(SAMPLE.image), "gaussian", 0.3, 7)
    np.testing.assert_array_equal(found.view, view)
    cap = camviz.capture(net.module, net.inputs(view[None]), layers=LAYERS)
    np.testing.assert_allclose(found.maps, camviz.cam(cap)[:, 0], atol=1e-5)
    assert found.settings.target == int(cap.target)


def test_an_attack_is_against_the_clean_prediction(net):
    asked = Settings(MODEL, RECIPE, target=3, noise=Perturbation("fgsm", 0.5))
    found = find(net, PNG, "a", asked, scores=False)
    predicted = int(net.module(net.preprocess(SAMPLE.image)).argmax())
    expected = camviz.noise.apply(net.view(SAMPLE.image), "fgsm", 0.5, 0, net, predicted)
    np.testing.assert_array_equal(found.view, expected)


@pytest.mark.parametrize(("layers", "passes"), [(("layer4",), 2 * 32), (("layer3", "layer4"), 3 * 64)])
def test_progress_runs_through_maps_and_scores(net, layers, passes):
    seen = []
    recipe = Recipe(FEW_PASSES, layers)
    find(net, PNG, "a", Settings(MODEL, recipe), lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {passes}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_what_progress_raises_stops_the_work(net):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(net, PNG, "a", Settings(MODEL, Recipe(FEW_PASSES, ("layer4",))), stop, scores=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": Recipe("gradcam+++", LAYERS)}, "unknown method"),
        ({"recipe": Recipe("gradcam", LAYERS, "sum")}, "unknown merging rule"),
        ({"recipe": Recipe("gradcam", ("layer5",))}, "layer5"),
        ({"recipe": Recipe("gradcam", ())}, "at least one layer"),
        ({"fit": "stretch"}, "fit must be"),
        ({"target": 6}, "target must lie"),
        ({"noise": Perturbation("hum", 0.5)}, "unknown noise"),
        ({"noise": Perturbation("blur", 1.5)}, "level must be"),
    ],
)
def test_settings_that_cannot_be(net, change, words):
    with pytest.raises(ValueError, match=words):
        find(net, photo(), "a", replace(Settings(MODEL, RECIPE), **change))


def test_no_picture(net):
    with pytest.raises(ImageError):
        find(net, b"hello", "a", Settings(MODEL, RECIPE))


def test_npz(found):
    data = npz(found)
    assert data == npz(found)
    with np.load(io.BytesIO(data), allow_pickle=False) as read:
        assert set(read) == {"view", "maps", "merged", "metadata"}
        for name in ("view", "maps", "merged"):
            np.testing.assert_array_equal(read[name], getattr(found, name))
        told = json.loads(str(read["metadata"]))
    assert told["settings"] == {**asdict(found.settings), "recipe": {**asdict(RECIPE), "layers": list(LAYERS)}}
    assert told["scores"][RESULT]["arcc"] == found.scores[RESULT]["arcc"]
    assert told["versions"]["torch"] == TORCH


def test_csv(found):
    rows = list(csv.DictReader(io.StringIO(table(found).decode())))
    assert tuple(rows[0]) == ("map", "method", "rule", "mirror_averaged", "class", *found.score_names, "note")
    assert [row["mirror_averaged"] for row in rows] == [*["no"] * 5, "", ""]
    assert [name for name in found.score_names if name in PARTS] == list(PARTS)
    assert [row["map"] for row in rows] == [RESULT, *reversed(LAYERS), "baseline", "baseline"]
    assert [row["method"] for row in rows[-2:]] == list(BASELINES)
    for row in rows[-2:]:
        for name in PARTS:
            assert float(row[name]) == found.baselines[row["method"]][name]
    for row in rows[:-2]:
        for name in PARTS:
            assert float(row[name]) == found.scores[row["map"]][name]
        assert (row["method"], row["class"]) == ("gradcam++", found.label)


def test_every_file_says_that_maps_are_mirror_averaged(found):
    recipe = replace(found.settings.recipe, mirror_averaged=True)
    averaged = replace(found, settings=replace(found.settings, recipe=recipe))
    rows = list(csv.DictReader(io.StringIO(table(averaged).decode())))
    assert [row["mirror_averaged"] for row in rows] == [*["yes"] * 5, "", ""]
    assert [row["rule"] for row in rows] == ["product", *[""] * 6]
    spots = list(csv.DictReader(io.StringIO(hotspots_csv(averaged).decode())))
    assert {row["mirror_averaged"] for row in spots} == {"yes"}
    assert settings_in_words(averaged)["Mirror-averaged"] == "yes"
    assert "RefineCAM (mirror-averaged)" in report(averaged).decode()
    assert "mirror-averaged" in file_name(averaged)
    assert json.loads(str(np.load(io.BytesIO(npz(averaged)))["metadata"]))["settings"]["recipe"]["mirror_averaged"]
    assert "averaged" not in file_name(found) + str(settings_in_words(found)["Merging rule"])


def test_csv_of_what_was_not_computed(found):
    known = found.scores[RESULT].values
    held_back = {RESULT: MapScores({**known, "arcc": None, "coherency": None})}
    short = replace(
        found, scores=held_back, baselines={}, settings=replace(found.settings, recipe=replace(RECIPE, layers=()))
    )
    (row,) = csv.DictReader(io.StringIO(table(short).decode()))
    assert row["arcc"] == row["coherency"] == ""
    assert len(table(replace(found, scores={}, baselines={})).splitlines()) == 1


def test_no_cell_is_a_formula(found):
    rows = list(csv.DictReader(io.StringIO(table(replace(found, label='=1+"a",\nb')).decode())))
    assert {row["class"] for row in rows} == {'\'=1+"a",\N{REPLACEMENT CHARACTER}b'}


def test_panels(found):
    pictures = {name: np.asarray(Image.open(io.BytesIO(data))) for name, data in panels(found).items()}
    numbered = [f"{number:02d}-{layer}.png" for number, layer in enumerate(reversed(LAYERS), 1)]
    assert set(pictures) == {
        "view.png",
        "result.png",
        *(f"{kind}-{n}" for kind in ("layer", "merge") for n in numbered),
    }
    np.testing.assert_array_equal(pictures["view.png"], found.view)
    np.testing.assert_array_equal(pictures["layer-02-layer3.png"], overlay(found.view, torch.tensor(found.maps[2])))
    two = camviz.refine(torch.tensor(found.maps[2:])[:, None])[0]
    np.testing.assert_array_equal(pictures["merge-02-layer3.png"], overlay(found.view, two))
    np.testing.assert_array_equal(pictures["merge-04-layer1.png"], pictures["result.png"])


def test_figure_as_pdf(found):
    data = figure(found)
    assert data == figure(found)
    assert data.startswith(b"%PDF")
    assert data.rstrip().endswith(b"%%EOF")
    assert b"CreationDate" not in data
    assert b"/CIDFontType2" in data  # TrueType
    assert b"/Type3" not in data
    assert data.count(b"/FontFile2") > 0  # embedded
    assert data.count(b"/Subtype /Image") == 1 + 2 * len(LAYERS) + 1 + 1  # view, maps, merges, result and colour bar
    assert b"BT" in b"".join(streams(data))  # text is text


def streams(data):
    """What the streams of a PDF hold, unpacked."""
    for part in data.split(b"stream\n")[1::2]:
        try:
            yield zlib.decompress(part.rsplit(b"endstream", 1)[0])
        except zlib.error:
            continue


def test_figure_as_png(found):
    data = figure(found, "png", 0.5)
    assert data == figure(found, "png", 0.5)
    small, large = (Image.open(io.BytesIO(figure(found, "png", scale))).size for scale in (0.5, 1))
    assert large[0] == pytest.approx(2 * small[0], abs=2)
    assert large[0] == pytest.approx(7.2 * 300, rel=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {}},
        {"name": "$x^2$ \n 猫 \ud800 " * 9, "label": "$" * 99},
        {"settings": Settings(MODEL, replace(RECIPE, rule="mean"), noise=Perturbation("jpeg", 0.5))},
        {"top": (), "versions": {}},
    ],
)
def test_figure_of_what_is_unusual(found, change):
    assert figure(replace(found, **change)).startswith(b"%PDF")


def test_figure_of_one_layer(found):
    recipe = replace(RECIPE, layers=("layer4",))
    one = replace(found, settings=Settings(MODEL, recipe), maps=found.maps[3:], merged=found.maps[3], scores={})
    assert figure(one).count(b"/Subtype /Image") == 3  # view, result and colour bar


def test_figure_leaves_matplotlib_alone(found):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figure(found)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("kind", "scale", "colormap"),
    [
        ("svg", 1, "inferno"),
        ("pdf", 0.1, "inferno"),
        ("pdf", float("nan"), "inferno"),
        ("png", 100, "inferno"),
        ("pdf", 1, "jet"),
    ],
)
def test_figure_that_cannot_be(found, kind, scale, colormap):
    with pytest.raises(ValueError, match="must be"):
        figure(found, kind, scale, colormap)


def test_other_colours(found):
    grey = np.asarray(Image.open(io.BytesIO(figure(found, "png", 0.5, "gray"))).convert("RGB")).astype(int)
    maps = grey[:, grey.shape[1] // 2 :]  # the view on the left keeps its own
    assert np.ptp(maps, axis=2).max() <= 1
    result = np.asarray(Image.open(io.BytesIO(panels(found, "viridis")["result.png"])))
    np.testing.assert_array_equal(result, overlay(found.view, torch.tensor(found.merged), "viridis"))


def test_a_finding_agrees_with_itself(found):
    told = check_agreement(found, found)
    assert (told.agrees, told.same_class, told.map_difference, told.score_difference) == (True, True, 0, 0)
    assert told.versions == {}
    assert "agree." in told.text
    assert "Versions and device are the same" in told.text


@pytest.mark.parametrize(("by", "agrees"), [(0.5 * MAP_TOLERANCE, True), (2 * MAP_TOLERANCE, False)])
@pytest.mark.parametrize("name", ["maps", "merged"])
def test_maps_that_differ(found, name, by, agrees):
    other = getattr(found, name).copy()
    other.flat[17] += by if other.flat[17] < 0.5 else -by
    told = check_agreement(found, replace(found, **{name: other}))
    assert told.agrees == agrees
    assert told.map_difference == pytest.approx(by, rel=1e-2)
    assert ("do not agree" in told.text) != agrees


@pytest.mark.parametrize(("by", "agrees"), [(0.5 * SCORE_TOLERANCE, True), (2 * SCORE_TOLERANCE, False)])
def test_scores_that_differ(found, by, agrees):
    values = found.scores["layer2"].values
    changed = MapScores({**values, "road": values["road"] - by})
    told = check_agreement(found, replace(found, scores={**found.scores, "layer2": changed}))
    assert told.agrees == agrees
    assert told.score_difference == pytest.approx(by)


def test_without_scores_the_maps_decide(found):
    told = check_agreement(found, replace(found, scores={}))
    assert told.agrees
    assert np.isnan(told.score_difference)
    assert "no score in common" in told.text


def test_another_class_or_size(found):
    other = check_agreement(found, replace(found, top=(("star", 0.9),)))
    assert not other.agrees
    assert "'star'" in other.text
    assert not check_agreement(found, replace(found, label="star")).agrees
    larger = check_agreement(found, replace(found, maps=np.zeros((4, 240, 240), np.float32)))
    assert not larger.agrees
    assert "differ in size" in larger.text


def test_other_versions_and_devices_are_told(found):
    told = check_agreement(replace(found, versions={**found.versions, "torch": "1.0"}, device="cuda:0"), found)
    assert told.agrees
    assert told.versions == {"torch": ("1.0", TORCH)}
    assert "torch 1.0, now" in told.text
    assert "cuda:0, now cpu" in told.text


def test_findings_of_other_things_are_not_compared(found):
    for other in (replace(found, picture=b"x"), replace(found, settings=replace(found.settings, fit="pad"))):
        with pytest.raises(ValueError, match="not of the same picture"):
            check_agreement(found, other)


def test_npz_holds_no_pickle(found):
    with zipfile.ZipFile(io.BytesIO(npz(found))) as archive:
        for name in archive.namelist():
            assert b"'O'" not in archive.read(name)[:200]
