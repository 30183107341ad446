"""`camviz.layer_check`: on a network whose layers are right and wrong on purpose, and on a real one."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from small_networks import with_colour_layers

import camviz
from camviz import shapes
from camviz.trust.layer_check import layer_check
from camviz.trust.mosaics import mosaic
from camviz.trust.resampling import interval

SIDE = 32


@dataclass
class Own:
    """A picture with a mask of one's own."""

    image: np.ndarray
    mask: np.ndarray
    label: int | None = 1


# Red shows the object, green what is around it, blue the right half of the picture.
RED, GREEN, BLUE, RED_AND_BLUE = (
    ([1.0, 0.0, 0.0], 0.0),
    ([0.0, 1.0, 0.0], 0.0),
    ([0.0, 0.0, 1.0], 0.0),
    ([1.0, 0, 1], 0.0),
)
FLAT = ([0.0, 0.0, 0.0], 1.0)


@pytest.fixture(scope="module")
def textured():
    return camviz.load_model("shapes-textured", "cpu")


@pytest.fixture
def net(textured):
    """A function that makes a network of the layers given, in their order."""
    return partial(with_colour_layers, textured, SIDE)


def case(number, label=1):
    """A square of 8 x 8 at its own place in the left half; the right half is blue."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[number % 24 : number % 24 + 8, number % 7 : number % 7 + 8] = True
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[mask, 0] = 255
    image[~mask, 1] = 255
    image[:, SIDE // 2 :, 2] = 255
    return Own(image, mask, label)


def cases(count):
    return [case(number) for number in range(count)]


def test_a_layer_that_shows_everything_else(net):
    """By hand: `right` is the mask, `wrong` its opposite, so that together they are blank."""
    found = layer_check(net(right=RED, wrong=GREEN), cases(30), "gradcam")
    assert found.sentences == (
        "The map of wrong fits worse than chance (AUC 0.00): without it the merge's best IoU is 1.00 instead of 0.00.",
    )
    table = found.table
    assert table.index.tolist() == ["right", "wrong"]
    assert table["auc"].tolist() == [1, 0]
    assert table["best_iou"].tolist() == [1, 0]
    assert table["without"].tolist() == [0, 1]
    assert table["gain"].tolist() == [0, 1]
    assert table["harms"].tolist() == [False, True]
    assert table["blank"].tolist() == [0, 0]
    assert (found.merged.value, found.merged.n) == (0, 30)
    assert found.left_out == []
    assert found.rows.groupby("picture")["map"].apply(list)[3] == [
        *("right", "wrong", "merged", "without right", "without wrong")
    ]
    assert found.rows.loc[found.rows["map"] == "merged", "blank"].all()


def test_a_layer_that_shows_too_much(net):
    """By hand: `part` is 1 on the object and on the right half, where no object is, and 0 elsewhere."""
    found = layer_check(net(part=RED_AND_BLUE, right=RED), cases(30), "gradcam")
    assert found.sentences == (
        "No layer is seen to harm the merge on 30 pictures: its best IoU is 1.00, and at most 1.00 without one of the "
        "layers.",
    )
    # Of the 960 pixels outside the object, 512 tie with it and 448 are darker.
    assert found.table.loc["part", "auc"] == pytest.approx((0.5 * 512 + 448) / 960)


def test_a_layer_that_is_blank(net):
    found = layer_check(net(right=RED, also=RED, flat=FLAT), cases(30), "gradcam")
    assert found.sentences == (
        "The map of flat fits no better than chance (AUC 0.50, blank on 30 of 30 pictures): without it the merge's "
        "best IoU is 1.00 instead of 0.00.",
    )
    assert found.table["gain"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(("count", "has_interval"), [(0, False), (1, False), (11, False), (12, True), (29, True)])
def test_few_pictures(net, count, has_interval):
    found = layer_check(net(right=RED, wrong=GREEN), cases(count), "gradcam")
    pictures = "1 picture" if count == 1 else f"{count} pictures"
    assert found.sentences == (f"No verdict from {pictures}: at least 30 are needed.",)
    assert not found.table["harms"].any()
    assert found.merged.n == count
    bounds = found.table[
        [f"{name}_{end}" for name in ("auc", "best_iou", "without", "gain") for end in ("low", "high")]
    ]
    assert bounds.notna().all(axis=None) == has_interval
    assert bounds.isna().all(axis=None) != has_interval


def test_what_is_left_out(net):
    empty, full = (replace(case(0), mask=np.full((SIDE, SIDE), value)) for value in (False, True))
    found = layer_check(net(right=RED, wrong=GREEN), [empty, case(1), full, case(2, label=0), case(3, None)], "gradcam")
    assert found.left_out == [
        (0, "the mask is empty in the network's view"),
        (2, "the mask is everything in the network's view"),
        (3, "the network sees yes, not no"),
    ]
    assert found.rows["picture"].unique().tolist() == [1, 4]
    assert found.merged.n == 2


def test_what_is_refused(net):
    two = net(right=RED, wrong=GREEN)
    with pytest.raises(ValueError, match=r"left out of a merge of two or more, got \['right'\]"):
        layer_check(two, cases(1), layers="right")
    with pytest.raises(ValueError, match="unknown method 'beauty'"):
        layer_check(two, cases(1), "beauty")
    with pytest.raises(ValueError, match="unknown merging rule 'sum'"):
        layer_check(two, cases(1), rule="sum")
    with pytest.raises(ValueError, match="case 0: the mask must be bool"):
        layer_check(two, [replace(case(0), mask=np.zeros((SIDE, SIDE), np.uint8))])


def mosaics(count):
    """Four pictures of one colour each, of which the red one shows class 1; it goes round."""
    views = {1: (255, 0, 0), 0: (0, 255, 0), 2: (0, 0, 255), 3: (0, 0, 0)}
    made = []
    for number in range(count):
        labels = np.roll([1, 0, 2, 3], number).tolist()
        pictures = [np.full((SIDE, SIDE, 3), views[label], np.uint8) for label in labels]
        made.append(mosaic(pictures, labels, labels.index(1)))
    return made


# Whatever is in a mosaic, the network predicts its class 0.
MANY = {"labels": ("green", "red", "blue", "black"), "others": (10.0, 0.0, 0.0)}


def test_a_layer_that_is_hot_in_the_wrong_quarter(net):
    """By hand: the shares of heat in the red quarter are 1 and 0, and a blank merge has none."""
    found = layer_check(net(right=RED, wrong=GREEN, **MANY), mosaics(30), "gradcam")
    assert found.sentences == (
        "The map of wrong fits worse than chance (share of heat inside 0.00, chance 0.25): without it the merge's "
        "share of heat inside is 1.00 instead of 0.00.",
    )
    assert (found.truth, found.left_out, found.merged.value, found.merged.n) == ("mass", [], 0, 30)
    assert found.table["mass"].tolist() == [1, 0]
    assert found.table["chance"].tolist() == [0.25, 0.25]
    assert found.table["above_chance"].tolist() == [0.75, -0.25]
    assert found.table["gain"].tolist() == [0, 1]
    assert not {"auc", "best_iou"} & {*found.table, *found.rows}


def test_a_layer_that_is_hot_in_two_quarters(net):
    """By hand, in the mean: 1 in the red quarter and 1/2 in the blue one. A product leaves the red one alone."""
    both = net(two=RED_AND_BLUE, right=RED, **MANY)
    assert layer_check(both, mosaics(30), "gradcam", rule="mean").sentences == (
        "The map of two fits better than chance (share of heat inside 0.50, chance 0.25), but without it the merge's "
        "share of heat inside is 1.00 instead of 0.67.",
    )
    assert layer_check(both, mosaics(30), "gradcam").sentences == (
        "No layer is seen to harm the merge on 30 pictures: its share of heat inside is 1.00, and at most 1.00 without "
        "one of the layers.",
    )


def test_a_layer_that_is_blank_in_mosaics(net):
    found = layer_check(net(right=RED, also=RED, flat=FLAT, **MANY), mosaics(30), "gradcam")
    assert found.sentences == (
        "The map of flat fits no better than chance (share of heat inside 0.00, chance 0.25, blank on 30 of 30 "
        "pictures): without it the merge's share of heat inside is 1.00 instead of 0.00.",
    )
    assert found.table.loc["flat", "above_chance"] == 0


def test_the_share_of_heat_in_masks(net):
    """By hand: heat everywhere outside 64 of 1024 pixels, or on them and on the 512 of the blue half."""
    found = layer_check(net(wrong=GREEN, part=RED_AND_BLUE), cases(30), "gradcam", truth="mass")
    assert found.table["chance"].tolist() == [64 / 1024] * 2
    assert found.table["mass"].tolist() == pytest.approx([0, 64 / 576])
    assert found.table["above_chance"].tolist() == pytest.approx([-64 / 1024, 64 / 576 - 64 / 1024])


@pytest.mark.parametrize("count", [0, 1, 12])
def test_few_mosaics(net, count):
    found = layer_check(net(right=RED, wrong=GREEN, **MANY), mosaics(count), "gradcam", truth="mass")
    assert found.sentences[0].startswith("No verdict from ")
    assert found.table["mass_low"].notna().all() == (count == 12)


def test_what_is_refused_of_mosaics(net):
    two = net(right=RED, wrong=GREEN, **MANY)
    with pytest.raises(ValueError, match="should not fill a mosaic's quarter: its truth is 'mass'"):
        layer_check(two, mosaics(1), truth="best_iou")
    with pytest.raises(ValueError, match="only some of the cases are mosaics"):
        layer_check(two, [*mosaics(1), case(0)])
    with pytest.raises(ValueError, match="unknown truth 'auc'; choose from best_iou, mass"):
        layer_check(two, cases(1), truth="auc")


def test_the_rule_decides(net):
    """By hand: the darkest layer has a veto in the minimum. In the mean, two right layers outvote it; one does not."""
    made = net(right=RED, also=RED, wrong=GREEN)
    assert layer_check(made, cases(30), "gradcam", rule="minimum").table["harms"].tolist() == [False, False, True]
    assert layer_check(made, cases(30), "gradcam", rule="mean").table["gain"].tolist() == [-1, -1, 0]


def test_progress_counts_cases_and_can_stop(net):
    told = []
    layer_check(net(right=RED, wrong=GREEN), cases(3), "gradcam", progress=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]

    def stop(*at):
        raise KeyboardInterrupt(at)

    with pytest.raises(KeyboardInterrupt):
        layer_check(net(right=RED, wrong=GREEN), cases(3), "gradcam", progress=stop)


def test_scores_are_those_of_evaluate(textured):
    """The same maps by recipes; the table is the mean of the rows with the intervals of other studies."""
    samples = [shapes.sample(index) for index in range(3)]
    layers = textured.layers
    found = layer_check(textured, samples, "layercam", rule="geometric mean", seed=3)
    recipes = {layer: camviz.Recipe("layercam", (layer,)) for layer in layers}
    recipes["merged"] = camviz.Recipe("layercam", layers, "geometric mean")
    for layer in layers:
        rest = tuple(other for other in layers if other != layer)
        recipes[f"without {layer}"] = camviz.Recipe("layercam", rest, "geometric mean")
    expected = camviz.evaluate(textured, samples, recipes, []).table[["picture", "map", "auc", "best_iou"]]
    pd.testing.assert_frame_equal(found.rows[["picture", "map", "auc", "best_iou"]], expected, atol=1e-6)
    of_layer = expected[expected["map"] == layers[1]]
    assert found.table.loc[layers[1], "auc"] == pytest.approx(of_layer["auc"].mean(), abs=1e-6)


def test_intervals(net):
    """Of the gain for all layers together, of the rest for each by itself."""
    found = layer_check(net(right=RED, blue=BLUE, wrong=GREEN), [*cases(20), *mixed(12)], "gradcam", seed=5)
    rows = found.rows.pivot_table(index="picture", columns="map", values=["auc", "best_iou"])
    gain = (rows["best_iou"]["without wrong"] - rows["best_iou"]["merged"]).to_numpy()
    assert np.ptp(gain) > 0
    expected = interval(gain, level=1 - 0.05 / 3, seed=5)
    assert found.table.loc["wrong", ["gain", "gain_low", "gain_high"]].tolist() == [
        *(expected.value, expected.low, expected.high)
    ]
    expected = interval(rows["auc"]["wrong"].to_numpy(), seed=5)
    assert found.table.loc["wrong", ["auc", "auc_low", "auc_high"]].tolist() == [
        *(expected.value, expected.low, expected.high)
    ]


def mixed(count):
    """Cases whose object reaches into the blue half, and is half as green as what is around it."""
    made = []
    for number in range(count):
        moved = case(number)
        moved.mask = np.roll(moved.mask, 12, 1)
        moved.image = np.roll(moved.image, 12, 1)
        moved.image[:, :, 2] = case(0).image[:, :, 2]
        moved.image[moved.mask, 1] = 20 * number
        made.append(moved)
    return made


def test_the_finest_layer_of_a_real_network():
    """Its Grad-CAM++ map is dark on large shapes, and after stretching its darkest place is a veto."""
    found = layer_check(camviz.load_model("shapes-efficientnet-lite0", "cpu"), [shapes.sample(i) for i in range(32)])
    assert found.merged.n >= 30
    assert found.table.index[found.table["harms"].astype(bool)].tolist() == ["_blocks.2._swish"]
    (sentence,) = found.sentences
    assert sentence.startswith("The map of _blocks.2._swish fits no better than chance (AUC 0.")
    assert found.table.loc["_blocks.2._swish", "gain"] > 0.05


def test_mirror_averaged_merges_are_those_of_the_recipe(textured):
    """On a real network, whose map of a mirrored picture is another one."""
    samples = [shapes.sample(index) for index in range(3)]
    found = layer_check(textured, samples, mirror_averaged=True)
    recipe = camviz.Recipe("gradcam++", textured.layers, mirror_averaged=True)
    by_recipe = camviz.evaluate(textured, samples, {"a": recipe}, ["complexity"])
    assert found.merged.value == pytest.approx(by_recipe.table["best_iou"].mean(), abs=1e-4)
    assert found.merged.value != pytest.approx(layer_check(textured, samples).merged.value, abs=1e-3)
