#!/usr/bin/env bash
# Inside the machine: guest.sh "UNIT TESTS" E2E TESTS...
set -u
export PYTHONDONTWRITEBYTECODE=1 AEGIS_TEST_BASE_IMAGE=/root/base.tar
uname -srv
cat /sys/fs/cgroup/cgroup.controllers
build/aegis doctor
failed=0
# Its bound is of processor time, of which an emulated machine's Python takes more to start.
slow='*CpuIsHeldDown/Fresh'
for name in $1; do
    echo "== $name"
    "build/src/$name" --gtest_brief=1 --gtest_filter="-$slow" || failed=1
done
echo "== e2e"
python3 tests/e2e/run.py --aegis build/aegis --isolation process "${@:2}" || failed=1
exit $failed
