"""init as the real PID 1 of fresh namespaces, with this test as the daemon."""

import array
import ctypes
import errno
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BIN = os.path.join(os.environ.get("AEGIS_GUEST_DIR", ""), "init")
# The payload runs as another user, who may not reach an interpreter in somebody's home.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
SEARCH = "PATH=/usr/local/bin:/usr/bin:/bin"
START, EXEC, KILL_ALL, SHUTDOWN, PREPARE = 1, 2, 3, 4, 5
HELLO, STARTED, START_FAILED, EXITED, EXEC_DONE, KILLED = 64, 65, 66, 67, 68, 69
IDLE, RUNNING, ENDED = 0, 1, 2

# Runs as PID 1 of the namespaces, does what a container runtime does, becomes init.
LAUNCH = """
import ctypes, fcntl, os, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1 | 64))
s.close()
if sys.argv[3] == "root":
    os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
prctl = ctypes.CDLL(None).prctl
prctl(38, 1, 0, 0, 0)
prctl(1, 9)  # what unshare --kill-child asked for is forgotten when the user changes
os.execv(sys.argv[1], ["init", sys.argv[2]])
"""


def text(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<I", len(raw)) + raw


def texts(values):
    return struct.pack("<I", len(values)) + b"".join(text(v) for v in values)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 2

    def take(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        size = self.take("I")
        self.at += size
        return self.data[self.at - size:self.at]


def parse(data):
    assert data[0] == 1, data[:2]
    r, kind = Reader(data), data[1]
    if kind == HELLO:
        out = {"state": r.take("B"), "pid": r.take("I"), "api": r.take("H"), "proxy": r.take("H")}
    elif kind == STARTED:
        out = {"pid": r.take("I")}
    elif kind == START_FAILED:
        out = {"error": r.take("i"), "text": r.text().decode()}
    elif kind == EXITED:
        out = {"code": r.take("i"), "signal": r.take("i"), "out": r.take("Q"), "err": r.take("Q"),
               "truncated": r.take("B")}
    elif kind == EXEC_DONE:
        out = {"id": r.take("I"), "code": r.take("i"), "signal": r.take("i"), "timed_out": r.take("B"),
               "error": r.take("i"), "text": r.text().decode(), "out_bytes": r.take("Q"),
               "err_bytes": r.take("Q"), "out": r.text(), "err": r.text()}
    else:
        assert kind == KILLED, kind
        out = {}
    assert r.at == len(data), (kind, r.at, len(data))
    return kind, out


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="aegis-init-")
        os.chmod(self.dir, 0o777)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.listen_ctl()
        self.init = None
        self.ctl = None

    def listen_ctl(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(os.path.join(self.dir, "ctl.sock"))
        os.chmod(os.path.join(self.dir, "ctl.sock"), 0o666)
        self.listener.listen(4)
        self.listener.settimeout(10)
        self.addCleanup(self.listener.close)

    def listen_api(self, name="api.sock"):
        api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        api.bind(os.path.join(self.dir, name))
        os.chmod(os.path.join(self.dir, name), 0o666)
        api.listen(128)
        api.settimeout(20)
        self.addCleanup(api.close)
        return api

    def boot(self):
        root = os.geteuid() == 0
        command = ["unshare", "--pid", "--fork", "--net", "--mount", "--mount-proc", "--kill-child"]
        command += [] if root else ["--user", "--map-root-user"]
        command += [sys.executable, "-c", LAUNCH, BIN, self.dir, "root" if root else "user"]
        # A test that is itself killed must not leave its sandbox behind: PR_SET_PDEATHSIG.
        self.init = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                     preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))
        self.addCleanup(self.stop)
        return self.connect()

    def stop(self):
        if self.init.poll() is None and self.ctl:
            os.kill(self.host_pid, signal.SIGKILL)
        self.init.kill()
        self.init.wait()
        if self.ctl:
            self.ctl.close()

    def connect(self):
        """Accepts init's connection; returns its hello."""
        self.ctl, _ = self.listener.accept()
        self.ctl.settimeout(30)
        credentials = self.ctl.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.host_pid = struct.unpack("3i", credentials)[0]
        return self.expect(HELLO)

    def send(self, kind, body=b"", fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.ctl.sendmsg([bytes([1, kind]) + body], ancillary)

    def expect(self, kind):
        got, fields = parse(self.ctl.recv(1 << 18))
        self.assertEqual(got, kind, fields)
        return fields

    def prepare(self, *argv, env=()):
        self.send(PREPARE, texts(argv) + texts(env or [SEARCH]) + text("/"))

    def start(self, *argv, env=(), cwd="/", stdin=None, out_cap=1 << 20, err_cap=1 << 20, to_waiting=False):
        self.files = [open(os.path.join(self.dir, n), "w+b") for n in ("out", "err")]
        for f in self.files:
            self.addCleanup(f.close)
        body = texts(argv) + texts(env or [SEARCH]) + text(cwd)
        body += struct.pack("<BBQQ", stdin is not None, to_waiting, out_cap, err_cap)
        fds = [f.fileno() for f in self.files] + ([stdin.fileno()] if stdin else [])
        self.send(START, body, fds)

    def run_payload(self, *argv, **more):
        self.start(*argv, **more)
        self.expect(STARTED)
        return self.expect(EXITED)

    def exec(self, *argv, id=1, cwd="/", timeout_ms=20000, limit=32768, env=()):
        body = struct.pack("<I", id) + texts(argv) + texts(env or [SEARCH])
        self.send(EXEC, body + text(cwd) + struct.pack("<II", timeout_ms, limit))
        return self.expect(EXEC_DONE)

    def captured(self):
        out = []
        for f in self.files:
            f.seek(0)
            out.append(f.read())
        return tuple(out)

    def wait_for_output(self, needle):
        until = time.monotonic() + 20
        while needle not in self.captured()[0]:
            self.assertLess(time.monotonic(), until, "no output")
            time.sleep(0.02)

    def others_alive(self):
        """Pids in the sandbox beside init and the command that looks."""
        seen = self.exec("sh", "-c", "for p in /proc/[0-9]*; do echo ${p#/proc/}; done; echo me $$")
        pids = seen["out"].split()
        return [p for p in pids[:-2] if p not in (b"1", pids[-1])]

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.host_pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Payload(Case):
    def test_runs_and_reports(self):
        hello = self.boot()
        self.assertEqual(hello, {"state": IDLE, "pid": 1, "api": 7411, "proxy": 7412})
        ended = self.run_payload("sh", "-c", 'pwd; echo "$A $1"; cat; echo e >&2; exit 7', "x", "a b", cwd="/tmp",
                                 env=[SEARCH, "A=\u00e9"])
        self.assertEqual(ended, {"code": 7, "signal": 0, "out": 12, "err": 2, "truncated": 0})
        self.assertEqual(self.captured(), ("/tmp\n\u00e9 a b\n".encode(), b"e\n"))

    def test_nothing_of_init_is_in_the_payload(self):
        self.boot()
        self.run_payload(PYTHON, "-c", """
import os
print(sorted(int(f) for f in os.listdir('/proc/self/fd'))[:4], os.getsid(0) == os.getpid())
for name in ('mem', 'fd/3', 'environ'):
    try:
        open('/proc/1/' + name, 'rb').read(1); print('open', name)
    except OSError as e:
        print(e.errno)
print([l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn'))])
""")
        out = self.captured()[0].decode().splitlines()
        self.assertEqual(out[0], "[0, 1, 2, 3] True")
        self.assertEqual(out[1:4], ["13"] * 3)
        self.assertIn("SigBlk:\\t0000000000000000", out[4])

    def test_stdin(self):
        self.boot()
        with tempfile.TemporaryFile() as f:
            f.write(b"prompt " * 100000)
            f.seek(0)
            self.run_payload("wc", "-c", stdin=f)
        self.assertEqual(self.captured()[0].strip(), b"700000")

    def test_100_mib_of_output_fill_no_disk_and_block_nothing(self):
        self.boot()
        ended = self.run_payload("sh", "-c", "head -c 104857600 /dev/zero; head -c 3000000 /dev/zero >&2",
                                 out_cap=1_000_001, err_cap=0)
        self.assertEqual((ended["out"], ended["err"], ended["truncated"]), (104857600, 3000000, 1))
        self.assertEqual([len(c) for c in self.captured()], [1_000_001, 0])

    def test_what_cannot_start_is_told(self):
        self.boot()
        self.start("no-such-python3", "x")
        self.assertEqual(self.expect(START_FAILED),
                         {"error": errno.ENOENT, "text": "no-such-python3: not found in the image"})
        self.start("true", cwd="/no/dir")
        self.assertEqual(self.expect(START_FAILED)["text"], "working directory /no/dir: No such file or directory")
        self.start("/etc/passwd")
        self.assertEqual(self.expect(START_FAILED)["error"], errno.EACCES)
        self.send(START, b"\1\0\0\0")
        self.assertEqual(self.expect(START_FAILED)["error"], errno.EINVAL)
        self.start("sleep", "60")
        self.expect(STARTED)
        self.start("true")
        self.assertEqual(self.expect(START_FAILED)["error"], errno.EALREADY)

    def test_an_argument_of_96_kib_arrives(self):
        self.boot()
        ended = self.run_payload(PYTHON, "-c", "import sys; print(len(sys.argv[1]))", "x" * (96 * 1024))
        self.assertEqual((ended["code"], self.captured()[0]), (0, b"98304\n"))

    def test_signals(self):
        self.boot()
        self.assertEqual(self.run_payload("sh", "-c", "kill -SEGV $$")["signal"], 11)

    def test_sigterm_reaches_the_payload(self):
        self.boot()
        self.start("sh", "-c", "trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.05; done")
        self.expect(STARTED)
        self.wait_for_output(b"up")
        os.kill(self.host_pid, 15)
        self.assertEqual(self.expect(EXITED)["code"], 5)
        self.assertEqual(self.captured()[0], b"up\nterm\n")


class Waiting(Case):
    # Says what it got, and where it stands in it.
    WAITER = """
import array, os, socket
s = socket.socket(fileno=3)
data, ancillary, _, _ = s.recvmsg(200000, socket.CMSG_SPACE(4))
if not data: os._exit(9)
if ancillary: os.dup2(array.array("i", ancillary[0][2])[0], 0)
print(data, os.read(0, 10), sorted(os.listdir("/proc/self/fd"))[:3])
"""

    def test_the_job_reaches_the_one_that_waits(self):
        self.boot()
        self.prepare(PYTHON, "-S", "-c", self.WAITER)
        with tempfile.TemporaryFile() as stdin:
            stdin.write(b"from stdin")
            stdin.seek(0)
            ended = self.run_payload("/nowhere", "the prompt", cwd="/tmp", env=["A=1", "B=2"], stdin=stdin,
                                     to_waiting=True)
        self.assertEqual((ended["code"], ended["signal"]), (0, 0))
        self.assertIn(b"b'/tmp\\x00the prompt\\x00A=1\\x00B=2' b'from stdin'", self.captured()[0])
        self.assertEqual(self.exec("echo", "after")["out"], b"after\n")

    def test_one_that_died_is_replaced(self):
        self.boot()
        self.prepare("sh", "-c", "read -r job <&3; exit 3")
        self.exec("true")  # after a command nothing else is left alive
        self.assertEqual(self.run_payload("sh", "-c", "echo fresh; exit 4", to_waiting=True)["code"], 4)
        self.assertEqual(self.captured()[0], b"fresh\n")

    def test_one_that_cannot_be_started_is_replaced(self):
        self.boot()
        self.prepare("/not/there")
        self.assertEqual(self.run_payload("sh", "-c", "exit 5", to_waiting=True)["code"], 5)

    def test_it_is_not_used_unless_the_start_says_so(self):
        self.boot()
        self.prepare(PYTHON, "-S", "-c", self.WAITER)
        ended = self.run_payload("sh", "-c", "echo other")
        self.assertEqual((ended["code"], self.captured()[0]), (0, b"other\n"))

    def test_a_directory_that_is_not_there_is_told(self):
        self.boot()
        self.prepare(PYTHON, "-S", "-c", self.WAITER)
        self.start("sh", "-c", "true", cwd="/not/there", to_waiting=True)
        self.assertIn("working directory /not/there", self.expect(START_FAILED)["text"])

    def test_its_output_is_captured_from_the_beginning(self):
        self.boot()
        self.prepare("sh", "-c", "echo early; read -r job <&3; echo late >&2; exit 6")
        ended = self.run_payload("x", "y\n", to_waiting=True)
        self.assertEqual((ended["code"], self.captured()), (6, (b"early\n", b"late\n")))


class Killing(Case):
    def test_what_the_payload_leaves_is_dead_before_the_end_is_told(self):
        self.boot()
        ended = self.run_payload("sh", "-c", "for i in 1 2 3 4 5; do setsid sleep 1000 & done; "
                                 "(trap '' TERM HUP; while :; do echo x; sleep 0.01; done) & exit 0")
        self.assertEqual(ended["code"], 0)
        self.assertEqual(self.others_alive(), [])

    def test_a_flood_of_zombies(self):
        self.boot()
        ended = self.run_payload(PYTHON, "-c", """
import os
for i in range(1500):
    if os.fork() == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(-1, 0)
print(sum(1 for p in os.listdir('/proc') if p.isdigit()) < 1500)
""")
        self.assertEqual((ended["code"], self.captured()[0]), (0, b"True\n"))
        self.assertEqual(self.others_alive(), [])

    def test_a_fork_bomb_dies(self):
        self.boot()
        self.start(PYTHON, "-c", """
import os, resource, time
resource.setrlimit(resource.RLIMIT_NPROC, (400, 400))
end = time.time() + 60
while time.time() < end:
    try: os.fork()
    except OSError: pass
""")
        self.expect(STARTED)
        time.sleep(0.7)
        self.send(KILL_ALL)
        self.assertEqual(self.expect(EXITED)["signal"], 9)
        self.expect(KILLED)
        self.assertEqual(self.others_alive(), [])

    def test_kill_all_with_nothing_to_kill_and_shutdown(self):
        self.boot()
        self.send(KILL_ALL)
        self.expect(KILLED)
        self.send(SHUTDOWN)
        self.assertEqual(self.init.wait(10), 0)

    def test_it_refuses_to_be_anything_but_pid_1(self):
        done = subprocess.run([BIN, self.dir], stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr), (2, b"init: must be the first process of a sandbox\n"))


