#!/usr/bin/env bash
# Configures and builds:  scripts/build.sh DIR [CMAKE OPTIONS] [-- TARGETS]
# Quiet when all goes well. A cache left by another source folder is thrown away.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)

dir=$1
shift
options=()
while [[ $# -gt 0 && $1 != -- ]]; do options+=("$1"); shift; done
[[ $# -eq 0 ]] || shift

cache=$dir/CMakeCache.txt
if [[ -e $cache ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$top" "$cache"; then
    rm -rf "$cache" "$dir/CMakeFiles"
fi
mkdir -p "$dir"
log=$dir/configure.log
if ! cmake -S "$top" -B "$dir" -G Ninja "${options[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    echo "error: cmake failed" >&2
    exit 1
fi
# Lets a fresh clone use what another folder compiled.
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1
start=$SECONDS
echo "building $dir"
# Quiet unless a compiler speaks; a failed command shows all it said.
ninja --quiet -C "$dir" "$@"
echo "built $dir in $((SECONDS - start)) s"
