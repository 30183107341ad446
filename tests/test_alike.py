"""Plain comparisons of maps by hand, against SciPy, NumPy and scikit-image, and where they are undefined."""

import math

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats
from skimage.metrics import structural_similarity

from camviz.metrics.similarity import likeness


def random_maps(*size, steps=None, seed=0):
    """Without ties, or of a few values only."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random(size) if steps is None else rng.integers(0, steps + 1, size) / steps)


def ssim_by_hand(first, second):
    """Wang et al.'s formula in every window of 7 x 7 pixels that lies inside, with unbiased (co)variances."""
    a, b = (sliding_window_view(map_, (7, 7)).reshape(-1, 49) for map_ in (first, second))
    mean_a, mean_b = a.mean(1), b.mean(1)
    covariance = ((a - mean_a[:, None]) * (b - mean_b[:, None])).sum(1) / 48
    brightness = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (a.var(1, ddof=1) + b.var(1, ddof=1) + 0.03**2)
    return (brightness * structure).mean()


def one(reference, map_):
    (found,) = likeness(reference, map_[None])
    return found


def test_a_map_is_like_itself():
    map_ = random_maps(12, 9)
    found = one(map_, map_.clone())
    assert (found.ssim, found.pearson, found.spearman) == pytest.approx((1, 1, 1), abs=1e-12)


def test_a_map_turned_inside_out():
    map_ = random_maps(12, 9)
    found = one(map_, 1 - map_)
    assert (found.pearson, found.spearman) == pytest.approx((-1, -1), abs=1e-12)
    assert found.ssim < 0


def test_by_hand():
    """Deviations -1.5, -0.5, 0.5, 1.5 and -1, 0, -0.5, 1.5: 3.5 / sqrt(5 * 3.5); ranks 1, 3, 2, 4: 1 - 6 * 2 / 60."""
    found = one(torch.tensor([[0.0, 1], [2, 3]]).double() / 3, torch.tensor([[0.0, 1], [0.5, 2.5]]).double() / 2.5)
    assert found.pearson == pytest.approx(math.sqrt(0.7), abs=1e-12)
    assert found.spearman == pytest.approx(0.8, abs=1e-12)
    assert math.isnan(found.ssim)  # smaller than its window


@pytest.mark.parametrize("steps", [None, 1, 2, 5])
def test_correlations_against_libraries(steps):
    """The average of the ranks where values tie."""
    reference, maps = random_maps(10, 13, steps=steps, seed=1), random_maps(6, 10, 13, steps=steps, seed=2)
    maps[2:4] += reference
    maps[4] -= 3 * reference
    maps[5] = reference**3 + 0.01 * maps[5]
    maps = (maps - maps.min()) / (maps.max() - maps.min())
    for found, map_ in zip(likeness(reference, maps), maps.numpy(), strict=True):
        expected = np.corrcoef(reference.numpy().ravel(), map_.ravel())[0, 1]
        assert found.pearson == pytest.approx(expected, abs=1e-12)
        expected = stats.spearmanr(reference.numpy().ravel(), map_.ravel()).statistic
        assert found.spearman == pytest.approx(expected, abs=1e-12)


def test_spearman_sees_only_the_order():
    reference, map_ = random_maps(8, 8, seed=1), random_maps(8, 8, seed=2)
    plain, bent = one(reference, map_), one(reference.sqrt(), map_**5)
    assert bent.spearman == plain.spearman
    assert bent.pearson != pytest.approx(plain.pearson, abs=1e-3)


@pytest.mark.parametrize("size", [(7, 7), (7, 20), (24, 15)])
@pytest.mark.parametrize("steps", [None, 3])
def test_structural_similarity(size, steps):
    reference, maps = random_maps(*size, steps=steps, seed=3), random_maps(3, *size, steps=steps, seed=4)
    maps[1] = 0.7 * reference + 0.3 * maps[1]
    maps[2] = 0
    for found, map_ in zip(likeness(reference, maps), maps, strict=True):
        assert found.ssim == pytest.approx(ssim_by_hand(reference.numpy(), map_.numpy()), abs=1e-10)
        expected = structural_similarity(reference.numpy(), map_.numpy(), win_size=7, data_range=1)
        assert found.ssim == pytest.approx(expected, abs=1e-12)
        assert found.ssim == pytest.approx(one(map_, reference).ssim, abs=1e-12)
        assert found.ssim == pytest.approx(one(reference.mT, map_.mT).ssim, abs=1e-12)
        assert -1 <= found.ssim < 1


def test_structural_similarity_falls_with_noise():
    reference = torch.sin(torch.arange(400.0).view(20, 20) / 9) / 2 + 0.5
    noise = random_maps(20, 20, seed=5) - 0.5
    noisy = torch.stack([reference + s * noise for s in (0, 0.1, 1, 10)]).clamp(0, 1)
    found = [each.ssim for each in likeness(reference, noisy)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(1)
    assert found[-1] < 0.5


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_constant_maps_have_no_correlation(value):
    map_, flat = random_maps(9, 9), torch.full((9, 9), value)
    for first, second in ((map_, flat), (flat, map_), (flat, flat)):
        found = one(first, second)
        assert math.isnan(found.pearson)
        assert math.isnan(found.spearman)
        assert found.ssim == pytest.approx(ssim_by_hand(first.double().numpy(), second.double().numpy()), abs=1e-10)
    assert one(flat, flat).ssim == pytest.approx(1)


def test_a_constant_map_in_a_batch_leaves_the_others_alone():
    reference, maps = random_maps(9, 9), random_maps(3, 9, 9, seed=1)
    maps[1] = 0.5
    together = likeness(reference, maps)
    assert together[0] == one(reference, maps[0])
    assert together[2] == one(reference, maps[2])
    assert math.isnan(together[1].pearson)


@pytest.mark.parametrize("size", [(6, 30), (30, 6), (1, 2)])
def test_maps_too_small_for_a_window(size):
    reference, map_ = random_maps(*size), random_maps(*size, seed=1)
    found = one(reference, map_)
    assert math.isnan(found.ssim)
    assert found.pearson == pytest.approx(np.corrcoef(reference.numpy().ravel(), map_.numpy().ravel())[0, 1], abs=1e-12)


def test_maps_of_single_precision_are_compared_in_double():
    reference, map_ = random_maps(50, 40).float(), random_maps(50, 40, seed=1).float()
    assert one(reference, map_) == one(reference.double(), map_.double())
    assert likeness(reference, map_[None][:0]) == []
