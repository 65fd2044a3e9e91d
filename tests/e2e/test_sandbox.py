"""What a container may and may not do: limits, mounts, volumes, the rights it runs with."""

import json
import os
import re
import subprocess
import unittest

from case import Case
from model import call, python, tool_results, turns
from node import ISOLATION, agent, wait_until, workspace

PROBE = r"""
import json, os, socket
lines = open("/proc/self/status").read().splitlines()
status = dict(l.split(":\t", 1) for l in lines if ":\t" in l)
def refused(f):
    try:
        f()
        return None
    except OSError as e:
        return e.errno
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
    "caps": [status[k] for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "nnp": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "root_write": refused(lambda: open("/x", "w")),
    "etc_write": refused(lambda: open("/etc/x", "w")),
    "tmp": open("/tmp/x", "w").write("x"), "home": os.environ["HOME"],
    "tmp_type": [l.split()[2] for l in open("/proc/mounts") if l.split()[1] == "/tmp"],
    "interfaces": [l.split(":")[0].strip() for l in open("/proc/net/dev") if ":" in l],
    "net": [refused(lambda a=a: socket.create_connection((a, 80), 3))
            for a in ("1.1.1.1", "172.17.0.1")],
    "vsock": refused(lambda: socket.socket(40, socket.SOCK_STREAM)),
    "stdin": os.readlink("/proc/self/fd/0"), "env": dict(os.environ),
    "docker_socket": os.path.exists("/var/run/docker.sock"),
}))
"""


class Rights(Case):
    def test_inside(self):
        record = self.run_with(turns([python(PROBE)], "ok"))
        self.assertCompleted(record)
        answer = json.loads(tool_results(self.model.requests()[1])[0])
        self.assertEqual(answer["exit_code"], 0, answer)
        seen = json.loads(answer["stdout"])
        self.assertNotEqual(seen["uid"], 0)
        self.assertNotIn(0, seen["groups"])
        self.assertEqual(set(seen["caps"]), {"0" * 16})
        self.assertEqual((seen["nnp"], seen["seccomp"]), ("1", "2"))
        self.assertIsNotNone(seen["root_write"])
        self.assertIsNotNone(seen["etc_write"])
        self.assertEqual(seen["tmp_type"], ["tmpfs"])
        self.assertEqual(seen["home"], "/tmp")
        self.assertEqual(seen["interfaces"], ["lo"])
        self.assertNotIn(None, seen["net"])
        self.assertIsNotNone(seen["vsock"])
        self.assertEqual(seen["stdin"], "/dev/null")
        self.assertFalse(seen["docker_socket"])
        env = seen["env"]
        self.assertEqual(env["AEGIS_EXECUTION_ID"], record["id"])
        self.assertEqual(env["AEGIS_ITERATION"], "1")
        self.assertEqual(env["AEGIS_MODEL_ALIAS"], "default")
        self.assertTrue(env["OPENAI_BASE_URL"].startswith("http://127.0.0.1:"))
        self.assertNotIn("sk-test", json.dumps(env))

    @unittest.skipIf(ISOLATION != "docker", "asks the engine")
    def test_as_docker_sees_it(self):
        self.say(turns([python("import time; time.sleep(60)")], "late"))
        self.node.deploy(agent("held", security={"resources": {
            "cpu": 500, "memory": "100Mi", "pids": 50}}))
        execution = self.node.execute("held")
        self.model.wait_requests(1)
        container = wait_until(self.node.containers, "a container")[0]
        text = subprocess.run(["docker", "inspect", container], capture_output=True,
                              check=True).stdout
        host = json.loads(text)[0]["HostConfig"]
        self.assertEqual(host["NetworkMode"], "none")
        self.assertTrue(host["ReadonlyRootfs"])
        self.assertFalse(host["Privileged"])
        self.assertEqual(host["CapDrop"], ["ALL"])
        self.assertFalse(host["CapAdd"])
        self.assertTrue(any(o.startswith("no-new-privileges") for o in host["SecurityOpt"]))
        self.assertEqual(host["Memory"], 100 << 20)
        nano_cpus = host["NanoCpus"] or host["CpuQuota"] * 10**9 // host["CpuPeriod"]
        self.assertEqual(nano_cpus, 500_000_000)
        self.assertGreaterEqual(host["PidsLimit"], 50)
        self.assertNotIn(b"sk-test", text)
        done = self.node.ok("execution", "cancel", execution)
        self.assertEqual(done.out, f"Cancelled execution {execution}\n")
        self.node.clean()


