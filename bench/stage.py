"""What the figures are taken on: daemons of this run, their agents, clients, a model server."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                             "tests", "lib"))
import node as testlib  # noqa: E402  (AEGIS_BIN is set by then)

from node import wait_until  # noqa: E402

IMAGE = "aegis/python:3.11"
TERMINAL = "ExecutionCompleted,ExecutionFailed,ExecutionCancelled"
VOLUME = {"name": "work", "storage_class": "ephemeral", "mount_point": "/w",
          "access_mode": "read-write", "size_limit_mb": 64, "ttl_hours": 0}
# What the scripted model does, by a word of the instruction.
SCRIPT = [
    {"match": "sleep", "turns": [{"tool_calls": [
        {"name": "cmd.run", "arguments": {"command": "sleep", "args": ["3600"]}}]}]},
    {"match": "attempt failed", "turns": [{"content": "{\"answer\": 1}"}]},
    {"match": ".", "turns": [{"content": "done"}]},
]


def manifest(name, isolation, words="Say that you are done.", **spec):
    return {"apiVersion": "100monkeys.ai/v1", "kind": "Agent",
            "metadata": {"name": name, "version": "1.0.0"},
            "spec": {"runtime": {"language": "python", "version": "3.11", "isolation": isolation},
                     "task": {"instruction": words}, "execution": {"mode": "one-shot"}, **spec}}


def refining(name, isolation, **spec):
    """The first answer is no JSON, the second is."""
    check = {"type": "json_schema", "schema": {"type": "object", "required": ["answer"]}}
    return manifest(name, isolation, "Say something.", **{
        "execution": {"mode": "iterative", "max_iterations": 3, "validation": [check]}, **spec})


class Client:
    """One connection that is kept, as a program that does this often would have."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def call(self, method, path, body=None):
        """The raw answer's body; SystemExit unless the status is 2xx."""
        ok, answer = self.ask(method, path, body)
        if not ok:
            sys.exit(f"error: {method} {path}: {answer.decode()}")
        return answer

    def ask(self, method, path, body=None):
        """(whether the status is 2xx, the raw body)."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n")
        self.socket.sendall(head.encode() + data)
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(self.buffer) < length:
            self._more()
        answer, self.buffer = self.buffer[:length], self.buffer[length:]
        return head.startswith(b"HTTP/1.1 2"), answer

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            sys.exit("error: the daemon closed a connection")
        self.buffer += data

    def execute(self, agent):
        """Starts an execution; its id."""
        return json.loads(self.call("POST", f"/v1/agents/{agent}/execute", {"input": "{}"}))["id"]

    def close(self):
        self.socket.close()


class Feed:
    """The node's event stream: when each execution's events of some types came in."""

    def __init__(self, port, types=TERMINAL):
        self.seen = {}
        self.changed = threading.Condition()
        self.socket = socket.create_connection(("127.0.0.1", port))
        newest = Client(port)
        page = json.loads(newest.call("GET", "/v1/events?limit=1000"))
        while len(page["items"]) == 1000:
            after = page["next_cursor"]
            page = json.loads(newest.call("GET", f"/v1/events?limit=1000&after={after}"))
        newest.close()
        self.socket.sendall(f"GET /v1/events?follow=true&type={types}&after={page['next_cursor']} "
                            "HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(OSError), self.socket.makefile("rb") as lines:
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                now = time.perf_counter()
                event = json.loads(line[5:])
                with self.changed:
                    self.seen.setdefault(event["execution_id"], []).append(
                        (event["type"], event.get("iteration", 0), now))
                    self.changed.notify_all()

    def wait(self, execution, type_name, iteration=None, timeout=60):
        """When such an event came."""
        def found():
            return next((at for name, number, at in self.seen.get(execution, ())
                         if name.startswith(type_name) and iteration in (None, number)), None)
        with self.changed:
            if not self.changed.wait_for(lambda: found() is not None, timeout):
                sys.exit(f"error: execution {execution}: no {type_name} within {timeout} s")
            return found()

    def end(self, execution):
        """When it ended. One that did not complete stops the run."""
        at = self.wait(execution, "Execution")
        if self.seen[execution][-1][0] != "ExecutionCompleted":
            sys.exit(f"error: execution {execution}: {self.seen[execution][-1][0]}")
        del self.seen[execution]
        return at

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


class Stage:
    """Made once for a run; each group makes the daemons it needs and ends them."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.aegis = testlib.AEGIS
        self.folder = tempfile.mkdtemp(prefix="aegis-bench-")

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def has_engine(self):
        return subprocess.run(["docker", "image", "inspect", IMAGE], check=False,
                              capture_output=True).returncode == 0

    @contextlib.contextmanager
    def node(self, isolation="process", agents=(), llm=None, start=True, data_dir=None, **config):
        """A daemon with the scripted model, or `llm`, and these agents."""
        script = os.path.join(self.folder, "script.yaml")
        with open(script, "w", encoding="utf-8") as f:
            json.dump(SCRIPT, f)
        node = testlib.Node({"observability": {"log_level": "warn"},
                             "llm": llm or {"providers": [{"name": "offline", "type": "scripted",
                                                           "script": script}]},
                             **config}, data_dir=data_dir, isolation=isolation)
        try:
            if start:
                node.start()
                for agent in agents:
                    node.deploy(agent)
            yield node
        finally:
            node.close()

    @contextlib.contextmanager
    def model(self):
        """The native model server; yields the `llm` part of a configuration, and its port."""
        server = subprocess.Popen([os.path.join(self.build, "bench/native/bench_model")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline())
            provider = {"name": "bench", "type": "openai", "api_key": "none", "model": "m",
                        "base_url": f"http://127.0.0.1:{port}/v1"}
            yield {"providers": [provider]}, port
        finally:
            server.stdin.close()
            server.wait()

    def load(self, targets, rate, seconds):
        """Runs the native load generator; what it prints. A target: (address, path, body)."""
        lines = "".join(f"{address}\t{path}\t{json.dumps(body)}\n"
                        for address, path, body in targets)
        done = subprocess.run([os.path.join(self.build, "bench/native/bench_load"), str(rate),
                               str(seconds)], input=lines, stdout=subprocess.PIPE, text=True,
                              check=True, timeout=seconds + 60)
        return json.loads(done.stdout)


def processes(node, among=None):
    """Pids of everything alive in this node's embedded sandboxes; with `among`, only of those in
    which a program of this name runs (one that is being made ahead counts until it waits)."""
    out = set()
    for group in node.groups():
        pids = set()
        for base in ("memory", "pids", "cpu", ""):
            path = os.path.join("/sys/fs/cgroup", base, "aegis", node.node_id(), group)
            # A group that goes while it is read says ENODEV.
            with contextlib.suppress(OSError), \
                    open(os.path.join(path, "cgroup.procs"), encoding="ascii") as f:
                pids |= {int(pid) for pid in f.read().split()}
        if among is None or any(name_of(pid) == among for pid in pids):
            out |= pids
    return out


def name_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as f:
        return f.read().strip()
    return ""


__all__ = ["Client", "Feed", "IMAGE", "Stage", "VOLUME", "manifest", "processes", "refining",
           "wait_until"]