class Commands(Case):
    def test_result_and_tails(self):
        self.boot()
        self.run_payload("true")
        done = self.exec("sh", "-c", "seq 100000; echo bad >&2; exit 3", id=77, limit=10)
        self.assertEqual(done, {"id": 77, "code": 3, "signal": 0, "timed_out": 0, "error": 0, "text": "",
                                "out_bytes": 588895, "err_bytes": 4, "out": b"999\n100000\n"[-10:], "err": b"bad\n"})
        done = self.exec("printf", "abc", limit=0)
        self.assertEqual((done["out_bytes"], done["out"]), (3, b""))
        done = self.exec("head", "-c", "32769", "/dev/zero")
        self.assertEqual(len(done["out"]), 32768)

    def test_timeout_and_leftovers(self):
        self.boot()
        begin = time.monotonic()
        done = self.exec("sh", "-c", "trap '' TERM; echo begun; sleep 60 & wait", timeout_ms=300)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual((done["timed_out"], done["signal"], done["out"]), (1, 9, b"begun\n"))
        done = self.exec("sh", "-c", "setsid sleep 60 & echo ok")
        self.assertEqual((done["code"], done["out"]), (0, b"ok\n"))
        self.assertEqual(self.others_alive(), [])

    def test_refusals(self):
        self.boot()
        self.assertEqual(self.exec("no-such-tool", id=5)["error"], errno.ENOENT)
        self.assertEqual(self.exec("true", limit=32769)["error"], errno.EINVAL)
        self.start("sleep", "60")
        self.expect(STARTED)
        self.assertEqual(self.exec("true")["error"], errno.EBUSY)


