"""The Evaluate page: what it says is what the study's rows say."""

import io
import re
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pandas as pd
import pytest
import torch
from cachetools import LRUCache
from pictures import png
from server import ROOT
from streamlit.testing.v1 import AppTest
from streamlit_messages import html

import camviz
from camviz import shapes
from camviz.metrics.mask_scores import against_mask
from camviz.results.exports import as_safe_csv
from camviz.trust import study_figure
from camviz.trust.evaluation import accuracies
from camviz.trust.ranked_maps import default_recipes
from camviz.trust.resampling import interval
from camviz.trust.sealed_samples import draw
from camviz.trust.sealed_study import PICTURES, PROTOCOL, REFINED, Protocol
from camviz.trust.study_file import pack, unpack
from camviz.trust.study_results import DECIDING, EXACT, StudyResults, accuracies_of, contrasts, win_intervals
from camviz.ui.evaluate import view
from camviz.ui.evaluate.dots import dots_figure, dots_rows
from camviz.ui.evaluate.downloads import every_map, figure, shown_csv
from camviz.ui.evaluate.estimate import estimate_html
from camviz.ui.evaluate.opened import in_words
from camviz.ui.evaluate.pictures import examples_html, gallery_of, link_html
from camviz.ui.evaluate.study import Shown, Study, chosen, examples, maps_table, metric_rows, metrics_table, shipped
from camviz.ui.evaluate.view import metrics_html, verdict_html
from camviz.ui.evaluate.wrong import has_wrong_maps, wrong_html
from camviz.ui.links.link_format import Explored, read
from camviz.ui.sidebar.shape_gallery import Pick

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


def test_the_verdict_answers_the_protocols_question():
    """By the contrast of each network; only where the study is shown as the protocol decides."""
    (contrast, *_) = contrasts(shipped())
    leads = sum(contrast.networks[name] > 0 for name in DECIDING)
    words = f"The Faithfulness Estimate is ahead of ARCC on {leads} of the 3 networks that decide"
    assert words in verdict_html(SHIPPED, Shown())
    assert ("the protocol asks for all" in verdict_html(SHIPPED, Shown())) == (leads < 3)
    for other in (Shown(size="large"), Shown(equal_area=False), Shown(samples="textured"), Shown(blind=False)):
        assert "networks that decide" not in verdict_html(SHIPPED, other)


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


def test_a_link_to_a_tagged_sample_leads_to_the_wrong_tag():
    """Explore's picture and truth are those of the study: the tag of another class."""
    index = 1_000_007
    (address,) = re.findall('href="([^"]*)"', link_html(gallery_of("tagged"), "shapes-shortcut", index, "centre"))
    found, _ = read(Explored, dict(parse_qsl(urlsplit(address).query)))
    pick = Pick(found.kind, shapes.CLASSES.index(found.shape), found.size, found.number)
    assert pick.index == index
    picture = pick.picture()
    sample = draw("tagged", index)
    assert np.array_equal(picture.content, sample.image)
    (tag,) = [shape for shape in picture.shapes if shape.is_tag]
    assert np.array_equal(tag.mask, sample.mask)
    assert tag.label == shapes.CLASSES[sample.label] != found.shape


def test_every_map_is_a_dot():
    rows = dots_rows(shipped(), Shown(), "arcc", "shapes-resnet18")
    chart = dots_figure(rows, Shown(), "arcc")
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


def own(**link):
    return visit(study="own", model="shapes-textured", methods="gradcam", steps="", **link)


def texts(app):
    return [*(one.value for one in (*app.warning, *app.info, *app.caption)), *html(app)]


def test_own_shapes_are_shown_before_they_are_measured():
    app = own(pictures="shapes", count="3")
    (pictures,) = [body for body in html(app) if 'class="cv-pictures"' in body]
    assert pictures.count("<figure>") == 3
    assert app.query_params["count"] == "3"
    assert not [body for body in html(app) if 'cv-verdict">' in body]


def test_shapes_need_a_network_that_knows_them():
    app = visit(study="own", pictures="shapes", count="3", model="efficientnet-lite0")
    assert any("does not know these shapes" in words for words in texts(app))


