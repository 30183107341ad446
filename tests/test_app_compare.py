"""The Compare page by its script: every mode, what it sends to the browser, the best, the order, pins, bad input."""

import csv
import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import apphost
import numpy as np
import pytest
import streamlit as st
import torch
from apphost import get_network, seen
from pictures import png
from streamlit.testing.v1 import AppTest
from streamlit_messages import download_labels, html
from viewing import messages

import camviz
from camviz.merging import RULES
from camviz.metrics.road import road
from camviz.models import bundled
from camviz.network.capture import mirror_of
from camviz.noise.measure import Perturbation
from camviz.samples import SAMPLES
from camviz.ui.compare import pins
from camviz.ui.compare import view as compareview
from camviz.ui.compare.downloads import maps_npz, scores_csv
from camviz.ui.compare.grid import Cell
from camviz.ui.links.link_format import Compared, read
from camviz.ui.panels.score_chart import compute_fast_scores, row_of_map
from camviz.workbench.maps import get_view

pytestmark = pytest.mark.usefixtures("half_size")
APP = str(Path(__file__).parent.parent / "app.py")
METHODS = ["gradcam++", "gradcam"]


@pytest.fixture
def visit(monkeypatch):
    """A function that opens a link to the page, without the scores of the Explore page before it."""

    def open_(scores: bool = False, **said: str):
        app = AppTest.from_file(APP, default_timeout=120)
        with monkeypatch.context() as quick:
            quick.setattr("camviz.ui.panels.score_chart.show_scores", lambda *args: st.stop())
            app.run()
        if not scores:
            monkeypatch.setattr(compareview, "compute_fast_scores", lambda *args: None)
        del app.session_state["link_last"]  # a visit that has not read an address yet
        app.switch_page("pages/compare.py")
        app.query_params.update({"v": "1", "methods": "~".join(METHODS)} | said)
        app.run()
        assert not app.exception
        return app

    return open_


@pytest.fixture(scope="module")
def net(half_size):
    return half_size("efficientnet-lite0", "cpu")


@pytest.fixture(scope="module")
def coffee(net):
    """What the network sees of the first photograph."""
    return net.view(camviz.load_image(SAMPLES["Coffee"].path))


@pytest.fixture(scope="module")
def known(net, coffee):
    """Coffee by the core alone: a function of method, class and noise -> maps, from the shallow layer on."""

    def maps(method="gradcam++", target=None, noise=None):
        seen = coffee if noise is None else camviz.noise.apply(coffee, *noise)
        return camviz.cam(captured(net, seen, target), method)

    return maps


def captured(net, view, target=None):
    return camviz.capture(net.module, net.inputs(view[None]), target, net.layers)


def rows(app):
    """The rows of the grid: everything that was sent to the viewer and can be pinned, but is not."""
    return [m for m in messages(app) if m.header.get("picks") and not m.header["subject"].startswith("pinned")]


def pinned(app):
    return [m for m in messages(app) if m.header.get("picks") and m.header["subject"].startswith("pinned")]


def numbers(app) -> list[str]:
    return [body for body in html(app) if body.startswith('<div class="cv-grid cv-numbers"')]


def title(app) -> str:
    return next(body for body in html(app) if body.startswith('<h1 class="cv-title"'))


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def coffee_cell(target: int | None = None, method: str = "gradcam") -> Cell:
    of = apphost.coffee(target=target)
    return Cell(of, camviz.Recipe(method, of.net.layers))


def test_methods_by_layers(visit, net, coffee, known):
    app = visit(compare="layers")
    assert [row.header["subject"] for row in rows(app)] == [f"row-{name}" for name in METHODS]
    for row, method in zip(rows(app), METHODS, strict=True):
        maps = known(method)
        close(row.maps[:4], maps.flip(0)[:, 0])
        close(row.maps[4], camviz.refine(maps)[0])
        assert row.markup.count("<canvas") == row.markup.count('class="cv-pin"') == 5
        assert row.header["ranges"][:4] == [[0.0, 1.0]] * 4
    head = next(m.markup for m in messages(app) if "cv-grid-head" in m.markup)
    cap = camviz.capture(net.module, net.inputs(coffee[None]), layers=net.layers)
    finest, *_, deepest = ("\u00a0×\u00a0".join(map(str, a.shape[-2:])) for a in cap.activations)
    assert all(name in head for name in (deepest, "deepest", finest, "finest", "RefineCAM"))


