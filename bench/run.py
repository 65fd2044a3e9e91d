#!/usr/bin/env python3
"""Times beside their floor or peer from the same run. Needs root, a Docker Engine, the base image.

    bench/run.py [--build build] [--runs 30] [--json build/bench.json]

Starts a daemon of its own (scripted model, temporary data directory, free port) and stops it again.
The runs of a figure and of its peer take turns, so that both see the same machine.
"""
import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

IMAGE = "aegis/python:3.11"
CONFIG = """
server: {addr: "127.0.0.1:0"}
storage: {data_dir: "%s"}
llm:
  providers: [{name: offline, type: scripted, script: ./script.yaml}]
"""
SCRIPT = """
- match: "."
  turns: [{content: "done"}]
"""
AGENT = """
apiVersion: 100monkeys.ai/v1
kind: Agent
metadata: {name: %s, version: "1.0.0"}
spec:
  runtime: {language: python, version: "3.11", isolation: docker}
  task: {instruction: "Say that you are done."}
  execution: {mode: one-shot}
"""
VOLUME = """  volumes:
    - {name: work, storage_class: ephemeral, mount_point: /w, size_limit_mb: 64, ttl_hours: 0}
"""


class Node:
    """A daemon for this run."""

    def __init__(self, aegis, folder):
        self.aegis = aegis
        self.config = os.path.join(folder, "aegis-config.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(CONFIG % os.path.join(folder, "data"))
        with open(os.path.join(folder, "script.yaml"), "w", encoding="utf-8") as f:
            f.write(SCRIPT)
        said = self.call("daemon", "start", "--detach", "-o", "json")
        self.address = json.loads(said)["address"]
        for name, more in (("plain", ""), ("volume", VOLUME)):
            path = os.path.join(folder, name + ".yaml")
            with open(path, "w", encoding="utf-8") as f:
                f.write(AGENT % name + more)
            self.call("agent", "deploy", path)

    def call(self, *words):
        flags = ["--config", self.config]
        if hasattr(self, "address"):
            flags += ["--daemon-addr", self.address]
        done = subprocess.run([self.aegis, *flags, *words], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120)
        if done.returncode != 0:
            sys.exit(f"error: aegis {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def stop(self):
        self.call("daemon", "stop")


def utc(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def execute(node, agent):
    """(accepted, first model request, whole execution) in ms from the start of `aegis execute`."""
    start = time.time()
    execution = node.call("execute", "--agent", agent).split()[-1]
    accepted = time.time() - start
    node.call("execution", "wait", execution)
    record = json.loads(node.call("execution", "get", execution, "-o", "json"))
    events = subprocess.run(
        ["curl", "-sf", f"http://{node.address}/v1/executions/{execution}/events?limit=1000"],
        check=True, capture_output=True, text=True).stdout
    asked = next(e["time"] for e in json.loads(events)["items"] if e["type"] == "LlmCallStarted")
    return accepted * 1e3, (utc(asked) - start) * 1e3, (utc(record["ended_at"]) - start) * 1e3


def dockerRun():
    """(first byte of output, whole command) in ms from the start of `docker run`."""
    start = time.time()
    command = ["docker", "run", "--rm", "--network", "none", IMAGE, "echo", "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as child:
        child.stdout.read(1)
        first = time.time() - start
        if child.wait() != 0:
            sys.exit("error: docker run failed")
    return first * 1e3, (time.time() - start) * 1e3


def timed(command):
    start = time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return (time.time() - start) * 1e3


def fdatasync(folder):
    path = os.path.join(folder, "fdatasync")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(fd, b"x" * 4096)
        start = time.time()
        os.fdatasync(fd)
        return (time.time() - start) * 1e3
    finally:
        os.close(fd)
        os.unlink(path)


def measure(node, folder, runs):
    taken = {}

    def add(name, value):
        taken.setdefault(name, []).append(value)

    for run in range(runs + 1):
        row = {}
        row["aegis execute, accepted"], row["first model request"], row["whole execution"] = \
            execute(node, "plain")
        _, row["first model request, with a volume"], row["whole execution, with a volume"] = \
            execute(node, "volume")
        row["docker run, first byte"], row["docker run, whole"] = dockerRun()
        list_agents = [node.aegis, "--daemon-addr", node.address, "agent", "list"]
        row["aegis agent list"] = timed(list_agents)
        row["docker --version"] = timed(["docker", "--version"])
        row["fdatasync of 4 KiB"] = fdatasync(folder)
        if run > 0:  # the first warms the caches
            for name, value in row.items():
                add(name, value)
        print(f"\r{run}/{runs}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return taken


PEERS = [
    ("first model request", "docker run, first byte"),
    ("first model request, with a volume", "docker run, first byte"),
    ("whole execution", "docker run, whole"),
    ("whole execution, with a volume", "docker run, whole"),
    ("aegis execute, accepted", "fdatasync of 4 KiB"),
    ("aegis agent list", "docker --version"),
]


def summary(values):
    ordered = sorted(values)
    return {"runs": len(ordered), "p50": round(statistics.median(ordered), 2),
            "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2)}


def report(figures):
    width = max(len(name) for pair in PEERS for name in pair)
    print(f"{'figure':{width}}  {'p50':>7} {'p95':>7}   {'beside':{width}}  {'p50':>7}  ratio")
    rows = []
    for name, peer in PEERS:
        a, b = figures[name], figures[peer]
        ratio = round(a["p50"] / b["p50"], 2)
        rows.append({"figure": name, "peer": peer, "ratio": ratio})
        print(f"{name:{width}}  {a['p50']:7.1f} {a['p95']:7.1f}   {peer:{width}}"
              f"  {b['p50']:7.1f}  {ratio:5.2f}")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build", help="the folder with aegis in it")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--json", help="where to store the figures (default: BUILD/bench.json)")
    options = parser.parse_args()
    aegis = os.path.join(os.path.abspath(options.build), "aegis")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-bench-"))
        node = Node(aegis, folder)
        stack.callback(node.stop)
        figures = {name: summary(v) for name, v in measure(node, folder, options.runs).items()}
    print(f"ms, {options.runs} runs each, on {os.cpu_count()} cores, Linux {platform.release()}, "
          f"load {os.getloadavg()[0]:.1f}")
    ratios = report(figures)
    path = options.json or os.path.join(options.build, "bench.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"cores": os.cpu_count(), "kernel": platform.release(),
                   "load": os.getloadavg(), "ms": figures, "ratios": ratios}, f, indent=1)
    print(f"stored in {path}")
    store_bench = os.path.join(options.build, "src/store/sqlite/store_bench")
    if os.path.exists(store_bench):
        print("\nThe journal:", flush=True)
        with tempfile.TemporaryDirectory(prefix="aegis-bench-") as folder:
            return subprocess.run([store_bench, folder]).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
