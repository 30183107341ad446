"""`camviz.evaluate`: the table is what each score says on its own, and trust is what the table says."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

import camviz
from camviz import shapes
from camviz.metrics import Evidence
from camviz.metrics.mask_scores import against_mask
from camviz.metrics.patch_agreement import PASSES
from camviz.recipe import Recipe
from camviz.trust.equal_area import equal_area
from camviz.trust.evaluation import TRUST_COLUMNS, accuracies, trust
from camviz.trust.ranked_maps import default_recipes, ranked_recipes

QUICK = ("complexity", "average_drop", "gini")


@dataclass
class Own:
    """A picture with a mask of one's own."""

    image: np.ndarray
    mask: np.ndarray
    label: int | None = None


@pytest.fixture(scope="module")
def net():
    return camviz.load_model("shapes-textured", "cpu")


@pytest.fixture(scope="module")
def samples():
    return [shapes.sample(index) for index in range(4)]


@pytest.fixture(scope="module")
def found(net, samples):
    return camviz.evaluate(net, samples, scores=QUICK, seed=3)


def test_seventeen_maps_of_every_picture(found, net):
    assert found.left_out == []
    assert len(found.table) == 4 * 17
    assert found.table.groupby("picture")["map"].nunique().eq(17).all()
    recipes = default_recipes(net)
    assert list(recipes)[:2] == ["gradcam++, layer4", "gradcam++, layer3"]
    assert list(recipes)[-2:] == ["centre", "random"]
    merged = found.table[found.table["map"] == "layercam, merged"]
    assert set(merged["rule"]) == {"product"}
    assert set(merged["layers"]) == {", ".join(net.layers)}
    assert found.table["network"].eq("shapes-textured").all()


def test_every_row_is_what_its_map_scores_alone(found, net, samples):
    for number, sample in enumerate(samples[:2]):
        x = net.preprocess(sample.image)
        mask = torch.from_numpy(sample.mask)[None]
        for name, recipe in list(default_recipes(net).items())[3:6]:
            map_ = camviz.explain(net.module, x, torch.tensor([sample.label]), recipe)
            row = found.table[(found.table["picture"] == number) & (found.table["map"] == name)].iloc[0]
            assert row["best_iou"] == pytest.approx(against_mask("best_iou", map_, mask).item(), abs=1e-6)
            alone = Evidence(net.module, x, map_[None], seed=3)
            for score in QUICK:
                assert row[score] == pytest.approx(alone.values(score).item(), abs=1e-5)
            assert row["probability"] == pytest.approx(net.module(x).softmax(1)[0, sample.label].item(), abs=1e-5)


def test_the_same_seed_gives_the_same_study(found, net, samples):
    again = camviz.evaluate(net, samples, scores=QUICK, seed=3)
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(again.trust, found.trust)


def test_pictures_one_after_the_other_are_the_same_study(found, net, samples):
    parts = [camviz.evaluate(net, [sample], scores=QUICK, seed=3).table for sample in samples]
    whole = pd.concat([part.assign(picture=number) for number, part in enumerate(parts)], ignore_index=True)
    pd.testing.assert_frame_equal(whole, found.table)


def test_trust_is_what_the_table_says(found):
    assert list(found.trust.columns) == list(TRUST_COLUMNS)
    assert list(found.trust.index) == list(QUICK)
    expected = []
    for _, picture in found.table.groupby("picture"):
        rows = picture[["best_iou", "complexity"]].to_numpy()
        pairs = [(a, b) for a in rows for b in rows if a[0] - b[0] > 0.1]
        # Complexity is better if it is lower.
        expected.append(np.mean([0.5 if a[1] == b[1] else float(a[1] < b[1]) for a, b in pairs]))
    assert accuracies(found.table, "complexity").loc["shapes-textured"].tolist() == pytest.approx(expected)
    assert found.trust.loc["complexity", "pair_accuracy"] == pytest.approx(np.mean(expected))
    assert found.trust.loc["complexity", "pictures"] == 4
    assert found.trust[["low", "high"]].isna().all(axis=None)  # of 4 pictures


def test_a_score_that_is_the_truth_and_its_opposite(found):
    table = found.table.assign(gini=found.table["best_iou"], complexity=found.table["best_iou"])
    result = trust(table, ["gini", "complexity"])
    assert result["pair_accuracy"].tolist() == [1, 0]  # a lower complexity is better
    assert result["tau"].tolist() == [1, -1]
    against_itself = trust(table, ["best_iou"])
    assert against_itself.loc["best_iou", "pair_accuracy"] == 1


def test_several_networks_count_equally(found):
    other = found.table[found.table["picture"] < 2].assign(network="another", gini=-found.table["gini"])
    both = pd.concat([found.table, other])
    one, two = (accuracies(table, "gini").to_numpy()[0] for table in (found.table, other))
    assert two == pytest.approx(1 - one[:2])
    expected = (one.mean() + two.mean()) / 2
    assert trust(both, ["gini"]).loc["gini", "pair_accuracy"] == pytest.approx(expected)


def test_what_the_network_takes_for_something_else_is_left_out(net, samples):
    mistaken = replace(samples[1], shapes=(replace(samples[1].shapes[0], label=5),))
    result = camviz.evaluate(net, [samples[0], mistaken], {"a": Recipe("gradcam", net.layers)}, ["complexity"])
    seen = net.labels[samples[1].label]
    assert result.left_out == [(1, f"the network sees {seen}, not {net.labels[5]}")]
    assert set(result.table["picture"]) == {0}


