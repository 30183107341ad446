"""Scores against a known mask: by hand, against scikit-learn and SciPy, and at the extremes."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.spatial import distance

from camviz.metrics import SCORES
from camviz.metrics.mask_scores import against_mask, mask_scores

LOWEST, HIGHEST = -math.log(1 - 1e-7), -math.log(1e-7)  # of a pixel's cross-entropy

MAP = [[1.0, 0.5, 0.25], [0.25, 0.0, 0.5]]
MASK = [[1, 1, 0], [1, 0, 0]]  # inside 1, 1/2 and 1/4; outside 1/4, 0 and 1/2
BY_HAND = {
    "mass": 1.75 / 2.5,
    "cosine": 1.75 / math.sqrt(1.625 * 3),
    "auc": (3 + 2.5 + 1.5) / 9,
    "iou": 2 / 4,
    "best_iou": 3 / 5,  # from 1/4 up; 1/3 from 1, 2/4 from 1/2
    "pointing": 1.0,
    "l2": math.sqrt((0.5**2 + 0.75**2 + 0.25**2 + 0.5**2) / 6),
    "bce": (math.log(2) + math.log(4) + math.log(4 / 3) + math.log(2) + 2 * LOWEST) / 6,
}
# Of a mask that holds this share of the pixels.
PERFECT = {
    **dict.fromkeys(["mass", "cosine", "auc", "iou", "best_iou", "pointing"], lambda share: 1.0),
    "l2": lambda share: 0.0,
    "bce": lambda share: LOWEST,
}
BLANK = {
    **dict.fromkeys(["mass", "cosine", "iou", "best_iou", "pointing"], lambda share: 0.0),
    "auc": lambda share: 0.5,
    "l2": math.sqrt,
    "bce": lambda share: share * HIGHEST + (1 - share) * LOWEST,
}
ONES = {
    **dict.fromkeys(["mass", "iou", "best_iou", "pointing"], lambda share: share),
    "cosine": math.sqrt,
    "auc": lambda share: 0.5,
    "l2": lambda share: math.sqrt(1 - share),
    "bce": lambda share: share * LOWEST + (1 - share) * HIGHEST,
}

OF_SCIKIT_LEARN = ("auc", "iou", "l2", "bce")
every_score = pytest.mark.parametrize("name", mask_scores())
# The same for comparisons with references; those of scikit-learn count as slow, so that the fast tests do without it.
every_reference = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in OF_SCIKIT_LEARN else []) for name in mask_scores()],
)


def close(value, expected):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def random_masks(*size, seed=0):
    """Masks of very different shares, none empty or full."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(size, generator=generator)
    masks = noise < torch.rand(*size[:-2], 1, 1, generator=generator)
    masks[..., 0, 0], masks[..., -1, -1] = True, False
    return masks


def random_maps(*size, seed=1, steps=None):
    """Maps strictly between 0 and 1; with steps, of a few values only, 0 and 1 among them."""
    maps = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.001 + 0.998 * maps if steps is None else (maps * steps).round() / steps


def test_the_registry():
    """Titles and sentences stand in tables, each for one score."""
    scores = [SCORES[name] for name in mask_scores()]
    assert {score.name: score.better for score in scores} == {
        **dict.fromkeys(["mass", "best_iou", "auc", "cosine", "iou", "pointing"], "higher"),
        **dict.fromkeys(["l2", "bce"], "lower"),
    }
    assert all(score.needs == {"mask"} and score.cost == 0 for score in scores)
    assert len({score.title for score in scores} - {""}) == len(scores)


@every_score
def test_by_hand(name):
    close(against_mask(name, torch.tensor(MAP), torch.tensor(MASK).bool()), BY_HAND[name])


@pytest.mark.parametrize(
    ("values", "expected"), [([0.7, 0.7, 0.7, 0.1], 2 / 3), ([0.7, 0.1, 0.7, 0.7], 1 / 3), ([0.6, 0.6, 0.7, 0], 0)]
)
def test_pointing_shares_what_ties(values, expected):
    close(against_mask("pointing", torch.tensor(values).view(2, 2), torch.tensor([[1, 1], [0, 0]]).bool()), expected)


def test_half_heat_is_hot():
    mask = torch.tensor([[1, 1, 0, 0]]).bool()
    close(against_mask("iou", torch.tensor([[0.5, 0.499, 0.5, 0.499]]), mask), 1 / 3)