def test_too_many_maps_are_refused():
    app = own(pictures="shapes", count="2")
    app.session_state["trust_methods"] = ["gradcam", "gradcam++", "layercam", "eigencam"]
    app.run()
    assert any("22 maps of each picture, and the limit is 17" in words for words in texts(app))
    app.session_state["trust_methods"] = []
    app.run()
    assert any("There is no map to measure" in words for words in texts(app))


def test_layers_rules_and_the_mirror_make_maps():
    """Two methods, one layer, two rules, each merge also averaged: 2 x (1 + 4) maps and two blind guesses."""
    made = {"layers": "layer3", "rules": "mean~sharpened", "mirror_averaged": "on", "methods": "gradcam~layercam"}
    app = visit(study="own", model="shapes-textured", pictures="shapes", count="2", steps="", **made)
    (bar,) = app.get("progress")
    assert bar.proto.text.startswith("2 pictures × 12 maps")
    assert {name: app.query_params[name] for name in made} == made


def test_without_layers_and_rules_there_is_nothing_to_measure():
    app = visit(study="own", model="shapes-textured", pictures="shapes", count="2", layers="", rules="")
    assert any("There is no map to measure" in words for words in texts(app))


def test_what_a_run_does_not_offer_is_dropped_and_named():
    chosen = {"methods": "centre~gradcam~scorecam", "layers": "layer9~layer2"}
    app = visit(study="own", pictures="shapes", count="2", model="shapes-textured", **chosen)
    assert app.session_state["trust_methods"] == ["gradcam"]
    assert app.session_state["trust_layers-shapes-textured"] == ["layer2"]
    (notice,) = [warning.value for warning in app.warning]
    assert "methods `centre, scorecam`" in notice
    assert "layers `layer9`" in notice


def test_mosaics_of_shapes():
    app = own(pictures="mosaics", count="5")
    (pictures,) = [body for body in html(app) if 'class="cv-pictures"' in body]
    assert pictures.count("<figure>") == 5
    assert pictures.count(" · ") == 3 * 5  # four classes each


def test_mosaics_need_four_classes():
    app = visit(study="own", pictures="mosaics", count="5", model="efficientnet-lite0")
    assert any("Upload a folder of pictures of four classes" in words for words in texts(app))
    assert not [body for body in html(app) if 'class="cv-pictures"' in body]


def upload_folder(app, files):
    """Upload drawn shapes, by their paths in the folder chosen."""
    contents = [(name, png(shapes.sample(number).image), "image/png") for name, number in files]
    app.file_uploader[0].set_value(contents).run()
    assert not app.exception


def test_a_folder_sorted_by_class():
    """Shapes 0 to 5 are one of each class; their folders have the class's label in some case, or its index."""
    app = own(pictures="mosaics", count="4")
    files = [("circle", 0), ("SQUARE", 1), ("2", 2), ("circle_frame", 3), ("holiday", 4), ("Square frame", 5)]
    files += [("holiday", 6), ("<b>_frame", 7), ("Square frame", 4), ("triangle", 0)]
    upload_folder(app, [(f"photos/{folder}/{number % 2}.png", number) for folder, number in files])
    said = " ".join(texts(app))
    assert "3 pictures left out, as these folders' names match no class of Shapes thin ResNet-18" in said
    assert "Folders named by a class's number, from 0: 2 is triangle." in said
    assert said.count("**holiday**") == 1
    assert "<b>" not in said
    # The frame of a triangle lies only in another class's folder; the circle also in its own.
    assert "2 of 7 pictures left out: the network predicts another class than theirs (2)." in said
    assert "Not in a class's folder" not in said
    (pictures,) = [body for body in html(app) if 'class="cv-pictures"' in body]
    titles = re.findall("<figcaption>(.*?)</figcaption>", pictures)
    assert len(titles) == 4
    labels = {label for title in titles for label in title.split(" · ")}
    assert labels == {"circle", "square", "triangle", "circle frame", "square frame"}


def test_a_folder_that_is_not_sorted():
    app = own(pictures="mosaics", count="4")
    upload_folder(app, [(f"photos/{number}.png", number) for number in range(6)])
    assert any("Not in a class's folder: 6 pictures. Their class is the predicted one." in said for said in texts(app))
    assert [body for body in html(app) if 'class="cv-pictures"' in body]


