"""Many executions of every kind on one node, and what they leave behind on the machine: nothing."""

import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import time

from node import TERMINAL, Node, agent, wait_until, workspace

SCRIPT = [
    {"match": "sleep", "turns": [{"tool_calls": [
        {"name": "cmd.run", "arguments": {"command": "sleep", "args": ["3600"]}}]}]},
    {"match": "attempt failed", "turns": [{"content": "{\"answer\": 1}"}]},
    {"match": "files", "turns": [{"tool_calls": [
        {"name": "fs.write", "arguments": {"path": "/workspace/a", "content": "b"}},
        {"name": "cmd.run", "arguments": {"command": "cat", "args": ["/workspace/a"]}}]},
        {"content": "done"}]},
    {"match": ".", "turns": [{"content": "done"}]},
]
ONCE = {"mode": "one-shot"}
CHECK = {"type": "json_schema", "schema": {"type": "object", "required": ["answer"]}}
KEPT = {name: value for name, value in workspace(storage_class="persistent").items()
        if name != "ttl_hours"}
# Idle threads that the daemon keeps for connections (net/acceptor.h): as many as were busy at once.
KEPT_THREADS = 32
# Empty volumes of the one size that is in use, which the daemon keeps (volume/ready.cpp).
READY_VOLUMES = 4
PATIENCE = 180
# Name, expected end, manifest. The last word of a task picks the script's answer.
KINDS = (
    ("plain", "completed", {"execution": ONCE}),
    ("refines", "completed", {"execution": {"max_iterations": 3, "validation": [CHECK]}}),
    ("fails", "failed", {"execution": {"mode": "one-shot", "validation": [CHECK]}}),
    ("cancelled", "cancelled", {"execution": ONCE, "task": {"instruction": "Do: sleep"}}),
    ("volume", "completed", {"execution": ONCE, "task": {"instruction": "Do: files"},
                             "volumes": [workspace()]}),
    ("kept", "completed", {"execution": ONCE, "task": {"instruction": "Do: files"},
                           "volumes": [KEPT]}),
    ("volume-refines", "completed", {"execution": {"max_iterations": 3, "validation": [CHECK]},
                                     "volumes": [workspace()]}),
    ("volume-cancelled", "cancelled", {"execution": ONCE, "task": {"instruction": "Do: sleep"},
                                       "volumes": [workspace()]}),
)


def count(path):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return len(os.listdir(path))
    return 0


def descriptors(pid):
    """What a process has open, by name; numbers in names are of no interest. Without the database,
    which each reader opens when it first reads."""
    out = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
            out[re.sub(r"\d{4,}", "N", name)] += "/aegis.db" not in name
    return out


def children(pid):
    """The processes below one, but it."""
    out = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                for child in f.read().split():
                    out += [int(child), *children(int(child))]
    return out


def mounts(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
            open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        return f.read().splitlines()
    return []


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


def loops(where):
    """Loop devices whose file is below a directory, deleted or not."""
    out = 0
    for name in os.listdir("/sys/block"):
        with contextlib.suppress(OSError), \
                open(f"/sys/block/{name}/loop/backing_file", encoding="utf-8") as f:
            out += f.read().startswith(where)
    return out


def cgroups(node_id):
    """Control groups of a node's sandboxes, in every hierarchy."""
    return sum(len(dirs) for at, dirs, _ in os.walk("/sys/fs/cgroup")
               if f"/aegis/{node_id}" in at)


def files(where, but=()):
    return sum(len(names) for at, _, names in os.walk(where)
               if not any(at.startswith(os.path.join(where, b)) for b in but))


class Soak:
    """A node of isolation `process` with one agent for each kind."""

    def __init__(self, workers=8, **config):
        self.workers = workers
        self.node = Node(isolation="process")
        script = os.path.join(self.node.dir, "script.yaml")
        with open(script, "w", encoding="utf-8") as f:
            json.dump(SCRIPT, f)
        self.node.configure({"llm": {"providers": [
            {"name": "offline", "type": "scripted", "script": script}]},
            "observability": {"log_level": "warn"}, **config})

    def start(self):
        self.node.start()
        for name, _, spec in KINDS:
            spec = dict(spec, runtime={"isolation": "process"})
            self.node.deploy(agent(name, **spec))

    def close(self):
        self.node.close()

    def follow(self, execution, until):
        """Reads an execution's stream up to an event of one of these types; its name."""
        patience = time.monotonic() + PATIENCE
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        try:
            connection.request("GET", f"/v1/executions/{execution}/stream")
            answer = connection.getresponse()
            for line in answer:  # also while nothing happens: the daemon sends comments
                if time.monotonic() > patience:
                    break
                if line.startswith(b"data:"):
                    name = json.loads(line[5:])["type"]
                    if name in until or name.removeprefix("Execution").lower() in TERMINAL:
                        return name
        finally:
            connection.close()
        raise AssertionError(f"{execution} has not ended: {self.node.record(execution)['status']}")

    def one(self, number):
        """Runs one execution to its end; AssertionError if that is not the one of its kind."""
        name, end, _ = KINDS[number % len(KINDS)]
        status, record = self.node.api("POST", f"/v1/agents/{name}/execute", {"input": "{}"})
        assert status == 201, record
        if end == "cancelled":
            self.follow(record["id"], {"ToolCallStarted"})
            status, answer = self.node.api("POST", f"/v1/executions/{record['id']}/cancel", {})
            assert status == 200, answer
        got = self.follow(record["id"], ())
        if got != f"Execution{end.capitalize()}":
            raise AssertionError(f"{name} {record['id']}: {got}: "
                                 f"{self.node.record(record['id'])['error']}")

    def run(self, executions, progress=lambda done: None):
        """So many, some at a time; the first that ends otherwise than it should stops it."""
        with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
            for done, _ in enumerate(pool.map(self.one, range(executions)), 1):
                progress(done)

    def leftovers(self):
        """What could be left of executions, by name; each of these must come back to what it was."""
        pid, node_id = self.node.process.pid, self.node.node_id()
        below = children(pid)
        # The host's mounts are not only this node's.
        own = [line for line in mounts(pid) if self.node.dir in line or node_id in line]
        return {"processes": len(below), "cgroups": cgroups(node_id), "mounts": len(own),
                "mounts of children": sum(len(mounts(child)) for child in below),
                "loop devices": loops(self.node.dir), "sockets": len(self.node.sockets()),
                "descriptors": descriptors(pid).total(),
                "descriptors of children": sum(count(f"/proc/{p}/fd") for p in below),
                "threads": count(f"/proc/{pid}/task"),
                "files": files(self.node.data_dir, ("images",))}

    def settled(self, expected, timeout=60):
        """Waits until nothing is more than it was; AssertionError tells what is."""
        def more():
            now = self.leftovers()
            return {name: (expected[name], now[name]) for name in now if now[name] >
                    expected[name] + (KEPT_THREADS if name == "threads" else 0)}
        try:
            wait_until(lambda: not more(), "nothing is left", timeout)
        except AssertionError:
            opened = descriptors(self.node.process.pid) - self.descriptors
            raise AssertionError(f"(before, after): {more()}; opened: {dict(opened)}") from None

    def quiet(self, timeout=60):
        """Waits until no sandbox is left and returns what there is then."""
        ready = os.path.join(self.node.data_dir, "volumes", "ready")
        wait_until(lambda: not self.node.groups() and not self.node.sockets() and
                   files(ready) == READY_VOLUMES, "quiet", timeout)
        self.descriptors = descriptors(self.node.process.pid)
        return self.leftovers()

    def resident_kib(self):
        return resident_kib(self.node.process.pid)