def pixels_of(map_, mask):
    return map_.flatten().numpy(), mask.flatten().numpy()


def best_by_force(heat, inside):
    """The IoU at every value that occurs and between any two, other than 0."""
    values = np.unique(heat)
    thresholds = [t for t in [*values, *(values[1:] + values[:-1]) / 2] if t > 0]
    return max(((heat >= t) & inside).sum() / ((heat >= t) | inside).sum() for t in thresholds)


def sklearn_metrics():
    """scikit-learn's metrics, which only tests marked as slow import."""
    from sklearn import metrics

    return metrics


REFERENCES = {
    "mass": lambda heat, inside: heat[inside].sum() / heat.sum(),
    "cosine": lambda heat, inside: 1 - distance.cosine(heat, inside.astype(float)),
    "auc": lambda heat, inside: sklearn_metrics().roc_auc_score(inside, heat),
    "iou": lambda heat, inside: sklearn_metrics().jaccard_score(inside, heat >= 0.5),
    "best_iou": best_by_force,
    "pointing": lambda heat, inside: inside[heat == heat.max()].mean(),
    "l2": lambda heat, inside: sklearn_metrics().root_mean_squared_error(inside.astype(float), heat),
    "bce": lambda heat, inside: sklearn_metrics().log_loss(inside, np.clip(heat, 1e-7, 1 - 1e-7)),
}


@pytest.mark.parametrize("steps", [None, 1, 2, 4, 40], ids=lambda steps: "all apart" if steps is None else f"1/{steps}")
@every_reference
def test_against_references(name, steps):
    """Fine and with ties."""
    maps, masks = random_maps(20, 11, 7, steps=steps), random_masks(20, 11, 7)
    close(
        against_mask(name, maps, masks), [REFERENCES[name](*pixels_of(*pair)) for pair in zip(maps, masks, strict=True)]
    )


@every_reference
def test_against_references_at_full_size(name):
    """A smooth map of the kind that networks give, in single precision, and a disc beside its middle, or all but it.

    The ranks of so many pixels add up to a thousand million.
    """
    i, j = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    heat = torch.exp(-((i - 100) ** 2 + (j - 90) ** 2) / 3000)
    disc = (i - 120) ** 2 + (j - 110) ** 2 < 35**2
    heat = (heat * 255).round() / 255  # so that pixels tie
    for mask in (disc, ~disc):
        close(against_mask(name, heat, mask), REFERENCES[name](*pixels_of(heat.double(), mask)))


@every_score
def test_the_mask_itself_is_best(name):
    """No other map scores better, and the complement and a blank map score worse, whichever way is better."""
    score, sign = partial(against_mask, name), 1 if SCORES[name].better == "higher" else -1
    masks = random_masks(30, 9, 8)
    perfect = sign * score(masks.float(), masks)
    close(sign * perfect, [PERFECT[name](mask.double().mean().item()) for mask in masks])
    assert (perfect > sign * score((~masks).float(), masks)).all()
    assert (perfect > sign * score(torch.zeros(30, 9, 8), masks)).all()
    for steps in (None, 1, 3):
        assert (perfect >= sign * score(random_maps(30, 9, 8, steps=steps), masks)).all()


@every_score
def test_a_better_map_scores_better(name):
    """A blurred mask, moved further and further away."""
    i, j = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    mask = (i - 20) ** 2 + (j - 12) ** 2 < 36
    maps = torch.stack([torch.exp(-((i - 20) ** 2 + (j - 12 - away) ** 2) / 60) for away in (0, 4, 8, 16)])
    scores = against_mask(name, maps, mask.expand(4, 40, 40))
    steps = scores.diff() * (1 if SCORES[name].better == "higher" else -1)
    assert (steps <= 0).all()
    assert steps.sum() < 0
    if name != "pointing":
        assert (steps < 0).all()


@every_score
def test_blank_maps_and_maps_of_ones(name):
    masks = random_masks(10, 6, 5)
    shares = masks.double().mean((1, 2)).tolist()
    close(against_mask(name, torch.zeros(10, 6, 5), masks), [BLANK[name](share) for share in shares])
    close(against_mask(name, torch.ones(10, 6, 5), masks), [ONES[name](share) for share in shares])


