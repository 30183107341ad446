"""The Evaluate page: what it says is what the study's rows say."""

import re
from urllib.parse import parse_qsl, urlsplit

import pandas as pd
import pytest
import torch
from server import ROOT
from streamlit.testing.v1 import AppTest
from streamlit_messages import html

import camviz
from camviz import shapes
from camviz.metrics.mask_scores import against_mask
from camviz.trust.evaluation import accuracies, default_recipes
from camviz.trust.sealed_samples import draw
from camviz.trust.sealed_study import PICTURES
from camviz.trust.study_results import StudyResults
from camviz.ui.evaluate import view
from camviz.ui.evaluate.dots import dots_figure
from camviz.ui.evaluate.pictures import examples_html, gallery_of, link_html
from camviz.ui.evaluate.study import Shown, Study, chosen, examples, maps_table, metrics_table, shipped
from camviz.ui.evaluate.view import verdict_html
from camviz.ui.links.link_format import Explored, read

SHIPPED = Study(shipped(), gallery_of, PICTURES)


def visit(**link):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.switch_page("pages/evaluate.py")
    app.query_params.update({"v": "1", **link})
    app.run()
    assert not app.exception
    return app


def test_the_verdict_is_the_tables():
    table = metrics_table(shipped(), Shown())
    words = verdict_html(SHIPPED, Shown())
    assert f"<b>{100 * table['pair_accuracy'].max():.0f} %</b> right" in words
    assert f"ARCC {100 * table.loc['arcc', 'pair_accuracy']:.0f} %" in words
    rows = shipped().of("ordinary", equal_area=True)
    assert f"On {len(rows[['network', 'picture']].drop_duplicates())} pictures" in words


def test_a_metric_measured_on_few_pictures_does_not_win(monkeypatch):
    table = pd.DataFrame({"pair_accuracy": [0.9, 0.8, 0.7, 0.5], "pictures": [4, 40, 40, 40]})
    table.index = ["insertion", "faithfulness", "arcc", "complexity"]
    monkeypatch.setattr(view, "metrics_table", lambda *_: table)
    assert "<b>the Faithfulness Estimate</b> gets <b>80 %</b> right" in verdict_html(SHIPPED, Shown())


def test_the_verdict_counts_the_pictures_that_are_shown():
    some, everything = (
        re.findall(r"On (\d+) pictures", verdict_html(SHIPPED, Shown(size=size)))[0] for size in ("large", "all")
    )
    rows = chosen(shipped(), Shown(size="large"), shipped().of("ordinary", equal_area=True))
    assert int(some) == len(rows[["network", "picture"]].drop_duplicates()) < int(everything)


def test_what_is_left_out_does_not_count():
    shown = Shown(equal_area=False, size="large", blind=False)
    rows = maps_table(shipped(), shown, "arcc")
    assert not rows["map"].isin(["centre", "random"]).any()
    assert set(rows["picture"] // 6 % 3) == {0}  # the index says the size
    expected = accuracies(rows, "arcc").mean(axis=1).mean()
    assert metrics_table(shipped(), shown).loc["arcc", "pair_accuracy"] == pytest.approx(expected)


def test_equal_area_leaves_nothing_to_the_size():
    assert metrics_table(shipped(), Shown()).loc["complexity", "pair_accuracy"] == pytest.approx(0.5, abs=0.02)


def example_rows(pictures):
    """Rows of pictures with maps a, b and c, whose truths are 0.9, 0.5 and 0.45; ARCC as given."""
    return pd.DataFrame(
        [
            {"network": network, "kind": "plain", "picture": picture, "map": name, "equal_area": True}
            | {"best_iou": truth, "arcc": arcc}
            for network, picture, scores in pictures
            for name, truth, arcc in zip("abc", (0.9, 0.5, 0.45), scores, strict=True)
        ]
    )


def test_right_and_fooled():
    rows = example_rows([("n", 1, (0.8, 0.9, 0.1)), ("n", 2, (0.9, 0.1, 0.1)), ("m", 3, (0.5, 0.5, 0.6))])
    results = StudyResults(pd.DataFrame(), {"ordinary": rows})
    right, fooled = examples(results, Shown(), "arcc", 2)
    assert [(pair.picture, pair.better, pair.worse) for pair in right] == [(1, "a", "c"), (2, "a", "c")]
    # Each network first; a tie is neither.
    assert [(pair.picture, pair.better, pair.worse) for pair in fooled] == [(3, "a", "c"), (1, "a", "b")]
    assert fooled[0].truths == (0.9, 0.45)
    assert fooled[0].scores == (0.5, 0.6)


def test_an_example_is_what_camviz_computes():
    """The truth of a map in the study, computed again."""
    pair = examples(shipped(), Shown(), "arcc", 1)[1][0]
    net, sample = camviz.load_model(pair.network, "cpu"), draw("plain", pair.picture)
    for name, truth in zip((pair.better, pair.worse), pair.truths, strict=True):
        x, target = net.preprocess(sample.image), torch.tensor([sample.label])
        map_ = camviz.explain(net.module, x, target, default_recipes(net)[name])
        fits = against_mask("best_iou", map_, torch.from_numpy(sample.mask)[None]).item()
        assert fits == pytest.approx(truth, abs=0.02)


def test_a_metric_that_sees_only_the_size_has_no_examples():
    words = examples_html(SHIPPED, Shown(), "complexity")
    assert "every map of a picture gets the same score" in words
    assert "<img" not in words


def test_a_link_to_explore_leads_to_the_picture():
    index = 1_000_000
    link = link_html(gallery_of("plain"), "shapes-textured", index, "layercam, merged")
    (address,) = re.findall('href="([^"]*)"', link)
    found, ignored = read(Explored, dict(parse_qsl(urlsplit(address).query)))
    assert ignored == []
    turn = len(shapes.BANDS) * found.number + list(shapes.BANDS).index(found.size)
    assert len(shapes.CLASSES) * turn + shapes.CLASSES.index(found.shape) == index
    assert (found.method, found.rule) == ("layercam", "product")
    assert found.layers == ("layer1", "layer2", "layer3", "layer4")
    # Explore has no samples with swapped tags.
    assert link_html(gallery_of("tagged"), "shapes-shortcut", index, "centre") == ""


def test_every_map_is_a_dot():
    chart, rows = dots_figure(shipped(), Shown(), "arcc", "shapes-resnet18")
    assert sum(len(trace.x) for trace in chart.data) == len(rows)
    assert rows["picture"].nunique() <= 60
    trace = chart.data[0]
    row = rows.iloc[int(trace.customdata[3])]
    assert (trace.x[3], trace.y[3]) == (row["best_iou"], row["arcc"])


def test_a_link_sets_every_control():
    app = visit(metric="coherency", area="plain", truth="auc", size="small", blind="off", network="shapes-vgg11")
    values = {key: app.session_state[f"trust_{key}"] for key in ("metric", "area", "truth", "size", "blind", "network")}
    assert list(values.values()) == ["coherency", "plain", "auc", "small", False, "shapes-vgg11"]
    assert app.query_params["size"] == "small"


def test_what_a_link_does_not_know_is_named():
    app = visit(metric="beauty", size="huge")
    (notice,) = [warning.value for warning in app.warning]
    assert "beauty" in notice
    assert "huge" in notice
    assert [body for body in html(app) if 'class="cv-intervals' in body]


def test_other_controls_show_another_study():
    app = visit()
    before = [body for body in html(app) if 'class="cv-intervals' in body]
    app.session_state["trust_area"] = "plain"
    app.run()
    assert not app.exception
    assert [body for body in html(app) if 'class="cv-intervals' in body] != before
