#!/usr/bin/env bash
# Builds the libFuzzer targets with clang and runs each for FUZZ_SECS (30) seconds. New inputs are
# kept in build-fuzz/corpus/; a crash ends the run and names the input.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t names < <(git ls-files 'src/*_fuzz.cpp' | sed 's#.*/##; s#\.cpp$##')
scripts/build.sh build-fuzz -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DAEGIS_TESTS=OFF -DAEGIS_FUZZ=ON \
    -DAEGIS_SANITIZE=address,undefined -- "${names[@]}"
for name in "${names[@]}"; do
    echo "== $name"
    mkdir -p "build-fuzz/corpus/$name"
    program=$(find build-fuzz/src -name "$name" -type f -executable)
    "$program" -max_total_time="${FUZZ_SECS:-30}" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="build-fuzz/$name-" "build-fuzz/corpus/$name"
done
