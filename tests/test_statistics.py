"""Tests over images against enumerations and formulas derived a second way, and the sentences made of them."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from camviz.statistics import (
    Comparison,
    Interval,
    Pair,
    bootstrap,
    compare,
    fewest_images,
    groups,
    holm,
    in_words,
    signed_rank,
)


def pratt_ranks(differences):
    """Ranks of the sizes by counting, zeros included, then set to 0."""
    sizes = np.abs(differences)
    ranks = np.array([(sizes < size).sum() + ((sizes == size).sum() + 1) / 2 for size in sizes])
    return np.where(sizes == 0, 0, ranks)


def enumerated_p(differences):
    """The share of all 2^n signs whose sum of ranks is at least as far from 0."""
    ranks = pratt_ranks(differences)
    seen = abs((np.sign(differences) * ranks).sum())
    signs = np.array(list(itertools.product([-1, 1], repeat=len(ranks))))
    return (np.abs(signs @ ranks) >= seen - 1e-9).mean()


@pytest.mark.parametrize("seed", range(30))
def test_signed_rank_against_all_signs(seed):
    """With zeros and ties: whole numbers of few sizes."""
    rng = np.random.default_rng(seed)
    differences = rng.integers(-3, 5, size=rng.integers(2, 13)).astype(float)
    p, effect = signed_rank(differences)
    assert p == pytest.approx(enumerated_p(differences), abs=1e-12)
    ranks = pratt_ranks(differences)
    assert effect == pytest.approx((np.sign(differences) * ranks).sum() / ranks.sum())


@pytest.mark.parametrize("n", [2, 9, 30, 60])
def test_signed_rank_without_zeros_and_ties(n):
    differences = np.random.default_rng(n).normal(0.3, size=n)
    assert signed_rank(differences)[0] == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=1e-9)


def test_signed_rank_of_many_images():
    """Beyond what is counted out, the approximation differs little: 100 images and 101, zeros and ties among them."""
    differences = np.round(np.random.default_rng(0).normal(0.2, size=101), 1)
    exact, near = signed_rank(differences[differences != 0][:95])[0], signed_rank(differences)[0]
    expected = stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue
    assert near == expected
    assert exact == pytest.approx(
        stats.wilcoxon(differences[differences != 0][:95], method="asymptotic").pvalue, rel=0.1
    )


@pytest.mark.parametrize(
    ("differences", "p", "effect"),
    [
        ([1, 2, 3], 2 / 8, 1),
        ([-1, -2, -3], 2 / 8, -1),
        ([1, -2, 3], 6 / 8, (4 - 2) / 6),  # sums of at most 2: none, 1, 2
        ([0, 1, 2], 2 / 4, 1),  # ranks 2 and 3
        ([0, -1, 2, 2], 2 * 2 / 8, (3.5 + 3.5 - 2) / 9),  # ranks 2, 3.5, 3.5; sums of at most 2: none, 2
        ([1, -1], 1, 0),
        ([0, 0, 0], 1, 0),
        ([0, 0, 5], 1, 1),
    ],
)
def test_signed_rank_by_hand(differences, p, effect):
    assert signed_rank(np.array(differences, dtype=float)) == (pytest.approx(p), pytest.approx(effect))


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 0.04 * 1 is raised to 0.03 * 2
        ([0.2, 0.5, 0.9], [0.6, 1, 1]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.3], [0.3]),
        ([], []),
    ],
)
def test_holm_by_hand(raw, corrected):
    assert holm(raw) == pytest.approx(corrected)


def friedman_by_hand(rows):
    """The chi-squared statistic of ranks without ties: 12 n / (k (k + 1)) sum of (mean rank - (k + 1) / 2)^2."""
    n, k = rows.shape
    mean_ranks = (rows[:, None] < rows[..., None]).sum(2).mean(0) + 1
    return stats.chi2.sf(12 * n / (k * (k + 1)) * ((mean_ranks - (k + 1) / 2) ** 2).sum(), k - 1)


def test_a_comparison_by_hand():
    rows = np.array([[0.9, 0.5, 0.1], [0.8, 0.6, 0.3], [0.7, 0.2, 0.4], [0.6, 0.5, 0.2]])
    found = compare(pd.DataFrame(rows, columns=["A", "B", "C"]))
    assert (found.n, found.dropped, found.methods) == (4, 0, ("A", "B", "C"))
    assert found.ranks == {"A": 1, "B": 2.25, "C": 2.75}
    assert found.friedman == pytest.approx(math.exp(-12 * 4 / 12 * (1 + 0.25**2 + 0.75**2) / 2))
    assert found.friedman == pytest.approx(friedman_by_hand(rows))
    pairs = {(pair.first, pair.second): pair for pair in found.pairs}
    assert list(pairs) == [("A", "B"), ("A", "C"), ("B", "C")]
    assert pairs["A", "B"] == Pair("A", "B", 2 / 16, pytest.approx(6 / 16), 1, pytest.approx(0.3))
    # B - C: 0.4, 0.3, -0.2, 0.3, so that one in ten is against: sums of at most 1 are 0 and 1.
    assert pairs["B", "C"] == Pair("B", "C", 4 / 16, pytest.approx(6 / 16), pytest.approx(0.8), pytest.approx(0.3))


def test_friedman_with_many_methods():
    rows = np.random.default_rng(0).random((15, 6)) + np.arange(6) / 10
    assert compare(pd.DataFrame(rows)).friedman == pytest.approx(friedman_by_hand(rows))


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_identical_methods_are_merged(scale):
    """But for rounding; and so the rounding of the others decides nothing either, whatever the unit."""
    rng = np.random.default_rng(1)
    a, c = rng.random(12), rng.random(12)
    table = pd.DataFrame({"A": a, "B": a + 1e-8 * rng.normal(size=12), "C": c, "D": a, "E": np.where(a > 0.5, a, c)})
    found = compare(scale * table)
    assert found.methods == ("A", "C", "E")
    assert found.merged == {"A": ("B", "D"), "C": (), "E": ()}
    alone = compare(scale * table[["A", "C", "E"]])
    assert (found.friedman, found.ranks) == (alone.friedman, alone.ranks)
    assert [pair.p for pair in found.pairs] == [pair.p for pair in alone.pairs]


def test_differences_by_rounding_alone_are_ties():
    noise = np.array([1, -1, 1, 1, 1, 1]) * 1e-9
    table = pd.DataFrame({"A": [0.5, 0.6, 0.7, 0.8, 0.9, 0.3], "B": [0.5, 0.6, 0.7, 0.8, 0.9, 0.4]})
    found = compare(table.assign(B=table["B"] + noise))
    assert found.ranks == {"A": (5 * 1.5 + 2) / 6, "B": (5 * 1.5 + 1) / 6}
    assert found.pairs == [Pair("A", "B", 1, 1, -1, pytest.approx(0))]


def test_sizes_that_differ_by_rounding_alone_tie():
    """0.3 - 0.2 is a little less than 0.2 - 0.1."""
    table = pd.DataFrame({"A": [0.3, 0.1, 0.9], "B": [0.2, 0.2, 0.5]})
    assert compare(table).pairs[0].effect == pytest.approx((1.5 + 3 - 1.5) / 6)


def test_two_methods_have_no_friedman_test():
    found = compare(pd.DataFrame({"A": [1, 2, 3, 4], "B": [0, 0, 0, 0]}))
    assert found.friedman is None
    assert found.pairs == [Pair("A", "B", 2 / 16, 2 / 16, 1, 2.5)]


def test_all_methods_identical():
    found = compare(pd.DataFrame({"A": [0, 0], "B": [0, 0], "C": [0, 0]}))
    assert (found.methods, found.merged, found.friedman, found.pairs) == (("A",), {"A": ("B", "C")}, None, [])
    assert groups(found) == []
    assert in_words(found) == ["B and C give the same numbers as A here, so they are tested as one."]


def test_images_without_a_value_are_dropped():
    table = pd.DataFrame(np.random.default_rng(2).random((9, 3)), columns=list("ABC"))
    holed = table.copy()
    holed.iloc[1, 2], holed.iloc[4, 0], holed.iloc[4, 1], holed.iloc[7, 1] = np.nan, np.nan, np.nan, np.inf
    found, expected = compare(holed), compare(table.drop(index=[1, 4, 7]))
    assert (found.n, found.dropped) == (6, 3)
    assert found == Comparison(**{**vars(expected), "dropped": 3})
    assert in_words(found)[-1] == "3 images are left out: not every method has a value there."


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"A": [1.0], "B": [2.0]}, "at least 2 images on which every method has a value; got 1. Add images"),
        ({"A": [1.0, 2], "B": [2.0, np.nan]}, "got 1. Add images"),
        ({"A": [], "B": []}, "got 0. Add images"),
        ({"A": [1.0, 2]}, "at least 2 methods; got 1. Add methods"),
        ({}, "at least 2 methods; got 0"),
    ],
)
def test_errors(table, message):
    with pytest.raises(ValueError, match=message):
        compare(pd.DataFrame(table, dtype=float))


def made(different, n=24, friedman=0.001, methods="ABCDE", merged=None, dropped=0):
    """A comparison of methods in order of rank, the first letter of a pair being the better."""
    pairs = []
    for first, second in itertools.combinations(methods, 2):
        p = 0.01 if first + second in different.split() else 0.4
        pairs.append(Pair(second, first, p, p, -0.5, -0.1))  # named the other way round
    merged = {method: (merged or {}).get(method, ()) for method in methods}
    ranks = {method: place + 1.0 for place, method in enumerate(methods)}
    return Comparison(n, dropped, tuple(methods), merged, friedman, ranks, pairs)


@pytest.mark.parametrize(
    ("different", "expected"),
    [
        ("", ["ABCDE"]),
        ("AE", ["ABCD", "BCDE"]),
        ("AD AE BE", ["ABC", "BCD", "CDE"]),
        ("AB AC AD AE", ["BCDE"]),
        ("AC AD AE BC BD BE", ["AB", "CDE"]),
        ("BC", ["AB", "CDE"]),
        ("BD", ["ABC", "CDE"]),  # A and E do not differ, but others between them do
        ("AB AC AD AE BC BD BE CD CE DE", []),
    ],
)
def test_groups_by_hand(different, expected):
    assert ["".join(run) for run in groups(made(different))] == expected
    assert ["".join(run) for run in groups(made(different, friedman=0.3))] == ["ABCDE"]
    assert ["".join(run) for run in groups(made(different), alpha=0.005)] == ["ABCDE"]


@pytest.mark.parametrize(("methods", "images"), [(2, 6), (3, 7), (6, 10), (7, 10), (8, 11)])
def test_fewest_images(methods, images):
    """As many are enough, and one less is not, for methods that differ as clearly as can be."""
    assert fewest_images(methods) == images
    for n, significant in ((images, True), (images - 1, False)):
        rows = np.arange(methods) + np.random.default_rng(n).random((n, methods)) / 2
        assert all(pair.corrected < 0.05 for pair in compare(pd.DataFrame(rows)).pairs) == significant
    assert 21 * 2 / 2**10 < 0.05 < 21 * 2 / 2**9


def test_words():
    assert in_words(made("AC AD AE BC BD BE", merged={"B": ("X", "Y"), "D": ("Z",)}, dropped=1)) == [
        "On 24 images the methods differ significantly (Friedman test, p = 0.001).",
        "A has the best average rank (1.0 of 5).",
        "A does significantly better than C, D and E.",
        "A and B cannot be distinguished on 24 images.",
        "C, D and E cannot be distinguished on 24 images.",
        "X and Y give the same numbers as B here, so they are tested as one.",
        "Z gives the same numbers as D here, so they are tested as one.",
        "1 image is left out: not every method has a value there.",
    ]


def test_words_without_a_difference():
    assert in_words(made("AB", friedman=0.25)) == [
        "No clear winner yet on 24 images (Friedman test, p = 0.250): add more.",
        "A has the best average rank (1.0 of 5).",
        "No two of the 5 methods can be distinguished on 24 images.",
    ]


def test_words_of_too_few_images():
    table = pd.DataFrame(np.arange(7) + np.random.default_rng(0).random((9, 7)) / 2, columns=list("ABCDEFG"))
    assert in_words(compare(table)) == [
        "On 9 images the methods differ significantly (Friedman test, p < 0.001).",
        "G has the best average rank (1.0 of 7).",
        "At least 10 images are needed to distinguish any two of 7 methods.",
    ]


def test_words_of_two_methods():
    table = pd.DataFrame({"Grad-CAM": np.arange(8.0), "Eigen-CAM": np.arange(8.0) - 1 - np.arange(8) / 10})
    assert in_words(compare(table)) == [
        "On 8 images the two methods differ significantly (Wilcoxon signed-rank test, p = 0.008).",
        "Grad-CAM has the best average rank (1.0 of 2).",
        "Grad-CAM does significantly better than Eigen-CAM.",
    ]
    mixed = pd.DataFrame({"A": [1, 2, 3, 4, 5, 6], "B": [2, 1, 4, 3, 6, 5]})
    assert in_words(compare(mixed))[1:] == [
        "A and B share the best average rank (1.5 of 2).",
        "A and B cannot be distinguished on 6 images.",
    ]


def test_bootstrap_covers_as_often_as_it_should():
    """A mean's interval is +-1.96 standard deviations of the sample / sqrt(n): for normal values, Student's chance."""
    rng, n, trials = np.random.default_rng(0), 25, 3000
    found = [bootstrap(rng.normal(3, 2, n), draws=1000, seed=trial) for trial in range(trials)]
    covered = np.mean([interval.low <= 3 <= interval.high for interval in found])
    expected = 1 - 2 * stats.t.sf(stats.norm.ppf(0.975) * math.sqrt((n - 1) / n), n - 1)
    assert abs(covered - expected) < 3 * math.sqrt(expected * (1 - expected) / trials)


def test_bootstrap_against_all_samples():
    """Of three images there are 27."""
    values = np.array([0.0, 1.0, 5.0])
    means = np.mean(list(itertools.product(values, repeat=3)), 1)
    found = bootstrap(values, level=0.8, draws=20_000)
    assert found == Interval(2, pytest.approx(np.quantile(means, 0.1)), pytest.approx(np.quantile(means, 0.9)), 3)


def test_bootstrap_of_rows_drawn_together():
    """C and R that move against each other: their product hardly varies, which a separate draw would not see."""
    c = np.random.default_rng(3).random(40)
    rows = np.stack([1 + c / 10, 1 - c / 10], 1)
    together = bootstrap(rows, lambda rows: rows.mean(1).prod(1))
    assert together.value == pytest.approx(rows[:, 0].mean() * rows[:, 1].mean())
    assert together.low <= together.value <= together.high
    assert together.high - together.low < 0.2 * (bootstrap(rows[:, 0]).high - bootstrap(rows[:, 0]).low)
    rows[5, 1] = np.nan
    assert bootstrap(rows, lambda rows: rows.mean(1).prod(1)).n == 39


def test_bootstrap_is_told_by_its_seed_and_leaves_out_nan():
    values = np.random.default_rng(6).normal(size=32)
    values[[3, 17]] = math.nan
    found = bootstrap(values, seed=4)
    assert found == bootstrap(values, seed=4) == bootstrap(values[~np.isnan(values)], seed=4)
    assert found != bootstrap(values, seed=5)
    assert found.n == 30
    wide = bootstrap(values, level=0.99)
    assert wide.low < found.low < found.value < found.high < wide.high
    assert len({bootstrap(values, draws=draws).low for draws in (1, 1500)}) == 2


@pytest.mark.parametrize(("values", "value"), [([], math.nan), ([math.nan], math.nan), ([0.5], 0.5), ([[1, 2]], 2)])
def test_bootstrap_of_too_few_images(values, value):
    found = bootstrap(
        values, (lambda rows: rows.mean(1).prod(1)) if np.ndim(values) == 2 else lambda rows: rows.mean(1)
    )
    assert found.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.n == (0 if math.isnan(value) else 1)


def test_bootstrap_errors():
    with pytest.raises(ValueError, match=r"\(n,\) or \(n, k\), got \(1, 1, 1\)"):
        bootstrap([[[1]]])
    for level, draws in ((0, 10), (1, 10), (0.9, 0)):
        with pytest.raises(ValueError, match=f"got {level} and {draws}"):
            bootstrap([1, 2], level=level, draws=draws)