class Connection(Case):
    def test_the_daemon_comes_back_while_the_payload_runs(self):
        self.boot()
        self.start("sh", "-c", "sleep 1; echo done")
        self.expect(STARTED)
        self.ctl.close()
        self.assertEqual(self.connect()["state"], RUNNING)
        ended = self.expect(EXITED)
        self.ctl.close()
        self.assertEqual(self.connect()["state"], ENDED)
        self.assertEqual(self.expect(EXITED), ended)
        self.assertEqual(self.captured()[0], b"done\n")

    def test_it_waits_for_the_socket(self):
        self.boot()
        self.ctl.close()
        self.listener.close()
        os.unlink(os.path.join(self.dir, "ctl.sock"))
        time.sleep(0.5)
        self.listen_ctl()
        self.assertEqual(self.connect()["state"], IDLE)

    def test_garbage_ends_the_connection_and_nothing_else(self):
        self.boot()
        for garbage in (b"\1", b"\2\1", b"\1\xff", os.urandom(3000), b"x" * 147457):
            self.ctl.send(garbage)
            self.assertEqual(self.ctl.recv(100), b"")
            self.ctl.close()
            self.connect()
        self.assertEqual(self.run_payload("true")["code"], 0)

    def test_too_many_descriptors(self):
        self.boot()
        self.send(KILL_ALL, b"", [0] * 20)
        self.assertEqual(self.ctl.recv(100), b"")
        self.ctl.close()
        self.connect()


