"""Containers that were started before it was known for whom."""

import subprocess
import unittest

from case import Case
from model import call, python, tool_results, turns
from node import ISOLATION, agent, wait_until, workspace


def waiting(node):
    """Short ids of the node's containers that were started ahead."""
    done = subprocess.run(["docker", "ps", "-q", "--filter", "label=aegis.warm=1", "--filter",
                           f"label=aegis.node={node.node_id()}"],
                          capture_output=True, text=True, check=True)
    return done.stdout.split()


@unittest.skipIf(ISOLATION != "docker", "of the engine's containers")
class Warm(Case):
    config = {"runtime": {"warm_pool": {"size": 1}}}

    def idle(self):
        """Short ids of the containers that wait, with Python up."""
        return {c for c in waiting(self.node) if self.python_is_up(c)}

    def python_is_up(self, container):
        top = subprocess.run(["docker", "top", container, "-eo", "pid,comm"], capture_output=True,
                             text=True, check=False)
        return "python3" in top.stdout

    def names(self, execution):
        return subprocess.run(["docker", "ps", "--format", "{{.Names}}", "--filter",
                               f"name={execution}"], capture_output=True, text=True,
                              check=True).stdout.strip()

    def container(self, execution):
        """The short id of the newest sandbox's container."""
        started = [e for e in self.node.events(execution) if e["type"] == "SandboxStarted"]
        return started[-1]["data"]["name"] if started else None

    def run_warm(self, rule, manifest):
        """Runs it again and again until it got a container that had waited; its record."""
        self.node.deploy(manifest)
        name = manifest["metadata"]["name"]
        self.say(turns("ok"))
        self.assertCompleted(self.node.run(name))
        ahead = wait_until(self.idle, "a container waits")
        self.say(rule)
        execution = self.node.execute(name)
        record = self.node.wait(execution)
        self.assertCompleted(record)
        self.assertIn(self.container(execution), ahead)
        return record

    def test_works_like_any_other(self):
        look = python("import os, json\n"
                      "open('/workspace/b', 'w').write(open('/workspace/a').read() * 2)\n"
                      "print(json.dumps([os.getcwd(), os.environ['AEGIS_EXECUTION_ID']]))")
        record = self.run_warm(
            turns([call("fs.write", path="/workspace/a", content="text")], [look],
                  [call("fs.read", path="/workspace/b")], "done"),
            agent("warm", volumes=[workspace(ttl_hours=1)], env={"X": "y"}))
        seen = [tool_results(r) for r in self.model.requests()]
        self.assertIn(record["id"], seen[2][-1])
        self.assertIn("/workspace", seen[2][-1])
        self.assertIn("texttext", seen[3][-1])
        self.assertEqual(record["iterations"][0]["tool_calls"][1]["exit_code"], 0)

    def test_its_name_tells_whose_it_is(self):
        self.run_warm(turns("ok"), agent("named", volumes=[workspace()]))
        wait_until(self.idle, "the next one waits")
        self.say({"hang": True})
        execution = self.node.execute("named")
        self.model.wait_requests(1)
        name = wait_until(lambda: self.names(execution), "it is renamed")
        self.assertTrue(name.startswith(f"aegis-{execution}-1-"), name)
        self.node.ok("execution", "cancel", execution)

    def test_nothing_is_left(self):
        held = agent("held", volumes=[workspace()])
        self.run_warm(turns([python("print(1)")], "ok"), held)
        wait_until(self.idle, "the next one waits")
        self.say(turns([python("import time; time.sleep(60)")], "late"))
        execution = self.node.execute("held")
        self.model.wait_requests(1)
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.record(execution)["status"], "cancelled")
        wait_until(self.idle, "one waits again")
        # After a kill the next daemon finds what waits, and what runs.
        self.say({"hang": True})
        self.node.execute("held")
        self.model.wait_requests(1)
        before = set(self.node.containers())
        self.assertTrue(before)
        self.node.kill()
        self.say(turns("ok"))
        self.node.start()
        wait_until(lambda: not before & set(self.node.containers()), "the old ones are gone")
        wait_until(self.idle, "one of the new daemon waits")
        self.assertEqual(self.node.terminate(), 0)
        self.assertEqual(self.node.containers(), [])
        self.assertEqual(self.node.sockets(), [])
        self.assertEqual(self.node.mounts(), [])
        self.node.start()


class KeptReady(Case):
    """What a manifest's advanced.warm_pool_size makes of the node's own number."""

    config = {"runtime": {"warm_pool": {"size": 1, "max_size": 3}}}

    def ready(self):
        if ISOLATION == "process":
            return len({e.name for e in self.node.group_entries()
                        if e.name.startswith("stem-") and self.node.waits(e)})
        return len(waiting(self.node))

    def run_kind(self, number, wish, expected):
        """One execution of an agent that differs from the others in where its volume is."""
        advanced = {} if wish is None else {"warm_pool_size": wish}
        name = f"kind-{number}"
        record = self.run_with(turns("ok"), manifest=agent(
            name, advanced=advanced, volumes=[workspace(mount_point=f"/w{number}")]))
        self.assertCompleted(record)
        wait_until(lambda: self.ready() == expected, f"{expected} wait after {name}")

    def test_as_many_as_are_asked_for(self):
        self.run_kind(1, 2, 2)
        self.run_kind(2, None, 3)
        self.run_kind(3, 60, 6)
        self.run_kind(4, 0, 6)
        # Another number from the next execution on; what waits is used up first.
        self.run_kind(3, 0, 5)
        self.run_kind(1, 2, 5)
        shown = self.node.ok("agent", "get", "kind-1", "-o", "json").json()
        self.assertEqual(shown["manifest"]["spec"]["advanced"], {"warm_pool_size": 2})


if __name__ == "__main__":
    unittest.main()
