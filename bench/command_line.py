#!/usr/bin/env python3
"""How long whole commands take, beside /bin/true and `docker --version` from the same run.

    bench/command_line.py [--build build] [--runs 200] [--json FILE]

The commands take turns, so that all see the same machine. It also names the libraries that a
command of the client loads: libcurl and OpenSSL's libssl must not be among them (exit 1).
"""
import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile

import run as bench

GOAL_MS = 8.0
FLOOR, PEER = "/bin/true", "docker --version"
FORBIDDEN = ("libcurl", "libssl", "libgnutls")


def commands(node):
    client = [node.aegis, "--daemon-addr", node.address]
    return {"aegis agent list": [*client, "agent", "list"],
            "aegis agent list -o json": [*client, "agent", "list", "-o", "json"],
            "aegis execution list": [*client, "execution", "list"],
            "aegis --version": [node.aegis, "--version"],
            "aegis __complete (a name)": [node.aegis, "__complete", "--", "--daemon-addr",
                                          node.address, "agent", "get", ""],
            FLOOR: ["/bin/true"], PEER: ["docker", "--version"]}


def libraries(command):
    """Names of the shared objects that a command has loaded, at its start or later."""
    said = subprocess.run(command, env=dict(os.environ, LD_DEBUG="files"), text=True, check=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr
    return sorted({os.path.basename(line.split("calling init: ")[1])
                   for line in said.splitlines() if "calling init: " in line})


def measure(all_commands, runs):
    taken = {name: [] for name in all_commands}
    for turn in range(runs + 1):
        for name, command in all_commands.items():
            ms = bench.timed(command)
            if turn > 0:  # the first warms the caches
                taken[name].append(ms)
    return {name: {**bench.summary(values), "min": round(min(values), 2)}
            for name, values in taken.items()}


def report(figures):
    print(f"{'command':26} {'min':>7} {'p50':>7} {'p95':>7}   beside {FLOOR}, {PEER} (min)")
    for name, f in figures.items():
        ratios = [f["min"] / figures[peer]["min"] for peer in (FLOOR, PEER)]
        print(f"{name:26} {f['min']:7.2f} {f['p50']:7.2f} {f['p95']:7.2f}   "
              + "  ".join(f"{r:6.2f}" for r in ratios))
    listed = figures["aegis agent list"]["min"]
    verdict = "within" if listed <= GOAL_MS else "beyond"
    print(f"aegis agent list: {listed:.2f} ms, {verdict} the goal of {GOAL_MS:.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build", help="the folder with aegis in it")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", help="where to store the figures")
    options = parser.parse_args()
    aegis = os.path.join(os.path.abspath(options.build), "aegis")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-bench-"))
        node = bench.Node(aegis, folder)
        stack.callback(node.stop)
        all_commands = commands(node)
        loaded = libraries(all_commands["aegis agent list"])
        figures = measure(all_commands, options.runs)
    print(f"ms, {options.runs} runs each, on {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.1f}")
    report(figures)
    print("libraries: " + " ".join(loaded))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"ms": figures, "libraries": loaded}, f, indent=1)
    wrong = [name for name in loaded if name.startswith(FORBIDDEN)]
    if wrong:
        print(f"error: a client command loads {' '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
