"""The study on sealed samples: which ones are kept, what is measured, and that a stopped run goes on as if unbroken.

On exploring samples: sealed ones are for the study alone.
"""

import hashlib
import math
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import camviz
from camviz import shapes
from camviz.metrics import Evidence
from camviz.metrics.insertion_deletion import deletion
from camviz.metrics.patch_agreement import patch_agreement
from camviz.recipe import Recipe
from camviz.trust import sealed_study
from camviz.trust.equal_area import equal_area
from camviz.trust.ranked_maps import default_recipes, makers_of
from camviz.trust.sealed_samples import KINDS, draw, judge, share_recognised
from camviz.trust.sealed_study import PARTS, PROTOCOL, REFINED, SEED, SHIPPED, STAGES, Part, Picture, Stage

TEXTURED = Part("shapes-textured", "plain")
PROTOCOL_FILE = Path(__file__).parent.parent / "docs" / "protocol.md"
BY_NAME = {stage.name: stage for stage in STAGES}


@pytest.fixture(scope="module")
def net():
    return camviz.load_model("shapes-textured", "cpu")


def quick(picture):
    return makers_of({"cam": Recipe("gradcam", picture.net.layers[-1:]), "centre": Recipe("centre", ("layer4",))})


def quick_scores(evidence):
    return {name: evidence.values(name)[:, 0].tolist() for name in ("complexity", "best_iou")}


QUICK = Stage("quick", 3, quick, quick_scores)


def test_rows_name_the_protocol_that_they_follow():
    text = PROTOCOL_FILE.read_bytes()
    assert hashlib.sha256(text).hexdigest() == PROTOCOL.sha256, "a rule has changed: give the protocol a new version"
    assert f"**camviz-trust, version {PROTOCOL.version}**".encode() in text


def test_every_part_is_a_network_and_a_kind_of_sample():
    known = {info.name for info in camviz.list_models()}
    assert {part.network for part in PARTS} <= known
    assert {part.kind for part in PARTS} == set(KINDS)
    assert len({part.name for part in PARTS}) == len(PARTS)


@pytest.mark.parametrize("kind", ["plain", "textured"])
def test_a_shape_and_its_pictures(kind):
    sample, source = draw(kind, 21), {"plain": shapes.sample, "textured": shapes.textured}[kind](21)
    assert np.array_equal(sample.image, source.image)
    assert np.array_equal(sample.without, source.background)
    assert (sample.label, sample.is_frame, sample.band) == (3, True, "large")
    if kind == "textured":
        assert sample.elsewhere is None
    else:
        other = shapes.sample(21, "val").background
        outside, inside = source.shapes[0].coverage == 0, source.shapes[0].coverage == 1
        assert np.array_equal(sample.elsewhere[inside], source.image[inside])
        assert np.array_equal(sample.elsewhere[outside], other[outside])


