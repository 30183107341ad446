"""Damaged pictures, bundles, checkpoints and links, others with every commit: read, or refused in one sentence."""

import random
import subprocess
from itertools import islice

import pytest
from fuzzing import KINDS, ROOT, damaged, fuzz

SECONDS = 30  # for each kind


def seed() -> int:
    """A number that changes with the commit; 0 outside of a repository."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(found.stdout.strip() or "0", 16)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails_in_another_way(kind):
    count, finds = fuzz(kind, seed(), SECONDS)
    assert count > 20
    assert not finds, f"seed {seed()}:\n{finds[0][1]}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixed_corpus(kind):
    """The same pieces every time, which do not depend on how fast the machine is."""
    for _, attempt in islice(KINDS[kind](random.Random(0)), 30 if kind == "checkpoints" else 300):
        attempt()


def test_pieces_are_damaged_and_the_same_for_a_seed():
    data = bytes(range(256)) * 8
    pieces = [damaged(data, random.Random(number)) for number in range(50)]
    assert pieces == [damaged(data, random.Random(number)) for number in range(50)]
    assert sum(piece != data for piece in pieces) > 45