def test_layers_averaged_with_the_mirrored_picture(visit, net, coffee):
    app = visit(compare="layers", methods="layercam", mirror_averaged="on")
    cap = captured(net, coffee)
    twice = camviz.cam(replace(cap, mirror=mirror_of(cap)), "layercam")
    (row,) = rows(app)
    close(row.maps[:4], twice.flip(0)[:, 0])
    close(row.maps[4], camviz.refine(twice)[0])
    assert "RefineCAM (mirror-averaged)" in next(m.markup for m in messages(app) if "cv-grid-head" in m.markup)


def test_classes_and_why_this_and_not_that(visit, known):
    app = visit(compare="classes", classes="967~285")
    this, that, apart = rows(app)
    a, b = (camviz.refine(known(target=target))[0] for target in (967, 285))
    close(this.maps[0], a)
    close(that.maps[0], b)
    far = float((a - b).abs().max())
    close(apart.maps[0], 0.5 + (a - b) / (2 * far))
    assert apart.header["signed"] == [0, 1]
    assert this.header["signed"] == []
    assert apart.header["ranges"][0] == pytest.approx([0.5 - far / 2, 0.5 + far / 2], abs=1e-5)
    assert f"largest difference {far:.2f}" in numbers(app)[2]
    assert "Why <b>espresso</b> rather than Egyptian cat?" in title(app)
    assert "not between classes" in "".join(m.markup for m in messages(app))


def test_a_map_that_knows_no_class_has_no_difference(visit):
    apart = rows(visit(compare="classes", classes="967~285", methods="eigencam"))[2]
    assert (apart.maps == 0.5).all()


def test_models_are_asked_for_the_same_class(visit):
    names = [name for name, info in bundled.models().items() if info.data == camviz.models.IMAGENET]
    app = visit(compare="models", **{"class": "968"})
    assert [row.header["subject"] for row in rows(app)] == [f"row-model-{name}" for name in names]
    for row, name in zip(rows(app), names, strict=True):
        net = get_network(name)
        x = net.preprocess(camviz.load_image(SAMPLES["Coffee"].path))
        maps = camviz.cam(camviz.capture(net.module, x, 968, net.layers), "gradcam++")
        close(row.maps[0], camviz.refine(maps)[0])
        assert row.header["label"].startswith(f"Maps of cup by {net.info.title}")
        assert row.view.shape[0] == net.preprocessing.size


def test_clean_and_noisy(visit, known):
    app = visit(compare="noise", noise="blur", levels="0.3~0.9")
    found = rows(app)
    assert len(found) == 3
    close(found[0].maps[0], camviz.refine(known(target=967))[0])
    for row, level in zip(found[1:], (0.3, 0.9), strict=True):
        close(row.maps[0], camviz.refine(known(target=967, noise=("blur", level)))[0])
        assert camviz.noise.KINDS["blur"].strength(level) in row.markup
    assert not np.array_equal(found[0].view, found[2].view)


def test_merging_rules(visit, known, net, coffee):
    app = visit(compare="rules", rule="mean")
    for row, method in zip(rows(app), METHODS, strict=True):
        for index, rule in enumerate(RULES):
            close(row.maps[index], camviz.refine(known(method), rule, captured(net, coffee))[0])


def spread_by_hand(net, x, map_, target, found) -> float:
    """The standard deviation of a map's ARCC over five seeds of ROAD."""
    roads = [road(net.module, x, map_, target, seed=seed).score for seed in range(1, 5)]
    fixed = 1 / found.coherency + 1 / (1 - found.complexity)
    return np.std([float(found.arcc), *(float(3 / (fixed + 1 / (2 * each).clamp(1e-9, 1))) for each in roads)], ddof=1)


def test_scores_the_best_of_each_row_and_the_order(visit, net, coffee):
    app = visit(scores=True, compare="layers", layers="_blocks.10._swish~_swish")
    assert "cv-wait" not in "".join(numbers(app))
    layers, x, scores = net.layers[-2:], net.inputs(coffee[None]), {}
    target = net.module(x).argmax(1)
    for line, method in zip(numbers(app), METHODS, strict=True):
        maps, found = [], []
        for chosen in ((layers[1],), (layers[0],), layers):
            run = partial(camviz.explain, net.module, recipe=camviz.Recipe(method, chosen))
            cap = camviz.capture(net.module, x, target, chosen)
            maps.append(camviz.refine(camviz.cam(cap, method)))
            found.append(camviz.arcc(net.module, x, maps[-1], target, explain=run))
        scores[method] = [float(each.arcc) for each in found]
        for score in scores[method]:
            assert f"ARCC {score:.2f}" in line
        second, first = np.argsort(scores[method])[-2:]
        spread = max(spread_by_hand(net, x, maps[i], target, found[i]) for i in (first, second))
        assert line.count("cv-best") == (scores[method][first] - scores[method][second] > 2 * spread)
    app.selectbox(key="compare_sort").set_value("arcc").run()
    assert not app.exception
    ranked = sorted(scores, key=lambda method: -max(scores[method]))
    assert ranked != METHODS, "sorting changes the order"
    assert [row.header["subject"] for row in rows(app)] == [f"row-{method}" for method in ranked]