def test_a_tag_of_another_class():
    for index in (0, 7, 35):
        own, sample = shapes.tagged(index), draw("tagged", index)
        assert sample.label == (own.label + 1 + index // 6 % 5) % 6 != own.label
        assert np.array_equal(sample.mask, own.tag.mask)
        assert np.array_equal(sample.without, own.untagged)
        assert np.array_equal(sample.elsewhere[~sample.mask], shapes.sample(index, "val").background[~sample.mask])
        assert np.array_equal(sample.elsewhere[sample.mask], sample.image[sample.mask])


def test_kept_are_samples_whose_mask_is_the_truth(net):
    found = judge(net, "plain", 6, first=0)
    assert found["picture"].tolist() == list(range(len(found)))
    assert (found["left_out"] == "").sum() == 6
    assert found["left_out"].iloc[-1] == ""
    for row in found.itertuples():
        sample = shapes.sample(row.picture)
        images = [sample.image, sample.background, sample.on(shapes.sample(row.picture, "val").background)]
        logits = [net.module(net.preprocess(image)) for image in images]
        own, without, elsewhere = (each.softmax(1)[0, sample.label].item() for each in logits)
        assert (row.probability, row.without, row.elsewhere) == pytest.approx((own, without, elsewhere), abs=1e-4)
        right = logits[0].argmax().item() == sample.label
        assert (row.left_out == "") == (right and without < 0.5 < elsewhere)


def test_the_share_that_is_recognised():
    """As in the rows of the judged samples, around the first that is not."""
    net = camviz.load_model("shapes-resnet18", "cpu")
    judged = pd.read_parquet(SHIPPED / "shapes-resnet18-plain.parquet")
    wrong = judged["left_out"].str.startswith("the network sees ")
    first = int(judged.index[wrong][0])
    samples = slice(first - 2, first + 2)
    expected = 1 - wrong.iloc[samples].mean()
    assert 0 < expected < 1
    assert share_recognised(net, "plain", 4, int(judged["picture"].iloc[samples.start])) == pytest.approx(expected)


def test_why_a_sample_is_left_out(net):
    found = judge(net, "plain", 60, first=0).set_index("picture")["left_out"]
    without = found[found == "the network still sees the class without it"].index
    assert set(without % 6) == {5}  # on some backgrounds alone, the network says "triangle frame"


def test_of_textured_samples_nothing_else_is_asked(net):
    found = judge(net, "textured", 2, first=0)
    assert found["elsewhere"].isna().all()


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(sealed_study, "PICTURES", 3)


@pytest.mark.usefixtures("few")
def test_stopped_and_resumed_is_the_same_as_unbroken(net, tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    sealed_study.run(TEXTURED, QUICK, net, tmp_path / "whole", first=0)

    def stop(done, total):
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sealed_study.run(TEXTURED, QUICK, net, tmp_path / "parts", stop, first=0)
    half = pd.read_parquet(tmp_path / "parts" / "shapes-textured-plain-quick.parquet")
    assert half["picture"].nunique() == 2
    sealed_study.run(TEXTURED, QUICK, net, tmp_path / "parts", first=0)
    assert {file.name for file in (tmp_path / "parts").iterdir()} == {
        "shapes-textured-plain.parquet",
        "shapes-textured-plain-quick.parquet",
    }
    for file in (tmp_path / "whole").iterdir():
        pd.testing.assert_frame_equal(pd.read_parquet(file), pd.read_parquet(tmp_path / "parts" / file.name))


def test_rows_are_the_maps_and_then_the_maps_at_equal_area(net):
    rows = sealed_study.measured(TEXTURED, QUICK, net, 0)
    assert rows[["map", "equal_area"]].to_numpy().tolist() == [
        ["cam", False],
        ["centre", False],
        ["cam", True],
        ["centre", True],
    ]
    x, target = net.preprocess(shapes.sample(0).image), torch.tensor([0])
    map_ = camviz.explain(net.module, x, target, Recipe("gradcam", ("layer4",)))
    assert rows["complexity"].tolist()[::2] == pytest.approx(
        [map_.mean().item(), equal_area(map_).mean().item()], abs=1e-5
    )
    assert str(rows["complexity"].dtype) == "float32"


def test_a_sample_that_is_not_kept_is_not_measured(net):
    wrong = next(index for index in range(400) if is_wrong(net, index))
    with pytest.raises(ValueError, match="should have been left out: the network sees"):
        sealed_study.measured(TEXTURED, QUICK, net, wrong)


def is_wrong(net, index):
    sample = shapes.sample(index)
    return net.module(net.preprocess(sample.image)).argmax().item() != sample.label


@pytest.fixture(scope="module")
def picture(net):
    sample = draw("plain", 6)
    x = net.preprocess(sample.image)
    logits = net.module(x).detach()
    return Picture(net, x, torch.from_numpy(sample.mask)[None], logits, logits.argmax(1), "a picture")


def test_the_deliberate_maps_of_a_network(picture):
    makers = BY_NAME["deliberate"].makers(picture)
    grids = [f"the mask on {side} x {side}" for side in (56, 28, 14, 7)]
    wrong = ["inverted", "moved", "another class"]
    assert list(makers) == [REFINED, *wrong, "the mask", *grids, "the mask, blurred", "the mask, moved", "cheats"]
    map_ = makers[REFINED](picture.net.module, picture.x, torch.tensor([0]))
    assert torch.equal(map_, camviz.explain(picture.net.module, picture.x, [0], default_recipes(picture.net)[REFINED]))


def test_the_steps_into_noise(picture):
    assert list(BY_NAME["fading"].makers(picture)) == [f"noise {step}" for step in range(20)]


def test_insertion_deletion_and_the_controls(picture):
    """Insertion and deletion of a map as it is are those at equal area; each control is what the library says."""
    makers = list(quick(picture).values())
    plain = [maker(picture.net.module, picture.x, torch.tensor([0])) for maker in makers]
    maps = torch.stack([*plain, *(equal_area(map_, SEED) for map_ in plain)])
    evidence = Evidence(
        picture.net.module, picture.x, maps, [0], [partial(maker, picture.net.module) for maker in 2 * makers]
    )
    values = BY_NAME["slow"].scores(evidence)
    expected = deletion(picture.net.module, picture.x, maps[2:], [0]).area[:, 0].tolist()
    assert values["deletion"] == pytest.approx(2 * expected)
    shifted = patch_agreement(picture.net.module, picture.x, maps, [0], shifted=True).correlation[:, 0].tolist()
    assert values["faithfulness_shifted"] == pytest.approx(shifted)
    assert all(len(column) == 4 and all(map(math.isfinite, column)) for column in values.values())


@pytest.mark.parametrize("stage", ["ordinary", "deliberate", "fading"])
def test_roads_second_tie_rule_is_road_at_equal_area(stage):
    assert BY_NAME[stage].at_equal_area


def test_exact_shares_and_the_map_at_equal_area(picture):
    """A map with ties at every percentile: at equal area, exact shares go."""
    mask = picture.mask.float()
    tied = Evidence(picture.net.module, picture.x, mask[None], [0]).removals[0]
    exact = Evidence(picture.net.module, picture.x, equal_area(mask, SEED)[None], [0]).removals[0]
    assert tied.removed[0, 0].tolist() != pytest.approx([0.8, 0.6, 0.4, 0.2], abs=0.01)
    assert exact.removed[0].flatten().tolist() == pytest.approx(2 * [0.8, 0.6, 0.4, 0.2], abs=0.001)
