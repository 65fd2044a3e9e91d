"""Many at once: executions that wait on a slow model, watchers, clients of the API."""

import contextlib
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time

from figures import Peer
from stage import Client, Feed, manifest, processes, wait_until

WAITING = 1000
WATCHERS = 1000
CONNECTIONS = 16
# Of the machine's memory; more would push others into reclaim.
SHARE = 0.6
MIB = 1 << 20


def available():
    with open("/proc/meminfo", encoding="ascii") as f:
        return int(re.search(r"MemAvailable:\s+(\d+)", f.read())[1]) * 1024


def resident(pid, field="Pss"):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
            open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(rf"{field}:\s+(\d+)", f.read())[1]) * 1024
    return 0


def waiting(stage, table, _runs):
    count = int(min(WAITING, available() * SHARE / (8 * MIB)))
    with stage.model() as (llm, _), \
            stage.node("process", [manifest("hold", "process", "hold on")], llm=llm,
                       runtime={"max_concurrent_executions": count}) as daemon:
        client, feed = Client(daemon.port), Feed(daemon.port, "LlmCallStarted")
        before, own = available(), resident(daemon.process.pid)
        began = time.perf_counter()
        for _ in range(count):
            client.execute("hold")
        wait_until(lambda: len(feed.seen) >= count, f"{count} model calls", 240)
        took = time.perf_counter() - began
        inside = sum(resident(pid) for pid in processes(daemon))
        grown = resident(daemon.process.pid) - own
        each = (before - available()) / count / MIB
        client.close()
        feed.close()
        stop = time.perf_counter()
        daemon.terminate(120)
        stop = time.perf_counter() - stop
    table.single(f"{count} executions waiting on a slow model", each, "MiB each",
                 goal="1,000 at 8 MiB each", met=count >= WAITING and each <= 8,
                 note=f"processes inside {inside / count / MIB:.1f} MiB each, the daemon "
                      f"{grown / count / MIB:.2f} each; all up after {took:.1f} s, gone "
                      f"{stop:.1f} s after SIGTERM")


def ends(stage, daemon, execution, count):
    """Follows an execution with so many streams, cancels it: (first, last) end in ms."""
    request = f"GET /v1/executions/{execution}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(count):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port),
                                                             timeout=30))
            s.sendall(request)
            s.recv(1)
            selector.register(s, selectors.EVENT_READ)
        start = time.perf_counter()
        command = subprocess.Popen([stage.aegis, "execution", "cancel", execution], env=daemon.env,
                                   stdout=subprocess.DEVNULL)
        took, left = [], count
        while left:
            for key, _ in selector.select(30):
                if not key.fileobj.recv(1 << 16):
                    selector.unregister(key.fileobj)
                    took.append((time.perf_counter() - start) * 1e3)
                    left -= 1
        command.wait()
    return took[0], took[-1]


def watchers(stage, table, _runs):
    taken = {1: [], WATCHERS: []}
    with stage.node("process", [manifest("long", "process", "sleep")]) as daemon:
        client = Client(daemon.port)
        for _ in range(3):
            for count, results in taken.items():
                execution = client.execute("long")
                wait_until(lambda: processes(daemon), "it runs")
                results.append(ends(stage, daemon, execution, count))
        client.close()
    one, many = ([last for _, last in taken[n]] for n in (1, WATCHERS))
    spread = statistics.median(last - first for first, last in taken[WATCHERS])
    table.times(f"cancel to the last of {WATCHERS:,} watchers' end", many,
                peer=Peer.of("of 1 watcher", one), goal="none slows it",
                note=f"first to last watcher {spread:.1f} ms")


def wrk(port, path, seconds):
    """(requests per second, p50 ms, p99 ms)."""
    said = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency",
                           f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True,
                          check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"error: {path}: {said}")
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def percentile(name):
        found = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", said)
        return float(found[1]) * unit[found[2]]
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), percentile(50), percentile(99))


def api(stage, table, _runs):
    """GET /v1/executions, a page of 50 of 1,000, beside /health/live, which does nothing."""
    if not shutil.which("wrk"):
        return table.absent("wrk is not installed")
    agents = [manifest("long", "process", "sleep"), manifest("plain", "process")]
    paths = {"list": "/v1/executions", "floor": "/health/live"}
    taken = {name: [] for name in paths}
    with stage.node("process", agents, runtime={"max_concurrent_executions": 1}) as daemon:
        client = Client(daemon.port)
        client.execute("long")  # runs and sleeps, so that the others stay in the queue
        for _ in range(1000):
            client.execute("plain")
        for turn in range(4):
            for name, path in paths.items():
                figures = wrk(daemon.port, path, 2 if turn else 1)
                if turn:
                    taken[name].append(figures)
        client.close()
    listed, floor = ([statistics.median(v) for v in zip(*taken[name])] for name in paths)
    table.single("GET /v1/executions (50 of 1,000)", listed[0], "per second",
                 peer=Peer("/health/live", floor[0]))
    table.single("the same, latency", listed[1], "ms", p99=listed[2],
                 peer=Peer("/health/live", floor[1]))
    return None