class Limits(Case):
    def test_out_of_memory_of_a_command(self):
        """The agent may go on without it; what happened stands in the iteration's stderr."""
        hog = "x = []\nwhile True: x.append(bytearray(1 << 20))"
        manifest = agent("hog", security={"resources": {"memory": "64Mi"}})
        record = self.run_with(turns([python(hog)], "ok"), manifest=manifest)
        self.assertCompleted(record)
        self.assertEqual(record["iterations"][0]["tool_calls"][0]["exit_code"], 137)
        logs = self.node.ok("execution", "logs", record["id"]).out
        self.assertIn("out of memory", logs)

    def test_out_of_memory_of_the_agent(self):
        """Its own program is what grows: the iteration breaks, and says why."""
        volume = workspace(storage_class="persistent")
        del volume["ttl_hours"]
        hog = "x = []\nwhile True: x.append(bytearray(1 << 20))"
        manifest = agent("grower", volumes=[volume], execution={"max_iterations": 1},
                         security={"resources": {"memory": "64Mi"}})
        self.assertCompleted(self.run_with(
            turns([call("fs.write", path="/workspace/hog.py", content=hog)], "ok"),
            manifest=manifest))
        manifest["spec"]["advanced"] = {"bootstrap_path": "/workspace/hog.py"}
        self.node.deploy(manifest)
        self.assertFailed(self.node.run("grower"), "out_of_memory", "64 MiB")

    def test_open_files(self):
        """1,024, which a program may raise to 4,096."""
        code = ("import errno, os, resource\ndef fill():\n try:\n"
                "  while True: kept.append(os.open('/dev/null', os.O_RDONLY))\n"
                " except OSError as e: print(errno.errorcode[e.errno], kept[-1])\n"
                "kept = []\nfill()\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
                "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\nfill()")
        self.assertCompleted(self.run_with(turns([python(code)], "ok")))
        answer = json.loads(tool_results(self.model.requests()[1])[0])
        self.assertEqual(answer["stdout"], "EMFILE 1023\n(1024, 4096)\nEMFILE 4095\n", answer)

    def test_output(self):
        """Of a command the tail is kept, of the agent's own program the beginning."""
        code = ("import os\nfor _ in range(64):\n os.write(1, b'y' * (1 << 20))\n"
                "os.write(1, b'the end')\n"
                "with open(f'/proc/{os.getppid()}/fd/2', 'wb', 0) as f:\n"
                " for _ in range(64): f.write(b'z' * (1 << 20))")
        record = self.run_with(turns([python(code)], "ok"))
        self.assertCompleted(record)
        answer = json.loads(tool_results(self.model.requests()[1])[0])
        self.assertTrue(answer["stdout"].endswith("the end"))
        self.assertTrue(answer["truncated"])
        self.assertLessEqual(len(answer["stdout"]), (1 << 20) + 200)
        stderr = self.node.api("GET", f"/v1/executions/{record['id']}/logs")[1][0]["stderr"]
        self.assertGreater(len(stderr), 1000)
        self.assertLessEqual(len(stderr), (1 << 20) + 200)

    def test_pids(self):
        code = ("import os, time\nn = 0\ntry:\n while n < 500:\n  if os.fork() == 0:\n"
                "   time.sleep(9); os._exit(0)\n  n += 1\n"
                "except OSError as e: print('stopped', n, e.errno)")
        manifest = agent("forker", security={"resources": {"pids": 40}})
        self.assertCompleted(self.run_with(turns([python(code)], "ok"), manifest=manifest))
        self.assertRegex(tool_results(self.model.requests()[1])[0], r"stopped [123]?\d 11")

    def test_tmp_size(self):
        code = ("import os\nn = 0\ntry:\n with open('/tmp/f', 'wb', 0) as f:\n"
                "  while n < 200: f.write(b'x' * (1 << 20)); n += 1\n"
                "except OSError as e: print('stopped', n, e.errno)")
        manifest = agent("filler", security={"resources": {"disk": "16Mi"}})
        self.assertCompleted(self.run_with(turns([python(code)], "ok"), manifest=manifest))
        self.assertIn("stopped 16 28", tool_results(self.model.requests()[1])[0])

    def test_volume_size(self):
        # ext4 keeps some room back for what is not on the disk yet: after that it is full.
        code = ("import os\nn = 0\nf = open('/workspace/f', 'wb', 0)\ndef fill(size):\n"
                " global n\n while n < 200 << 20: n += f.write(b'x' * size)\n"
                "try: fill(1 << 20)\nexcept OSError: os.fsync(f.fileno())\n"
                "try: fill(4096)\nexcept OSError as e: print('stopped', n, e.errno)")
        manifest = agent("filler", volumes=[workspace(size_limit_mb=32)])
        record = self.run_with(turns([python(code)], [call("fs.write", path="/workspace/g",
                                                           content="y" * 300_000)], "ok"),
                               manifest=manifest)
        self.assertCompleted(record)
        first, *rest = tool_results(self.model.requests()[2])
        stopped = re.search(r"stopped (\d+) (28|122)\\n", first)
        self.assertTrue(stopped, first)
        share = int(stopped[1]) / (32 << 20)
        self.assertGreaterEqual(share, 0.95)
        self.assertLessEqual(share, 1 + 1 / 64, "what the volume room promises")
        self.assertIn("no space left", rest[0].lower())
        types = [e["type"] for e in self.node.events(record["id"])]
        self.assertIn("VolumeQuotaExceeded", types)

    def test_a_full_volume_is_told_while_its_writer_runs(self):
        """It ends when its file is gone, and the file goes when the event is there."""
        code = ("import os, time\ntry:\n with open('/workspace/f', 'wb', 0) as f:\n"
                "  while True: f.write(b'x' * (1 << 20))\n"
                "except OSError as e: print('stopped', e.errno)\n"
                "while os.path.exists('/workspace/f'): time.sleep(0.01)")
        self.say(turns([python(code)], "ok"))
        self.node.deploy(agent("tidy", volumes=[workspace(size_limit_mb=32)]))
        execution = self.node.execute("tidy")

        def told():
            return [e["data"] for e in self.node.events(execution)
                    if e["type"] == "VolumeQuotaExceeded"]
        full = wait_until(told, "the event")
        self.assertEqual([d["name"] for d in full], ["workspace"])
        os.unlink(f"{self.node.data_dir}/volumes/mnt/{full[0]['volume_id']}/f")
        self.assertCompleted(self.node.wait(execution))
        self.assertEqual(len(told()), 1)


