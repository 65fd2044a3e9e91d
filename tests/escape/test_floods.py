"""Floods of everything: each meets its own limit, and nobody else notices."""

import json
import os
import subprocess
import unittest

from escape import LIMITS, Escape, printed
from model import call, python
from node import ISOLATION, PATIENCE, workspace

COUNT = """
import errno, fcntl, json, os, resource, signal, socket, sys, threading, time
def until_refused(one, most):
    kept = []
    try:
        while len(kept) < most: kept.append(one())
    except OSError as e: return [len(kept), errno.errorcode.get(e.errno, 'no answer')]
    except RuntimeError: return [len(kept), 'EAGAIN']
    return [len(kept), 'no end']
def child(then):
    pid = os.fork()
    if pid == 0:
        then()
        os._exit(0)
    return pid
def say(value):
    print(json.dumps(value), flush=True)
def fill(path):
    f = open(path, 'wb', 0)
    say(until_refused(lambda: f.write(bytes(1 << 20)), 200))
    os.unlink(path)
"""

# What each prints says how far it came, and what stopped it.
GENTLE = {
    "forks": "say(until_refused(lambda: child(lambda: time.sleep(60)), 500)); os.kill(0, 9)",
    "threads": """
def one():
    threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
say(until_refused(one, 500)); os._exit(0)""",
    "zombies": "say(until_refused(lambda: child(lambda: None), 500))",
    "orphans": """
def orphan():
    def middle():
        try: child(lambda: None)
        except BlockingIOError: os._exit(1)
    while os.waitpid(child(middle), 0)[1]: time.sleep(0.001)
for _ in range(200): orphan()
say(200)""",
    "busy": """
def burn():
    while True: pass
pids = [child(burn) for _ in range(40)]
time.sleep(0.3)
for pid in pids: os.kill(pid, 9)
say(len(pids))""",
    "temporary_files": "fill('/tmp/f')",
    "shared_memory_directory": "fill('/dev/shm/f')",
    "volume": """
f = open('/workspace/f', 'wb', 0)
full = until_refused(lambda: os.write(f.fileno(), bytes(1 << 16)), 5000)
try: os.posix_fallocate(f.fileno(), 0, 1 << 30); say([*full, 'no end'])
except OSError as e: say([*full, errno.errorcode[e.errno]])
os.unlink('/workspace/f')""",
    "inodes_of_a_volume": """
at = iter(range(10**9))
os.mkdir('/workspace/many'); os.chdir('/workspace/many')
say(until_refused(lambda: os.close(os.open(str(next(at)), os.O_CREAT)), 200_000))""",
    "deep_directories": """
os.chdir('/tmp')
for depth in range(3000):
    try: os.mkdir('d'); os.chdir('d')
    except OSError: break
say(depth)""",
    "open_files": """
one = lambda: os.open('/dev/null', os.O_RDONLY)
soft, first = until_refused(one, 10**6)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
hard, second = until_refused(one, 10**6)
say([soft, first, soft + hard, second])""",
    "pipes_and_sockets": """
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
def one():
    r, w = os.pipe()
    try: fcntl.fcntl(w, 1031, 1 << 20)
    except PermissionError: pass
    return r, w, socket.socketpair()
say(until_refused(one, 10**6))""",
    "terminals": "say(until_refused(lambda: os.open('/dev/ptmx', os.O_RDWR), 100))",
    "connections": """
ports = [int(os.environ[n].rsplit(':', 1)[1]) for n in ('AEGIS_ORCHESTRATOR_URL', 'HTTP_PROXY')]
def unix(path):
    s = socket.socket(socket.AF_UNIX); s.setblocking(False); s.connect(path); return s
kept = [until_refused(lambda: socket.create_connection(('127.0.0.1', p), 1), 150) for p in ports]
kept += [until_refused(lambda: unix(f'/aegis/run/{n}.sock'), 150) for n in ('api', 'proxy')]
say(kept)""",
    "tcp_buffers": """
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
server, kept, queued = socket.create_server(('127.0.0.1', 0)), [], 0
for _ in range(200):
    here = socket.create_connection(server.getsockname()); kept += [here, server.accept()[0]]
    here.setblocking(False)
    for _ in range(3):
        try:
            while True: queued += here.send(bytes(1 << 20))
        except BlockingIOError: time.sleep(0.001)
say(queued >> 20)""",
    "udp_buffers": """
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
kept = []
for _ in range(600):
    kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)); kept[-1].bind(('127.0.0.1', 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        until_refused(lambda: s.sendto(bytes(60000), kept[-1].getsockname()), 8)
say(int(open('/proc/net/sockstat').read().split('UDP:')[1].split()[3]))""",
    "half_requests": """
kept = []
for i in range(60):
    s = socket.socket(socket.AF_UNIX); s.settimeout(1)
    try:
        s.connect('/aegis/run/api.sock')
        s.sendall(b'POST /v1/llm/generate HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 25000000\\r\\n\\r\\n')
        s.sendall(b'x' * 1000)
    except OSError: pass
    kept.append(s)
say(len(kept))""",
    "arguments": """
try: os.execv('/bin/true', ['true'] + ['x' * 100_000] * 30)
except OSError as e: say(errno.errorcode[e.errno])""",
    "output_of_the_sandbox": """
f = open(f'/proc/{os.getppid()}/fd/1', 'wb', 0)
for _ in range(1024): f.write(b'x' * (1 << 20))
say(1024)""",
}
# Each is killed for want of memory.
HUNGRY = {
    "memory": "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "memory_of_a_file_in_memory": "f = os.memfd_create('x')\nwhile True: os.write(f, bytes(1 << 20))",
    "shared_memory_segments": """
import ctypes
c = ctypes.CDLL(None); c.shmat.restype = ctypes.c_void_p
while True: ctypes.memset(c.shmat(c.shmget(0, 8 << 20, 0o1600), 0, 0), 1, 8 << 20)""",
    "inodes_of_tmp": "at = iter(range(10**9))\nwhile True: os.mkdir(f'/tmp/{next(at)}')",
}
VERSION_2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
CHATTER = "import os\nfor _ in range(1024): os.write(2, b'y' * (1 << 20))\nos.write(2, b'the end')"


