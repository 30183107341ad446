"""Rank-biased overlap by hand, by brute force over tie orders, and its properties on many rankings."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from camviz.noise.rank_overlap import chance, minimum, overlaps, rbo

HALF = Fraction(1, 2)


def plain(a, b, p):
    """RBO of two rankings without ties, from sets."""
    m = len(a)
    overlap = [len(set(a[:d]) & set(b[:d])) for d in range(1, m + 1)]
    total = sum(Fraction(x, d) * Fraction(p) ** d for d, x in enumerate(overlap, 1))
    return Fraction(p) ** m + (1 - Fraction(p)) / Fraction(p) * total


def orders(ranking):
    """All rankings without ties that a ranking with ties stands for."""
    groups = [element if isinstance(element, list) else [element] for element in ranking]
    choices = itertools.product(*(itertools.permutations(group) for group in groups))
    return [list(itertools.chain(*choice)) for choice in choices]


def by_force(a, b, p):
    """The mean over all pairs of tie orders."""
    pairs = [plain(x, y, p) for x in orders(a) for y in orders(b)]
    return sum(pairs) / len(pairs)


def grouped(scores):
    """Scores -> a ranking with groups of tied items."""
    return [[i for i, score in enumerate(scores) if score == value] for value in sorted(set(scores), reverse=True)]


def random_scores(*size, values=None, seed=0):
    """Without ties, or of a few values only."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random(size) if values is None else rng.integers(values, size=size).astype(float))


def close(value, expected, tolerance=1e-11):
    torch.testing.assert_close(
        torch.as_tensor(value, dtype=torch.float64),
        torch.as_tensor(expected, dtype=torch.float64),
        rtol=0,
        atol=tolerance,
    )


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("abc", "abc", Fraction(1)),
        ("abc", "cba", Fraction(1, 8) + Fraction(1, 2) * HALF**2 + HALF**3),  # overlaps 0, 1, 3
        ("abc", "bac", Fraction(1, 8) + HALF**2 + HALF**3),  # overlaps 0, 2, 3
        ("abc", "acb", Fraction(1, 8) + HALF + Fraction(1, 2) * HALF**2 + HALF**3),  # overlaps 1, 1, 3
        (["a", ["b", "c"]], "abc", Fraction(1, 8) + HALF + Fraction(3, 4) * HALF**2 + HALF**3),  # 1, 3/2, 3
        # Tied with itself: overlaps 1, 1 + 2 / 4, 3.
        (["a", ["b", "c"]], ["a", {"c", "b"}], Fraction(1, 8) + HALF + Fraction(3, 4) * HALF**2 + HALF**3),
        ([["a", "b"], "c"], [["a", "b"], "c"], Fraction(1, 8) + Fraction(1, 2) * HALF + HALF**2 + HALF**3),  # 1/2, 2, 3
        ("a", "a", Fraction(1)),
        ([["a"]], "a", Fraction(1)),
    ],
)
def test_by_hand(a, b, expected):
    """At p = 1/2 the factor (1 - p) / p is 1."""
    close(rbo(a, b, 0.5), float(expected))
    close(rbo(b, a, 0.5), float(expected))


@pytest.mark.parametrize("p", [0.3, 0.9, 0.98])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0, [1, 2], 3], [[0, 1], [2, 3]]),
        ([[0, 1, 2], 3, 4], [4, [0, 1, 3], 2]),
        ([[0, 1], [2, 3], 4], [[0, 1], [2, 3], 4]),
        ([[0, 1, 2, 3], 4], [0, 1, 2, 3, 4]),
        ([0, [4, 3, 2, 1]], [[4, 0], [1, 3], 2]),
    ],
)
def test_ties_are_the_mean_over_their_orders(a, b, p):
    close(rbo(a, b, p), float(by_force(a, b, p)))


def test_scores_against_brute_force():
    """The ranking of the scores included: values of few kinds, then a batch of them against their own references."""
    references, scores = random_scores(40, 5, values=4, seed=1), random_scores(40, 5, values=3, seed=2)
    expected = []
    for reference, score in zip(references.tolist(), scores.tolist(), strict=True):
        a, b = grouped(reference), grouped(score)
        expected.append(math.nan if len(a) == 1 or len(b) == 1 else float(by_force(a, b, 0.9)))
    torch.testing.assert_close(
        overlaps(references, scores), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-11, equal_nan=True
    )


@pytest.mark.parametrize("values", [None, 2, 7, 30], ids=lambda values: f"{values} values")
@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("m", [2, 3, 17, 60])
def test_properties(m, p, values):
    reference, scores = random_scores(m, seed=m), random_scores(300, m, values=values, seed=m + 1)
    found = overlaps(reference, scores, p)
    defined = ~found.isnan()
    assert defined.any()
    assert torch.equal(defined, (scores != scores[:, :1]).any(1))
    assert (found[defined] >= minimum(m, p) - 1e-11).all()
    assert (found[defined] <= 1).all()
    close(found[defined], overlaps(scores, reference.expand(300, m), p)[defined])  # either way round
    order = torch.randperm(m, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found[defined], overlaps(reference[order], scores[:, order], p)[defined])  # items have no order
    assert torch.equal(found[defined], overlaps(reference.exp(), 5 * scores**3 - 2, p)[defined])  # nor have scores size


@pytest.mark.parametrize("values", [None, 5])
def test_the_public_function_agrees(values):
    reference, scores = random_scores(23, seed=3), random_scores(20, 23, values=values, seed=4)
    expected = [rbo(grouped(reference.tolist()), grouped(row)) for row in scores.tolist()]
    close(overlaps(reference, scores), expected)


