#!/usr/bin/env bash
# Makes a Docker Engine available: the running one, else a dockerd of our own in the background.
#
#   scripts/engine.sh start     says which; exit 0 when it answers
#   scripts/engine.sh stop      ends the engine that `start` started; any other is left alone
#   scripts/engine.sh status    exit 0 when one answers
#
# One dockerd per host: a second one would destroy the first one's networks.
set -euo pipefail

state=${AEGIS_ENGINE_DIR:-/run/aegis-engine}
pid_file=$state/dockerd.pid
log=$state/dockerd.log
ready_secs=60

answers() { timeout 10 docker info --format '{{.ServerVersion}}' 2>/dev/null | grep -q .; }
# The pid of our own dockerd, if it is alive and still that program.
ours() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] &&
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] && echo "$pid"
}
needRoot() {
    if [[ $EUID -ne 0 ]]; then
        echo "error: no Docker Engine answers, and starting one needs root" >&2
        echo "hint: start the engine (systemctl start docker), or run this as root" >&2
        exit 1
    fi
}

start() {
    if answers; then
        if ours >/dev/null; then echo "engine: ours is running"; else echo "engine: running"; fi
        return
    fi
    if [[ -n ${DOCKER_HOST:-} ]]; then
        echo "error: the engine at DOCKER_HOST=$DOCKER_HOST does not answer" >&2
        exit 1
    fi
    needRoot
    command -v dockerd >/dev/null || {
        echo "error: no Docker Engine answers, and dockerd is not installed" >&2
        echo "hint: scripts/install-deps.sh run" >&2
        exit 1
    }
    mkdir -p -m 0700 "$state"
    exec 9>"$state/lock"
    flock -w "$ready_secs" 9 || { echo "error: another engine.sh is starting one" >&2; exit 1; }
    # One that is just coming up is waited for, whoever started it.
    local child=
    if ! pidof dockerd >/dev/null; then
        setsid dockerd >"$log" 2>&1 </dev/null 9>&- &
        child=$!
        echo "$child" >"$pid_file"
    fi
    local end=$((SECONDS + ready_secs))
    until answers; do
        if ! kill -0 ${child:-$(pidof -s dockerd || echo x)} 2>/dev/null; then
            echo "error: dockerd has ended:" >&2
            if [[ -n $child ]]; then
                tail -n 5 "$log" >&2
                rm -f "$pid_file"
            fi
            exit 1
        fi
        if ((SECONDS >= end)); then
            echo "error: dockerd does not answer after $ready_secs s (log: $log)" >&2
            exit 1
        fi
        sleep 0.2
    done
    if ours >/dev/null; then echo "engine: started (log: $log)"; else echo "engine: running"; fi
}

stop() {
    local pid
    pid=$(ours) || return 0
    kill -TERM "$pid"
    # dockerd gives its containers 10 s.
    local end=$((SECONDS + 40))
    while ours >/dev/null; do
        if ((SECONDS >= end)); then
            echo "error: dockerd (pid $pid) has not ended" >&2
            exit 1
        fi
        sleep 0.1
    done
    rm -f "$pid_file"
    echo "engine: stopped"
}

case ${1:-} in
start) start ;;
stop) stop ;;
status) answers ;;
*)
    echo "usage: engine.sh start|stop|status" >&2
    exit 2
    ;;
esac
