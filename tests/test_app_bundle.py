"""The Bundle page by its script: what is stored, what is computed again, and what of a stranger's file is refused."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from streamlit_messages import html
from viewing import messages

from camviz import shapes
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.finding import MapScores, Settings, as_png
from camviz.samples import SAMPLES
from camviz.ui.escaping import as_text
from camviz.ui.reproduce import opened
from camviz.ui.server.sharing import shared_host
from camviz.workbench import networks
from camviz.workbench.cache_keys import Kind
from camviz.workbench.findings import find
from camviz.workbench.pictures import known_shapes, picture_id

pytestmark = pytest.mark.usefixtures("half_size")
APP = str(Path(__file__).parent.parent / "app.py")
MODEL = "shapes-resnet18"
LAYERS = ("layer3", "layer4")
PICTURE = as_png(shapes.sample(12, "test").image)


@pytest.fixture(scope="module")
def net(half_size):
    return half_size(MODEL, "cpu")


@pytest.fixture(scope="module")
def made(net):
    """A finding of a drawn shape, with a class that is not the likeliest."""
    return find(net, PICTURE, "<i>mine</i> & co.png", Settings(MODEL, Recipe("gradcam++", LAYERS), "squeeze", 4))


@pytest.fixture(scope="module")
def made_unscored(made):
    """The same without scores, which are not computed again then."""
    return replace(made, scores={}, baselines={})


@pytest.fixture
def app():
    """The page before anything is uploaded."""
    test = AppTest.from_file(APP, default_timeout=120).switch_page("pages/reproduce.py").run()
    assert not test.exception
    return test


@pytest.fixture
def bare(monkeypatch):
    """Explore without what takes time and is not looked at here: scores, the curve over all levels, what to take."""
    for name in ("panels.score_chart.show_scores", "explore.curve.show_curve", "panels.downloads.offer"):
        monkeypatch.setattr(f"camviz.ui.{name}", lambda *args: [])


@pytest.fixture
def anew():
    """Nothing that was computed from a bundle is cached, before and after."""
    shared_host().results.forget(lambda key: key.kind is Kind.RESULT)
    yield
    shared_host().results.forget(lambda key: key.kind is Kind.RESULT)


def upload(app, data, name="mine.camviz.zip"):
    app.file_uploader[0].set_value((name, data, "application/zip")).run()
    assert not app.exception
    return app


def given(app, finding):
    return upload(app, bundle.write(finding))


def shown(app) -> str:
    return " ".join(html(app))


def rows(app) -> list:
    """The messages of the two rows: stored, and computed now."""
    return [m for m in messages(app) if "cv-panes" in m.markup]


def said(app) -> list[str]:
    """What stands in coloured boxes."""
    return [box.value for kind in (app.success, app.warning, app.info, app.error) for box in kind]


def test_before_an_upload_it_tells_what_a_bundle_is_and_how_to_get_one(app):
    assert "nothing is unpacked to disk" in shown(app)
    assert "Download" in shown(app)
    assert (rows(app), said(app), list(app.button)) == ([], [], [])


def test_a_good_bundle_is_shown_and_agrees_with_what_is_computed_now(app, made):
    given(app, made)
    stored, fresh = rows(app)
    np.testing.assert_array_equal(stored.view, made.view)
    np.testing.assert_array_equal(stored.maps, [*made.maps[::-1], made.maps[1], made.merged])
    assert (stored.header["merges"], stored.header["result"]) == ([2, 3], 3)
    np.testing.assert_allclose(fresh.maps, stored.maps, atol=1e-3)
    assert stored.markup.count("<canvas") == 4
    assert [re.findall("<figcaption>([^<]*)", row.markup) for row in (stored, fresh)] == [
        ["What the model sees", "layer4", "layer3", "RefineCAM"]
    ] * 2
    assert f"ARCC {made.scores['layer4']['arcc']:.2f}" in stored.markup
    assert len(said(app)) == 1
    assert "computed now agree." in app.success[0].value
    assert shown(app).count(f"<td>{made.scores['layer3']['coherency']:.3f}</td>") == 2
    for words in ("squeezed to a square", "Grad-CAM++", "layer4, layer3", "Product (RefineCAM)", "number 4"):
        assert words in shown(app)
    assert "Versions and device are the same" in shown(app)
    assert 'class="cv-apart"' not in shown(app)


def test_what_comes_from_the_file_is_no_markup(app, made):
    strange = replace(
        made,
        label="![x](http://x.test/a.png) <b>:smile:",
        versions={"<b>torch": "`1`", "python": "$2$"},
        scores={key: replace(score, note='"><script>') for key, score in made.scores.items()},
    )
    given(app, strange)
    assert as_text("![x](http://x.test/a.png) <b>") in app.warning[0].value
    assert "![x]" not in app.warning[0].value
    everything = shown(app) + " ".join(row.markup for row in rows(app))
    for tag in ("<i>mine", "<b>:smile", "<b>torch", "<script"):
        assert tag not in everything
    assert "&lt;b&gt;torch" in everything
    assert "&lt;i&gt;mine&lt;/i&gt; &amp; co.png" in everything


def test_altered_maps_and_scores_do_not_agree(app, made):
    values = {"arcc": 0.1, "coherency": 0.2, "complexity": 0.1, "road": 0.3, "road_raw": 0.4}
    altered = replace(made, maps=made.maps[:, ::-1], scores={**made.scores, "layer3": MapScores(values)})
    given(app, altered)
    assert "do not agree" in app.warning[0].value
    assert not app.success
    assert shown(app).count('class="cv-apart"') == len(values)
    assert len(rows(app)) == 2


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\3\4" + bytes(100)], ids=["empty", "text", "cut"])
def test_hostile_bytes_are_one_error_and_what_was_open_stays(app, made_unscored, data):
    upload(app, data)
    assert len(app.error) == 1
    assert rows(app) == []
    given(app, made_unscored)
    before = [row.header["id"] for row in rows(app)]
    assert not app.error
    upload(app, data)
    assert len(app.error) == 1
    assert app.error[0].value.endswith(".")
    assert [row.header["id"] for row in rows(app)] == before[:1], "the stored result, without a judgement about it"
    assert not app.success
    given(app, made_unscored)
    assert [row.header["id"] for row in rows(app)] == before


@pytest.mark.parametrize("name", ["<b>another", "/tmp/net.safetensors"])  # noqa: S108
def test_an_unknown_network_is_never_loaded_and_the_stored_result_is_shown(app, made, name, monkeypatch):
    monkeypatch.setattr(networks, "load_model", lambda *_: pytest.fail("it was loaded"))
    given(app, replace(made, settings=replace(made.settings, model=name)))
    assert len(rows(app)) == 1
    assert f"`{name}` is not part of camviz" in app.warning[0].value
    assert [button.label for button in app.button] == ["Forget this bundle"]
    assert "Computed with" in shown(app)


def test_a_network_that_must_be_downloaded_offers_that(app, made, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    given(app, replace(made, settings=replace(made.settings, model="vgg16")))
    assert len(rows(app)) == 1
    assert "is not on this server yet" in app.info[0].value
    assert {button.label for button in app.button} > {"Continue in Explore", "Forget this bundle"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": Recipe("gradcam++", ("layer3", "nowhere"))}, "cannot be computed again"),
        ({"recipe": Recipe("gradcam++", LAYERS[::-1])}, "not in the network's order"),
        ({"target": 6}, "cannot be computed again"),
    ],
)
def test_settings_that_the_network_cannot_have_are_one_sentence(app, made, change, words):
    settings = replace(made.settings, **change)
    scores = dict(zip(("merged", *settings.recipe.layers), made.scores.values(), strict=True))
    given(app, replace(made, settings=settings, scores=scores))
    assert len(said(app)) == 1
    assert words in app.warning[0].value
    assert len(rows(app)) == 1


def test_more_layers_than_can_be_computed_here_are_shown_and_said(app, made_unscored):
    names = tuple(f"layer {number}" for number in range(opened.MOST_LAYERS + 1))
    settings = replace(made_unscored.settings, recipe=Recipe("gradcam++", names))
    maps = np.repeat(made_unscored.maps[:1], len(names), 0)
    given(app, replace(made_unscored, settings=settings, maps=maps, layers=()))
    assert "merges 51 layers" in app.warning[0].value
    assert "This bundle has no scores" in shown(app)


@pytest.mark.usefixtures("anew")
def test_a_slow_method_can_be_stopped_and_begun_again(app, made, monkeypatch):
    slow = replace(made, settings=replace(made.settings, recipe=Recipe("scorecam", LAYERS)))
    told = []

    def quick(net, stored, progress, host):  # noqa: ARG001
        for done in (1, 2):
            progress(done, 2)
            told.append(done)
        return slow

    monkeypatch.setattr(opened, "find_again", quick)
    given(app, slow)
    assert told == [1, 2]
    assert "agree" in app.success[0].value
    shared_host().results.forget(lambda key: key.kind is Kind.RESULT)
    app.session_state["bundle_stopped"] = app.session_state["bundle_open"].id
    app.run()
    assert "Stopped" in app.info[0].value
    assert len(rows(app)) == 1
    next(button for button in app.button if button.label == "Compute it again").click().run()
    assert len(rows(app)) == 2
    assert told == [1, 2, 1, 2]


def test_a_shape_is_scored_against_the_mask_that_the_bundle_holds_and_forgotten_with_it(app, net):
    known = known_shapes(shapes.sample(12, "test"))
    settings = Settings(MODEL, Recipe("gradcam++", LAYERS[1:]), "squeeze")
    found = find(net, PICTURE, "shape.png", settings, shapes=known)
    given(app, found)
    assert "agree" in app.success[0].value
    mass = f"<td>{found.scores['merged']['mass']:.3f}</td>"
    assert shown(app).count(mass) == 2 * 2, "stored and now, of the result and of its only layer"
    held = {key.picture for key in shared_host().results.holdings()}
    assert picture_id(PICTURE, found.shapes) in held
    next(button for button in app.button if button.label == "Forget this bundle").click().run()
    assert picture_id(PICTURE, found.shapes) not in {key.picture for key in shared_host().results.holdings()}


@pytest.mark.usefixtures("bare")
def test_it_stays_open_on_other_pages_is_not_computed_twice_and_can_be_forgotten(app, made_unscored, monkeypatch):
    given(app, made_unscored)
    digest = app.session_state["bundle_open"].id
    assert any(key.picture == digest for key in shared_host().results.holdings())
    monkeypatch.setattr(opened, "find_again", lambda *args, **options: pytest.fail("computed again"))
    app.switch_page("pages/explore.py").run()
    app.switch_page("pages/reproduce.py").run()
    assert len(rows(app)) == 2
    next(button for button in app.button if button.label == "Forget this bundle").click().run()
    assert not app.exception
    assert rows(app) == []
    assert not any(key.picture == digest for key in shared_host().results.holdings())


def go_on(app):
    next(button for button in app.button if button.label == "Continue in Explore").click().run()
    assert not app.exception
    return app


def strip_maps(app) -> np.ndarray:
    return next(m.maps for m in messages(app) if 'class="cv-strip"' in m.markup)


@pytest.mark.usefixtures("bare")
def test_explore_goes_on_with_the_picture_and_the_settings(app, made_unscored):
    app.switch_page("pages/explore.py").run()
    app.segmented_control(key="source").set_value("Upload").run()
    app.file_uploader[0].set_value(("earlier.png", SAMPLES["Rocket"].path.read_bytes(), "image/png")).run()
    app.switch_page("pages/reproduce.py").run()
    given(app, made_unscored)
    go_on(app)
    assert "&lt;i&gt;mine&lt;/i&gt; &amp; co.png" in shown(app)
    assert app.selectbox(key="model").value == MODEL
    assert app.segmented_control(key="fit").value == "squeeze"
    assert set(app.pills(key=f"layers-{MODEL}").value) == set(LAYERS)
    assert next(box.value for box in app.selectbox if box.key.startswith("class-")) == 4
    np.testing.assert_allclose(strip_maps(app)[[0, 1, 3]], [*made_unscored.maps[::-1], made_unscored.merged], atol=1e-3)
    assert not app.warning


@pytest.mark.usefixtures("bare", "unscored")
def test_noise_is_told_in_words_and_taken_to_the_nearest_step(app, net):
    noisy = Settings(MODEL, Recipe("layercam", LAYERS, "mean", 3), "squeeze", None, Perturbation("gaussian", 0.33, 5))
    found = find(net, PICTURE, "noisy.png", noisy, scores=False)
    given(app, found)
    assert "agree" in app.success[0].value
    assert "Gaussian noise, strength 0.198, level 0.33, repeat 6" in shown(app)
    captions = " ".join(caption.value for caption in app.sidebar.caption)
    assert "it will be 0.35, not 0.33" in captions
    assert "uses seed 0, not 3" in captions
    go_on(app)
    assert app.selectbox(key="noise_kind").value == "gaussian"
    assert app.slider(key="noise_level").value == pytest.approx(0.35)
    assert app.session_state["noise_draw"] == 5
    assert app.selectbox(key="method").value == "layercam"
    assert app.selectbox(key="rule").value == "mean"


@pytest.mark.usefixtures("bare")
def test_without_noise_explore_lays_none_over_it(app, made_unscored):
    app.switch_page("pages/explore.py").run()
    app.slider(key="noise_level").set_value(0.5).run()
    app.switch_page("pages/reproduce.py").run()
    given(app, made_unscored)
    go_on(app)
    assert app.slider(key="noise_level").value == 0


@pytest.mark.usefixtures("bare", "unscored")
def test_layers_that_explore_does_not_offer_are_named(app, net):
    settings = Settings(MODEL, Recipe("gradcam", ("layer3.0", "layer4")), "squeeze")
    found = find(net, PICTURE, "a.png", settings, scores=False)
    given(app, found)
    assert "`layer3.0` is left out there" in " ".join(caption.value for caption in app.sidebar.caption)
    go_on(app)
    assert app.pills(key=f"layers-{MODEL}").value == ["layer4"]


@pytest.mark.usefixtures("anew")
def test_a_gpu_that_is_full_is_left_and_the_page_goes_on(app, made_unscored, monkeypatch):
    real, errors = opened.find_again, [torch.OutOfMemoryError("simulated")]

    def find_once(*args, **options):
        if errors:
            raise errors.pop()
        return real(*args, **options)

    monkeypatch.setattr(opened, "find_again", find_once)
    try:
        given(app, made_unscored)
        assert "agree" in app.success[0].value
        assert MODEL in shared_host().moved
    finally:
        shared_host().moved.clear()


def test_explore_averages_with_the_mirrored_picture_if_the_bundle_did(made, net):
    settings = made.settings
    for mirrored in (False, True):
        stored = replace(made, settings=replace(settings, recipe=replace(settings.recipe, mirror_averaged=mirrored)))
        assert opened.as_explored(stored, net, "0" * 64).mirror_averaged is mirrored
