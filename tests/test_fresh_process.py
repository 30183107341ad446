"""Another process draws, measures and writes the same, whatever its hash seed; and it loads nothing too early."""

import json
import os
import subprocess
import sys
from pathlib import Path

from fresh_process import digests

TESTS = Path(__file__).parent


def test_the_same_in_another_process():
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    done = subprocess.run(
        [sys.executable, TESTS / "fresh_process.py"],
        env={**os.environ, "PYTHONHASHSEED": "4321", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert there.pop("loaded") == [], "what is slow to import waits until it is needed"
    assert there == digests()
