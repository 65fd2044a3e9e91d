"""Bad input, hostile containers, clients that go away, a full disk, a missing engine."""

import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import unittest

from case import Case
from model import Model, call, python, tool_results, turns
from node import AEGIS, Node, agent, wait_until, workspace

BASE = "aegis/python:3.11"


def build_image(tag, files=(), without=(), cmd=None, trees=()):
    """A small image without a build: the base image's files, less some, plus some, imported.
    `trees`: (a directory of this machine, its name in the image)."""
    container = subprocess.run(["docker", "create", BASE, "true"], capture_output=True, text=True,
                               check=True).stdout.strip()
    try:
        source = subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE)
        change = ["--change", f"CMD {json.dumps(cmd)}"] if cmd else []
        sink = subprocess.Popen(["docker", "import", *change, "-", tag], stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL)
        with tarfile.open(fileobj=source.stdout, mode="r|") as old, \
                tarfile.open(fileobj=sink.stdin, mode="w|") as new:
            for member in old:
                if any(member.name.startswith(prefix) for prefix in without):
                    continue
                data = old.extractfile(member).read() if member.isreg() else b""
                new.addfile(member, io.BytesIO(data))
            for tree, name in trees:
                new.add(tree, name)
            for name, text in files:
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(text.encode()), 0o755
                new.addfile(info, io.BytesIO(text.encode()))
        sink.stdin.close()
        assert sink.wait() == 0 and source.wait() == 0
    finally:
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=False)


