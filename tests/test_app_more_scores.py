"""More scores: the Faithfulness Estimate beside ARCC, on request, and at once on a GPU."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from apphost import coffee
from streamlit.testing.v1 import AppTest
from streamlit_messages import html

import camviz
from camviz import shapes
from camviz.html.comparison_grid import numbers_html
from camviz.html.measured_trust import measured_estimate
from camviz.html.score_chart import ScoreRow, scores_html
from camviz.metrics.patch_agreement import PASSES, patch_agreement
from camviz.recipe import Recipe
from camviz.results import bundle
from camviz.results.agreement import check_agreement
from camviz.results.exports import csv as scores_csv
from camviz.results.finding import MapScores
from camviz.ui.panels import more_scores
from camviz.workbench.findings import as_finding, find, find_again
from camviz.workbench.host import PlainHost
from camviz.workbench.maps import get_capture, merged
from camviz.workbench.pictures import SeenPicture, draw_picture
from camviz.workbench.scores import compute_scores, score_names, with_more

pytestmark = pytest.mark.usefixtures("half_size")
APP = str(Path(__file__).parent.parent / "app.py")
TITLE = "Faithfulness Estimate"


def expected(of, recipe):
    """What the library computes of the same map."""
    cap = get_capture(of)
    return patch_agreement(of.net.module, cap.x, merged(of, recipe)[None], cap.target).correlation.item()


def charts(app):
    return [body for body in html(app) if 'class="cv-scores"' in body]


def test_a_click_adds_a_column_and_another_removes_it():
    app = AppTest.from_file(APP, default_timeout=120).run()
    assert not any(TITLE in chart for chart in charts(app))
    before = re.findall(r'class="cv-bar cv-main[^>]*><span>([^<]*)', charts(app)[-1])
    (button,) = [button for button in app.button if button.label.startswith("More scores")]
    assert measured_estimate() in button.help
    button.click().run()
    assert not app.exception
    chart, of = charts(app)[-1], coffee()
    assert TITLE in chart
    shown = re.findall(r'class="cv-apart-left cv-raw[^"]*">([^<]*)', chart)
    assert float(shown[0].replace("\u2212", "-")) == pytest.approx(
        expected(of, Recipe("gradcam++", of.net.layers)), abs=0.006
    )
    assert len(shown) == 1 + 4 + 2  # RefineCAM, its layers, the blind guesses
    assert re.findall(r'class="cv-bar cv-main[^>]*><span>([^<]*)', chart) == before  # ARCC is what it was
    assert app.query_params["more_scores"] == "on"
    next(button for button in app.button if button.label == "Fewer scores").click().run()
    assert not any(TITLE in chart for chart in charts(app)[-1:])


def test_what_is_shown_is_in_every_file():
    of = coffee()
    recipe = Recipe("gradcam", of.net.layers)
    names = with_more(score_names(of), ["faithfulness"])
    compute_scores(of, recipe, names)
    found = as_finding(of, recipe, names)
    (row,) = [row for row in csv.DictReader(io.StringIO(scores_csv(found).decode())) if row["map"] == "merged"]
    assert float(row["faithfulness"]) == pytest.approx(expected(of, recipe), abs=1e-6)
    assert bundle.read(bundle.write(found)).scores["merged"]["faithfulness"] == pytest.approx(expected(of, recipe))


def test_all_maps_of_a_picture_share_its_passes():
    net = camviz.load_model("shapes-textured", "cpu")
    host, sample = PlainHost(), shapes.sample(6)
    of = SeenPicture(host, draw_picture(host, "shape", "one shape 6", lambda: sample), net, "squeeze").explaining(0)
    for layer in net.layers:
        merged(of, Recipe("gradcam", (layer,)))
    seen = []
    handle = net.module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    for layer in net.layers:
        compute_scores(of, Recipe("gradcam", (layer,)), ["faithfulness"])
    handle.remove()
    assert sum(seen) == PASSES


def test_a_bundle_is_checked_for_them():
    """A stored value that another run does not give is found."""
    of = coffee()
    recipe = Recipe("gradcam", of.net.layers)
    stored = find(of.net, of.picture.content, "Coffee", camviz.Settings("", recipe), more_scores=["faithfulness"])
    assert "faithfulness" in stored.scores["merged"].values
    fresh = find_again(of.net, stored)
    assert check_agreement(stored, fresh).agrees
    wrong = MapScores(stored.scores["merged"].values | {"faithfulness": 0.99})
    changed = replace(stored, scores=stored.scores | {"merged": wrong})
    assert not check_agreement(changed, find_again(of.net, changed)).agrees
    without = replace(stored, scores=plain(stored.scores), baselines=plain(stored.baselines))
    assert "faithfulness" not in find_again(of.net, without).scores["merged"].values


def plain(scores_of):
    return {
        key: MapScores({name: value for name, value in scores.values.items() if name != "faithfulness"})
        for key, scores in scores_of.items()
    }


def test_on_a_gpu_they_are_always_there(monkeypatch):
    of = coffee()
    assert "faithfulness" not in more_scores.shown_scores(of)
    on_gpu = replace(of, net=replace(of.net, device=torch.device("cuda")))
    assert "faithfulness" in more_scores.shown_scores(on_gpu)
    monkeypatch.setattr(more_scores, "pass_seconds", lambda *_: pytest.fail("nothing is offered"))
    more_scores.offer_more(None, [on_gpu])


def test_undefined_is_said():
    row = ScoreRow("a", "", "result", MapScores({"arcc": 0.5, "faithfulness": None}))
    chart = scores_html([row], ["arcc", "faithfulness"])
    assert "it is undefined for this map" in chart
    assert f"{TITLE} undefined" in numbers_html([row], [None], 10)
    known = replace(row, scores=MapScores({"arcc": 0.5, "faithfulness": -0.254}))
    assert f"{TITLE} \u22120.25" in numbers_html([known], [None], 10)
    assert TITLE not in numbers_html([replace(row, scores=MapScores({"arcc": 0.5}))], [None], 10)


def test_under_noise_the_clean_value_stands_beside_it():
    row = ScoreRow("a", "", "result", MapScores({"faithfulness": 0.5}), before=MapScores({"faithfulness": -0.1}))
    assert '+0.50 <small title="clean: \u22120.10">(\u22120.10)</small>' in scores_html([row], ["faithfulness"])


def test_a_report_says_of_an_undefined_score_that_it_is_undefined():
    """Not that it was not computed, which is said of one that is missing."""
    finished = ScoreRow(
        "a", "", "result", MapScores({"faithfulness": None}), skipped="it was not computed", complete=True
    )
    chart = scores_html([finished], ["arcc", "faithfulness"])
    assert chart.count("it was not computed") == 1
    assert chart.count("it is undefined for this map") == 1


def test_what_was_not_computed_again_is_named():
    of = coffee()
    settings = camviz.Settings("", Recipe("gradcam", of.net.layers))
    stored = find(of.net, of.picture.content, "Coffee", settings, more_scores=["gini"])
    told = check_agreement(stored, find_again(of.net, stored))
    assert "Not compared, as they were not computed again: gini." in told.text
    shifted = check_agreement(replace(stored, floor=(stored.floor or 0) + 0.2), find_again(of.net, stored))
    assert not shifted.agrees
    assert "with nothing left of the picture differ by 0.2" in shifted.text


@pytest.mark.parametrize("names", [["best_iou"], ["beauty"]])
def test_only_what_is_offered_can_be_asked_for(names):
    of = coffee()
    settings = camviz.Settings("", Recipe("gradcam", of.net.layers))
    with pytest.raises(ValueError, match=f"unknown score '{names[0]}'; on request there are"):
        find(of.net, of.picture.content, "Coffee", settings, more_scores=names)
    with pytest.raises(ValueError, match="leave one of the two out"):
        find(of.net, of.picture.content, "Coffee", settings, scores=False, more_scores=["gini"])
