#!/usr/bin/env bash
# From a fresh Debian 12 to a first execution: installs what is missing, builds, makes the base image,
# starts a daemon, deploys examples/pr-reviewer.yaml and executes it. Can be run again at any time.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }
run() { printf '$ aegis %s\n' "$*"; "$aegis" "$@"; }

# The daemon mounts volumes and starts containers: that takes root. The build does not.
as_root=()
if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || { echo "error: run this as root, or install sudo" >&2; exit 1; }
    as_root=(sudo --preserve-env=OPENAI_API_KEY,ANTHROPIC_API_KEY,DOCKER_HOST,AEGIS_DATA_DIR)
fi
sudo_word=${as_root[*]:0:1}
aegis=$PWD/build/aegis

step "Packages"
scripts/install-deps.sh build run
echo "all there"

step "Build (build/)"
scripts/build.sh build -DCMAKE_BUILD_TYPE=RelWithDebInfo -DAEGIS_TESTS=OFF -- aegis
"$aegis" --version

step "Container engine and base image"
manifest=examples/pr-reviewer.yaml
if "${as_root[@]}" scripts/engine.sh start; then
    have_image() { "${as_root[@]}" docker image inspect aegis/python:3.11 >/dev/null 2>&1; }
else
    # The example asks for docker, and is refused without an engine: a copy asks for nothing.
    manifest=build/pr-reviewer-inherit.yaml
    sed 's/isolation: docker/isolation: inherit/' examples/pr-reviewer.yaml >"$manifest"
    echo "No container engine can be had here: agents run in the embedded sandbox; a copy of the"
    echo "example with \`isolation: inherit\` is deployed ($manifest)."
    have_image() {
        "${as_root[@]}" "$aegis" image list -o json | grep -Eq '"unpacked": ?true'
    }
fi
if have_image; then
    echo "image: aegis/python:3.11 is there"
else
    "${as_root[@]}" "$aegis" image build python 3.11
fi

step "Daemon"
if "$aegis" --daemon-addr localhost:9090 daemon status >/dev/null 2>&1; then
    echo "A daemon already runs at localhost:9090; it is used as it is, with its own models."
    echo "To begin anew: ${sudo_word:+$sudo_word }build/aegis daemon stop, then ./quickstart.sh"
else
    config=()
    if [[ -e aegis-config.yaml ]]; then
        echo "Models: those of ./aegis-config.yaml"
    elif [[ -n ${OPENAI_API_KEY:-} ]]; then
        echo "Model: OpenAI, with the key in OPENAI_API_KEY"
    elif [[ -n ${ANTHROPIC_API_KEY:-} ]]; then
        echo "Model: Anthropic, with the key in ANTHROPIC_API_KEY"
    else
        echo "Model: none has a key here (OPENAI_API_KEY, ANTHROPIC_API_KEY), so a script answers:"
        echo "       examples/scripted/script.yaml. All the rest is real."
        config=(--config examples/scripted/aegis-config.yaml)
    fi
    "${as_root[@]}" "$aegis" "${config[@]}" daemon start --detach
fi
export AEGIS_DAEMON_ADDR=localhost:9090

step "Deploy and execute"
run agent deploy "$manifest"
code=0
run execute --agent pr-reviewer --input @examples/pr-42.json --watch || code=$?

step "What the agent said"
run execution logs @last
if [[ $code -ne 0 ]]; then
    printf '\nThe execution did not complete (exit %s). What is wrong with this machine, if anything:\n' \
        "$code" >&2
    "${as_root[@]}" "$aegis" doctor | grep -v '^ok ' >&2 || true
    exit "$code"
fi

cat <<TXT

== Where to look next
  build/aegis execution get @last          the record, with every iteration
  build/aegis agent list                   what is deployed
  build/aegis doctor                       whether all is well with this machine
  build/aegis agent deploy examples/python-coder.yaml
  build/aegis execute --agent python-coder --watch \\
      --input '{"task": "Write a function that reverses a linked list."}'
                                           an execution that fails its validator and refines
$(printf '  %-40s %s\n' "${sudo_word:+$sudo_word }build/aegis daemon stop" \
    "ends the daemon; its state is kept" "${sudo_word:+$sudo_word }scripts/engine.sh stop" \
    "ends the container engine, if this started it")
  README.md, docs/                         the manual
TXT
