"""The embedded sandbox of an ordinary user: with a delegated cgroup, and without."""

import json
import os
import pwd

from case import Case
from model import call, python, turns
from node import Node, agent, wait_until, workspace

BUSY = "import time\nprint('on', flush=True)\nwhile True: pass"
NAME = pwd.getpwuid(os.geteuid()).pw_name


def subordinate():
    """The numbers that /etc/subuid gives this user."""
    with open("/etc/subuid", encoding="ascii") as f:
        for line in f:
            name, first, count = line.strip().split(":")
            if name == NAME:
                return range(int(first), int(first) + int(count))
    return range(0)


def owners():
    """How many processes each of these numbers has."""
    ours, found = subordinate(), {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            uid = os.stat(f"/proc/{pid}").st_uid
        except FileNotFoundError:
            continue
        if uid in ours:
            found[uid] = found.get(uid, 0) + 1
    return found


def checks(node):
    done = node.aegis("--config", node.config_path, "doctor", "-o", "json")
    return {c["check"]: c for c in done.json()["checks"]}


class ScopeNode(Node):
    """Each start of it is in a scope of its own, as a user would start it."""
    launcher = ("systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes")


class Unpacked(Case):
    """Before all others: so slow a machine unpacks longer than a client waits for its answer."""

    def test_the_image(self):
        status, answer = self.node.api("POST", "/v1/agents", agent(), timeout=300)
        self.assertEqual(status, 201, answer)


class Busy(Case):
    """An agent that is held down by its limits, and where that can be seen."""

    def place(self):
        return os.path.join(self.node.hierarchies()[0], "aegis", self.node.node_id())

    def busy(self):
        """An execution in mid command, and the directory of its cgroup."""
        self.say(turns([call("cmd.run", command="python", args=["-c", BUSY])], "done"))
        self.node.deploy(agent(resources={"cpu": 500, "memory": "96Mi"}))
        execution = self.node.execute("worker")
        return execution, self.held_down()

    def held_down(self, but=None):
        """The directory of the one cgroup that has used up its processor time."""
        def found():
            for name in self.node.groups():
                group = os.path.join(self.place(), name)
                try:
                    if group != but and "nr_throttled 0" not in self.value(group, "cpu.stat"):
                        return group
                except FileNotFoundError:  # it has just gone
                    pass
            return None
        return wait_until(found, "a sandbox whose processor is held down")

    @staticmethod
    def value(group, name):
        with open(os.path.join(group, name), encoding="ascii") as f:
            return f.read().strip()


class Delegated(Busy):
    def gone(self):
        self.node.clean()
        wait_until(lambda: not owners() or self.node.templates(), "no process is left")

    def test_what_doctor_says(self):
        found = checks(self.node)
        self.assertEqual(found["cgroups"]["status"], "ok", found["cgroups"])
        self.assertIn("delegated at /sys/fs/cgroup/", found["cgroups"]["detail"])
        self.assertEqual(found["subordinate ids"]["status"], "ok", found["subordinate ids"])
        self.assertEqual(found["volumes"]["status"], "warn", found["volumes"])
        self.assertIn("root", found["volumes"]["hint"])

    def test_an_agent_runs(self):
        program = ("import os\nprint(os.getuid(), os.getgid(), os.getgroups(),"
                   " os.stat('/usr/bin').st_uid, os.stat('/dev/null').st_rdev)\n"
                   "open('/dev/null', 'w').write('x'); open('/dev/urandom', 'rb').read(1)\n"
                   "open('/tmp/a', 'w').write('x')")
        record = self.run_with(turns([python(program)], "ok"))
        self.assertCompleted(record)
        [said] = [t["content"] for r in self.model.requests() for t in r["json"]["messages"]
                  if t["role"] == "tool"]
        self.assertIn(f"1000 1000 [] 0 {os.makedev(1, 3)}", said)

    def test_limits_are_set_and_processes_are_of_subordinate_ids(self):
        execution, group = self.busy()
        self.assertEqual(self.value(group, "memory.max"), str(96 << 20))
        self.assertEqual(self.value(group, "cpu.max"), "50000 100000")
        self.assertGreater(int(self.value(group, "pids.max")), 0)
        self.assertIn(subordinate()[1000], owners())
        pids = self.value(group, "cgroup.procs").split()
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")
        self.gone()
        self.assertEqual([p for p in pids if os.path.exists(f"/proc/{p}")], [])

    def test_volumes_are_refused(self):
        done = self.node.aegis("agent", "deploy", "-", "-o", "json", stdin=self.with_volume())
        self.assertNotEqual(done.code, 0)
        self.assertIn("volumes with a size limit need root", done.error()["message"])

    @staticmethod
    def with_volume():
        return json.dumps(agent(volumes=[workspace()]))

    def test_docker_is_refused(self):
        done = self.node.aegis("agent", "deploy", "-",
                               stdin=self.with_volume().replace('"process"', '"docker"'))
        self.assertNotEqual(done.code, 0)
        self.assertIn("docker is not available on this node (expected process)", done.err)

    def test_kill_and_start(self):
        execution, group = self.busy()
        pids = self.value(group, "cgroup.procs").split()
        self.node.kill()
        self.assertTrue(os.path.exists(group), "sandboxes outlive their daemon")
        self.node.start()
        self.assertNotEqual(self.held_down(but=group), group)
        self.assertFalse(os.path.exists(group))
        self.assertEqual([p for p in pids if os.path.exists(f"/proc/{p}")], [])
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")
        self.gone()
        self.assertCompleted(self.run_with(turns([python("print('again')")], "ok")))

    def test_stop_leaves_nothing(self):
        execution, _ = self.busy()
        place = self.place()
        self.assertEqual(self.node.terminate(), 0)
        wait_until(lambda: not os.path.exists(place), "its cgroups are gone")
        wait_until(lambda: not owners(), "no process is left")
        self.assertEqual(self.node.sockets(), [])
        self.node.start()
        self.held_down()
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")


class OwnScope(Delegated):
    node_class = ScopeNode

    test_what_doctor_says = None  # it would look at this process's own cgroup


class Refused(Case):
    """What this user lacks is AEGIS_TEST_LACKS, a word of the refusal."""

    def test_deploy_names_what_is_missing(self):
        lacks = os.environ["AEGIS_TEST_LACKS"]
        done = self.node.aegis("agent", "deploy", "-", "-o", "json",
                               stdin=Delegated.with_volume())
        self.assertNotEqual(done.code, 0)
        self.assertEqual(done.error()["code"], "unsupported")
        self.assertIn(lacks, done.error()["message"])
        self.assertNotEqual(done.error()["hint"], "")
        self.assertIn(lacks, self.node.log())
        found = checks(self.node)
        self.assertTrue(any(lacks in c["detail"] and c["status"] != "ok" and c["hint"]
                            for c in found.values()), found)
