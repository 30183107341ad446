"""Another process draws, measures and writes the same, whatever its hash seed; and it loads nothing too early."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_process import digests

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def there():
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    done = subprocess.run(
        [sys.executable, TESTS / "fresh_process.py"],
        env={**os.environ, "PYTHONHASHSEED": "4321", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_same_in_another_process(there):
    here = digests()
    assert {name: there[name] for name in here} == here


def test_what_is_slow_to_import_waits_until_it_is_needed(there):
    assert there["loaded"] == []
