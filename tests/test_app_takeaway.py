"""What leaves Explore: each file of the popover, against what the page shows and what the core computes."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from apphost import coffee, get_network, seen
from streamlit.testing.v1 import AppTest
from streamlit_messages import download_labels, html
from viewing import messages

import camviz
from camviz import shapes
from camviz.html.report import report
from camviz.metrics import SCORES
from camviz.noise.measure import Perturbation
from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.exports import csv, npz
from camviz.samples import SAMPLES
from camviz.ui.panels.downloads import file_name
from camviz.ui.server.sharing import shared_host
from camviz.workbench.findings import as_finding
from camviz.workbench.maps import likeliest
from camviz.workbench.pictures import Explained, draw_picture
from camviz.workbench.scores import compute_scores, score_names

pytestmark = pytest.mark.usefixtures("half_size")
APP = str(Path(__file__).parent.parent / "app.py")


@pytest.fixture(scope="module")
def app(half_size):  # noqa: ARG001
    """The page after its first run, with everything scored."""
    test = AppTest.from_file(APP, default_timeout=120).run()
    assert not test.exception
    return test


def finding_of(of: Explained, recipe: Recipe) -> camviz.Finding:
    """What the popover offers."""
    return as_finding(of, recipe, score_names(of))


def test_files_of_different_maps_have_different_names():
    of = coffee()
    layers = of.net.layers
    recipes = [Recipe("gradcam", layers), Recipe("gradcam", layers, "mean"), *(Recipe("gradcam", (x,)) for x in layers)]
    names = [file_name(finding_of(of, recipe)) for recipe in recipes]
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
    of = coffee(noise)
    recipe = Recipe("gradcam++", of.net.layers)
    shown = finding_of(of, recipe)
    settings = camviz.Settings("efficientnet-lite0", recipe, "crop", of.target, noise)
    fresh = camviz.find(of.net, SAMPLES["Coffee"].path.read_bytes(), "Coffee", settings, scores=noise is None)
    agreement = camviz.check_agreement(shown, fresh)
    assert agreement.agrees, agreement.text
    if noise is None:
        assert agreement.score_difference < 1e-2, "scored on the page too"


def test_the_browser_shows_the_maps_that_are_taken_away(app):
    of = coffee()
    shown = finding_of(of, Recipe("gradcam++", of.net.layers))
    strip = next(m for m in messages(app) if "cv-strip" in m.markup)
    with np.load(io.BytesIO(npz(shown)), allow_pickle=False) as stored:
        assert np.array_equal(stored["maps"][::-1], strip.maps[:4])
        assert np.array_equal(stored["merged"], strip.maps[-1])
        assert np.array_equal(stored["view"], strip.view)
        assert json.loads(str(stored["metadata"]))["label"] == "espresso"


def test_the_scores_are_those_of_the_chart(app):
    chart = next(body for body in html(app) if 'class="cv-scores' in body)
    of = coffee()
    rows = csv(finding_of(of, Recipe("gradcam++", of.net.layers))).decode().splitlines()
    arcc = float(rows[1].split(",")[rows[0].split(",").index("arcc")])
    assert f">{arcc:.2f}<" in chart


def test_a_bundle_holds_the_very_bytes_and_a_shape_its_png():
    of = coffee()
    recipe = Recipe("layercam", of.net.layers[-1:])
    back = bundle.read(bundle.write(finding_of(of, recipe)))
    assert back.picture == SAMPLES["Coffee"].path.read_bytes()
    sample = shapes.sample(5)
    drawn = draw_picture(shared_host(), "a shape", "test 5", lambda: sample)
    shape = seen(drawn, get_network("shapes-resnet18"), "squeeze")
    of = shape.explaining(likeliest(shape))
    back = bundle.read(bundle.write(finding_of(of, Recipe("gradcam++", of.net.layers))))
    assert np.array_equal(camviz.load_image(back.picture), sample.image)
    assert back.scores["merged"]["arcc"] is None, "nothing was scored, so nothing is told"


def test_a_report_names_what_was_not_scored():
    """A slow method's ARCC waits to be asked for: nothing may be said of it as if it were 0."""
    of = coffee()
    recipe = Recipe("layercam", of.net.layers, "mean")
    assert 'class="cv-score-result"' not in report(finding_of(of, recipe)).decode(), (
        "nothing is scored, so there is no chart"
    )
    compute_scores(of, recipe, [name for name in score_names(of) if not SCORES[name].runs_method])
    page = report(finding_of(of, recipe)).decode()
    assert "No ARCC yet: it was not computed." in page
    assert 'title="it was not computed"><span>–' in page
    assert "scores 0.00" not in page
    assert "cv-wait" not in page.partition('class="cv-scores"')[2].partition("<script")[0]
    assert 'class="cv-score-layer"' not in page