class Files(Case):
    def test_granted_paths(self):
        code = ("import os\nfor p in ('in', 'out', 'other'):\n for mode in 'rw':\n  try:\n"
                "   open(f'/workspace/{p}/f', 'a' if mode == 'w' else 'r').close()\n"
                "   print(p, mode, 'ok')\n"
                "  except OSError as e: print(p, mode, type(e).__name__)")
        manifest = agent("files", volumes=[workspace()], security={"filesystem": {
            "read": ["/workspace/in"], "write": ["/workspace/out"]}})
        calls = [call("fs.write", path="/workspace/out/f", content="1"),
                 call("fs.write", path="/workspace/in/f", content="2"),
                 call("fs.write", path="/workspace/f", content="3"),
                 call("fs.write", path="/workspace/out/../in/f", content="4"),
                 call("fs.write", path="/etc/f", content="5"),
                 call("fs.read", path="/workspace/out/f"), python(code)]
        record = self.run_with(turns(calls, "ok"), manifest=manifest)
        self.assertCompleted(record)
        statuses = [t["status"] for t in record["iterations"][0]["tool_calls"]]
        self.assertEqual(statuses[0], "ok")
        self.assertNotIn("ok", statuses[1:5])
        self.assertEqual(statuses[5:], ["ok", "ok"])
        lines = self.node.ok("execution", "logs", record["id"]).out
        self.assertRegex(lines, r"Tool: fs.write /workspace/in/f \(1 bytes?\) -> [^/:]*\n")
        self.assertIn("Tool: fs.write /workspace/out/f (1 byte", lines)
        inside = tool_results(self.model.requests()[1])[6]
        self.assertIn("out r ok", inside)
        self.assertIn("out w ok", inside)
        self.assertNotIn("in w ok", inside)
        self.assertNotIn("other w ok", inside)

    def test_links_do_not_lead_out(self):
        calls = [python("import os; os.symlink('/etc', '/workspace/l'); os.symlink('/proc/1/root', "
                        "'/workspace/p'); os.mkfifo('/workspace/fifo')"),
                 call("fs.write", path="/workspace/l/x", content="1"),
                 call("fs.write", path="/workspace/p/tmp/x", content="1"),
                 call("fs.read", path="/workspace/p/etc/hostname"),
                 call("fs.read", path="/workspace/fifo")]
        record = self.run_with(turns(calls, "ok"),
                               manifest=agent("links", volumes=[workspace()]))
        self.assertCompleted(record)
        statuses = [t["status"] for t in record["iterations"][0]["tool_calls"]]
        self.assertEqual(statuses[0], "ok")
        self.assertNotIn("ok", statuses[1:])

    def test_read_only(self):
        for name, more, security in (
                ("volume", {"access_mode": "read-only"}, {}),
                ("manifest", {}, {"filesystem": {"read_only": True}})):
            with self.subTest(name):
                record = self.run_with(
                    turns([python("open('/workspace/f', 'w')")], "ok"),
                    manifest=agent("ro", volumes=[workspace(**more)], security=security))
                self.assertCompleted(record)
                self.assertNotEqual(record["iterations"][0]["tool_calls"][0]["exit_code"], 0)

    def test_owner(self):
        calls = [call("fs.write", path="/workspace/a/b", content="1"),
                 python("import os; s = os.stat('/workspace/a/b'); print(s.st_uid == os.getuid()); "
                        "open('/workspace/a/b', 'a').write('2'); os.unlink('/workspace/a/b')")]
        record = self.run_with(turns(calls, "ok"), manifest=agent("owner", volumes=[workspace()]))
        self.assertIn("True", tool_results(self.model.requests()[1])[1])
        self.assertEqual([t["status"] for t in record["iterations"][0]["tool_calls"]], ["ok", "ok"])


