"""A daemon of its own for a test, and the command line that talks to it."""

import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AEGIS = os.path.abspath(os.environ.get("AEGIS_BIN", os.path.join(REPO, "build", "aegis")))
EXAMPLES = os.path.join(REPO, "examples")
RUN_DIR = "/run/aegis"
if os.geteuid() != 0:
    RUN_DIR = (os.environ["XDG_RUNTIME_DIR"] + "/aegis" if "XDG_RUNTIME_DIR" in os.environ
               else f"/tmp/aegis-{os.geteuid()}")
# What agents of the tests run in: "docker", or "process", the embedded sandbox.
ISOLATION = os.environ.get("AEGIS_TEST_ISOLATION", "docker")
IMAGES = f"/tmp/aegis-test-images{os.geteuid() or ''}"
TERMINAL = ("completed", "failed", "cancelled")
# How many times slower than a real one a machine is, as far as waiting for it goes.
PATIENCE = float(os.environ.get("AEGIS_TEST_PATIENCE", "1"))


def patient(seconds):
    """A manifest's duration."""
    return f"{int(seconds * PATIENCE)}s"


def wait_until(condition, what, timeout=30):
    """Polls until `condition()` is truthy and returns that; AssertionError when the time is up."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def base_image():
    """The managed base image as an archive; each content of it is unpacked once on this machine."""
    if given := os.environ.get("AEGIS_TEST_BASE_IMAGE"):
        return given
    inspect = subprocess.run(["docker", "image", "inspect", "-f", "{{.Id}}", "aegis/python:3.11"],
                             capture_output=True, text=True, check=True)
    archive = os.path.join(IMAGES, inspect.stdout.strip()[7:19] + ".tar")
    if not os.path.exists(archive):
        os.makedirs(IMAGES, exist_ok=True)
        subprocess.run(["docker", "save", "-o", archive + ".new", "aegis/python:3.11"], check=True)
        os.rename(archive + ".new", archive)
    return archive


class Done:
    """How a command ended: its exit code and both streams as text."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError(f"stdout is no JSON: {self}") from None

    def error(self):
        """The error object that --output json prints on stderr (after warnings)."""
        for line in self.err.splitlines():
            if line.startswith('{"error"'):
                return json.loads(line)["error"]
        raise AssertionError(f"no JSON error: {self}")

    def events(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __str__(self):
        return (f"{' '.join(self.args)[:300]} -> {self.code}\n--- stdout\n{self.out[:6000]}\n"
                f"--- stderr\n{self.err[:6000]}")


class Node:
    """A daemon with a data directory, a configuration file and a port of its own. `launcher`: a
    command that becomes it."""

    launcher = ()

    def __init__(self, config=None, env=None, data_dir=None, isolation=None):
        self.isolation = isolation or ISOLATION
        self.dir = tempfile.mkdtemp(prefix="aegis-test-")
        self.data_dir = data_dir or os.path.join(self.dir, "data")
        self.port = free_port()
        self.env = dict(os.environ, AEGIS_DAEMON_ADDR=f"127.0.0.1:{self.port}",
                        NO_COLOR="1", **(env or {}))
        self.env.pop("DOCKER_HOST", None)
        self.config_path = os.path.join(self.dir, "aegis-config.yaml")
        self.log_path = os.path.join(self.dir, "daemon.log")
        self.process = None
        if self.isolation == "process":
            os.makedirs(os.path.join(IMAGES, "unpacked"), exist_ok=True)
            os.makedirs(self.data_dir, mode=0o700, exist_ok=True)
            if not os.path.lexists(os.path.join(self.data_dir, "images")):
                os.symlink(os.path.join(IMAGES, "unpacked"), os.path.join(self.data_dir, "images"))
        self.configure(config or {})

    def configure(self, config):
        whole = dict(config)
        whole["server"] = {"addr": f"127.0.0.1:{self.port}", **config.get("server", {})}
        if self.isolation == "process":
            whole["runtime"] = {"isolation": "process",
                                "images": {"python": {"3.11": base_image()}},
                                **config.get("runtime", {})}
        else:
            # A container that waits looks like any other; test_warm.py has some.
            whole["runtime"] = {"warm_pool": {"size": 0}, **config.get("runtime", {})}
        if PATIENCE != 1:
            whole["tools"] = {**config.get("tools", {}), "builtin_dispatcher": {
                "timeout_secs": int(60 * PATIENCE),
                **config.get("tools", {}).get("builtin_dispatcher", {})}}
        whole["storage"] = {"data_dir": self.data_dir, **config.get("storage", {})}
        with open(self.config_path, "w", encoding="utf-8") as f:
            json.dump(whole, f)

    # -- the daemon

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.launcher, AEGIS, "--config", self.config_path, "daemon", "start"],
                env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def start(self):
        self.spawn()
        wait_until(self.ready, "the daemon is ready", 60)
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()}")
        try:
            # A node without an engine is up as well, and says that it is not ready.
            status, body = self.api("GET", "/health/ready")
            return status == 200 or next(c["ok"] for c in body["checks"]
                                         if c["name"] == "recovery")
        except OSError:
            return False

    def terminate(self, timeout=40):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout * PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends the daemon and removes whatever is left; AssertionError if it left anything."""
        left = []
        try:
            if self.process and self.process.poll() is None:
                code = self.terminate()
                if code != 0:
                    left.append(f"the daemon ended with {code}: {self.log()[-2000:]}")
            left += [f"container {c}" for c in self.containers()]
            left += [f"mount {m}" for m in self.mounts()]
        finally:
            if self.process and self.process.poll() is None:
                self.kill()
            self.sweep()
            shutil.rmtree(self.dir, ignore_errors=True)
        if left:
            raise AssertionError("left behind: " + ", ".join(left))

    def sweep(self):
        ids = self.containers() if self.isolation == "docker" else []
        if ids:
            subprocess.run(["docker", "rm", "-f", *ids], capture_output=True, check=False)
        for mount in self.mounts():
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
        if self.node_id():
            # One that was killed leaves it mounted, for the next.
            subprocess.run(["umount", os.path.join(RUN_DIR, self.node_id() + "-process")],
                           capture_output=True, check=False)
            for path in glob.glob(os.path.join(RUN_DIR, self.node_id()) + "*"):
                shutil.rmtree(path, ignore_errors=True)

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    # -- what there is of it on the machine

    def node_id(self):
        try:
            with open(os.path.join(self.data_dir, "node_id"), encoding="ascii") as f:
                return f.read(36)
        except FileNotFoundError:
            return None

    def containers(self):
        """Ids of the containers of this node, running or not."""
        if not self.node_id():
            return []
        if self.isolation == "process":
            return self.groups()
        run = subprocess.run(["docker", "ps", "-aq", "--no-trunc", "--filter",
                              f"label=aegis.node={self.node_id()}"],
                             capture_output=True, text=True, check=False)
        return [c for c in run.stdout.split() if self.exists(c)]

    def hierarchies(self):
        try:
            # An ordinary user's daemon says where it has been given a place.
            with open(os.path.join(self.data_dir, "delegated_cgroup"), encoding="utf-8") as f:
                return [f.read()]
        except FileNotFoundError:
            return [os.path.join("/sys/fs/cgroup", name) for name in ("memory", "pids", "cpu", "")]

    def group_entries(self):
        """The directories of this node's embedded sandboxes in each hierarchy of cgroups."""
        out = []
        for base in self.hierarchies():
            try:
                where = os.path.join(base, "aegis", self.node_id())
                out += [e for e in os.scandir(where) if e.is_dir()]
            except FileNotFoundError:
                pass
        return out

    def groups(self):
        """Names of the control groups of this node's embedded sandboxes, but those that wait."""
        return sorted({e.name for e in self.group_entries() if not self.waits(e)})

    def templates(self):
        """Names of the control groups of its templates."""
        return sorted({e.name for e in self.group_entries() if e.name.startswith("template-")})

    @staticmethod
    def waits(group):
        """Whether it is of a template, or of what was forked from one and is nobody's yet."""
        if group.name.startswith("template-"):
            return True
        names = set()
        try:
            with open(os.path.join(group.path, "cgroup.procs"), encoding="utf-8") as f:
                for pid in f.read().split():
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                        names.add(comm.read().strip())
        except OSError:
            return False
        return group.name.startswith("stem-") and "aegis-template" in names

    @staticmethod
    def exists(container):
        """The engine's list may go on showing a removed container that nothing else knows."""
        return subprocess.run(["docker", "inspect", container], capture_output=True,
                              check=False).returncode == 0

    def sockets(self):
        """What lies in the node's directory of guest sockets."""
        base = os.path.join(RUN_DIR, self.node_id() or "none")
        found = [os.path.join(at, name) for where in (base, base + "-process")
                 for at, dirs, files in os.walk(where) for name in dirs + files]
        # One that waits for whom it is still has the socket of its first process.
        waiting = [p[:-len("/ctl.sock")] for p in found if p.endswith("/ctl.sock")
                   and "-process/" in p]
        return [p for p in found if not p.startswith(tuple(waiting))]

    def mounts(self):
        with open("/proc/self/mounts", encoding="utf-8") as f:
            return [line.split()[1] for line in f if line.split()[1].startswith(self.dir)
                    and line.split()[1] != self.data_dir]

    # -- the command line and the API

    def aegis(self, *args, stdin=None, timeout=120, cwd=None, env=None):
        """Runs a command; `stdin` is bytes or text."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        run = subprocess.run([AEGIS, *args], input=data if data is not None else b"",
                             capture_output=True, timeout=timeout * PATIENCE, check=False,
                             env=dict(self.env, **(env or {})), cwd=cwd or self.dir)
        return Done(["aegis", *args], run.returncode, run.stdout.decode("utf-8", "replace"),
                    run.stderr.decode("utf-8", "replace"))

    def ok(self, *args, **kw):
        done = self.aegis(*args, **kw)
        if done.code != 0:
            raise AssertionError(f"failed: {done}")
        return done

    def popen(self, *args):
        return subprocess.Popen([AEGIS, *args], env=self.env, cwd=self.dir,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def api(self, method, path, body=None, headers=None, timeout=60):
        """(status, parsed or raw body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                timeout=timeout * PATIENCE)
        try:
            headers = dict(headers or {})
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            if "json" in answer.headers.get("Content-Type", "") and text:
                return answer.status, json.loads(text)
            return answer.status, text
        finally:
            connection.close()

    def joined(self, count):
        """Waits until so many event streams are open; a follower before that is not one yet."""
        wait_until(lambda: f"aegis_event_streams {count}\n".encode() in
                   self.api("GET", "/metrics")[1], f"{count} streams are open")

    def deploy(self, manifest):
        """A manifest as a dict (JSON is YAML) or as text."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.ok("agent", "deploy", "-", "-o", "json", stdin=text).json()

    def execute(self, agent, given="{}", *flags):
        """Starts an execution and returns its id."""
        return self.ok("execute", "--agent", agent, "--input", "-", "-o", "json", *flags,
                       stdin=given).json()["id"]

    def record(self, execution):
        return self.api("GET", f"/v1/executions/{execution}")[1]

    def wait(self, execution, timeout=90):
        """The record of an execution once it has ended."""
        wait_until(lambda: self.record(execution)["status"] in TERMINAL,
                   f"execution {execution} ends", timeout)
        return self.record(execution)

    def run(self, agent, given="{}", *flags, timeout=90):
        return self.wait(self.execute(agent, given, *flags), timeout)

    def events(self, execution):
        out, after = [], 0
        while True:
            page = self.api("GET", f"/v1/executions/{execution}/events?after={after}&limit=1000")[1]
            out += page["items"]
            if len(page["items"]) < 1000:
                return out
            after = out[-1]["seq"]

    def clean(self):
        """Waits until nothing of an execution is left on the machine."""
        wait_until(lambda: not self.containers(), "the containers are gone", 20)
        wait_until(lambda: not self.sockets(), "the sockets are gone", 20)
        wait_until(lambda: not self.mounts(), "the mounts are gone", 20)


def agent(name="worker", **spec):
    """A manifest: the managed Python, one instruction, and what `spec` adds or replaces."""
    base = {"runtime": {"language": "python", "version": "3.11", "isolation": ISOLATION},
            "task": {"instruction": "Do it."}}
    for key, value in spec.items():
        base[key] = {**base[key], **value} if key in ("runtime", "task") else value
    return {"apiVersion": "100monkeys.ai/v1", "kind": "Agent",
            "metadata": {"name": name, "version": "1.0.0"}, "spec": base}


def workspace(**more):
    """The usual volume, as an entry of spec.volumes."""
    return {"name": "workspace", "storage_class": "ephemeral", "mount_point": "/workspace",
            "access_mode": "read-write", "size_limit_mb": 32, "ttl_hours": 0, **more}


def example(name):
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
        return f.read()


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

if not os.access(AEGIS, os.X_OK):
    sys.exit(f"{AEGIS} is not there; build it, or name it in AEGIS_BIN")
