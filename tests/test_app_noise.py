"""Noise in Explore, and the Robustness page, by their scripts: controls, results and messages."""

from pathlib import Path

import numpy as np
import pytest
from apphost import coffee, forget, get_network, read, seen
from pictures import png
from streamlit.testing.v1 import AppTest
from streamlit_messages import html, progress
from viewing import viewer

import camviz
from camviz.noise import KINDS
from camviz.noise.measure import Perturbation
from camviz.samples import SAMPLES
from camviz.ui.explore import curve
from camviz.ui.panels import run_bar
from camviz.ui.robustness import controls as sweepcontrols
from camviz.ui.robustness import sweep
from camviz.ui.server.sharing import shared_host
from camviz.workbench import maps
from camviz.workbench.cache_keys import Kind
from camviz.workbench.noisy_copies import outcomes
from camviz.workbench.pictures import picture_bytes

pytestmark = pytest.mark.usefixtures("half_size")
APP = str(Path(__file__).parent.parent / "app.py")


@pytest.fixture(autouse=True)
def _enough_time(monkeypatch):
    """A sweep's slice is one piece, so that it can be seen half done."""
    monkeypatch.setattr(run_bar, "_SLICE", 0.0)


@pytest.fixture
def app():
    test = AppTest.from_file(APP, default_timeout=120).run()
    assert not test.exception
    return test


@pytest.fixture
def page(unscored, app):  # noqa: ARG001
    return with_a_small_plan(app)


def with_a_small_plan(app):
    """The Robustness page with two photographs, two explanations, one kind of noise, two levels."""
    app.switch_page("pages/robustness.py").run()
    app.multiselect(key="sweep_photos").set_value(["Coffee", "Cat"])
    app.multiselect(key="sweep_methods").set_value(["gradcam", "hirescam"])
    app.multiselect(key="sweep_kinds").set_value(["gaussian"])
    app.pills(key="sweep_levels").set_value([0.4, 1.0])
    app.number_input(key="sweep_draws").set_value(1).run()
    assert not app.exception
    return app


def marked(app, mark: str) -> str:
    """The HTML with a mark in it; "" without any."""
    return next((body for body in html(app) if mark in body), "")


def pair(app) -> str:
    """Both pictures and their maps."""
    return viewer(app, "cv-seen", "cv-maps")


def words(app) -> str:
    return " ".join(block.value for block in app.markdown)


def press(app, label: str):
    return next(button for button in app.button if button.label.startswith(label)).click().run()


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_noise_shows_clean_and_noisy(app, kind):
    app.selectbox(key="noise_kind").set_value(kind)
    app.slider(key="noise_level").set_value(0.3).run()
    assert not app.exception
    assert pair(app).count("<canvas") == 2 * (1 + 4 + 4 + 1)
    assert KINDS[kind].strength(0.3) in pair(app)
    assert viewer(app, "cv-strip") == ""


@pytest.mark.usefixtures("unscored")
def test_the_noisy_picture_is_the_perturbed_view_and_has_its_own_prediction(app):
    app.slider(key="noise_level").set_value(1.0).run()
    of = coffee()
    view = camviz.noise.apply(maps.get_view(of), "gaussian", 1.0)
    noisy = seen(of.picture, of.net, noise=Perturbation("gaussian", 1.0, 0))
    assert np.array_equal(maps.get_view(noisy), view)
    logits = of.net.module(of.net.preprocess(view))
    np.testing.assert_allclose(maps.predict(noisy), logits.softmax(1)[0].numpy(), rtol=1e-4, atol=1e-6)
    now = of.net.labels[int(logits.argmax())]
    assert now != "espresso"
    assert f'now sees <b class="cv-flip">{now}' in pair(app)
    assert f"**The prediction changed** from espresso to {now}" in words(app)


@pytest.mark.usefixtures("unscored")
def test_a_changed_prediction_is_followed_or_not(app):
    app.slider(key="noise_level").set_value(1.0).run()
    followed = pair(app)
    assert "Maps of" not in followed
    app.toggle(key="noise_follow").set_value(False).run()
    kept = pair(app)
    assert "Maps of espresso" in kept
    assert kept != followed


@pytest.mark.usefixtures("unscored")
def test_a_class_of_ones_own_stays_under_noise(app):
    next(box for box in app.selectbox if box.key.startswith("class-")).set_value(285).run()
    app.slider(key="noise_level").set_value(1.0).run()
    label = get_network("efficientnet-lite0").labels[285]
    assert pair(app).count(f"Maps of {label}") == 2


