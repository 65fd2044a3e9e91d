#!/usr/bin/env bash
# Installs what is missing for the named purposes on Debian 12, and nothing if nothing is missing.
#
#   scripts/install-deps.sh [build] [run] [package] [test] [bench] [fuzz] [tidy] [vm]
#                                           default: build run
#
# Needs root or sudo, but only when a package is missing.
set -euo pipefail

build=(g++ cmake ninja-build ccache mold pkg-config python3 python3-dev libboost1.81-dev
    libboost-json1.81-dev libfmt-dev libyaml-dev libre2-dev libssl-dev libsqlite3-dev
    libseccomp-dev libarchive-dev zlib1g-dev libcurl4-openssl-dev libcli11-dev)
run=(mmdebstrap e2fsprogs mount ca-certificates)
package=(dpkg-dev file gzip lintian)
bench=(curl wrk)
test=(libgtest-dev json-schema-test-suite jq procps python3-venv openssl groff-base zsh fish
    chromium-headless-shell)
vm=(qemu-system-x86 mmdebstrap e2fsprogs)
fuzz=(clang-19 libclang-rt-19-dev)
tidy=(clang-19 clang-format-19 clang-tidy-19)

[[ $# -gt 0 ]] || set -- build run
wanted=()
for purpose in "$@"; do
    case $purpose in
    build) wanted+=("${build[@]}") ;;
    run)
        wanted+=("${run[@]}")
        # An engine from elsewhere (docker-ce) serves as well, and would conflict.
        if ! command -v docker >/dev/null || ! { command -v dockerd >/dev/null ||
            docker info >/dev/null 2>&1; }; then wanted+=(docker.io); fi
        ;;
    package) wanted+=("${package[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    fuzz) wanted+=("${fuzz[@]}") ;;
    tidy) wanted+=("${tidy[@]}") ;;
    vm) wanted+=("${vm[@]}") ;;
    *)
        echo "error: unknown purpose $purpose" >&2
        echo "hint: build, run, package, test, bench, fuzz, tidy or vm" >&2
        exit 2
        ;;
    esac
done

declare -A have=()
while read -r package status; do
    if [[ $status == installed ]]; then have[$package]=1; fi
done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null)
missing=()
for package in "${wanted[@]}"; do
    if [[ -z ${have[$package]:-} ]]; then missing+=("$package"); fi
done
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi

. /etc/os-release
if [[ ${VERSION_CODENAME:-} != bookworm ]]; then
    echo "warning: made for Debian 12 (bookworm), this is ${PRETTY_NAME:-unknown}" >&2
fi
as_root=()
if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || {
        echo "error: these packages are missing, and there is no sudo: ${missing[*]}" >&2
        echo "hint: as root: apt-get install ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi
echo "installing: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0
    -o DPkg::Lock::Timeout=120)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for step in update "install -y --no-install-recommends ${missing[*]}"; do
    # shellcheck disable=SC2086
    if ! "${apt[@]}" $step </dev/null >"$log" 2>&1; then
        cat "$log" >&2
        echo "error: apt-get ${step%% *} failed" >&2
        exit 1
    fi
done
