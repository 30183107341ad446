"""The benchmark of merging rules: its maps are camviz's own, and its report says what its rows say."""

import pandas as pd
import pytest
import torch
from server import ROOT

import camviz
from benchmarks import merging_rules, merging_rules_report
from benchmarks.merging_rules import Made, layer_maps, merge, recipes
from benchmarks.merging_rules_report import DEEPEST, REFINED, choose, load
from camviz import shapes
from camviz.metrics.mask_scores import against_mask
from camviz.recipe import Recipe
from camviz.trust.sealed_study import Part
from camviz.trust.study_results import DECIDING

LAYERS = ("layer1", "layer2", "layer3", "layer4")


@pytest.fixture(scope="module")
def net():
    return camviz.load_model("shapes-textured", "cpu")


@pytest.fixture(scope="module")
def maps(net):
    return layer_maps(net, net.preprocess(shapes.sample(606).image), torch.tensor([0]))


@pytest.mark.parametrize(
    ("made", "recipe"),
    [
        (Made("gradcam++", "product", "all", flip=False, edges=False), Recipe("gradcam++", LAYERS)),
        (Made("layercam", "floor", "3 deepest", flip=False, edges=False), Recipe("layercam", LAYERS[1:], "floor")),
        (Made("both", "mixed", "all", flip=False, edges=False), Recipe("gradcam++", LAYERS, "mixed")),
        (Made("gradcam++", "product", "all", flip=False, edges=True), Recipe("gradcam++", LAYERS, "sharpened")),
    ],
)
def test_its_maps_are_those_of_camviz(net, maps, made, recipe):
    x = net.preprocess(shapes.sample(606).image)
    assert torch.allclose(merge(made, maps, x), camviz.explain(net.module, x, [0], recipe), atol=1e-5)


def test_a_picture_that_is_its_own_mirror_gains_nothing(net):
    """Averaging with the mirrored picture gives a symmetric map."""
    image = shapes.sample(606).image.copy()
    image[:, 112:] = image[:, :112][:, ::-1]
    x = net.preprocess(image)
    plain = layer_maps(net, x, torch.tensor([0]))["gradcam++"]
    mirrored = layer_maps(net, x.flip(-1), torch.tensor([0]))["gradcam++"].flip(-1)
    both = (plain + mirrored) / 2
    assert torch.allclose(both, both.flip(-1), atol=1e-4)


def test_the_rows_of_a_sample(net):
    found = merging_rules.rows(Part("shapes-textured", "plain"), net, 606).set_index("map")["best_iou"]
    x = net.preprocess(shapes.sample(606).image)
    mask = torch.from_numpy(shapes.sample(606).mask)[None]
    of_camviz = {
        REFINED: Recipe("gradcam++", LAYERS),
        f"{REFINED}, mirrored": Recipe("gradcam++", LAYERS, mirror_averaged=True),
        "both, mixed, all, mirrored": Recipe("gradcam++", LAYERS, "mixed", mirror_averaged=True),
        DEEPEST: Recipe("gradcam++", LAYERS[-1:]),
    }
    for name, recipe in of_camviz.items():
        expected = against_mask("best_iou", camviz.explain(net.module, x, [0], recipe), mask).item()
        assert found[name] == pytest.approx(expected, abs=1e-4)
    assert len(found) == len(list(recipes())) + 5
    assert len({each.name for each in recipes()}) == len(list(recipes()))


def test_what_is_best_on_exploring_samples_is_chosen():
    names = [REFINED, "layercam, floor, all", "both, mixed, all, mirrored", "both, mixed, all, edges", "centre, edges"]
    names.append("both, floor, all, mirrored, edges")
    rows = pd.DataFrame(
        [
            {"network": network, "kind": "plain", "half": half, "picture": 1, "map": name, "best_iou": value}
            for network in DECIDING
            for half, sign in (("exploring", 1), ("sealed", -1))  # what is best on sealed ones does not matter
            for name, value in zip(names, (0.1, 0.2 * sign, 0.3, 0.4, 0.9, 0.5), strict=True)
        ]
    )
    assert list(choose(rows).values()) == [names[1], names[2], names[3], names[5]]


def test_the_report_is_that_of_the_rows(tmp_path):
    merging_rules_report.write(merging_rules.FOLDER, tmp_path / "report.md")
    report = (ROOT / "benchmarks" / "merging_rules.md").read_text(encoding="utf-8")
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == report, "run python -m benchmarks.merging_rules"
    rows = load(merging_rules.FOLDER)
    kept = rows[(rows["half"] == "sealed") & (rows["network"] == "shapes-vgg11") & (rows["map"] == REFINED)]
    assert f"| {kept['best_iou'].mean():.2f} [" in report
    assert not set(rows.loc[rows["half"] == "exploring", "picture"]) & set(
        rows.loc[rows["half"] == "sealed", "picture"]
    )