def test_shapes_have_scores_against_their_mask(visit):
    app = visit(scores=True, compare="layers", shape="circle", layers="_swish", methods="gradcam++~gradcam")
    assert all("mass inside" in line for line in numbers(app))
    app.selectbox(key="compare_sort").set_value("best_iou").run()
    assert not app.exception
    assert rows(app)[0].markup.count('alt="Outline of the true shape"') == 1


def test_a_pin_stays_while_picture_model_and_mode_change(visit, known):
    app = visit(compare="layers")
    app.session_state["pins"] = [pin_of(coffee_cell())]
    app.run()
    before = camviz.refine(known("gradcam"))[0]
    close(pinned(app)[0].maps[0], before)
    app.selectbox(key="sample").set_value("Cat")
    app.selectbox(key="compare_mode").set_value("rules")
    app.selectbox(key="model").set_value("efficientnet-lite1").run()
    assert not app.exception
    close(pinned(app)[0].maps[0], before)
    for said in ("Grad-CAM, RefineCAM", "espresso by EfficientNet-Lite0", "Coffee"):
        assert said in pinned(app)[0].markup
    assert "EfficientNet-Lite1" in rows(app)[0].header["label"]


def pin_of(cell: Cell, noise: Perturbation | None = None, recipe: camviz.Recipe | None = None) -> pins.Pin:
    of = cell.of
    return pins.Pin(of.picture, of.picture.id, of.net.info.name, of.fit, noise, of.target, recipe or cell.recipe)


def test_pins_are_bounded_each_once_and_can_be_let_go(monkeypatch):
    state = {}
    monkeypatch.setattr(pins.st, "session_state", state)
    told = []
    monkeypatch.setattr(pins.st, "toast", lambda text, icon: told.append(text))
    for target in range(8):
        pins.pin(coffee_cell(target))
    assert [pin.target for pin in pins.pins()] == list(range(pins.MOST))
    assert "unpin one first" in told[-1]
    pins.unpin(pins.pins()[0])
    pins.pin(coffee_cell(3))
    assert "already" in told[-1]
    assert len(pins.pins()) == pins.MOST - 1
    assert len({pin.key for pin in pins.pins()}) == pins.MOST - 1


def test_a_forgotten_picture_is_pinned_no_more(visit):
    app = visit(compare="layers", layers="_swish")
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("flat.png", png(np.full((60, 60, 3), 90, np.uint8)), "image/png").run()
    assert not app.exception
    own = app.session_state["own_picture"]
    cell = coffee_cell()
    app.session_state["pins"] = [pin_of(Cell(seen(own, cell.of.net).explaining(3), cell.recipe)), pin_of(cell)]
    app.run()
    assert len(pinned(app)) == 2
    next(button for button in app.button if button.label == "Forget my picture").click().run()
    assert [pin.picture.title for pin in app.session_state["pins"]] == ["Coffee"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"compare": "layers", "methods": ""}, "Choose at least one method"),
        ({"compare": "classes", "classes": ""}, "Choose at least one class"),
        ({"compare": "models", "models": ""}, "Choose at least one model"),
        ({"compare": "rules", "layers": "_swish"}, "Choose a second one"),
        ({"compare": "classes", "classes": "~".join(map(str, range(13)))}, "the limit is 24"),
    ],
)
def test_what_cannot_be_shown_says_what_to_do(visit, said, expected):
    app = visit(**said)
    assert expected in app.info[0].value
    assert rows(app) == []


def test_one_layer_has_no_merge_and_one_colour_no_trouble(visit):
    app = visit(scores=True, compare="layers", layers="_swish", methods="gradcam")
    assert [len(row.maps) for row in rows(app)] == [1]
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("flat.png", png(np.full((60, 60, 3), 90, np.uint8)), "image/png").run()
    assert not app.exception
    assert "cv-wait" not in "".join(numbers(app))


def test_a_slow_method_is_shown_and_its_coherency_left_out(visit, monkeypatch):
    slow = camviz.Method(**{**vars(camviz.METHODS["layercam"]), "name": "ablationcam", "cost": "many passes"})
    monkeypatch.setitem(camviz.METHODS, "ablationcam", slow)
    app = visit(scores=True, compare="layers", layers="_swish", methods="gradcam~ablationcam")
    assert len(rows(app)) == 2
    assert "coherency would have to run this slow method again" in numbers(app)[1]
    assert "cv-wait" not in numbers(app)[1]


