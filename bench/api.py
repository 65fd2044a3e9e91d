#!/usr/bin/env python3
"""The API under load, beside its floor from the same run. Needs what bench/run.py does, and wrk.

    bench/api.py [--build build] [--seconds 5] [--stored 1000] [--streams 1000] [--json FILE]

wrk asks for GET /v1/executions (a page of 50 of those stored) and, taking turns with it, for GET
/health/live, which does nothing: the difference is the list's. Then --streams watchers follow one
execution; the time to the last watcher's last byte stands beside the same with one watcher.
"""
import argparse
import contextlib
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import run as bench

CONFIG = """
server: {addr: "127.0.0.1:0"}
storage: {data_dir: "%s"}
runtime: {max_concurrent_executions: 1}
llm:
  providers: [{name: offline, type: scripted, script: ./script.yaml}]
observability: {log_level: warn}
"""
# The one that runs sleeps, so that the others stay in the queue and the machine is quiet.
SCRIPT = """
- match: "."
  turns: [{tool_calls: [{name: cmd.run, arguments: {command: sleep, args: ["3600"]}}]}]
"""


class Node(bench.Node):
    def __init__(self, aegis, folder):
        bench.CONFIG, bench.SCRIPT = CONFIG, SCRIPT
        super().__init__(aegis, folder)

    def post(self, path, body=None):
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data=data,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.load(answer)


    def record(self, execution):
        return json.loads(self.call("execution", "get", execution, "-o", "json"))


def wrk(address, path, seconds, connections):
    """(requests per second, p50 ms, p99 ms)."""
    said = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                           f"http://{address}{path}"], capture_output=True, text=True, check=True)
    if "Non-2xx" in said.stdout or "Socket errors" in said.stdout:
        sys.exit(f"error: {path}: {said.stdout}")
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def percentile(name):
        found = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", said.stdout)
        return float(found[1]) * unit[found[2]]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said.stdout)[1])
    return rate, percentile(50), percentile(99)


def watchers(node, execution, count):
    """Follows an execution with so many streams, cancels it, and times their ends in ms."""
    host, port = node.address.rsplit(":", 1)
    target = f"/v1/executions/{execution}/stream"
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(count):
            s = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            s.sendall(request)
            s.recv(1)
            selector.register(s, selectors.EVENT_READ)
        start = time.time()
        canceller = subprocess.Popen([node.aegis, "--daemon-addr", node.address, "execution",
                                      "cancel", execution], stdout=subprocess.DEVNULL)
        ends, left = [], count
        while left:
            for key, _ in selector.select(30):
                if not key.fileobj.recv(1 << 16):
                    selector.unregister(key.fileobj)
                    ends.append((time.time() - start) * 1e3)
                    left -= 1
        canceller.wait()
    return ends[0], ends[-1]


def lists(node, seconds):
    paths = {"list": "/v1/executions", "floor": "/health/live"}
    taken = {name: [] for name in paths}
    for run in range(4):
        for name, path in paths.items():
            figures = wrk(node.address, path, seconds if run else 1, 16)
            if run:  # the first warms up
                taken[name].append(figures)
    rows = {}
    for name, figures in taken.items():
        rate, p50, p99 = (statistics.median(v) for v in zip(*figures))
        rows[name] = {"per_second": round(rate), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3)}
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build", help="the folder with aegis in it")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--stored", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--json", help="where to store the figures (default: BUILD/bench-api.json)")
    options = parser.parse_args()
    aegis = os.path.join(os.path.abspath(options.build), "aegis")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-bench-"))
        node = Node(aegis, folder)
        stack.callback(node.stop)
        began = time.time()
        ids = [node.post("/v1/agents/plain/execute")["id"] for _ in range(options.stored)]
        accepted = options.stored / (time.time() - began)
        rows = lists(node, options.seconds)
        ends = {}
        for count in (1, options.streams):
            execution = ids.pop(0)
            while node.record(execution)["status"] != "running":
                time.sleep(0.1)
            ends[count] = watchers(node, execution, count)
    rows["load"] = os.getloadavg()
    rows["accepted_per_second"] = round(accepted)
    rows["streams"] = {str(n): {"first_ms": round(a, 1), "last_ms": round(b, 1)}
                       for n, (a, b) in ends.items()}
    listed, floor = rows["list"], rows["floor"]
    print(f"{options.stored} executions stored, wrk with 16 connections, load "
          f"{rows['load'][0]:.1f}")
    for key in ("per_second", "p50_ms", "p99_ms"):
        print(f"  GET /v1/executions {key:>10} {listed[key]:>10}   /health/live {floor[key]:>10}"
              f"   ratio {listed[key] / floor[key]:.2f}")
    one, many = ends[1], ends[options.streams]
    print(f"  end of an execution at the last of {options.streams} streams: {many[1]:.1f} ms, "
          f"of 1: {one[1]:.1f} ms, ratio {many[1] / one[1]:.2f}; "
          f"first to last {many[1] - many[0]:.1f} ms")
    path = options.json or os.path.join(options.build, "bench-api.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(rows, f, indent=1)
    print(f"stored in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
