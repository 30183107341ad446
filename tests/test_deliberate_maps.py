"""Maps that are right or wrong on purpose, by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from camviz.metrics.mask_scores import against_mask
from camviz.metrics.patch_agreement import SIDES, Effects, squares
from camviz.trust.deliberate import from_the_effects, from_the_mask, into_noise, wrong_maps

SIDE = 56
X, TARGET = torch.zeros(1, 3, SIDE, SIDE), torch.tensor([1])
MODULE = nn.Identity()


def by_class(_, x, target):
    """A map that shows its class: hot in one row."""
    maps = torch.zeros(len(x), SIDE, SIDE)
    maps[torch.arange(len(x)), 10 * target] = 0.75
    return maps


@pytest.fixture
def wrong():
    return {
        name: maker(MODULE, X, TARGET) for name, maker in wrong_maps(by_class, torch.tensor([[1.0, 3, 2, 0]])).items()
    }


def test_wrong_maps(wrong):
    right = by_class(MODULE, X, TARGET)
    assert torch.equal(wrong["inverted"], 1 - right)
    assert wrong["moved"].nonzero()[:, 1].unique().tolist() == [10 + SIDE // 2]
    assert wrong["another class"].nonzero()[:, 1].unique().tolist() == [20]  # class 2 is the second most probable


def test_what_leaves_on_one_side_enters_on_the_other():
    maps = torch.rand(1, SIDE, SIDE)
    moved = wrong_maps(lambda *_: maps, torch.tensor([[1.0, 0.0]]))["moved"](MODULE, X, TARGET)
    assert torch.equal(moved.roll((-28, -28), (1, 2)), maps)


@pytest.fixture
def mask():
    found = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    found[:, 11:25, 9:23] = True
    return found


def test_masks_as_maps(mask):
    maps = {name: maker(MODULE, X, TARGET) for name, maker in from_the_mask(mask, [(14, 14), (7, 7)]).items()}
    assert list(maps) == [
        "the mask",
        "the mask on 14 x 14",
        "the mask on 7 x 7",
        "the mask, blurred",
        "the mask, moved",
    ]
    assert torch.equal(maps["the mask"], mask.float())
    assert all(map_.min() >= 0 and map_.max() == 1 for map_ in maps.values())
    fits = {name: against_mask("best_iou", map_, mask).item() for name, map_ in maps.items()}
    assert fits["the mask"] == 1
    assert 1 > fits["the mask on 14 x 14"] > fits["the mask on 7 x 7"] > 0.4
    assert torch.equal(maps["the mask, moved"], mask.float().roll((14, 14), (1, 2)))


def test_the_blur_is_scipys(mask):
    blurred = from_the_mask(mask, [])["the mask, blurred"](MODULE, X, TARGET)[0].numpy()
    expected = ndimage.gaussian_filter(mask[0].numpy().astype(np.float64), 8, mode="constant", truncate=3)
    assert blurred == pytest.approx(expected / expected.max(), abs=1e-6)


def test_masks_ignore_what_the_network_is_shown(mask):
    makers = from_the_mask(mask, [(7, 7)])
    for maker in makers.values():
        assert torch.equal(maker(MODULE, X, TARGET), maker(MODULE, X + 1, TARGET + 1))


def test_the_map_that_has_seen_the_effects():
    boxes = [squares(SIDE, SIDE, side) for side in SIDES]
    drops = tuple(torch.zeros(1, len(part), dtype=torch.float64) for part in boxes)
    drops[0][0, 0] = 0.5  # only the first small square matters
    (map_,) = from_the_effects(Effects(tuple(boxes), drops), (SIDE, SIDE)).values()
    found = map_(MODULE, X, TARGET)
    assert found[0, :8, :8].eq(1).all()
    assert found.sum() == 64


def test_from_the_map_to_noise():
    makers = into_noise(by_class, 5, seed=3)
    maps = [maker(MODULE, X, TARGET) for maker in makers.values()]
    assert torch.equal(maps[0], by_class(MODULE, X, TARGET))
    noise = maps[-1]
    assert 0 <= noise.min() < 0.01
    assert 0.99 < noise.max() < 1
    assert torch.allclose(maps[2], (maps[0] + noise) / 2)
    assert torch.equal(noise, makers["noise 4"](MODULE, X + 1, TARGET))