def test_slow_methods_have_their_differences_too(visit, monkeypatch):
    slow = camviz.Method(**{**vars(camviz.METHODS["layercam"]), "name": "ablationcam", "cost": "many passes"})
    monkeypatch.setitem(camviz.METHODS, "ablationcam", slow)
    app = visit(compare="classes", methods="ablationcam", photo="Motorcycle")
    assert len(rows(app)) == 3 + 2
    assert [bool(row.header["signed"]) for row in rows(app)] == [False] * 3 + [True] * 2


def test_slow_methods_are_scored_when_asked_for(visit, monkeypatch):
    slow = camviz.Method(**{**vars(camviz.METHODS["layercam"]), "name": "ablationcam", "cost": "many passes"})
    monkeypatch.setitem(camviz.METHODS, "ablationcam", slow)
    app = visit(scores=True, compare="rules", methods="ablationcam", photo="Rocket")
    assert "ARCC" not in numbers(app)[0]
    next(button for button in app.button if button.label.startswith("Score the slow methods too")).click()
    app.run()
    assert not app.exception
    assert numbers(app)[0].count("ARCC</i>") == len(RULES)
    assert not [button for button in app.button if button.label.startswith(("Score the slow", "Stop"))]


@pytest.fixture
def pair():
    """A map that is scored, and one of a noisy copy that is not."""
    scored = coffee_cell(method="layercam")
    of = scored.of
    compute_fast_scores(of, scored.recipe)
    noisy = replace(of, noise=Perturbation("blur", 0.3, 0))
    return [scored, Cell(noisy, camviz.Recipe("gradcam", of.net.layers[-1:]))]


def test_the_numbers_of_the_grid_as_a_table(pair):
    first, second = csv.DictReader(io.StringIO(scores_csv(pair).decode()))
    row = row_of_map(pair[0].of, pair[0].recipe)
    assert (first["picture"], first["method"], first["noise"]) == ("Coffee", "layercam", "")
    assert float(first["arcc"]) == pytest.approx(row.value("arcc"))
    assert float(first["road_raw"]) == pytest.approx(row.value("road_raw"))
    assert (second["noise"], second["level"], second["arcc"]) == ("blur", "0.3", "")
    assert second["layers"] == pair[1].recipe.layers[0]


def test_the_maps_of_the_grid_in_numpys_format(pair, known):
    with np.load(io.BytesIO(maps_npz(pair)), allow_pickle=False) as stored:
        close(stored["map_0"], camviz.refine(known("layercam"))[0])
        close(stored["map_1"], known("gradcam", torch.tensor([pair[0].of.target]), ("blur", 0.3))[-1, 0])
        view = get_view(pair[0].of)
        assert np.array_equal(stored["view_0"], view)
        assert np.array_equal(stored["view_1"], camviz.noise.apply(view, "blur", 0.3))
        told = json.loads(str(stored["metadata"]))
    assert [each["settings"]["noise"] is None for each in told] == [True, False]


def test_one_map_of_the_grid_can_be_taken_away(visit):
    app = visit(compare="classes", methods="gradcam")
    choice = app.selectbox(key="take_cell")
    assert len(choice.options) == 3, "the differences are none"
    titles = download_labels(app)
    assert titles[:2] == ["All scores, CSV", "All maps, NPZ"]
    assert titles[-1] == "Bundle"
    choice.set_value(choice.options[2]).run()
    assert not app.exception


def test_a_link_opens_the_same_grid(visit):
    app = visit(compare="noise", photo="Cat", model="efficientnet-lite1", noise="blur", levels="0.4", rule="mean")
    said = {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}
    state, ignored = read(Compared, said)
    assert ignored == []
    assert (state.mode, state.photo, state.levels, state.methods) == ("noise", "Cat", (0.4,), tuple(METHODS))
    again = visit(**said)
    assert dict(again.query_params) == dict(app.query_params)
    for one, other in zip(rows(app), rows(again), strict=True):
        assert one.header["id"] == other.header["id"]


def test_a_link_names_what_it_cannot_show(visit):
    app = visit(compare="models", models="efficientnet-lite0~shapes-vgg11")
    assert "models `shapes-vgg11`" in app.warning[0].value
    assert len(rows(app)) == 1


def test_picture_model_and_class_stay_over_the_pages(visit):
    app = visit(compare="layers", layers="_swish", photo="Cat", model="efficientnet-lite1", **{"class": "282"})
    app.switch_page("pages/robustness.py").run()
    app.switch_page("pages/compare.py").run()
    assert app.selectbox(key="sample").value == "Cat"
    assert "tiger cat" in title(app)
    assert app.multiselect(key="compare_methods").value == METHODS