@pytest.mark.usefixtures("unscored")
def test_another_draw_is_another_picture_and_level_0_is_the_strip(app):
    app.slider(key="noise_level").set_value(0.5).run()
    first = pair(app)
    app.button(key="noise_again").click().run()
    assert pair(app) != first
    assert "repeat 2" in " ".join(caption.value for caption in app.sidebar.caption)
    app.slider(key="noise_level").set_value(0.0).run()
    assert viewer(app, "cv-strip")
    assert pair(app) == ""


def test_scores_of_a_noisy_picture_have_marks_of_the_clean_one(app):
    app.slider(key="noise_level").set_value(0.5).run()
    chart = marked(app, 'class="cv-scores')
    assert chart.count("<s style") == 7 * 4
    assert "cv-wait" not in chart
    assert "Ticks on the bars: the clean picture" in words(app)


@pytest.mark.usefixtures("unscored")
def test_the_curve_holds_what_the_core_measures(app):
    app.slider(key="noise_level").set_value(0.2).run()
    of, noise = coffee(), Perturbation("gaussian", 0.2, 0)
    recipes = curve.curve_recipes(camviz.Recipe("gradcam++", of.net.layers))
    pieces = curve._pieces(recipes["merged"], noise)
    assert noise in pieces[0]
    found = outcomes(of, recipes, pieces[0], comparisons=False)
    levels = [point.level for point in pieces[0]]
    core = camviz.robustness(of.net, camviz.load_image(picture_bytes(of)), "gaussian", levels)
    assert [o.overlap for o in found["merged"]] == pytest.approx(core.table.overlap.tolist(), abs=1e-5)
    alone = camviz.robustness(
        of.net, camviz.load_image(picture_bytes(of)), "gaussian", levels, layers=of.net.layers[-1]
    )
    assert [o.overlap for o in found["single"]] == pytest.approx(alone.table.overlap.tolist(), abs=1e-5)
    assert "overlap" in words(app)


@pytest.mark.usefixtures("unscored")
def test_a_slow_methods_curve_waits_to_be_asked_for(app, monkeypatch):
    slow = camviz.Method(**{**vars(camviz.METHODS["layercam"]), "name": "ablationcam", "cost": "many passes"})
    monkeypatch.setitem(camviz.METHODS, "ablationcam", slow)
    app.selectbox(key="method").set_value("ablationcam")
    app.slider(key="noise_level").set_value(0.2).run()
    assert not app.exception
    assert "the curve needs it at 20 noise levels" in " ".join(caption.value for caption in app.caption)
    press(app, "Draw the curve")
    assert not app.exception
    assert not [button for button in app.button if button.label.startswith("Draw the curve")]


@pytest.mark.usefixtures("unscored")
def test_a_picture_of_one_colour_says_why_it_has_no_curve(app):
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].upload("flat.png", png(np.full((60, 60, 3), 90, np.uint8)), "image/png").run()
    app.slider(key="noise_level").set_value(0.4).run()
    assert not app.exception
    assert "has a single colour" in app.info[0].value
    press(app, "Forget my picture")


def test_a_sweep_starts_stops_goes_on_and_equals_the_core(page, monkeypatch):
    for title in ("Coffee", "Cat"):
        forget(read(SAMPLES[title].path.read_bytes(), title).id)
    page.run()
    assert "2 pictures × 2 noisy copies, 3 explanations of each" in progress(page)[0]
    # A sweep draws the page anew after each piece; the test sees it between two of them.
    monkeypatch.setattr(run_bar.st, "rerun", lambda: None)
    press(page, "Start")
    assert "0 of 4 noisy copies" in progress(page)[0]
    press(page, "Stop")
    assert "2 of 4 noisy copies are already computed" in progress(page)[0]
    assert viewer(page, "cv-regions"), "what is known can be looked at"
    other = with_a_small_plan(AppTest.from_file(APP, default_timeout=120).run())
    assert "2 of 4 noisy copies are already computed on this server" in progress(other)[0]
    assert not viewer(other, "cv-regions"), "nobody else's half is shown"
    assert any(button.label == "Start" for button in other.button)
    assert any("lost when it stops" in caption.value for caption in other.caption)
    monkeypatch.undo()
    press(page, "Resume")
    assert not page.exception
    assert "Done" in progress(page)[0]
    assert viewer(other.run(), "cv-regions"), "all of it is shown to everybody"
    table = sweep.results(small_plan())
    assert list(table.groupby(["method", "image"]).size()) == [2] * 6
    of = coffee()
    core = camviz.robustness(of.net, camviz.load_image(picture_bytes(of)), "gaussian", [0.4, 1.0])
    mine = table[(table.image == "Coffee") & (table.method == "RefineCAM (Grad-CAM++)")]
    np.testing.assert_allclose(mine.overlap, core.table.overlap, atol=1e-5)
    assert mine.predicted.tolist() == core.table.predicted.tolist()
    page.segmented_control(key="sweep_compared").set_value("responsiveness").run()
    assert "HiResCAM gives the same numbers as Grad-CAM here" in words(page)