def test_folders_of_no_class():
    app = own(pictures="mosaics", count="4")
    upload_folder(app, [(f"photos/{'abcdefghijkl'[number]}/1.png", number) for number in range(12)])
    assert any("**i**, **j** and 2 more." in said for said in texts(app))
    assert any("these pictures have 0" in said for said in texts(app))


def test_an_own_run_is_measured_and_shown():
    app = own(pictures="shapes", count="2", metric="faithfulness")
    next(button for button in app.button if button.label == "Start").click().run()
    for _ in range(20):
        if not any(button.label == "Stop" for button in app.button):
            break
        app.run()
    assert not app.exception
    (verdict,) = [body for body in html(app) if 'cv-verdict">' in body]
    assert "On 2 pictures with 1 network" in verdict
    assert "ARCC" not in verdict  # without ROAD there is none
    # Both circles and squares are so large that removing a square changes nothing: undefined is said, not hidden.
    assert [body for body in html(app) if "Faithfulness Estimate is undefined for every map" in body]
    assert any("No map of this network has a score here" in words for words in texts(app))
    (chart,) = [body for body in html(app) if 'class="cv-intervals"' in body]
    assert "Undefined on 14 of 14 maps, where it counts as a coin." in chart
    app.session_state["trust_metric"] = "coherency"
    app.run()
    assert [body for body in html(app) if 'class="cv-examples"' in body]


def test_wrong_maps_are_the_studys():
    wins = win_intervals(shipped(), "arcc", equal_area=True)
    assert wins["moved"].value < 0.1
    words = wrong_html(SHIPPED, Shown(), "arcc")
    assert f"Moved by half a side: {wins['moved'].value:.2f}" in words
    assert "Best IoU prefers it: 1.00" in words  # the mask
    assert "cheats" not in words
    assert not has_wrong_maps(SHIPPED, Shown(), "insertion")


def test_both_tie_rules_stand_where_maps_tie():
    """Maps as they are: ARCC and the mask under both; at equal area nothing ties."""
    plain = Shown(equal_area=False)
    exact = accuracies_of(shipped(), "ordinary", EXACT, equal_area=False)
    means = [100 * interval(exact[name].to_numpy()).value for name in EXACT]
    words = f"ARCC gets {means[0]:.0f} % right and ROAD {means[1]:.0f} %."
    assert words in metrics_html(SHIPPED, plain, "arcc")
    assert "exact shares" not in metrics_html(SHIPPED, Shown(), "arcc")
    mask = win_intervals(shipped(), "arcc_exact", equal_area=False)["the mask"].value
    assert f"in exact shares, ARCC scores the mask higher in {100 * mask:.0f} %." in wrong_html(SHIPPED, plain, "arcc")
    assert "exact shares" not in wrong_html(SHIPPED, Shown(), "arcc") + wrong_html(SHIPPED, plain, "coherency")


def test_wrong_maps_are_those_of_the_sizes_shown():
    words = [wrong_html(SHIPPED, Shown(size=size), "arcc") for size in ("all", "large", "small")]
    assert len(set(words)) == 3
    samples = shipped().samples
    small = set(samples.loc[(samples["kind"] == "plain") & (samples["band"] == "small"), "picture"])
    wins = win_intervals(shipped(), "arcc", equal_area=True, chosen=lambda rows: rows[rows["picture"].isin(small)])
    assert f"Inverted: {wins['inverted'].value:.2f}" in words[2]


def test_the_estimates_controls_are_those_of_the_same_pictures():
    """By the columns themselves: the estimate, too, only on the pictures that have controls."""
    rows = shipped().of("slow", equal_area=True)
    own = shipped().of("ordinary", equal_area=True)[["network", "picture", "map", "faithfulness"]]
    both = rows.merge(own, on=["network", "picture", "map"])
    words = estimate_html(SHIPPED, Shown())
    titles = {"faithfulness": "As it is defined", "faithfulness_shifted": "Grid shifted"}
    for column, title in titles.items():
        expected = accuracies(both, column).mean(axis=1).mean()
        assert f'title="{title}: {expected:.2f}, ' in words