def test_without_a_label_the_predicted_class_is_explained(net, samples):
    own = [Own(sample.image, sample.mask) for sample in samples[:2]]
    recipes = {"a": Recipe("gradcam", net.layers), "b": Recipe("centre", net.layers[:1])}
    result = camviz.evaluate(net, own, recipes, ["complexity"])
    named = camviz.evaluate(net, samples[:2], recipes, ["complexity"])
    pd.testing.assert_frame_equal(result.table, named.table)


def test_masks_of_any_size_are_seen_as_the_picture_is(net, samples):
    large = Own(*(array.repeat(2, 0).repeat(2, 1) for array in (samples[0].image, samples[0].mask)))
    result = camviz.evaluate(net, [large], {"a": Recipe("gradcam", net.layers)}, ["complexity"], fit="squeeze")
    plain = camviz.evaluate(net, samples[:1], {"a": Recipe("gradcam", net.layers)}, ["complexity"])
    assert result.table["best_iou"].item() == pytest.approx(plain.table["best_iou"].item(), abs=0.05)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((100, 224), bool), r"case 0: the mask must be bool and of the picture's size \(224, 224\), got bool"),
        (np.full((224, 224), 127, np.uint8), "case 0: the mask must be bool .* got uint8"),
    ],
)
def test_a_wrong_mask_is_refused(mask, words, net, samples):
    with pytest.raises(ValueError, match=words):
        camviz.evaluate(net, [Own(samples[0].image, mask)], scores=["complexity"])


@pytest.mark.parametrize(("value", "word"), [(False, "empty"), (True, "everything")])
def test_an_empty_or_full_mask_is_left_out(value, word, net, samples):
    result = camviz.evaluate(net, [Own(samples[0].image, np.full((224, 224), value))], scores=["complexity"])
    assert result.left_out == [(0, f"the mask is {word} in the network's view")]
    assert result.table.empty
    assert result.trust.loc["complexity", "pictures"] == 0
    assert np.isnan(result.trust.loc["complexity", "pair_accuracy"])


def test_what_is_unknown_is_refused(net, samples):
    with pytest.raises(ValueError, match="unknown score 'beauty'; choose from arcc"):
        camviz.evaluate(net, samples[:1], scores=["beauty"])
    with pytest.raises(ValueError, match="has 6 classes, so no class 6"):
        camviz.evaluate(net, [Own(samples[0].image, samples[0].mask, 6)])


def test_seventeen_maps_share_the_passes_of_a_picture(net, samples):
    """The shared passes are those of one map; the captures too, but for a few."""
    counts = []
    for recipes in (default_recipes(net), {"a": Recipe("gradcam++", net.layers)}):
        seen = []
        handle = net.module.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(len(args[0])))
        camviz.evaluate(net, samples[:1], recipes, ["faithfulness", "fidelity", "infidelity", "gini"])
        handle.remove()
        counts.append(sum(seen))
    assert counts[1] >= PASSES
    assert counts[0] == counts[1]


def test_progress_counts_cases_and_can_stop(net, samples):
    seen = []
    recipes = {"a": Recipe("centre", net.layers[:1])}
    camviz.evaluate(net, samples[:3], recipes, ["complexity"], progress=lambda *now: seen.append(now))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_equal_areas_keep_the_order_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, 2, 20, 30, generator=generator) ** torch.tensor([0.5, 1, 6])[:, None, None, None]
    masks = torch.rand(3, 2, 20, 30, generator=generator) > 0.7
    same = equal_area(maps)
    assert same.amax((2, 3)).eq(1).all()
    assert same.mean((2, 3)).tolist() == pytest.approx(np.full((3, 2), 0.2), abs=1e-3)
    assert torch.equal(same.flatten(2).sort(-1).values[0, 0], same.flatten(2).sort(-1).values[2, 1])
    for name in ("best_iou", "auc", "pointing"):
        assert torch.allclose(against_mask(name, same, masks), against_mask(name, maps, masks))
    assert torch.equal(equal_area(same), same)


def test_equal_pixels_get_an_order_by_the_seed():
    maps = torch.zeros(1, 20, 30)
    maps[0, :2] = 1
    first, again, other = equal_area(maps, 1), equal_area(maps, 1), equal_area(maps, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first[0, :2].min() > first[0, 2:].max()


def test_with_equal_areas_size_decides_nothing(net, samples):
    result = camviz.evaluate(net, samples[:2], scores=["complexity", "gini"], same_area=True)
    assert result.table["complexity"].tolist() == pytest.approx([0.2] * len(result.table), abs=1e-3)
    assert np.ptp(result.table["gini"]) < 1e-3


def test_rules_and_mirrors_are_in_the_names(net):
    found = ranked_recipes(net, ["gradcam"], net.layers[:1], ["product", "mean"], mirror_averaged=True)
    assert found == {
        f"gradcam, {net.layers[0]}": Recipe("gradcam", net.layers[:1]),
        "gradcam, merged": Recipe("gradcam", net.layers),
        "gradcam, merged (mirror-averaged)": Recipe("gradcam", net.layers, mirror_averaged=True),
        "gradcam, merged: mean": Recipe("gradcam", net.layers, "mean"),
        "gradcam, merged: mean (mirror-averaged)": Recipe("gradcam", net.layers, "mean", mirror_averaged=True),
        "centre": Recipe("centre", net.layers[-1:]),
        "random": Recipe("random", net.layers[-1:]),
    }
