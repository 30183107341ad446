"""The benchmark of mosaics: its rows are the page's own, and its report says what they say."""

import numpy as np
import pytest
import torch
from server import ROOT

import camviz
from benchmarks.mosaics import MOSAICS, NETWORKS, TRUTH, load, report, run_of
from camviz import shapes
from camviz.trust.mosaics import SURE
from camviz.trust.run import OWN
from camviz.trust.sealed_samples import FIRST
from camviz.trust.study_results import trust_of_metrics
from camviz.workbench.maps import get_view

NETWORK = "shapes-textured"  # the quickest


@pytest.fixture(scope="module")
def results():
    return load()


def test_the_report_is_that_of_the_rows(results):
    text = (ROOT / "benchmarks" / "mosaics.md").read_text(encoding="utf-8")
    assert text == report(results), "run python -m benchmarks.mosaics"
    row = trust_of_metrics(results, equal_area=True, truth=TRUTH, kind=OWN).loc["arcc"]
    (line,) = [line for line in text.splitlines() if line.startswith("| ARCC |")]
    assert line.startswith(f"| ARCC | {row['pair_accuracy']:.2f} [{row['low']:.2f}, {row['high']:.2f}] |")


def test_every_network_and_map_is_there(results):
    for stage in ("ordinary", "road"):
        counts = results.of(stage, equal_area=True, kind=OWN).groupby(["network", "picture"])["map"].nunique()
        assert counts.eq(17).all()
        assert counts.groupby("network").size().eq(MOSAICS).all()
    measured = set(results.samples["network"])
    assert measured <= set(NETWORKS)
    text = (ROOT / "benchmarks" / "mosaics.md").read_text(encoding="utf-8")
    assert all(f"Not measured yet: {name}" in text for name in set(NETWORKS) - measured)


def test_the_share_of_heat_in_the_first_mosaics(results):
    """Put together again: each quarter is a sealed shape that is recognised, and the share is summed by hand."""
    net = camviz.load_model(NETWORK, "cpu")
    rows = results.of("ordinary", equal_area=False, kind=OWN)
    shares = rows[rows["network"] == NETWORK].set_index(["picture", "map"])[TRUTH]
    run = run_of(net, 2)
    for number, case in enumerate(run.cases):
        x = net.inputs(get_view(case.seen)[None])
        for name in ("gradcam++, merged", "layercam, layer4"):
            heat = camviz.explain(net.module, x, torch.tensor([case.target]), run.recipes[name])[0].double().numpy()
            assert shares[number, name] == pytest.approx(heat[case.mask].sum() / heat.sum(), abs=1e-4)


def test_mosaics_are_of_sealed_shapes():
    net = camviz.load_model(NETWORK, "cpu")
    case = run_of(net, 1).cases[0]
    quarter = get_view(case.seen)[:112, :112].astype(float)
    assert case.mask[:112, :112].all()
    assert case.mask.sum() == 112 * 112
    shrunk = {
        index: shapes.sample(index).image.reshape(112, 2, 112, 2, 3).mean((1, 3)) for index in range(FIRST, FIRST + 96)
    }
    nearest = min(shrunk, key=lambda index: np.abs(shrunk[index] - quarter).mean())
    assert np.abs(shrunk[nearest] - quarter).max() <= 1
    assert shapes.sample(nearest).label == case.target
    with torch.no_grad():
        probability = net.module(net.preprocess(shapes.sample(nearest).image)).softmax(1)[0, case.target]
    assert probability >= SURE
