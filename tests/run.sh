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
.venv-test/bin/pip install --quiet --disable-pip-version-check --no-compile -r tests/requirements.txt
PATH=$PWD/.venv-test/bin:$PATH

ruff format --check .
ruff check .
lint-imports

# The browser comes first and needs one core. Everything else takes what it leaves: a low priority, one thread each.
rest=$(mktemp)
OMP_NUM_THREADS=1 nice -n 19 bash -c 'mypy && pytest -n auto --dist worksteal -m "not browser"' > "$rest" 2>&1 &
status=0
pytest -m browser || status=1
wait $! || status=1
cat "$rest"
exit $status