class Images(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.full, cls.bare = (f"aegis-test/{kind}:{os.getpid()}" for kind in ("full", "bare"))
        cls.addClassCleanup(subprocess.run, ["docker", "rmi", "-f", cls.full, cls.bare],
                            capture_output=True, check=False)
        build_image(cls.full, cmd=["/bin/never"], files=[
            ("agent/exit.py", "raise SystemExit(3)\n"),
            ("agent/flood.py", "import os\nfor _ in range(1024): os.write(1, b'x' * (1 << 20))\n"),
            ("agent/deaf.py", "import signal, time\nsignal.signal(15, signal.SIG_IGN)\n"
                              "signal.signal(2, signal.SIG_IGN)\ntime.sleep(600)\n"),
            ("agent/hog.py", "x = []\nwhile True: x.append(bytearray(1 << 20))\n"),
            ("agent/own.py", "import sys\nprint('prompt was', len(sys.argv[1]))\n")])
        build_image(cls.bare, without=("usr/bin/python", "usr/local/bin/python"))

    def own(self, name, bootstrap, **spec):
        manifest = agent(name, **{"execution": {"max_iterations": 1}, **spec})
        manifest["spec"]["runtime"] = {"image": self.full, "isolation": "docker"}
        manifest["spec"]["advanced"] = {"bootstrap_path": f"/agent/{bootstrap}.py"}
        self.node.deploy(manifest)
        return name

    def test_own_bootstrap(self):
        record = self.node.run(self.own("own", "own"), '"abc"')
        self.assertCompleted(record)
        self.assertTrue(record["output"].startswith("prompt was "))

    def test_the_engines_images_in_the_embedded_sandbox(self):
        """By their names in the engine; a name that means another image tomorrow is another."""
        moving = f"aegis-test/moving:{os.getpid()}"
        self.addCleanup(subprocess.run, ["docker", "rmi", "-f", moving], capture_output=True,
                        check=False)
        manifest = agent("moving", execution={"max_iterations": 1})
        manifest["spec"]["runtime"] = {"image": moving, "isolation": "process"}
        manifest["spec"]["advanced"] = {"bootstrap_path": "/agent/own.py"}
        unknown = self.node.ok("agent", "deploy", "-", stdin=json.dumps(manifest))
        self.assertRegex(unknown.err, f"(?m)^warning: image {moving} is not unpacked .*docker pull")
        record = self.node.run("moving")
        self.assertEqual(record["error"]["code"], "sandbox_error", record)
        subprocess.run(["docker", "tag", self.full, moving], check=True)
        self.assertTrue(self.node.run("moving")["output"].startswith("prompt was "))
        build_image(moving, files=[("agent/own.py", "print('another')\n")])
        wait_until(lambda: self.node.run("moving")["output"] == "another",
                   "what the name means now")

    def test_managed_bootstrap_in_an_own_image(self):
        manifest = agent("managed")
        manifest["spec"]["runtime"] = {"image": self.full, "isolation": "docker"}
        deployed = self.node.ok("agent", "deploy", "-", stdin=json.dumps(manifest))
        self.assertRegex(deployed.err, r"(?m)^warning: .*command of image .* will not run")
        self.say({"content": "ok"})
        self.assertCompleted(self.node.run("managed"))

    def test_exits_at_once(self):
        record = self.node.run(self.own("leaver", "exit"))
        self.assertEqual(record["status"], "failed")
        self.assertEqual(record["iterations"][0]["exit_code"], 3)
        self.node.clean()

    def test_without_python(self):
        manifest = agent("bare", execution={"max_iterations": 2})
        manifest["spec"]["runtime"] = {"image": self.bare, "isolation": "docker"}
        self.node.deploy(manifest)
        record = self.node.run("bare")
        self.assertEqual(record["status"], "failed")
        self.assertIn("python3", json.dumps(record["error"]))
        self.node.clean()

    def test_out_of_memory(self):
        name = self.own("hog", "hog", security={"resources": {"memory": "64Mi"}})
        self.assertFailed(self.node.run(name), "out_of_memory", "64 MiB")

    def test_prints_1_gib(self):
        record = self.node.run(self.own("flood", "flood"), timeout=120)
        self.assertCompleted(record)
        logs = self.node.api("GET", f"/v1/executions/{record['id']}/logs")[1]
        self.assertLess(len(logs[0]["stdout"]), 64 << 20)
        self.assertGreater(len(logs[0]["stdout"]), 1000)
        used = int(subprocess.run(["du", "-sm", self.node.data_dir], capture_output=True, text=True,
                                  check=True).stdout.split()[0])
        self.assertLess(used, 300)

    def test_ignores_every_signal(self):
        name = self.own("deaf", "deaf", execution={"max_iterations": 1, "iteration_timeout": "2s"})
        self.assertFailed(self.node.run(name), "iteration_timeout")
        self.node.clean()


class Output(Case):
    def test_command_prints_1_gib(self):
        code = ("import os\nfor _ in range(1024): os.write(1, b'y' * (1 << 20))\n"
                "os.write(1, b'the end')")
        record = self.run_with(turns([python(code)], "ok"), timeout=120)
        self.assertCompleted(record)
        answer = json.loads(tool_results(self.model.requests()[1])[0])
        self.assertTrue(answer["stdout"].endswith("the end"), "the tail is kept")
        self.assertTrue(answer["truncated"])
        self.assertLessEqual(len(answer["stdout"]), (1 << 20) + 200)

    def test_odd_bytes(self):
        code = "import os; os.write(1, bytes(range(256))); os.write(2, b'\\x1b[31m\\xff')"
        record = self.run_with(turns([python(code)], "a\u0000b\u202ec"))
        self.assertCompleted(record)
        logs = self.node.ok("execution", "logs", record["id"])
        self.assertNotIn("\x1b", logs.out)
        self.assertNotIn("\x00", logs.out)

    def test_leaves_processes_behind(self):
        code = ("import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
                "  time.sleep(600)\n os._exit(0)")
        record = self.run_with(turns([python(code)], "ok"))
        self.assertCompleted(record)
        self.assertLess(record["duration_ms"], 15_000)
        self.node.clean()


class Clients(Case):
    def test_disconnects_at_any_byte(self):
        self.say({"content": "ok"})
        self.node.deploy(agent("target"))
        body = json.dumps({"agent_id": "target", "input": "{}"})
        request = (f"POST /v1/executions HTTP/1.1\r\nHost: localhost\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}"
                   f"\r\n\r\n{body}").encode()
        for cut in range(0, len(request), 3):
            with socket.create_connection(("127.0.0.1", self.node.port)) as s:
                s.sendall(request[:cut])
        rows = self.node.api("GET", "/v1/executions")[1]["items"]
        self.assertEqual(rows, [], "half a request starts nothing")
        with socket.create_connection(("127.0.0.1", self.node.port)) as s:
            s.sendall(request)
        wait_until(lambda: len(self.node.api("GET", "/v1/executions")[1]["items"]) == 1,
                   "a whole one does, though nobody waits for the answer")
        self.assertCompleted(self.node.wait("@last"))

    def test_watchers_that_leave(self):
        self.say(turns([python("import time; time.sleep(2)")], "ok"))
        self.node.deploy(agent("seen"))
        execution = self.node.execute("seen")
        for size in (0, 1, 10, 100, 500):
            with socket.create_connection(("127.0.0.1", self.node.port)) as s:
                s.sendall(f"GET /v1/executions/{execution}/stream HTTP/1.1\r\n"
                          f"Host: localhost\r\n\r\n".encode())
                if size:
                    s.recv(size)
        self.assertCompleted(self.node.wait(execution))

    def test_nonsense(self):
        for data in (b"\x00" * 4096, b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000, b"\r\n\r\n\r\n",
                     b"POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
                     b"POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.node.port)) as s:
                s.settimeout(20)
                try:
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                    answer = s.recv(4096)
                except ConnectionError:
                    continue
                self.assertNotIn(b" 200 ", answer[:20])
        self.assertEqual(self.node.api("GET", "/health/live")[0], 200)

    def test_refusals(self):
        api = self.node.api
        for foreign in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            self.assertEqual(api("GET", "/v1/agents", headers=foreign)[0], 403)
        self.assertEqual(api("POST", "/v1/llm/generate", {})[0], 404)
        self.assertEqual(api("POST", "/v1/chat/completions", {})[0], 404)
        for path, body, expected in (("/v1/executions", "{", 400), ("/v1/executions", "[]", 400),
                                     ("/v1/executions", '{"agent_id": 7}', 400),
                                     ("/v1/executions", '{"agent_id": "nobody"}', 404),
                                     ("/v1/agents", "[" * 200_000, 400)):
            status, answer = api("POST", path, body, {"Content-Type": "application/json"})
            self.assertEqual(status, expected, (path, answer))
            self.assertIn("message", answer["error"])
        status, answer = api("POST", "/v1/agents", "x" * (17 << 20), {"Content-Type": "text/yaml"})
        self.assertEqual(status, 413)


class Machine(unittest.TestCase):
    def test_second_daemon_on_the_same_data(self):
        first = Node()
        self.addCleanup(first.close)
        first.start()
        second = Node(data_dir=first.data_dir)
        self.addCleanup(shutil.rmtree, second.dir)
        done = second.aegis("--config", second.config_path, "daemon", "start")
        self.assertNotEqual(done.code, 0)
        self.assertIn(first.data_dir, done.err)
        self.assertIn(str(first.process.pid), done.err)
        self.assertEqual(first.api("GET", "/health/ready")[0], 200)

    def test_port_in_use(self):
        first = Node()
        self.addCleanup(first.close)
        first.start()
        second = Node()
        self.addCleanup(second.close)
        second.port = first.port
        second.configure({})
        done = second.aegis("--config", second.config_path, "daemon", "start")
        self.assertNotEqual(done.code, 0)
        self.assertIn(str(first.port), done.err)

    def test_detach_and_stop(self):
        node = Node()
        self.addCleanup(node.close)
        done = node.ok("--config", node.config_path, "daemon", "start", "--detach", "-o", "json")
        self.assertEqual(done.json()["address"].rsplit(":", 1)[1], str(node.port))
        status = node.ok("daemon", "status", "-o", "json").json()
        self.assertEqual(status["pid"], done.json()["pid"])
        node.ok("--config", node.config_path, "daemon", "stop")
        self.assertEqual(node.aegis("daemon", "status").code, 5)
        self.assertEqual(node.aegis("--config", node.config_path, "daemon", "stop").code, 5)

    def test_no_engine(self):
        node = Node({"runtime": {"docker_host": "unix:///nonexistent/docker.sock"}})
        self.addCleanup(node.close)
        node.start()
        done = node.aegis("agent", "deploy", "-", stdin=json.dumps(agent()))
        self.assertEqual(done.code, 2, done)  # 5 would say that the daemon is away
        self.assertIn("/nonexistent/docker.sock", done.err)
        self.assertIn("hint:", done.err)

    def test_foreign_address_needs_a_token(self):
        node = Node({"server": {"addr": "0.0.0.0:0"}})
        self.addCleanup(node.close)
        done = node.aegis("--config", node.config_path, "daemon", "start")
        self.assertEqual(done.code, 2, done)
        self.assertIn("token", done.err)

    def test_token(self):
        node = Node({"server": {"token": "s3cret"}})
        self.addCleanup(node.close)
        node.start()
        self.assertEqual(node.aegis("agent", "list").code, 3)
        self.assertEqual(node.aegis("agent", "list", "--token", "wrong").code, 3)
        self.assertEqual(node.ok("agent", "list", env={"AEGIS_TOKEN": "s3cret"}).code, 0)


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.model = Model()
        self.addCleanup(self.model.close)
        self.node = Node(env=self.model.env())
        self.addCleanup(shutil.rmtree, self.node.dir, ignore_errors=True)
        os.mkdir(self.node.data_dir)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", self.node.data_dir],
                       check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.node.data_dir], check=False)
        self.addCleanup(self.node.close)
        self.node.configure(self.model.config())
        self.node.start()

    def test_full(self):
        self.model.script(turns([python("import time; time.sleep(4)")], "ended", match="running"),
                          {"content": "ok"})
        self.node.deploy(agent())
        running = self.node.execute("worker", '"running"')
        self.model.wait_requests(1)
        filler = os.path.join(self.node.data_dir, "filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 65536)
            except OSError:
                pass
        refused = None
        big = '"' + "x" * 200_000 + '"'
        for _ in range(200):
            done = self.node.aegis("execute", "--agent", "worker", "--input", "-", "-o", "json",
                                   stdin=big)
            if done.code != 0:
                refused = done
                break
        self.assertIsNotNone(refused, "a full disk refuses new executions")
        self.assertEqual(refused.error()["code"], "storage_full", refused)
        record = self.node.wait(running)
        self.assertEqual((record["status"], record["output"]), ("completed", "ended"),
                         record["error"])
        os.unlink(filler)
        wait_until(lambda: self.node.aegis("execute", "--agent", "worker").code == 0,
                   "it works again", 30)
        self.assertEqual(self.node.aegis("execution", "wait", "@last").code, 0)


class Binary(unittest.TestCase):
    def test_help_of_everything(self):
        for words in ([], ["agent"], ["execute"], ["execution", "logs"], ["daemon", "start"]):
            done = subprocess.run([AEGIS, *words, "--help"], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0)
            self.assertIn("Usage:", done.stdout)


if __name__ == "__main__":
    unittest.main()