class Floods(Escape):
    """All in one sandbox, one after the other: what one leaves behind must not help the next."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        before = cls.used()
        cls.record, results = cls.attack(
            "floods", [*[python(COUNT + code) for code in GENTLE.values()],
                       call("cmd.run", command="python3", args=["-c", CHATTER],
                            timeout=min(3600, int(180 * PATIENCE))),
                       call("cmd.run", command="true", args=["x" * 200_000]),
                       call("cmd.run", command="true", args=["x"] * 20_000)],
            volumes=[workspace()], timeout=300)
        cls.answers = dict(zip([*GENTLE, "output_of_a_command", "long", "many"], results))
        cls.grown = cls.used() - before
        cls.undisturbed()

    @classmethod
    def used(cls):
        run = subprocess.run(["du", "-sm", "--exclude=volumes", cls.node.data_dir],
                             capture_output=True, text=True, check=True)
        return int(run.stdout.split()[0])

    def said(self, name):
        return json.loads(printed(self.answers[name]))

    def stopped(self, name, why, below):
        count, reason = self.said(name)
        self.assertEqual(reason, why)
        self.assertLess(count, below)
        return count

    def test_forks(self):
        self.assertEqual(json.loads(self.answers["forks"])["exit_code"], 137)
        count, why = json.loads(json.loads(self.answers["forks"])["stdout"])
        self.assertEqual(why, "EAGAIN")
        self.assertLess(count, 64)

    def test_threads(self):
        self.stopped("threads", "EAGAIN", 64)

    def test_zombies_that_nobody_waits_for(self):
        self.stopped("zombies", "EAGAIN", 64)

    def test_zombies_for_init(self):
        """Orphans without end: init reaps them, and the limit has room again."""
        self.assertEqual(self.said("orphans"), 200)

    def test_busy_loops(self):
        self.assertEqual(self.said("busy"), 40)

    def test_temporary_files(self):
        self.assertEqual(self.said("temporary_files"), [16, "ENOSPC"])

    def test_shared_memory_directory(self):
        self.assertEqual(self.said("shared_memory_directory"), [4, "ENOSPC"])

    def test_volume(self):
        count, why, after = self.said("volume")
        self.assertIn(why, ("ENOSPC", "EDQUOT"))
        self.assertIn(after, ("ENOSPC", "EDQUOT", "EFBIG"))
        self.assertLessEqual(count, 33 * 16)
        self.assertGreaterEqual(count, 30 * 16)

    def test_inodes_of_a_volume(self):
        count, why = self.said("inodes_of_a_volume")
        self.assertIn(why, ("ENOSPC", "EDQUOT"))
        self.assertGreater(count, 1000)

    def test_deep_directories(self):
        self.assertGreater(self.said("deep_directories"), 1000)

    def test_open_files(self):
        soft, first, hard, second = self.said("open_files")
        self.assertEqual((first, second), ("EMFILE", "EMFILE"))
        self.assertLessEqual(soft, 1024)
        self.assertLessEqual(hard, 4096)

    def test_pipes_and_sockets(self):
        """The kernel counts a user's pipes; a neighbour's are smaller then, and work."""
        self.stopped("pipes_and_sockets", "EMFILE", 4096)

    def test_terminals(self):
        count, why = self.said("terminals")
        if ISOLATION == "process":
            self.assertEqual(why, "ENOSPC")
            self.assertLessEqual(count, 32)
        else:
            # The engine mounts /dev/pts without a limit (docs/security.md).
            self.assertEqual((count, why), (100, "no end"))

    def test_connections(self):
        """To both of the relay's ports and both sockets, kept open and silent."""
        self.assertEqual(len(self.said("connections")), 4)

    def bounded(self, name, below):
        """What lies in sockets is memory of the kernel's, and limited too. With cgroup v2 it counts
        as all other memory of the sandbox, and whoever wants too much of that is killed."""
        if VERSION_2 and json.loads(self.answers[name])["exit_code"] == 137:
            return
        self.assertLess(self.said(name), below)

    def test_tcp_buffers(self):
        """MiB that lie in connections over loopback."""
        self.bounded("tcp_buffers", 128)

    def test_udp_buffers(self):
        """Pages of all of the host's UDP: unlimited, this would make it some 30,000 more."""
        self.bounded("udp_buffers", 8192)

    def test_half_requests(self):
        self.assertEqual(self.said("half_requests"), 60)

    def test_arguments_beyond_the_kernel(self):
        self.assertEqual(self.said("arguments"), "E2BIG")

    def test_arguments_of_a_tool(self):
        """One that is too long, and a list that is: the trouble of these calls alone."""
        for name in ("long", "many"):
            self.assertNotIn('"exit_code":0', self.answers[name].replace(" ", ""))

    def test_output_of_the_sandbox(self):
        """1 GiB into the standard output of the agent's own program."""
        self.assertEqual(self.said("output_of_the_sandbox"), 1024)
        logs = self.node.api("GET", f"/v1/executions/{self.record['id']}/logs")[1]
        self.assertGreater(len(logs[0]["stdout"]), 1000)
        self.assertLessEqual(len(logs[0]["stdout"]), (1 << 20) + 200)
        self.assertLess(self.grown, 100)

    def test_output_of_a_command(self):
        answer = json.loads(self.answers["output_of_a_command"])
        self.assertTrue(answer["stderr"].endswith("the end"))
        self.assertTrue(answer["truncated"])
        self.assertLessEqual(len(answer["stderr"]), (1 << 20) + 200)


class Memory(Escape):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        many = """
def grow():
    x = b'x' * (6 << 20)
    time.sleep(1)
pids = [child(grow) for _ in range(40)]
ended = [os.waitpid(p, 0)[1] for p in pids]
say([sum(1 for s in ended if s == 9), sum(1 for s in ended if s == 0)])"""
        cls.record, results = cls.attack(
            "memory", [python(COUNT + code) for code in (many, *HUNGRY.values())], timeout=300,
            security={"resources": {**LIMITS, "memory": "64Mi"}})
        cls.answers = dict(zip(["many", *HUNGRY], results))
        cls.undisturbed()

    def test_many(self):
        """Each of them is small; the sum is not."""
        dead, alive = json.loads(printed(self.answers["many"]))
        self.assertGreater(dead, 0)
        self.assertGreater(alive, 0)

    def test_report(self):
        logs = self.node.ok("execution", "logs", self.record["id"]).out
        self.assertIn("out of memory", logs)


def killed(name):
    def test(self):
        answer = json.loads(self.answers[name])
        self.assertEqual(answer["exit_code"], 137, answer)
    return test


for one in HUNGRY:
    setattr(Memory, f"test_{one}", killed(one))


if __name__ == "__main__":
    unittest.main()
