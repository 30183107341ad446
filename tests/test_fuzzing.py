"""Damaged pictures, bundles, checkpoints and links: read, or refused in one sentence.

These are the same every time; tests/run.sh tries others with every commit.
"""

import random
from itertools import islice

import fuzzing
import pytest
from fuzzing import KINDS, damaged


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


@pytest.mark.parametrize("fails", [False, True])
def test_the_command_keeps_what_fails_and_says_so_by_its_exit_code(fails, tmp_path, monkeypatch, capsys):
    def attempt():
        assert not fails, "read wrongly"

    def pieces(rng):
        while True:
            yield rng.randbytes(4), attempt

    finds = tmp_path / "finds"
    monkeypatch.setattr(fuzzing, "KINDS", {"letters": pieces})
    monkeypatch.setattr("sys.argv", ["fuzzing", "--minutes", "0.001", "--seed", "0xff", "--finds", str(finds)])
    assert fuzzing.main() == fails
    told = capsys.readouterr().out
    assert told.startswith("seed 255\n")
    assert ("read wrongly" in told) == finds.is_dir() == fails
    assert not fails or [len(find.read_bytes()) for find in finds.iterdir()] == [4]