class Volumes(Case):
    def volumes(self):
        return self.node.api("GET", "/v1/volumes")[1]["items"]

    def test_ttl(self):
        record = self.run_with(turns("ok"),
                               manifest=agent("gone", volumes=[workspace(ttl_hours=0)]))
        volume = record["volumes"][0]["id"]
        wait_until(lambda: volume not in [v["id"] for v in self.volumes()], "ttl 0 is deleted", 20)
        record = self.run_with(turns("ok"),
                               manifest=agent("kept", volumes=[workspace(ttl_hours=1)]))
        kept = next(v for v in self.volumes() if v["id"] == record["volumes"][0]["id"])
        self.assertIsNone(kept["mounted_by"])
        self.assertGreater(kept["expires_at"], record["ended_at"])
        self.assertEqual(self.node.api("DELETE", f"/v1/volumes/{kept['id']}")[0], 204)
        self.assertEqual(self.node.api("GET", f"/v1/volumes/{kept['id']}")[0], 404)

    def test_persistent_is_reused(self):
        volume = workspace(storage_class="persistent")
        del volume["ttl_hours"]
        manifest = agent("keeper", volumes=[volume])
        code = "f = open('/workspace/n', 'a+'); f.write('x'); f.seek(0); print('n =', f.read())"
        ids = set()
        for _ in range(2):
            record = self.run_with(turns([python(code)], "ok"), manifest=manifest)
            ids.add(record["volumes"][0]["id"])
        self.assertEqual(len(ids), 1)
        self.assertIn("n = xx", tool_results(self.model.requests()[1])[0])

    def test_persistent_is_exclusive(self):
        volume = workspace(storage_class="persistent")
        del volume["ttl_hours"]
        self.node.deploy(agent("single", volumes=[volume]))
        self.say(turns([python("import time; time.sleep(60)")], "late", match="first"), turns("ok"))
        first = self.node.execute("single", '"first"')
        self.model.wait_requests(1)
        others = [self.node.execute("single", f'"{n}"') for n in ("second", "third")]
        self.assertEqual([self.node.record(e)["status"] for e in others], ["pending", "pending"])
        self.assertIsNone(self.node.record(others[0])["started_at"])
        # Cancelling releases the lock; the others follow in order.
        self.node.ok("execution", "cancel", first)
        ended = [self.node.wait(e) for e in others]
        for record in ended:
            self.assertCompleted(record)
        self.assertLessEqual(ended[0]["ended_at"], ended[1]["started_at"])


if __name__ == "__main__":
    unittest.main()