class Relaying(Case):
    CLIENT = """
import socket, sys
def client(port=7411):
    s = socket.socket(); s.settimeout(30); s.connect(('127.0.0.1', port)); return s
def all_of(s):
    out = bytearray()
    while True:
        data = s.recv(1 << 16)
        if not data: return bytes(out)
        out += data
"""

    def python(self, script, **more):
        self.start(PYTHON, "-c", self.CLIENT + script, **more)
        self.expect(STARTED)

    def test_bytes_both_ways_with_half_close(self):
        api = self.listen_api()
        self.assertEqual(self.boot()["api"], 7411)
        self.python("""
s = client()
s.sendall(b'q' * 5_000_000); s.shutdown(socket.SHUT_WR)
answer = all_of(s)
print(len(answer), answer == b'a' * 9_000_000)
""")
        connection, _ = api.accept()
        got = 0
        while True:
            data = connection.recv(1 << 16)
            if not data:
                break
            got += len(data)
        self.assertEqual(got, 5_000_000)
        connection.sendall(b"a" * 9_000_000)
        connection.close()
        self.assertEqual(self.expect(EXITED)["code"], 0)
        self.assertEqual(self.captured()[0], b"9000000 True\n")

    def test_backpressure_costs_neither_memory_nor_cpu(self):
        api = self.listen_api()
        self.boot()
        self.python("""
import time
s = client(); s.setblocking(False)
sent = 0
for i in range(20):
    try:
        while True: sent += s.send(b'x' * 65536)
    except BlockingIOError: time.sleep(0.05)
print(sent < 16 << 20); sys.stdout.flush()
s.setblocking(True); s.shutdown(socket.SHUT_WR); all_of(s)
""")
        connection, _ = api.accept()
        self.wait_for_output(b"\n")
        before = self.cpu_seconds()
        time.sleep(1)
        self.assertLess(self.cpu_seconds() - before, 0.1)
        while connection.recv(1 << 20):
            pass
        connection.close()
        self.assertEqual(self.expect(EXITED)["code"], 0)
        self.assertEqual(self.captured()[0], b"True\n")

    def test_a_connection_is_held_while_the_daemon_is_away(self):
        self.listen_api().close()
        self.boot()
        self.python("s = client(); s.sendall(b'early'); print(all_of(s))")
        time.sleep(0.5)
        os.unlink(os.path.join(self.dir, "api.sock"))
        connection, _ = self.listen_api().accept()
        self.assertEqual(connection.recv(100), b"early")
        connection.sendall(b"late")
        connection.close()
        self.assertEqual(self.expect(EXITED)["code"], 0)
        self.assertEqual(self.captured()[0], b"b'late'\n")

    def test_more_connections_than_it_holds_wait_their_turn(self):
        api = self.listen_api()
        self.boot()
        def serve():
            for _ in range(300):
                connection, _ = api.accept()
                connection.sendall(connection.recv(100))
                connection.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.python("""
socks = [client() for i in range(100)]
for i, s in enumerate(socks): s.sendall(b'%d' % i)
print(all(all_of(s) == b'%d' % i for i, s in enumerate(socks)))
for i in range(200):
    s = client(); s.sendall(b'y'); assert all_of(s) == b'y'; s.close()
""")
        self.assertEqual(self.expect(EXITED)["code"], 0)
        self.assertEqual(self.captured()[0], b"True\n")
        thread.join(10)

    def test_clients_that_vanish_leave_no_spin(self):
        api = self.listen_api()
        self.boot()
        self.python("""
import os, struct, time
for how in range(30):
    s = client(); s.sendall(b'x')
    if how % 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
time.sleep(1.5)
""")
        held = [api.accept()[0] for _ in range(30)]
        before = self.cpu_seconds()
        time.sleep(1)
        self.assertLess(self.cpu_seconds() - before, 0.1)
        for connection in held:
            connection.close()
        self.assertEqual(self.expect(EXITED)["code"], 0)

    def test_the_proxy_has_a_port_of_its_own(self):
        self.listen_api()
        proxy = self.listen_api("proxy.sock")
        hello = self.boot()
        self.assertEqual((hello["api"], hello["proxy"]), (7411, 7412))
        self.python("s = client(7412); s.sendall(b'p'); print(all_of(s))")
        connection, _ = proxy.accept()
        self.assertEqual(connection.recv(10), b"p")
        connection.close()
        self.assertEqual(self.expect(EXITED)["code"], 0)


if __name__ == "__main__":
    unittest.main()
