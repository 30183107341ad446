"""The statistics of metrics against the truth: by hand, against SciPy, and on data whose answer is known."""

import itertools

import numpy as np
import pytest
from scipy import stats

from camviz.trust.ordering import kendall, pair_accuracy
from camviz.trust.resampling import LEAST_FOR_INTERVAL, interval, rank_intervals, sign_flip

NAN = np.nan


@pytest.mark.parametrize(
    ("scores", "accuracy", "tau"),
    [
        ([1, 2, 3, 4], 1, 1),  # perfect
        ([4, 3, 2, 1], 0, -1),  # reversed
        ([7, 7, 7, 7], 0.5, NAN),  # no opinion
        ([1, 2, 2, 3], (5 + 0.5) / 6, 5 / np.sqrt(6 * 5)),  # one tie
        ([2, 1, 3, 4], 5 / 6, 4 / 6),  # one pair the wrong way round
        ([NAN, 2, 3, 4], (3 + 3 * 0.5) / 6, 1),  # a map without a score
        ([NAN] * 4, 0.5, NAN),
    ],
)
def test_four_maps_by_hand(scores, accuracy, tau):
    truth = [0.1, 0.3, 0.5, 0.9]
    assert pair_accuracy(truth, scores) == pytest.approx(accuracy)
    assert kendall(truth, scores) == pytest.approx(tau, nan_ok=True)


def test_pairs_within_the_margin_do_not_count():
    truth = [0.10, 0.15, 0.50]
    assert pair_accuracy(truth, [2, 1, 3]) == 1  # the first two are as good as each other
    assert pair_accuracy(truth, [2, 1, 3], margin=0.04) == pytest.approx(2 / 3)
    assert pair_accuracy(truth, [3, 1, 2]) == 0.5
    assert np.isnan(pair_accuracy([0.5, 0.5, 0.5], [1, 2, 3]))
    assert np.isnan(pair_accuracy(truth, [1, 2, 3], margin=0.5))
    assert np.isnan(pair_accuracy([0.5, NAN, NAN], [1, 2, 3]))  # no pair of known truths


def test_a_map_without_a_truth_is_left_out():
    assert pair_accuracy([0.1, NAN, 0.5], [1, 9, 2]) == 1
    assert kendall([0.1, NAN, 0.5], [1, 9, 2]) == 1


def test_many_pictures_at_once_as_one_by_one_and_as_scipy():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 6, (2, 50, 9)) / 5
    accuracy, tau = pair_accuracy(truth, scores), kendall(truth, scores)
    for picture in range(50):
        pairs = [(a, b) for a, b in itertools.permutations(range(9), 2) if truth[picture, a] - truth[picture, b] > 0.1]
        wins = [np.sign(scores[picture, a] - scores[picture, b]) / 2 + 0.5 for a, b in pairs]
        assert accuracy[picture] == pytest.approx(np.mean(wins))
        assert tau[picture] == pytest.approx(stats.kendalltau(truth[picture], scores[picture]).statistic)


def test_the_mean_gives_every_network_the_same_weight():
    values = np.array([[1.0] * 20, [0.0] * 10 + [NAN] * 10])
    assert interval(values).value == 0.5
    assert interval(values).n == 10, "that of the network with the fewest"
    assert np.isnan(interval(values).low)
    assert interval([*values, [NAN] * 20]).n == 10, "a network without any is left out"
    assert interval([NAN] * 20).n == 0
    assert np.isnan(interval([NAN] * 20).value)


def test_only_some_pairs_are_compared():
    """Of three maps, the first two are in the right order and the last two are not."""
    truth, scores = [0.1, 0.5, 0.9], [0.2, 0.8, 0.3]
    for compared, expected in (((0, 1), 1), ((1, 2), 0), ((0, 2), 1)):
        pairs = np.zeros((3, 3), bool)
        pairs[compared] = pairs[compared[::-1]] = True
        assert pair_accuracy(truth, scores, pairs=pairs) == expected
    assert np.isnan(pair_accuracy(truth, scores, pairs=np.zeros((3, 3), bool)))


def test_no_interval_from_a_handful_of_pictures():
    few = interval(np.arange(LEAST_FOR_INTERVAL - 1.0))
    assert few.value == 5
    assert np.isnan([few.low, few.high]).all()
    assert np.isfinite(interval(np.arange(float(LEAST_FOR_INTERVAL))).low)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(1)
    found = [interval(rng.normal(0.6, 0.2, 60), draws=400, seed=seed) for seed in range(300)]
    assert 0.9 < np.mean([one.low <= 0.6 <= one.high for one in found]) < 0.98


def test_pictures_are_drawn_for_all_networks_together():
    """Two networks that disagree about every picture by the same amount: their mean does not vary."""
    values = np.random.default_rng(2).normal(size=40)
    both = interval(np.stack([values, -values]))
    assert both.high - both.low < 1e-12
    alone = interval(values)
    assert alone.high - alone.low > 0.3


def test_the_bootstrap_of_one_network_is_that_of_scipy():
    values = np.random.default_rng(3).normal(size=80)
    ours = interval(values, draws=4000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=0).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_sign_flips_of_few_pictures_against_all_signs():
    values = np.array([0.3, 0.1, -0.05, 0.2, 0.4, 0.15, 0.02, 0.3])
    means = [np.mean(values * signs) for signs in itertools.product([-1, 1], repeat=8)]
    exact = np.mean(np.abs(means) >= abs(values.mean()) - 1e-12)
    assert sign_flip(values) == pytest.approx(exact, abs=0.01)


def test_sign_flips_of_what_differs_and_of_what_does_not():
    rng = np.random.default_rng(4)
    assert sign_flip(rng.normal(0.5, 1, (3, 100))) < 0.001
    assert sign_flip(np.zeros((3, 100))) == 1
    found = [sign_flip(rng.normal(0, 1, 40), seed) for seed in range(100)]
    assert 0.01 <= np.mean(np.array(found) < 0.1) <= 0.2
    assert sign_flip([NAN, 1.0, NAN, 2.0, -1.0]) == pytest.approx(sign_flip([1.0, 2.0, -1.0]), abs=0.02)
    with pytest.raises(ValueError, match="no picture has a value for both"):
        sign_flip([NAN, NAN])


def test_ranks_of_a_clear_order_and_of_equals():
    rng = np.random.default_rng(5)
    values = rng.normal(0, 0.1, (3, 2, 50)) + np.array([0, 2, 1])[:, None, None]
    assert rank_intervals(values) == [(3, 3), (1, 1), (2, 2)]
    assert rank_intervals(np.stack([values[0], values[0]])) == [(1.5, 1.5), (1.5, 1.5)]
    noise = rank_intervals(rng.normal(size=(2, 1, 50)) * 5)
    assert all(low < high for low, high in noise)