def test_the_map_that_has_seen_the_answers_is_named_and_never_ranked():
    made = shipped().of("deliberate", equal_area=True)
    wide = made.set_index(["network", "picture", "map"])["faithfulness"].unstack("map")
    wins = (wide["cheats"] > wide[REFINED]) + 0.5 * (
        (wide["cheats"] == wide[REFINED]) | wide[["cheats", REFINED]].isna().any(axis=1)
    )
    share = wins.groupby("network").mean().mean()
    assert f"higher than RefineCAM in {100 * share:.0f} % of pictures" in estimate_html(SHIPPED, Shown())
    assert not any("cheats" in set(shipped().rows[stage]["map"]) for stage in shipped().metrics if stage != "fading")


def test_controls_that_were_not_measured_are_left_out():
    results = replace(shipped(), rows={"ordinary": shipped().rows["ordinary"]})
    assert estimate_html(Study(results, gallery_of), Shown()) == ""


def test_what_is_downloaded_is_what_is_shown():
    shown = Shown(equal_area=False)
    table = pd.read_csv(io.StringIO(shown_csv(shipped(), shown)), index_col="metric")
    assert table.loc["arcc", "pair_accuracy"] == pytest.approx(
        metrics_table(shipped(), shown).loc["arcc", "pair_accuracy"]
    )
    assert (table["equal_area"] == False).all()  # noqa: E712
    rows = every_map(shipped())
    made = shipped().rows["deliberate"]
    made = made[made["map"] != REFINED]
    assert len(rows) == len(shipped().rows["ordinary"]) + len(made)
    keys = ["network", "kind", "picture", "map", "equal_area"]
    assert not rows.duplicated(keys).any()
    both = rows.merge(made, on=keys, suffixes=("", "_made"))
    assert len(both) == len(made)
    assert (both["arcc"] == both["arcc_made"])[both["arcc_made"].notna()].all()
    row = rows[(rows["map"] == "centre") & rows["equal_area"]].iloc[0]
    same = shipped().rows["ordinary"]
    assert row["arcc"] == same[(same[keys] == row[keys]).all(axis=1)]["arcc"].item()
    pdf = figure(SHIPPED, shown)
    assert pdf.startswith(b"%PDF")
    assert pdf == figure(SHIPPED, shown)
    assert PROTOCOL.sha256.encode() in pdf


def test_a_reopened_study_has_the_same_numbers_and_no_verdict_by_the_protocol():
    """What a file says of itself is not known to be true."""
    reopened = Study(unpack(pack(shipped())), gallery_of)
    words, whole = (verdict_html(each, Shown()) for each in (reopened, SHIPPED))
    assert "networks that decide" not in words
    assert whole.startswith(words.removesuffix("</p>"))
    assert figure(reopened, Shown()) == figure(SHIPPED, Shown())
    assert "This file says that it follows the included study's protocol" in in_words(reopened.results.protocol)


def test_a_study_of_another_protocol_is_never_passed_off_as_this_one():
    other = Protocol("camviz-trust", PROTOCOL.version, 64 * "a")
    study = Study(unpack(pack(replace(shipped(), protocol=other, remembered=LRUCache(8)))), gallery_of)
    words, whole = (verdict_html(each, Shown()) for each in (study, SHIPPED))
    assert "protocol" not in words
    assert whole.startswith(words.removesuffix("</p>"))  # the same numbers
    pdf = figure(study, Shown())
    assert f"protocol camviz-trust, version {PROTOCOL.version}, SHA-256 {64 * 'a'}".encode() in pdf
    assert PROTOCOL.sha256.encode() not in pdf
    assert "a different protocol" in in_words(other)


def test_a_file_that_claims_the_protocol_and_lacks_its_metrics():
    """A verdict of what it has, without what the protocol asks."""
    rows = shipped().rows["ordinary"].drop(columns="faithfulness")
    part = StudyResults(shipped().samples, {"ordinary": rows}, {"ordinary": ("arcc", "gini")}, protocol=PROTOCOL)
    words = verdict_html(Study(unpack(pack(part)), gallery_of), Shown())
    assert "<b>ARCC</b> gets" in words
    assert "growing" not in words


