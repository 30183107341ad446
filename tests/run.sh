#!/usr/bin/env bash
# Sets up all that the tests need, in a virtual environment of its own, and runs every check.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
[ -x /usr/bin/chromium ] || missing+=(chromium fonts-dejavu-core)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi

python3 -m venv .venv-test
PATH=$PWD/.venv-test/bin:$PATH
pip install --quiet --disable-pip-version-check uv==0.13.8  # installs in a third of pip's time
uv pip install --quiet --system-certs --python .venv-test/bin/python -r tests/requirements.txt

ruff format --check .
ruff check .
pyrefly check
lint-imports
# A process and a thread of torch's for each core; then the browser, which needs the machine for itself.
OMP_NUM_THREADS=1 pytest -n auto --dist worksteal -m "not browser" --durations=20
# In its pauses, two minutes of damaged files, which are others with every commit.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
nice python tests/fuzzing.py --minutes 2 --seed "0x$(git rev-parse HEAD)" &
fuzzing=$!
pytest -m browser --durations=20 tests/test_browser*.py
wait "$fuzzing"
