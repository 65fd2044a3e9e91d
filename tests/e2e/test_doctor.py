"""aegis doctor on this machine, with one thing or another taken from it."""

import os
import socket
import subprocess
import time

from case import Case
from node import wait_until

KEY = "sk-test-of-the-doctor"


class Doctor(Case):
    """Its node is not started: doctor is what one asks first."""

    start = False

    def setUp(self):
        self.provider("http://127.0.0.1:9/v1")

    def provider(self, base_url, **config):
        self.node.configure({"llm": {"providers": [
            {"name": "main", "type": "openai", "api_key": KEY, "model": "m",
             "base_url": base_url}]}, **config})

    def doctor(self, code, env=None):
        """The checks by name; every one is bounded, so the whole is."""
        began = time.monotonic()
        done = self.node.aegis("--config", self.node.config_path, "doctor", "-o", "json", env=env)
        self.assertLess(time.monotonic() - began, 6, "all of it within 5 s, and a start")
        self.assertEqual(done.code, code, done)
        self.assertNotIn(KEY, done.out + done.err)
        report = done.json()
        self.assertEqual(report["usable"], code == 0)
        for check in report["checks"]:
            self.assertEqual(check["hint"] == "", check["status"] == "ok", check)
        return {c["check"]: c for c in report["checks"]}

    def serve(self, answer):
        """The URL of a server that sends `answer` to whoever connects, or nothing at all."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        if answer:
            script = ("import socket,sys\ns = socket.socket(fileno=0)\nwhile True:\n"
                      "  c = s.accept()[0]; c.recv(65536); c.sendall(sys.argv[1].encode())\n"
                      "  c.close()\n")
            child = subprocess.Popen(["python3", "-c", script, answer], stdin=server.fileno())
            self.addCleanup(child.wait)
            self.addCleanup(child.kill)
        return f"http://127.0.0.1:{server.getsockname()[1]}/v1"

    def test_all_is_well(self):
        self.provider(self.serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
        checks = self.doctor(0)
        for name in ("kernel", "user", "configuration", "container engine", "base image", "cgroups",
                     "loop devices", "mkfs.ext4", "data directory", "disk", "seccomp",
                     "provider main"):
            self.assertEqual(checks[name]["status"], "ok", checks[name])
        self.assertEqual(checks["daemon"]["status"], "warn")
        self.assertIn("aegis daemon start", checks["daemon"]["hint"])
        self.assertIn("is free", checks["api address"]["detail"])

    def test_a_running_daemon_of_this_version(self):
        self.provider(self.serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
        self.node.start()
        try:
            checks = self.doctor(0)
            self.assertEqual(checks["daemon"]["status"], "ok", checks["daemon"])
            self.assertEqual(checks["api address"]["status"], "ok", checks["api address"])
        finally:
            self.assertEqual(self.node.terminate(), 0)

    def test_no_engine(self):
        checks = self.doctor(10, env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
        self.assertIn(checks["container engine"]["status"], ("fail", "warn"))
        self.assertIn("/nowhere/docker.sock", checks["container engine"]["detail"])
        self.assertEqual(checks["base image"]["status"], "warn", checks["base image"])

    def test_a_full_disk(self):
        disk = os.path.join(self.node.dir, "small")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
        try:
            self.provider("http://127.0.0.1:9/v1", storage={"data_dir": disk + "/data"})
            checks = self.doctor(10)
        finally:
            subprocess.run(["umount", disk], check=True)
        self.assertEqual(checks["disk"]["status"], "fail")
        self.assertIn("8 MiB free", checks["disk"]["detail"])
        self.assertEqual(checks["data directory"]["status"], "ok", "it can still be made")

    def test_the_provider_is_down(self):
        checks = self.doctor(10)
        self.assertEqual(checks["provider main"]["status"], "fail")
        self.assertIn("127.0.0.1:9 cannot be reached", checks["provider main"]["detail"])

    def test_the_provider_is_silent(self):
        self.provider(self.serve(None))
        checks = self.doctor(10)
        self.assertEqual(checks["provider main"]["status"], "fail")

    def test_the_provider_refuses_the_key(self):
        body = f"wrong key {KEY}"
        self.provider(self.serve("HTTP/1.1 401 Unauthorized\r\n"
                                 f"Content-Length: {len(body)}\r\n\r\n{body}"))
        checks = self.doctor(10)
        self.assertIn("refuses the key", checks["provider main"]["detail"])

    def test_the_address_is_taken(self):
        with socket.create_server(("127.0.0.1", self.node.port)):
            checks = self.doctor(10)
        self.assertEqual(checks["api address"]["status"], "fail")
        self.assertIn(f"sport = :{self.node.port}", checks["api address"]["hint"])

    def test_a_configuration_that_cannot_be_used(self):
        with open(self.node.config_path, "w", encoding="utf-8") as f:
            f.write("server: {addr: 1}\n")
        checks = self.doctor(2)
        self.assertEqual(checks["configuration"]["status"], "fail")
        self.assertIn("server.addr", checks["configuration"]["detail"])

    def test_open_to_others_and_few_files(self):
        os.makedirs(self.node.data_dir, mode=0o755, exist_ok=True)
        os.chmod(self.node.data_dir, 0o755)
        done = subprocess.run(["bash", "-c", 'ulimit -n 512; exec "$0" --config "$1" doctor',
                               os.environ.get("AEGIS_BIN", "build/aegis"), self.node.config_path],
                              env=self.node.env, capture_output=True, text=True, check=False)
        os.chmod(self.node.data_dir, 0o700)
        self.assertEqual(done.returncode, 10, done.stdout)  # the provider is down
        for line in ("warn  data directory", "warn  open files", f"hint: chmod 0700 {self.node.data_dir}"):
            self.assertIn(line, done.stdout)
        self.assertIn("\nNot ready to run agents: 1 problem, ", done.stdout)


class ServiceFiles(Case):
    """What a service manager and an administrator count on."""

    start = False

    def test_readiness_is_told_and_nothing_is_left(self):
        path = os.path.join(self.node.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(30)
            self.node.env["NOTIFY_SOCKET"] = path
            self.node.start()
            self.assertTrue(manager.recv(4096).startswith(b"READY=1\nSTATUS=Listening at "))
            run_dir = os.path.join("/run/aegis", self.node.node_id())
            self.assertTrue(os.path.isdir(run_dir))
            with open(f"/proc/{self.node.process.pid}/limits", encoding="ascii") as f:
                limits = next(line.split() for line in f if line.startswith("Max open files"))
            self.assertGreaterEqual(int(limits[3]), min(65536, int(limits[4])))
            self.assertEqual(self.node.terminate(), 0)
            self.assertEqual(manager.recv(4096), b"STOPPING=1")
        wait_until(lambda: not os.path.exists(run_dir), "the empty directory is gone", 5)
