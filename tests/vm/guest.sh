#!/usr/bin/env bash
# Inside the machine: guest.sh PART [TESTS...]. See README.md.
set -u
export PYTHONDONTWRITEBYTECODE=1 AEGIS_TEST_BASE_IMAGE=/base.tar
# The processor is emulated: what takes a second elsewhere takes many here.
export AEGIS_TEST_PATIENCE=${AEGIS_TEST_PATIENCE:-6}
failed=0

unit() {
    # Its bound is of processor time, of which an emulated machine's Python takes more to start;
    # test_user looks whether the processor is held down.
    local name slow='*CpuIsHeldDown/*'
    for name in os/aegis_os_test sandbox/process/aegis_sandbox_process_test; do
        echo "== $name"
        "build/src/$name" --gtest_filter="-$slow" || failed=1
    done
}

e2e() {
    [[ $# -gt 0 ]] || set -- test_sandbox test_embedded.NoEngine \
        test_embedded.LongPath.test_data_dir_of_200_characters
    python3 tests/vm/run_as_user.py test_user.Unpacked || failed=1
    echo "== e2e"
    python3 tests/e2e/run.py --aegis build/aegis --isolation process "$@" || failed=1
}

escape() {
    python3 tests/vm/run_as_user.py test_user.Unpacked || failed=1
    # An address that is the host's: the machine has no card.
    ip link add outside type dummy
    ip address add 192.0.2.2/24 dev outside
    ip link set outside up
    echo "== escape"
    python3 tests/escape/run.py --aegis build/aegis --isolation process "$@" || failed=1
}

# as USER COMMAND...: in a session-like environment, in nothing that is delegated.
as() {
    local home=/home/$1 runtime
    runtime=/run/user/$(id -u "$1")
    runuser -u "$1" -- env HOME="$home" XDG_RUNTIME_DIR="$runtime" "${@:2}" || failed=1
}

await_manager() {
    for _ in $(seq 600); do
        [[ -S /run/user/$(id -u "$1")/bus ]] && return
        sleep 0.2
    done
    echo "$1 has no service manager"
    failed=1
}

user() {
    local scope=(systemd-run --user --scope --quiet -p Delegate=yes)
    local service=(systemd-run --quiet --pipe --wait -p Delegate=yes --uid=anna
        --working-directory="$PWD" -E HOME=/home/anna -E AEGIS_TEST_BASE_IMAGE
        -E AEGIS_TEST_PATIENCE -E PYTHONDONTWRITEBYTECODE)
    local run=(python3 tests/vm/run_as_user.py)
    [[ $# -gt 0 ]] || set -- test_user.Delegated
    useradd --create-home anna
    useradd --create-home berta
    sed -i /berta/d /etc/subuid
    loginctl enable-linger anna
    await_manager anna
    echo "== an ordinary user, in a scope"
    as anna "${scope[@]}" "${run[@]}" test_user.Unpacked "$@"
    as anna "${scope[@]}" python3 tests/e2e/run.py --aegis build/aegis --isolation process \
        test_sandbox.Limits.test_out_of_memory_of_a_command test_sandbox.Limits.test_pids \
        test_sandbox.Limits.test_tmp_size test_sandbox.Limits.test_open_files \
        test_sandbox.Limits.test_output
    echo "== in one scope after the other"
    as anna "${run[@]}" test_user.OwnScope
    echo "== as a service"
    "${service[@]}" "${run[@]}" test_user.Delegated.test_an_agent_runs \
        test_user.Delegated.test_stop_leaves_nothing || failed=1
    echo "== without delegation"
    AEGIS_TEST_LACKS="is not delegated to this user" as anna "${run[@]}" test_user.Refused
    echo "== without ids"
    AEGIS_TEST_LACKS="/etc/subuid gives the user berta no range" \
        "${service[@]/anna/berta}" -E AEGIS_TEST_LACKS "${run[@]}" test_user.Refused || failed=1
}

service() {
    [[ $# -gt 0 ]] || set -- test_service
    echo "== as the packaged service"
    python3 tests/vm/run_as_user.py test_user.Unpacked "$@" || failed=1
}

# part NAME [TESTS...]: says how it went and how long it took.
part() {
    local began=$SECONDS before=$failed
    failed=0
    "$@"
    if [[ $failed == 0 ]]; then echo "== $1 passed"; else echo "== $1 FAILED"; fi
    echo "== $1 took $((SECONDS - began)) s"
    [[ $before == 0 ]] || failed=1
}

uname -srv
cat /sys/fs/cgroup/cgroup.controllers
case $1 in
all)
    build/aegis doctor
    for name in unit e2e service user escape; do part $name; done
    ;;
*) part "$@" ;;
esac
exit $failed