def test_the_printed_chart_shows_the_line_to_beat():
    rows, networks = metric_rows(shipped(), Shown(equal_area=False))
    values = {name: [value for _, value in found] for name, found in networks.items()}
    drawn = study_figure._drawn(rows, values, "A title", [], "1 − complexity")
    (axes,) = drawn.axes
    value = metrics_table(shipped(), Shown(equal_area=False)).loc["complexity", "pair_accuracy"]
    dashed = [line for line in axes.lines if line.is_dashed()]
    assert [list(line.get_xdata()) for line in dashed] == [[value, value]]
    bold = [label.get_text() for label in axes.get_yticklabels() if label.get_weight() == "bold"]
    assert bold == ["1 − complexity"]
    assert [note.get_text() for note in axes.texts] == ["the line to beat"]
    assert any("Bold and dashed: 1 − complexity, the line to beat." in text.get_text() for text in drawn.texts)


def test_a_printed_chart_without_a_line_to_beat():
    rows = example_rows([("n", picture, (0.8, 0.3, 0.1)) for picture in range(3)])
    study = Study(StudyResults(pd.DataFrame(), {"ordinary": rows}, {"ordinary": ("arcc",)}), gallery_of)
    assert figure(study, Shown()).startswith(b"%PDF")


def test_without_a_better_map_there_is_no_verdict():
    rows = example_rows([("n", 1, (0.8, 0.9, 0.1))])
    results = StudyResults(pd.DataFrame(), {"ordinary": rows.assign(best_iou=0.5)})
    words = verdict_html(Study(results, gallery_of), Shown())
    assert "On 1 picture with 1 network, no two maps of a picture fit its mask differently enough yet." in words
    assert "nan" not in words


def test_a_verdict_of_a_single_metric():
    rows = example_rows([("n", picture, (0.8, 0.3, 0.1)) for picture in range(3)])
    study = Study(StudyResults(pd.DataFrame(), {"ordinary": rows}, {"ordinary": ("arcc",)}), gallery_of)
    assert "<b>ARCC</b> gets <b>100 %</b> right." in verdict_html(study, Shown())


def test_a_link_with_uploads_asks_for_them():
    app = own(pictures="mosaics", count="4", uploads="on")
    assert any("Uploads are not kept here" in words for words in texts(app))


def test_the_links_metric_waits_until_it_is_measured():
    app = own(pictures="shapes", count="2", metric="arcc")
    for button in [button for button in app.button if button.label in ("Start", "Resume")]:
        button.click().run()
    assert not app.exception
    assert app.session_state["trust_metric"] != "arcc"
    assert app.session_state["trust_link_metric"] == "arcc"


def test_more_methods_than_colours():
    names = ["gradcam", "gradcam++", "layercam", "eigencam", "hirescam", "xgradcam", "eigengradcam", "centre", "random"]
    rows = pd.DataFrame({"map": names, "picture": 1, "best_iou": 0.5, "arcc": 0.5})
    assert len(dots_figure(rows, Shown(), "arcc").data) == len(names)


def test_a_formula_stays_text():
    rows = example_rows([("=cmd()", 1, (0.8, 0.3, 0.1))])
    assert "'=cmd()" in as_safe_csv(every_map(StudyResults(pd.DataFrame(), {"ordinary": rows})))


def test_a_file_whose_rows_the_page_does_not_know():
    """Another network, another map, a picture that is not sealed, no map that has seen the answers, one tie rule."""
    rows = shipped().rows["ordinary"].drop(columns=list(EXACT))
    made = shipped().rows["deliberate"].drop(columns=list(EXACT))
    of_mine = made.assign(network="mine-" + made["network"])
    strange = rows.assign(network="mine-" + rows["network"], map=rows["map"].str.replace("merged", "merged: mean"))
    known = replace(
        shipped(),
        rows={"ordinary": strange, "deliberate": of_mine[of_mine["map"] != "cheats"]},
        metrics={"ordinary": ("arcc", "faithfulness", "road_raw")},
        remembered=LRUCache(8),
    )
    study = Study(unpack(pack(known)), gallery_of)
    for shown in (Shown(), Shown(equal_area=False)):
        for metric in ("arcc", "faithfulness"):
            assert "<img" not in examples_html(study, shown, metric)
            assert "exact shares" not in metrics_html(study, shown, metric) + wrong_html(study, shown, metric)
            assert "seen the answers" not in estimate_html(study, shown)
    assert link_html(gallery_of("plain"), "shapes-vgg11", 5, "centre") == ""
