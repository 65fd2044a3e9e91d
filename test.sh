#!/usr/bin/env bash
# Builds and tests everything, from a clean clone on a machine without the packages. The last line is
# "N passed, N failed" over all suites; the exit code is 0 only if nothing failed.
#
#   AEGIS_SKIP_SANITIZERS=1 ./test.sh     without the second build and its runs
#   AEGIS_TEST_JOBS=N                     tests at a time (default: one per core)
#
# Needs root (or sudo): volumes are mounted, containers started. What it starts it stops.
set -euo pipefail
cd "$(dirname "$0")"
if [[ $EUID -ne 0 ]]; then exec sudo -E "$PWD/test.sh" "$@"; fi
exec </dev/null

jobs=${AEGIS_TEST_JOBS:-$(nproc)}
results=$(mktemp -d "${TMPDIR:-/tmp}/aegis-test.XXXXXX")
engine_is_ours=
began=$SECONDS
finish() {
    local code=$?
    trap - EXIT
    if [[ -n $engine_is_ours ]]; then scripts/engine.sh stop || code=1; fi
    echo
    # Also after an early end: whatever was being done then counts as failed.
    if ! python3 scripts/test_totals.py "$results"; then code=1; fi
    rm -rf "$results"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step() { printf '\n== [%d:%02d] %s\n' $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$*"; }

# A step that must work for the rest to make sense.
must() {
    local name=$1
    shift
    step "$name"
    echo "$name" >"$results/unfinished"
    "$@"
    rm "$results/unfinished"
}

# A suite that is run to its end whatever happens; scripts/test_totals.py reads what it leaves.
suite() {
    local name=$1 code=0
    shift
    step "$name"
    echo "$name" >"$results/unfinished"
    "$@" 2>&1 | tee "$results/$name.log" || code=${PIPESTATUS[0]}
    echo "$code" >"$results/$name.exit"
    rm "$results/unfinished"
}

unitTests() {
    local name=$1 dir=$2
    shift 2
    suite "$name" ctest --test-dir "$dir" -j "$jobs" --output-on-failure --no-tests=error \
        --output-junit "$results/$name.xml" "$@"
}

baseImage() {
    if docker image inspect aegis/python:3.11 >/dev/null 2>&1; then
        echo "aegis/python:3.11 is there"
    else
        build/aegis image build python 3.11
    fi
}

must packages scripts/install-deps.sh build run package test
must python scripts/test-venv.sh
must build scripts/build.sh build -DCMAKE_BUILD_TYPE=RelWithDebInfo -DAEGIS_TESTS=ON
if ! scripts/engine.sh status; then engine_is_ours=1; fi
must engine scripts/engine.sh start
must image baseImage

unitTests unit build
suite golden python3 tests/golden/run.py --aegis build/aegis
suite e2e python3 tests/e2e/run.py --aegis build/aegis
suite e2e-process python3 tests/e2e/run.py --aegis build/aegis --isolation process \
    test_sandbox test_lifecycle test_embedded test_startup test_warm
suite escape python3 tests/escape/run.py --aegis build/aegis
suite escape-process python3 tests/escape/run.py --aegis build/aegis --isolation process
suite package python3 -B tests/package/run.py --build build

if [[ -z ${AEGIS_SKIP_SANITIZERS:-} ]]; then
    export UBSAN_OPTIONS=print_stacktrace=1
    must build-asan scripts/build.sh build-asan -DCMAKE_BUILD_TYPE=Debug \
        "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1" -DAEGIS_TESTS=ON -DAEGIS_SANITIZE=address,undefined
    # The guest and the style check are not C++ of this build: once is enough.
    unitTests unit-asan build-asan -E '^(guest|style)\.'
    suite golden-asan python3 tests/golden/run.py --aegis build-asan/aegis
    suite e2e-asan python3 tests/e2e/run.py --aegis build-asan/aegis
fi
