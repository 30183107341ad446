"""Statistics over many images, with one value per image and method: which methods differ, and by how much."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

# Values of an image count as equal if they differ by at most this share of the table's largest value.
_ROUNDING = 1e-6
# The signed-rank test is exact up to this many images; beyond, the normal approximation is good enough.
_EXACT = 100
_CHUNK = 1000  # bootstrap draws held in memory at a time
DRAWS = 10_000  # default number of bootstrap draws

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A statistic of n images and its confidence interval from low to high, which is NaN for fewer than 2 images."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Pair:
    """Two methods compared by the Wilcoxon signed-rank test.

    Attributes:
        first: one method.
        second: the other method.
        p: the raw two-sided p-value.
        corrected: the p-value after Holm's correction over all pairs.
        effect: matched-pairs rank-biserial correlation, in [-1, 1]; positive if the first is higher.
        median: the median of first - second over the images, in the table's units.
    """

    first: str
    second: str
    p: float
    corrected: float
    effect: float
    median: float


@dataclass(frozen=True)
class Comparison:
    """Methods compared over the same images.

    Attributes:
        n: the number of images used.
        dropped: the number of images left out because a method has no value there.
        methods: the methods tested, in the table's order; only the first of identical ones.
        merged: for each tested method, the names of the methods identical to it.
        friedman: the Friedman test's p-value (chi-squared approximation); None with fewer than 3 methods.
        ranks: each method's average rank; 1 is best, ties share a rank.
        pairs: every pair of methods.
    """

    n: int
    dropped: int
    methods: tuple[str, ...]
    merged: dict[str, tuple[str, ...]]
    friedman: float | None
    ranks: dict[str, float]
    pairs: list[Pair]


def mean(rows: Array) -> Array:
    """The mean over images: (draws, n) -> (draws,)."""
    return rows.mean(1)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[Array], Array] = mean,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap over images (Efron, Annals of Statistics 1979).

    Args:
        values: (n,), or (n, k) for k values per image that are drawn together; images with a NaN are left out.
        statistic: computed for many draws at once, (draws, n) or (draws, n, k) -> (draws,). A product of two means
            such as RM = C * R is `lambda rows: rows.mean(1).prod(1)`.
        level: the interval's confidence, in (0, 1).
        draws: the number of samples of n images, drawn with replacement.
        seed: the seed of the draws.

    Raises:
        ValueError: values of the wrong shape, a level outside (0, 1), or no draws.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim not in (1, 2):
        raise ValueError(f"values must be (n,) or (n, k), got {rows.shape}")
    if not 0 < level < 1 or draws < 1:
        raise ValueError(f"level must be in (0, 1) and draws at least 1, got {level} and {draws}")
    rows = rows[~np.isnan(rows if rows.ndim == 1 else rows.sum(1))]
    n = len(rows)
    value = float(statistic(rows[None])[0]) if n else np.nan
    if n < 2:
        return Interval(value, np.nan, np.nan, n)
    rng = np.random.default_rng(seed)
    sizes = [min(_CHUNK, draws - done) for done in range(0, draws, _CHUNK)]
    drawn = np.concatenate([statistic(rows[rng.integers(n, size=(size, n))]) for size in sizes])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), n)


def compare(table: pd.DataFrame) -> Comparison:
    """Test whether methods differ (Friedman), and which ones (Wilcoxon signed-rank per pair, Holm's correction).

    Source: Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006.

    Args:
        table: one row per image, one column per method; higher is better. Rows without a finite value for every
            method are dropped; methods with identical values on every image are tested once.

    Raises:
        ValueError: fewer than 2 methods, or fewer than 2 images on which every method has a value.
    """
    values = table.to_numpy(dtype=np.float64)
    used = values[np.isfinite(values).all(1)]
    n, names = len(used), [str(name) for name in table.columns]
    if len(names) < 2:
        raise ValueError(f"A statistical test needs at least 2 methods; got {len(names)}. Add methods.")
    if n < 2:
        raise ValueError(
            f"A statistical test needs at least 2 images on which every method has a value; got {n}. Add images."
        )
    tolerance = _ROUNDING * float(np.abs(used).max())
    columns = _settled(used, tolerance).T
    twins = [next(i for i, other in enumerate(columns) if np.array_equal(other, column)) for column in columns]
    kept = sorted(set(twins))
    methods = tuple(names[i] for i in kept)
    friedman = float(stats.friedmanchisquare(*columns[kept]).pvalue) if len(kept) > 2 else None
    ranks = stats.rankdata(-columns[kept], axis=0).mean(1).tolist()
    return Comparison(
        n=n,
        dropped=len(values) - n,
        methods=methods,
        merged={names[k]: tuple(names[i] for i, twin in enumerate(twins) if twin == k != i) for k in kept},
        friedman=friedman,
        ranks=dict(zip(methods, ranks, strict=True)),
        pairs=_pairs(methods, columns[kept], tolerance),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): the i-th smallest of k p-values times k - i + 1, monotone, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort()
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected.tolist()


def signed_rank(differences: Array) -> tuple[float, float]:
    """Wilcoxon's signed-rank test with Pratt's treatment of zeros: ranked with the rest, then dropped.

    The test's published tables assume no zeros or ties; with either, SciPy uses the normal approximation from 14 images
    on. So the distribution over all signs is counted exactly here, whatever the ranks.

    Sources: Pratt, JASA 1959; effect size: Kerby, "The simple difference formula", Comprehensive Psychology 2014.

    Args:
        differences: (n,), one per image.

    Returns:
        The two-sided p-value, 1 if nothing differs; and the rank-biserial correlation, (W+ - W-) / (W+ + W-):
        1 if every nonzero difference is positive, 0 if nothing differs.
    """
    ranks = stats.rankdata(np.abs(differences)) * (differences != 0)
    if not ranks.any():
        return 1.0, 0.0
    positive, negative = ranks[differences > 0].sum(), ranks[differences < 0].sum()
    if len(differences) > _EXACT:
        p = float(stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue)
    else:
        p = _exact_p(ranks, min(positive, negative))
    return p, float((positive - negative) / (positive + negative))


def groups(comparison: Comparison, alpha: float = 0.05) -> list[tuple[str, ...]]:
    """The bars of a critical-difference diagram: which methods cannot be distinguished.

    Returns:
        The longest runs of two or more methods, adjacent in average rank and best first, in which no pair differs
        significantly; all methods if the Friedman test is not significant.
    """
    order, beats = _best_first(comparison), _beats(comparison, alpha)
    runs: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and beats.isdisjoint(itertools.permutations(order[start : end + 1], 2)):
            end += 1
        if end > max(reached, start + 1):
            runs.append(tuple(order[start:end]))
            reached = end
    return runs


def fewest_images(methods: int, alpha: float = 0.05) -> int:
    """The smallest number of images on which two of this many methods can differ significantly.

    No two-sided p-value on n images is below 2 / 2^n, and Holm multiplies the smallest by the k (k - 1) / 2 pairs.
    """
    return next(n for n in itertools.count(1) if methods * (methods - 1) / 2**n < alpha)


def in_words(comparison: Comparison, alpha: float = 0.05) -> list[str]:
    """Summarise a comparison in a few plain sentences; p-values below alpha are significant."""
    sentences = _outcome(comparison, alpha) if len(comparison.methods) > 1 else []
    for method, twins in comparison.merged.items():
        if twins:
            verb = "gives" if len(twins) == 1 else "give"
            sentences.append(f"{_listed(twins)} {verb} the same numbers as {method} here, so they are tested as one.")
    if comparison.dropped:
        left_out = "1 image is" if comparison.dropped == 1 else f"{comparison.dropped} images are"
        sentences.append(f"{left_out} left out: not every method has a value there.")
    return sentences


def _settled(values: Array, tolerance: float) -> Array:
    """Make values of an image, a row of (n, k), equal if they differ by no more than the tolerance."""
    order = values.argsort(1)
    ordered = np.take_along_axis(values, order, 1)
    apart = np.diff(ordered, axis=1, prepend=-np.inf) > tolerance
    settled = np.empty_like(values)
    np.put_along_axis(settled, order, np.maximum.accumulate(np.where(apart, ordered, -np.inf), axis=1), 1)
    return settled


def _pairs(methods: Sequence[str], columns: Array, tolerance: float) -> list[Pair]:
    """Test every pair of methods, columns (k, n)."""
    names = list(itertools.combinations(methods, 2))
    differences = [first - second for first, second in itertools.combinations(columns, 2)]
    # In whole steps, so that differences that vary only by rounding tie.
    tests = [signed_rank(np.rint(difference / tolerance)) for difference in differences]
    corrected = holm([p for p, _ in tests])
    return [
        Pair(*names[i], p, corrected[i], effect, float(np.median(differences[i])))
        for i, (p, effect) in enumerate(tests)
    ]


def _exact_p(ranks: Array, smaller: float) -> float:
    """Twice the probability that the positive ranks sum to at most `smaller` when every sign is a coin toss."""
    doubled = (2 * ranks).astype(int)  # shared ranks are halves
    chances = np.zeros(doubled.sum() + 1)  # the probability of each sum
    chances[0] = 1
    for rank in doubled:
        chances = (chances + np.roll(chances, rank)) / 2
    return min(1.0, 2 * float(chances[: int(2 * smaller) + 1].sum()))


def _best_first(comparison: Comparison) -> list[str]:
    return sorted(comparison.methods, key=lambda method: comparison.ranks[method])


def _beats(comparison: Comparison, alpha: float) -> set[tuple[str, str]]:
    """The significant pairs, (higher, lower); none if the Friedman test finds no difference."""
    if comparison.friedman is not None and comparison.friedman >= alpha:
        return set()
    different = [pair for pair in comparison.pairs if pair.corrected < alpha]
    return {(pair.first, pair.second) if pair.effect > 0 else (pair.second, pair.first) for pair in different}


def _outcome(comparison: Comparison, alpha: float) -> list[str]:
    """The sentences about the tests, for two or more methods."""
    n, order, beats = comparison.n, _best_first(comparison), _beats(comparison, alpha)
    top = comparison.ranks[order[0]]
    best = [method for method in order if comparison.ranks[method] == top]
    share = "has" if len(best) == 1 else "share"
    sentences = [
        _overall(comparison, alpha),
        f"{_listed(best)} {share} the best average rank ({top:.1f} of {len(order)}).",
    ]
    needed = fewest_images(len(order), alpha)
    if n < needed:
        return [*sentences, f"At least {needed} images are needed to distinguish any two of {len(order)} methods."]
    for method in best:
        beaten = [other for other in order if (method, other) in beats]
        sentences += [f"{method} does significantly better than {_listed(beaten)}."] if beaten else []
    if not beats and len(order) > 2:
        return [*sentences, f"No two of the {len(order)} methods can be distinguished on {n} images."]
    return sentences + [f"{_listed(run)} cannot be distinguished on {n} images." for run in groups(comparison, alpha)]


def _overall(comparison: Comparison, alpha: float) -> str:
    """Say whether the methods differ at all, and by which test."""
    if comparison.friedman is None:
        p, subject, test = comparison.pairs[0].p, "the two methods", "Wilcoxon signed-rank test"
    else:
        p, subject, test = comparison.friedman, "the methods", "Friedman test"
    p_value = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    if p >= alpha:
        return f"No clear winner yet on {comparison.n} images ({test}, {p_value}): add more."
    return f"On {comparison.n} images {subject} differ significantly ({test}, {p_value})."


def _listed(names: Sequence[str]) -> str:
    """Join names as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