def small_plan() -> sweep.Plan:
    """What the page fixture asks for."""
    net = get_network("efficientnet-lite0")
    pictures = tuple(read(SAMPLES[title].path.read_bytes(), title) for title in ("Coffee", "Cat"))
    recipes = sweep.recipes_of(net, ["gradcam", "hirescam"], ["gradcam++"])
    return sweep.Plan(pictures, net, "crop", recipes, ("gaussian",), (0.4, 1.0), (0,))


def finish(app) -> None:
    """Start the sweep, unless all of it is known already."""
    if any(button.label == "Start" for button in app.button):
        press(app, "Start")
    assert not app.exception
    assert "Done" in progress(app)[0]


def test_what_is_missing_is_asked_for(page):
    page.multiselect(key="sweep_methods").set_value([])
    page.multiselect(key="sweep_bases").set_value([])
    page.multiselect(key="sweep_photos").set_value([]).run()
    assert not page.exception
    assert page.warning[0].value == "Choose a picture and a method to measure."


def test_a_picture_that_cannot_be_cut_and_rubbish_are_left_out_with_a_sentence(page):
    flat = png(np.full((60, 60, 3), 90, np.uint8))
    files = [("flat.png", flat, "image/png"), ("rubbish.png", b"no picture", "image/png")]
    page.file_uploader[0].upload(files[0][0], files[0][1], files[0][2])
    page.file_uploader[0].upload(files[1][0], files[1][1], files[1][2])
    page.run()
    assert not page.exception
    assert "**flat.png** is left out. The picture has a single colour" in page.warning[0].value
    assert "rubbish.png" in page.error[0].value
    press(page, "Forget my pictures")
    assert not page.warning


def test_one_picture_is_too_few_for_a_test(page):
    page.multiselect(key="sweep_photos").set_value(["Coffee"]).run()
    finish(page)
    assert "A statistical test needs at least 2 images" in page.info[0].value


def test_a_measure_that_is_undefined_says_so(page):
    page.multiselect(key="sweep_photos").set_value(["Coffee"])
    page.pills(key="sweep_levels").set_value([0.1]).run()
    finish(page)
    (chart,) = [body for body in html(page) if 'class="cv-intervals' in body]
    assert ">undefined</span>" in chart


def test_pictures_of_one_name_are_numbered_and_the_same_one_counts_once():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    files = [("a.png", pixels), ("a.png", pixels[::-1].copy()), ("b.png", pixels)]
    pictures = [read(png(each), name) for name, each in files]
    assert [each.title for each in sweepcontrols._with_unique_titles(pictures)] == ["a.png", "a.png (2)"]
    for each in pictures:
        forget(each.id)


def test_a_plan_counts_only_copies_that_differ_in_its_expected_time():
    net = get_network("efficientnet-lite0")
    pictures = (coffee().picture,)
    recipes = sweep.recipes_of(net, ["gradcam"], [])
    drawn = sweep.Plan(pictures, net, "crop", recipes, ("gaussian",), (0.5,), (0, 1, 2)).expected_seconds()
    undrawn = sweep.Plan(pictures, net, "crop", recipes, ("blur",), (0.5,), (0, 1, 2)).expected_seconds()
    assert drawn > undrawn > 0


def test_forgetting_a_picture_forgets_its_robustness():
    of = coffee()
    recipes = {"a": camviz.Recipe("gradcam", of.net.layers[-1:])}
    outcomes(of, recipes, [Perturbation("blur", 0.5)])
    assert any(key.kind is Kind.OUTCOMES for key in shared_host().results.holdings() if key.picture == of.picture.id)
    forget(of.picture.id)
    assert not [key for key in shared_host().results.holdings() if key.picture == of.picture.id]