@every_reference
def test_masks_of_one_pixel_and_of_all_but_one(name):
    maps = random_maps(6, 3, 4)
    one = torch.zeros(6, 3, 4, dtype=torch.bool)
    one[:, 1, 2] = True
    for masks in (one, ~one):
        for steps in (None, 2):
            maps = random_maps(6, 3, 4, steps=steps)
            expected = [REFERENCES[name](*pixels_of(*pair)) for pair in zip(maps, masks, strict=True)]
            close(against_mask(name, maps, masks), expected)
        close(against_mask(name, masks.float(), masks), [PERFECT[name](masks[0].double().mean().item())] * 6)
        close(against_mask(name, torch.zeros(6, 3, 4), masks), [BLANK[name](masks[0].double().mean().item())] * 6)


def test_cross_entropy_stays_finite():
    """A map that is quite sure, and wrong, costs as much as one in ten million."""
    wrong = against_mask("bce", torch.tensor([[0.0, 1.0]]), torch.tensor([[True, False]]))
    close(wrong, HIGHEST)
    close(
        against_mask("bce", torch.tensor([[1e-9, 1 - 1e-12]], dtype=torch.float64), torch.tensor([[True, False]])),
        HIGHEST,
    )


def test_best_iou_is_no_less_than_any_other():
    maps, masks = random_maps(50, 8, 8, steps=20), random_masks(50, 8, 8)
    best, at_half = against_mask("best_iou", maps, masks), against_mask("iou", maps, masks)
    assert (best >= at_half).all()
    assert (best > at_half).any()
    close(against_mask("best_iou", maps / 1000, masks), best)  # only the order counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@every_score
def test_scores_are_double_whatever_the_maps(name, dtype):
    """Nothing is rounded on the way: sums of single precision would be off in the seventh digit."""
    maps, masks = random_maps(3, 50, 40).to(dtype), random_masks(3, 50, 40)
    scores = against_mask(name, maps, masks)
    assert scores.dtype == torch.float64
    assert torch.equal(scores, against_mask(name, maps.double(), masks))


@every_score
def test_a_batch_gives_what_each_gives_alone(name):
    maps, masks = random_maps(2, 3, 4, 9, 5, steps=7), random_masks(2, 3, 4, 9, 5)
    maps[1, 1, 1], maps[0, 2, 3] = 0, 1
    together = against_mask(name, maps, masks)
    assert together.shape == (2, 3, 4)
    for place in np.ndindex(2, 3, 4):
        assert torch.equal(together[place], against_mask(name, maps[place], masks[place]))
    assert against_mask(name, maps[:0], masks[:0]).shape == (0, 3, 4)


@every_score
def test_pixels_have_no_order(name):
    """Turned by the strides alone, or shuffled: a score sees pairs of values."""
    maps, masks = random_maps(4, 12, 10, steps=9), random_masks(4, 12, 10)
    expected = against_mask(name, maps, masks)
    close(against_mask(name, maps.mT, masks.mT), expected)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    close(against_mask(name, *(x.flatten(1)[:, order].view(4, 12, 10) for x in (maps, masks))), expected)


@every_score
def test_inputs_are_left_alone(name):
    maps, masks = random_maps(2, 6, 6), random_masks(2, 6, 6)
    kept = maps.clone(), masks.clone()
    against_mask(name, maps, masks)
    assert torch.equal(maps, kept[0])
    assert torch.equal(masks, kept[1])


@pytest.mark.parametrize(
    ("maps", "masks"), [((3, 4), (4, 3)), ((2, 3, 4), (1, 3, 4)), ((2, 3, 4), (3, 4)), ((12,), (12,)), ((), ())]
)
@every_score
def test_shapes_must_agree(name, maps, masks):
    with pytest.raises(ValueError, match=r"the same shape \(\.\.\., H, W\), got") as error:
        against_mask(name, torch.rand(maps), torch.ones(masks, dtype=torch.bool))
    assert str(error.value).endswith(f"got {maps} and {masks}")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@every_score
def test_masks_must_be_bool(name, dtype):
    with pytest.raises(ValueError, match=f"masks must be bool, got {dtype}"):
        against_mask(name, torch.rand(2, 3), torch.tensor(MASK, dtype=dtype))


@pytest.mark.parametrize("full", [False, True])
@every_score
def test_masks_must_not_be_empty_or_full(name, full):
    """One in a batch is enough."""
    masks = random_masks(2, 3, 4, 5)
    masks[1, 2] = full
    for bad in (masks, masks[1, 2]):
        with pytest.raises(ValueError, match="a mask must contain some pixels, but not all"):
            against_mask(name, torch.rand(bad.shape), bad)
