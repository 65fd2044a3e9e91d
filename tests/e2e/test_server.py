"""The daemon's listeners: bounds, slow and silent clients, streams, TLS, logs, reload."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from case import Case
from model import Model, turns
from node import Node, agent, wait_until
from tls import TlsNode

LATE = {"delay_ms": 60000, "content": "late"}
CONNECTIONS = 1024
RESERVED = 16


def dial(port, data=b"", timeout=30):
    s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    s.sendall(data)
    return s


def read_all(s):
    out = b""
    while True:
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            return out
        if not piece:
            return out
        out += piece


class Clients(Case):
    """Raw sockets that do not behave."""

    def many(self, count, data):
        out = []
        self.addCleanup(lambda: [s.close() for s in out])
        for _ in range(count):
            out.append(dial(self.node.port, data))
        return out

    def status(self, path, method="GET"):
        return self.node.api(method, path)[0]

    def test_slow_heads_keep_nobody_out(self):
        self.many(CONNECTIONS + 100, b"GET /v1/agents HTTP/1.1\r\nHost: loc")
        time.sleep(1.2)  # what an honest head may take
        for _ in range(20):
            self.assertEqual(self.status("/v1/agents"), 200)

    def test_silent_connections_keep_nobody_out(self):
        self.many(CONNECTIONS + 100, b"")
        time.sleep(1.2)
        for _ in range(20):
            self.assertEqual(self.status("/v1/agents"), 200)

    def test_cancel_and_health_have_places_of_their_own(self):
        self.say(LATE)
        self.node.deploy(agent("slow"))
        execution = self.node.execute("slow")
        head = (b"POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/yaml\r\n"
                b"Content-Length: 1000\r\n\r\nkind: ")
        self.many(CONNECTIONS, head)
        # While heads are still being read nobody knows yet who may have the reserved places.
        wait_until(lambda: self.status("/v1/agents") == 503 and
                   self.status("/health/live") == 200, "only reserved places are left")
        status, record = self.node.api("POST", f"/v1/executions/{execution}/cancel")
        self.assertEqual((status, record["status"]), (200, "cancelled"))

    def test_a_head_has_ten_seconds(self):
        began = time.monotonic()
        s = dial(self.node.port, b"GET / HTTP/1.1\r\n")
        silent = dial(self.node.port)
        stop = threading.Event()

        def dribble():
            while not stop.wait(0.5):
                try:
                    s.sendall(b"X: y\r\n")
                except OSError:
                    return
        thread = threading.Thread(target=dribble)
        thread.start()
        answer = read_all(s)
        stop.set()
        thread.join()
        self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
        self.assertEqual(read_all(silent), b"")
        self.assertLess(time.monotonic() - began, 14)

    def test_garbage_gets_an_answer_and_an_end(self):
        for data, status in ((b"\x16\x03\x01\x00\x05hello\r\n\r\n", b"400"),
                             (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", b"400"),
                             (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
                             (b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
                             (b"GET / HTTP/1.1\r\n\r\n", b"400"),
                             (b"GET /" + b"a" * 40000, b"414"),
                             (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 300 +
                              b"\r\n", b"431"),
                             (b"POST /v1/agents HTTP/1.1\r\nHost: localhost\r\n"
                              b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", b"400")):
            with dial(self.node.port, data) as s:
                answer = read_all(s)
            self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), (data[:60], answer[:200]))
            self.assertIn(b'{"error":{"code":', answer)


class Streams(Case):
    def threads(self):
        with open(f"/proc/{self.node.process.pid}/status", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("Threads:")).split()[1])

    def test_a_thousand_at_once(self):
        self.say(LATE)
        self.node.deploy(agent("slow"))
        execution = self.node.execute("slow")
        self.model.wait_requests(1)
        before = self.threads()
        request = (f"GET /v1/executions/{execution}/stream HTTP/1.1\r\n"
                   f"Host: localhost\r\n\r\n").encode()
        watchers = []
        self.addCleanup(lambda: [w.close() for w in watchers])
        for _ in range(1000):
            watchers.append(dial(self.node.port, request))
        for w in watchers:
            self.assertTrue(w.recv(12).startswith(b"HTTP/1.1 200"))
        # A head is sent a moment before its stream is counted.
        self.node.joined(1000)
        self.assertLess(self.threads() - before, 300)
        began = time.monotonic()
        self.node.ok("execution", "cancel", execution)
        self.assertLess(time.monotonic() - began, 10)
        texts = {read_all(w).split(b"data:", 1)[1] for w in watchers}
        self.assertEqual(len(texts), 1, "watchers saw different streams")
        self.assertIn(b"ExecutionCancelled", texts.pop())
        wait_until(lambda: self.threads() < before + 40, "threads end")


class Listeners(unittest.TestCase):
    def node(self, config, **env):
        node = Node(config, env=env)
        self.addCleanup(node.close)
        return node

    def test_beyond_loopback_only_with_a_token(self):
        node = self.node({})
        node.configure({"server": {"addr": f"0.0.0.0:{node.port}"}})
        done = node.aegis("--config", node.config_path, "daemon", "start")
        self.assertEqual(done.code, 2, done)
        self.assertIn("server.token", done.err)

    def test_token(self):
        node = self.node({"server": {"token": "right-token"}}).start()
        for token in (None, "", "wrong", "right-toke", "right-token2"):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            status, body = node.api("GET", "/v1/agents", headers=headers)
            self.assertEqual((status, body["error"]["code"]), (401, "unauthenticated"))
        self.assertEqual(node.aegis("agent", "list").code, 3)
        node.ok("agent", "list", "--token", "right-token")
        node.ok("agent", "list", env={"AEGIS_TOKEN": "right-token"})
        self.assertNotIn("right-token", node.log())

    def test_unix_socket(self):
        node = self.node({})
        path = os.path.join(node.dir, "api.sock")
        node.configure({"server": {"unix_socket": path}})
        node.start()
        node.ok("--daemon-addr", f"unix://{path}", "agent", "list")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertIn(f"principal=uid:{os.geteuid()}", node.log())
        node.terminate()
        self.assertFalse(os.path.exists(path))


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = Model(turns("Hello."))
        cls.addClassCleanup(cls.model.close)
        cls.node = TlsNode(cls.model.config(), env=cls.model.env())
        cls.addClassCleanup(cls.node.close)
        cls.node.start()

    def test_the_command_line(self):
        self.node.deploy(agent("worker"))
        done = self.node.ok("execute", "--agent", "worker", "--watch", "-o", "json")
        self.assertEqual(done.events()[-1]["type"], "ExecutionCompleted")
        status = self.node.ok("daemon", "status", "-o", "json").json()
        self.assertTrue(status["version"])

    def test_a_certificate_that_is_not_good(self):
        for env, address, word in (({"AEGIS_CA_FILE": ""}, "127.0.0.1", "certificate"),
                                   ({}, "localhost", "mismatch")):
            done = self.node.aegis("--daemon-addr", f"https://{address}:{self.node.port}",
                                   "agent", "list", env=env)
            self.assertEqual(done.code, 5, done)
            self.assertIn(word, done.err)
            self.assertIn("AEGIS_CA_FILE", done.err)
        done = self.node.aegis("agent", "list", env={"AEGIS_CA_FILE": "/nonexistent.pem"})
        self.assertEqual(done.code, 2, done)

    def test_plain_http_is_not_served(self):
        with dial(self.node.port, b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n") as s:
            self.assertNotIn(b"HTTP/1.1 200", read_all(s))
        done = self.node.aegis("--daemon-addr", f"127.0.0.1:{self.node.port}", "agent", "list")
        self.assertNotEqual(done.code, 0)

    def test_versions(self):
        for flag, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            run = subprocess.run(
                ["openssl", "s_client", flag, "-cipher", "ALL:@SECLEVEL=0", "-connect",
                 f"127.0.0.1:{self.node.port}", "-CAfile", self.node.authority.file,
                 "-verify_return_error"],
                input=b"", capture_output=True, check=False)
            self.assertEqual(run.returncode == 0, works, f"{flag}: {run.stderr[-500:]}")

    def test_bodies_and_many_at_once(self):
        problems = []

        def one():
            try:
                status, body = self.node.api("POST", "/v1/agents", b"x: " + b"y" * (3 << 20),
                                             {"Content-Type": "text/yaml"})
                if status != 413 or body["error"]["code"] != "too_large":
                    problems.append((status, body))
                status, text = self.node.api("GET", "/openapi.json")
                if status != 200 or not text["paths"]:
                    problems.append(status)
            except Exception as e:  # noqa: BLE001
                problems.append(repr(e))
        threads = [threading.Thread(target=one) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(problems, [])

    def test_silent_ones_keep_nobody_out(self):
        silent = [dial(self.node.port) for _ in range(700)]
        self.addCleanup(lambda: [s.close() for s in silent])
        for _ in range(5):
            self.assertEqual(self.node.api("GET", "/version")[0], 200)

    def test_reload_of_certificates(self):
        node = self.node
        before = node.serial()
        node.authority.issue(node.cert, node.key)
        self.assertEqual(node.serial(), before)
        node.ok("--config", node.config_path, "daemon", "reload")
        after = node.serial()
        self.assertNotEqual(after, before)
        with open(node.cert, "w", encoding="ascii") as f:
            f.write("nonsense\n")
        done = node.aegis("--config", node.config_path, "daemon", "reload")
        self.assertEqual(done.code, 2, done)
        self.assertIn("cert_file", done.err)
        self.assertEqual(node.serial(), after)

    def test_a_wrong_pair_is_refused_at_start(self):
        node = TlsNode()
        self.addCleanup(node.close)
        node.authority.issue(node.cert, os.path.join(node.dir, "other.key"))
        done = node.aegis("--config", node.config_path, "daemon", "start")
        self.assertEqual(done.code, 2, done)
        self.assertIn("server.tls.key_file", done.err)


class Logs(Case):
    config = {"observability": {"log_format": "json"}, "server": {"token": "secret-token"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node.env["AEGIS_TOKEN"] = "secret-token"

    def lines(self):
        return [json.loads(line) for line in self.node.log().splitlines()]

    def test_lines(self):
        self.say({"content": "model-text"})
        self.node.deploy(agent("worker"))
        done = self.node.ok("execute", "--agent", "worker", "--watch", "--input",
                            '{"secret": "input-text"}', "-o", "json")
        execution = done.events()[0]["execution_id"]
        self.node.api("GET", "/v1/agents/nobody?revision=1",
                      headers={"Authorization": "Bearer secret-token"})
        self.node.api("GET", "/v1/agents/%c2%9b31m", headers={"X-A": "header-text"})
        lines = self.lines()
        requests = [line for line in lines if line["message"] == "request"]
        post = next(r for r in requests if r["path"] == "/v1/executions")
        self.assertEqual((post["method"], post["status"], post["principal"], post["level"]),
                         ("POST", 201, "token", "info"))
        self.assertGreater(post["bytes"], 100)
        self.assertGreater(post["ms"], 0)
        missing = next(r for r in requests if r["path"] == "/v1/agents/nobody")
        self.assertEqual((missing["status"], missing["principal"]), (404, "token"))
        states = [line["message"] for line in lines if line.get("execution_id") == execution]
        self.assertEqual(states, ["execution accepted", "execution started", "iteration started",
                                  "iteration completed", "validation passed",
                                  "execution completed"])
        text = self.node.log()
        for secret in ("secret-token", "input-text", "model-text", "header-text", "\x9b"):
            self.assertNotIn(secret, text)


class Reload(Case):
    def reload(self, **config):
        self.node.configure({**self.model.config(), **config})
        return self.node.aegis("--config", self.node.config_path, "daemon", "reload")

    def tearDown(self):
        self.assertEqual(self.reload().code, 0)

    def test_aliases_and_log(self):
        self.say({"content": "hi"})
        self.node.deploy(agent("worker"))
        run = ("execute", "--agent", "worker", "--model", "second")
        self.assertEqual(self.node.aegis(*run).code, 2)
        config = self.model.config(observability={"log_level": "debug", "log_format": "json"})
        config["llm"]["aliases"]["second"] = "gpt"
        self.node.configure(config)
        done = self.node.ok("--config", self.node.config_path, "daemon", "reload")
        self.assertNotIn("warning", done.err)
        self.node.ok(*run)
        self.node.api("GET", "/health/live")
        def logged():
            return [line for line in self.node.log().splitlines() if "/health/live" in line]
        wait_until(logged, "the log has it")
        probes = logged()
        self.assertEqual(json.loads(probes[-1])["level"], "debug", "only for debugging")

    def test_a_bad_file_changes_nothing(self):
        for text in ("server: [", json.dumps({**self.model.config(), "retention": 3})):
            with open(self.node.config_path, "w", encoding="utf-8") as f:
                f.write(text)
            done = self.node.aegis("--config", self.node.config_path, "daemon", "reload")
            self.assertEqual(done.code, 2, done)
        os.kill(self.node.process.pid, signal.SIGHUP)
        wait_until(lambda: "retention: is a number" in self.node.log(), "the log says why")
        # What only the daemon can know: the file is good, what it names is not.
        script = {"name": "a", "type": "scripted", "script": "/nonexistent.yaml"}
        done = self.reload(llm={"providers": [script], "aliases": {"other": "a"}})
        self.assertNotEqual(done.code, 0, done)
        self.assertIn("nothing was applied", done.err)
        self.assertIn("/nonexistent.yaml", done.err)
        self.assertEqual(self.node.api("GET", "/v1/node")[1]["model_aliases"], ["default"])

    def test_what_needs_a_restart_is_told(self):
        done = self.reload(retention={"executions": "1h"}, server={"unix_socket": "/tmp/x.sock"})
        self.assertEqual(done.code, 0, done)
        self.assertIn("server.unix_socket has changed and needs a restart", done.err)

    def test_limits(self):
        self.assertEqual(self.reload(runtime={"max_concurrent_executions": 1}).code, 0)
        self.say(LATE)
        self.node.deploy(agent("slow"))
        ids = [self.node.execute("slow") for _ in range(2)]
        self.addCleanup(lambda: self.node.aegis("execution", "cancel", *ids))
        self.model.wait_requests(1)
        self.assertEqual(self.node.record(ids[1])["status"], "pending")
        self.assertEqual(self.reload(runtime={"max_concurrent_executions": 2}).code, 0)
        wait_until(lambda: self.node.record(ids[1])["status"] == "running", "the second starts")


if __name__ == "__main__":
    unittest.main()
