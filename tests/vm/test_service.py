"""The embedded sandbox under the packaged unit: systemd starts the daemon and hardens it."""

import os
import shutil
import subprocess

from model import call, python, turns
from node import Node, agent, wait_until, workspace
from test_user import Busy, checks

CONFIG = "/etc/aegis/aegis-config.yaml"
DATA = "/var/lib/aegis"


def systemctl(*words):
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)


class Service:
    """The unit, where Node has a process."""

    @property
    def pid(self):
        return int(systemctl("show", "-P", "MainPID", "aegis").stdout)

    def poll(self):
        state = systemctl("is-active", "aegis").stdout.strip()
        return None if state in ("active", "activating", "deactivating") else state

    def kill(self):
        systemctl("kill", "--signal=KILL", "aegis")
        systemctl("stop", "aegis")

    def wait(self):
        pass


class ServiceNode(Node):
    def __init__(self, config=None, env=None):
        shutil.rmtree(DATA, ignore_errors=True)
        super().__init__(config, env, data_dir=DATA)
        with open("/etc/aegis/aegis.env", "w", encoding="utf-8") as f:
            f.writelines(f"{name}={value}\n" for name, value in (env or {}).items())

    def configure(self, config):
        self.config_path = CONFIG
        super().configure(config)

    def spawn(self):
        # Ready when this returns, or failed.
        self.process = Service()
        done = systemctl("start", "aegis")
        assert done.returncode == 0, done.stderr + self.log()

    def terminate(self, timeout=None):
        assert systemctl("stop", "aegis").returncode == 0, self.log()
        return int(systemctl("show", "-P", "ExecMainStatus", "aegis").stdout)

    def log(self):
        return subprocess.run(["journalctl", "--quiet", "--output=cat", "--unit=aegis"],
                              capture_output=True, text=True, check=True).stdout

    def hierarchies(self):
        return ["/sys/fs/cgroup"]

    def mounts(self):
        with open("/proc/self/mounts", encoding="utf-8") as f:
            return [line.split()[1] for line in f if line.split()[1].startswith(DATA)]


class Packaged(Busy):
    node_class = ServiceNode

    def said(self):
        [result] = [t["content"] for r in self.model.requests() for t in r["json"]["messages"]
                    if t["role"] == "tool"]
        return result

    def test_what_doctor_says(self):
        found = checks(self.node)
        for name in ("cgroups", "loop devices"):
            self.assertEqual(found[name]["status"], "ok", found[name])

    def test_an_agent_runs_on_a_volume(self):
        """What the unit gives the daemon (filters, a bounding set, a score for the killer of
        processes) is not what its sandboxes have."""
        program = ("import os\nopen('/workspace/a', 'w').write('x')\n"
                   "status = dict(l.split(':', 1) for l in open('/proc/self/status'))\n"
                   "print(os.getuid(), status['CapBnd'].strip(), status['NoNewPrivs'].strip(),"
                   " open('/proc/self/oom_score_adj').read().strip())")
        self.assertCompleted(self.run_with(turns([python(program)], "ok"),
                                           manifest=agent(volumes=[workspace()])))
        self.assertIn("1000 0000000000000000 1 500", self.said())
        self.node.clean()

    def test_limits_are_set(self):
        execution, group = self.busy()
        self.assertEqual(os.path.dirname(group), self.place())
        self.assertEqual(self.value(group, "memory.max"), str(96 << 20))
        self.assertEqual(self.value(group, "memory.swap.max"), "0")
        self.assertEqual(self.value(group, "cpu.max"), "50000 100000")
        self.assertGreater(int(self.value(group, "pids.max")), 0)
        # systemd writes the controllers of the hierarchy's top anew.
        self.assertEqual(systemctl("daemon-reload").returncode, 0)
        self.assertEqual(self.value(group, "memory.max"), str(96 << 20))
        self.assertEqual(self.value(group, "cpu.max"), "50000 100000")
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")
        self.node.clean()

    def test_out_of_memory_is_told(self):
        self.assertCompleted(self.run_with(
            turns([call("cmd.run", command="python",
                        args=["-c", "x = []\nwhile True: x.append(bytearray(1 << 20))"])], "ok"),
            manifest=agent(resources={"memory": "96Mi"})))
        self.assertIn("137", self.said())
        self.assertEqual(systemctl("is-active", "aegis").stdout.strip(), "active")

    def test_reload(self):
        with open(CONFIG, encoding="utf-8") as f:
            right = f.read()
        self.assertEqual(systemctl("reload", "aegis").returncode, 0)
        wait_until(lambda: "the configuration was read again" in self.node.log(), "the reload")
        with open(CONFIG, "w", encoding="utf-8") as f:
            f.write("server: {adr: 1}\n")
        self.addCleanup(self.node.configure, self.model.config())
        self.assertNotEqual(systemctl("reload", "aegis").returncode, 0)
        with open(CONFIG, "w", encoding="utf-8") as f:
            f.write(right)
        self.assertCompleted(self.run_with(turns([python("print(1)")], "ok")))

    def test_killed_it_is_started_again(self):
        execution, group = self.busy()
        pids, first = self.value(group, "cgroup.procs").split(), self.node.process.pid
        os.kill(first, 9)
        wait_until(lambda: self.node.process.pid not in (0, first), "systemd starts it again")
        wait_until(self.node.ready, "the daemon is ready", 60)
        self.assertNotEqual(self.held_down(but=group), group)
        self.assertFalse(os.path.exists(group))
        self.assertEqual([p for p in pids if os.path.exists(f"/proc/{p}")], [])
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")
        self.node.clean()

    def test_stop_leaves_nothing(self):
        execution, _ = self.busy()
        place = self.place()
        self.assertEqual(self.node.terminate(), 0)
        wait_until(lambda: not os.path.exists(place), "its cgroups are gone")
        wait_until(lambda: not os.path.exists("/sys/fs/cgroup/system.slice/aegis.service"),
                   "the service has no process")
        self.assertEqual(self.node.sockets(), [])
        self.assertEqual(self.node.mounts(), [])
        self.assertEqual(systemctl("show", "-P", "Result", "aegis").stdout.strip(), "success")
        self.node.start()
        self.held_down()
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")
