#!/usr/bin/env bash
# The Python packages that the end-to-end tests use (tests/requirements.txt), in a virtual
# environment of their own: build/test-venv, or $AEGIS_TEST_VENV. Does nothing when it is there
# already.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${AEGIS_TEST_VENV:-build/test-venv}
stamp=$venv/requirements.txt
if cmp -s tests/requirements.txt "$stamp"; then exit 0; fi
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    -r tests/requirements.txt
cp tests/requirements.txt "$stamp"
