"""What leaves Explore: each file of the popover, against what the page shows and what the core computes."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from explained_samples import coffee
from streamlit.testing.v1 import AppTest
from streamlit_messages import download_labels, html
from viewing import messages

import camviz
from camviz import bundle, shapes
from camviz.explain import Recipe
from camviz.robustness import Perturbation
from camviz.samples import SAMPLES
from camviz.takeaway import csv, npz
from camviz.ui import compute, nets
from camviz.ui.takeaway import file_name, finding_of

APP = str(Path(__file__).parent.parent / "app.py")


@pytest.fixture(scope="module")
def app():
    """The page after its first run, with everything scored."""
    test = AppTest.from_file(APP, default_timeout=120).run()
    assert not test.exception
    return test


def test_files_of_different_maps_have_different_names():
    scene = coffee()
    layers = scene.net.layers
    recipes = [Recipe("gradcam", layers), Recipe("gradcam", layers, "mean"), *(Recipe("gradcam", (x,)) for x in layers)]
    names = [file_name(finding_of(scene, recipe)) for recipe in recipes]
    names += [file_name(finding_of(coffee(Perturbation("blur", level, 0)), recipes[0])) for level in (0.1, 0.15)]
    assert names[0] == "coffee-espresso-gradcam"
    assert len(set(names)) == len(names)


def test_the_popover_offers_six_files(app):
    titles = download_labels(app)
    assert titles == ["Report, HTML", "Figure, PDF", "Maps, NPZ", "Scores, CSV", "Hottest regions, CSV", "Bundle"]


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("noise", [None, Perturbation("speckle", 0.4, 3)])
def test_what_is_shown_agrees_with_what_the_core_finds(noise):
    """Two ways to one finding: the page's kept results, and everything anew."""
    scene = coffee(noise)
    recipe = Recipe("gradcam++", scene.net.layers)
    shown = finding_of(scene, recipe)
    settings = camviz.Settings("efficientnet-lite0", recipe, "crop", scene.target, noise)
    fresh = camviz.find(scene.net, SAMPLES["Coffee"].path.read_bytes(), "Coffee", settings)
    agreement = camviz.compare(shown, fresh)
    assert agreement.agrees, agreement.text
    if noise is None:
        assert agreement.score_difference < 1e-2, "scored on the page too"


def test_the_browser_shows_the_maps_that_are_taken_away(app):
    scene = coffee()
    shown = finding_of(scene, Recipe("gradcam++", scene.net.layers))
    strip = next(m for m in messages(app) if "cv-strip" in m.markup)
    with np.load(io.BytesIO(npz(shown)), allow_pickle=False) as stored:
        assert np.array_equal(stored["maps"][::-1], strip.maps[:4])
        assert np.array_equal(stored["merged"], strip.maps[-1])
        assert np.array_equal(stored["view"], strip.view)
        assert json.loads(str(stored["metadata"]))["label"] == "espresso"


def test_the_scores_are_those_of_the_chart(app):
    chart = next(body for body in html(app) if 'class="cv-scores' in body)
    scene = coffee()
    rows = csv(finding_of(scene, Recipe("gradcam++", scene.net.layers))).decode().splitlines()
    arcc = float(rows[1].split(",")[rows[0].split(",").index("arcc")])
    assert f">{arcc:.2f}<" in chart


def test_a_bundle_holds_the_very_bytes_and_a_shape_its_png():
    scene = coffee()
    recipe = Recipe("layercam", scene.net.layers[-1:])
    back = bundle.read(bundle.write(finding_of(scene, recipe)))
    assert back.picture == SAMPLES["Coffee"].path.read_bytes()
    sample = shapes.sample(5)
    drawn = compute.synthetic("a shape", "test 5", lambda: sample)
    sight = compute.Sight(drawn, nets.get_net("shapes-resnet18"), "squeeze")
    of = compute.scene(sight, compute.likeliest(sight))
    back = bundle.read(bundle.write(finding_of(of, Recipe("gradcam++", sight.net.layers))))
    assert np.array_equal(camviz.load_image(back.picture), sample.image)
    assert back.scores["merged"].arcc is None, "nothing was scored, so nothing is told"