@pytest.mark.parametrize("m", [2, 9, 60, 300])
def test_the_same_order_is_one_itself_and_the_reverse_the_minimum(m):
    scores = random_scores(5, m, seed=m)
    assert torch.equal(overlaps(scores, scores), torch.ones(5, dtype=torch.float64))
    close(overlaps(scores, -scores), [minimum(m)] * 5)
    assert rbo(range(m), range(m)) == 1


def test_ties_do_not_overlap_wholly_even_with_themselves():
    scores = random_scores(10, 20, values=5)
    assert (overlaps(scores, scores) < 1).all()


def test_the_top_counts_most():
    scores = -torch.arange(6.0)
    swapped = torch.stack([scores[torch.tensor(order)] for order in ([1, 0, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4])])
    top, end = overlaps(scores, swapped)
    assert top < end < 1


@pytest.mark.parametrize(("m", "expected", "least"), [(10, 0.65, 0.51), (20, 0.44, 0.25), (60, 0.17, 0.02)])
def test_chance_and_minimum_that_are_told(m, expected, least):
    assert round(chance(m, 0.9), 2) == expected
    assert round(minimum(m, 0.9), 2) == least


@pytest.mark.parametrize("p", [0.2, 0.9])
def test_chance_and_minimum_over_all_orders(p):
    found = [plain(range(5), order, p) for order in itertools.permutations(range(5))]
    close(chance(5, p), float(sum(found) / len(found)), 1e-14)
    close(minimum(5, p), float(min(found)), 1e-14)
    assert (chance(1, p), minimum(1, p)) == (1, 1)


def test_chance_of_many_random_orders():
    found = overlaps(random_scores(60, seed=5), random_scores(20_000, 60, seed=6))
    error = found.std().item() / math.sqrt(len(found))
    assert abs(found.mean().item() - chance(60)) < 3 * error
    assert error < 0.001


def test_a_ranking_that_ranks_nothing_is_undefined():
    reference = torch.tensor([3.0, 2.0, 1.0])
    scores = torch.tensor(
        [[1.0, 2, 3], [1, 1, 1], [math.nan, 1, 2], [math.nan] * 3, [math.inf, 1, -math.inf], [0, -0.0, 0]]
    )
    assert overlaps(reference, scores).isnan().tolist() == [False, True, True, True, False, True]
    assert overlaps(scores, reference.expand(6, 3)).isnan().tolist() == [False, True, True, True, False, True]
    assert overlaps(torch.ones(3), scores).isnan().all()
    assert overlaps(torch.ones(1), torch.ones(4, 1)).isnan().all()
    assert math.isnan(rbo([["a", "b"]], "ab"))
    assert math.isnan(rbo("ab", [{"a", "b"}]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("m", [7, 60, 129])
def test_a_batch_gives_what_each_gives_alone(m, dtype):
    """To the bit, with a shared reference and with one each, and again on a second call."""
    reference, scores = random_scores(m).to(dtype), random_scores(500, m, values=40, seed=1).to(dtype)
    shared, own = overlaps(reference, scores), overlaps(scores.flip(0), scores)
    assert torch.equal(shared, overlaps(reference, scores))
    assert torch.equal(shared, overlaps(reference.expand(500, m), scores))
    for row in (0, 250, 499):
        assert torch.equal(shared[row : row + 1], overlaps(reference, scores[row : row + 1]))
        assert torch.equal(own[row], overlaps(scores[499 - row], scores[row : row + 1])[0])
    assert overlaps(reference, scores[:0]).shape == (0,)


def test_strides_do_not_matter_and_inputs_are_left_alone():
    scores = random_scores(30, 12).T
    kept = scores.clone()
    assert torch.equal(overlaps(scores[0], scores), overlaps(kept[0], kept))
    assert torch.equal(scores, kept)


@pytest.mark.parametrize(
    ("a", "b", "p", "message"),
    [
        ("abc", "abd", 0.9, r"the same items; only a has \['c'\], only b has \['d'\]"),
        ("ab", "abc", 0.9, r"only a has \[\], only b has \['c'\]"),
        ("aba", "abc", 0.9, r"each item only once; repeated: \['a'\]"),
        ("ab", ["a", ["b", "a"]], 0.9, r"only once; repeated: \['a'\]"),
        ([], [], 0.9, r"at least one item, got \[\]"),
        ("ab", "ab", 0, "p must lie between 0 and 1, both excluded, got 0"),
        ("ab", "ab", 1.0, "got 1.0"),
        ("ab", "ab", math.nan, "got nan"),
    ],
)
def test_errors(a, b, p, message):
    with pytest.raises(ValueError, match=message):
        rbo(a, b, p)


@pytest.mark.parametrize(("reference", "scores"), [((3,), (3,)), ((4,), (2, 3)), ((2, 3), (3, 3)), ((0,), (2, 0))])
def test_shapes_must_agree(reference, scores):
    with pytest.raises(ValueError, match=r"scores must be \(B, m\)") as error:
        overlaps(torch.rand(reference), torch.rand(scores))
    assert str(error.value).endswith(f"got {scores} and {reference}")


@pytest.mark.parametrize("function", [chance, minimum])
def test_errors_of_the_landmarks(function):
    with pytest.raises(ValueError, match="m must be at least 1"):
        function(0)
    with pytest.raises(ValueError, match="got 2"):
        function(5, 2)
    with pytest.raises(ValueError, match="got 2"):
        overlaps(torch.rand(3), torch.rand(1, 3), 2)
