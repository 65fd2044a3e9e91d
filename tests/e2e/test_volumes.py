"""Volumes come free at every kind of end, and nothing of them stays on the machine."""

import contextlib
import os
import sqlite3
import threading
import unittest

from case import Case
from leftovers import READY_VOLUMES, files, loops
from model import python, tool_results, turns
from node import agent, wait_until, workspace

KEPT = {name: value for name, value in workspace(storage_class="persistent").items()
        if name != "ttl_hours"}
SLEEP = python("import time; time.sleep(60)")


class Volumes(Case):
    def ready(self):
        return files(os.path.join(self.node.data_dir, "volumes", "ready"))

    def released(self):
        """Nothing but what is made ahead has a device; no mount, nobody who holds one."""
        wait_until(lambda: self.ready() == READY_VOLUMES and
                   loops(self.node.dir) == READY_VOLUMES, "the devices are gone", 20)
        wait_until(lambda: not self.node.mounts(), "the mounts are gone", 20)
        held = [v for v in self.node.api("GET", "/v1/volumes")[1]["items"] if v["mounted_by"]]
        self.assertEqual(held, [])


class Release(Volumes):
    def ends(self, name, rule, status, **spec):
        self.say(rule)
        self.node.deploy(agent(name, volumes=[KEPT, workspace(name="own", mount_point="/own")],
                               **spec))
        execution = self.node.execute(name)
        if status == "cancelled":
            self.model.wait_requests(1)
            self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], status)
        # The next one gets the volume that the first one held alone.
        self.say(turns([python("open('/workspace/n', 'a').write('x'); open('/own/n', 'x')")], "ok"))
        record = self.node.run(name)
        self.assertEqual(record["iterations"][0]["tool_calls"][0]["exit_code"], 0, record)
        self.released()

    def test_success(self):
        self.ends("fine", turns("ok"), "completed")

    def test_failure(self):
        self.ends("bad", {"status": 401}, "failed")

    def test_cancel(self):
        self.ends("stopped", turns([SLEEP], "late"), "cancelled")

    def test_crash_of_all_processes(self):
        crash = python("import os; os.kill(-1, 9)")
        self.ends("crash", turns([crash], "late"), "failed", execution={"max_iterations": 1})

    def test_timeout(self):
        self.ends("slow", turns([SLEEP], "late"), "failed",
                  execution={"max_iterations": 1, "iteration_timeout": "1s"})


class Killed(Volumes):
    def test_daemon(self):
        self.say(turns([python("open('/workspace/a', 'w').write('kept')")], [SLEEP], "late"))
        self.node.deploy(agent("held", volumes=[workspace()]))
        execution = self.node.execute("held")
        self.model.wait_requests(2)
        wait_until(lambda: self.ready() == READY_VOLUMES, "some are made ahead")
        self.node.kill()
        self.assertGreaterEqual(loops(self.node.dir), 1)
        left = self.ready()
        self.assertEqual(left, READY_VOLUMES)
        self.say(turns([python("print(open('/workspace/a').read())")], "ok"))
        self.node.start()
        self.assertEqual(self.ready(), 0, "what was left of those made ahead is gone")
        self.node.ok("execution", "cancel", execution)
        wait_until(lambda: loops(self.node.dir) == 0, "the device is gone", 20)
        wait_until(lambda: not self.node.mounts(), "the mount is gone", 20)
        self.assertEqual(self.node.run("held", timeout=60)["status"], "completed")
        self.released()

    def images(self):
        names = os.listdir(os.path.join(self.node.data_dir, "volumes", "images"))
        return {name.removesuffix(".img") for name in names if name.endswith(".img")}

    def rows(self):
        database = f"file:{self.node.data_dir}/aegis.db?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as db:
            return {row[0] for row in db.execute("SELECT id FROM volumes")}

    def kill_at_an_image(self):
        """Starts an execution and kills the daemon when its volume's image is there."""
        def kill():
            while not self.images() and not stop.is_set():
                pass
            self.node.process.kill()
        stop = threading.Event()
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with contextlib.suppress(OSError):
                self.node.api("POST", "/v1/agents/early/execute", {"input": "{}"})
            killer.join(30)
        finally:
            stop.set()
        killer.join()
        self.node.process.wait()

    def test_between_an_image_and_its_row(self):
        self.say(turns([python("open('/workspace/a', 'x').write('x')")], "ok"))
        self.node.deploy(agent("early", volumes=[workspace(ttl_hours=0)]))
        self.node.run("early")
        wait_until(lambda: not self.images(), "the first one's volume is gone")
        # The row follows at once: not every try comes between the two.
        hits, tries = 0, 0
        while hits < 3:
            tries += 1
            self.assertLess(tries, 60, "the row was always there before the daemon died")
            self.kill_at_an_image()
            images, rows = self.images(), self.rows()
            self.assertEqual(len(images), 1)
            hit = images.isdisjoint(rows)
            hits += hit
            self.node.start()
            items = self.node.api("GET", "/v1/executions")[1]["items"]
            record = self.node.wait(items[0]["id"])
            self.assertCompleted(record)
            if hit:  # else it may have been killed within the call
                self.assertEqual(record["iterations"][0]["tool_calls"][0]["exit_code"], 0, record)
            wait_until(lambda: not self.images(), "the volume is gone")
            self.assertEqual(self.node.api("GET", "/v1/volumes")[1]["items"], [])
        self.released()


def source(volume, **more):
    """An existing volume, as an entry of spec.volumes."""
    return {"name": "theirs", "mount_point": "/theirs", "source": {"volume_id": volume}, **more}


def appends(letter, where="/workspace"):
    return turns([python(f"f = open('{where}/n', 'a+'); f.write('{letter}'); f.seek(0); "
                         "print('n =', f.read())")], "ok")


class Existing(Volumes):
    def freed(self):
        """As released(), but after a restart nothing need have been made ahead yet."""
        wait_until(lambda: not self.node.mounts() and loops(self.node.dir) == self.ready(),
                   "mounts and devices are gone", 20)
        held = [v for v in self.node.api("GET", "/v1/volumes")[1]["items"] if v["mounted_by"]]
        self.assertEqual(held, [])

    def made(self, volume, name):
        """The volume that an execution of an agent made, which has ended."""
        record = self.run_with(appends("a"), manifest=agent(name, volumes=[volume]))
        self.assertCompleted(record)
        return record["volumes"][0]["id"]

    def volume(self, volume):
        return self.node.api("GET", f"/v1/volumes/{volume}")[1]

    def seen(self):
        return tool_results(self.model.requests()[1])[0]


class Sources(Existing):
    """A manifest mounts an existing volume by its id."""

    def test_of_another_agent(self):
        volume = self.made(KEPT, "lender")
        owner = self.volume(volume)["agent_id"]
        record = self.run_with(appends("b", "/theirs"),
                               manifest=agent("user", volumes=[source(volume)]))
        self.assertCompleted(record)
        self.assertIn("n = ab", self.seen())
        self.assertEqual(record["volumes"], [
            {"id": volume, "name": "theirs", "mount_point": "/theirs"}])
        events = [e for e in self.node.events(record["id"]) if e["type"].startswith("Volume")]
        self.assertEqual([(e["type"], e["data"]["volume_id"]) for e in events],
                         [("VolumeAttached", volume), ("VolumeDetached", volume)])
        shown = self.volume(volume)
        self.assertEqual((shown["agent_id"], shown["name"], shown["execution_id"]),
                         (owner, "workspace", record["id"]))
        # The older spelling; who only reads cannot write.
        reader = {"name": "r", "mount_point": "/theirs", "volume_id": volume,
                  "access_mode": "read-only"}
        self.assertCompleted(self.run_with(
            turns([python("print(open('/theirs/n').read()); open('/theirs/x', 'w')")], "ok"),
            manifest=agent("reader", volumes=[reader])))
        self.assertIn("ab", self.seen())
        self.assertIn("Read-only file system", self.seen())
        # The owner goes on with it.
        self.assertEqual(self.made(KEPT, "lender"), volume)
        self.assertIn("n = aba", self.seen())
        self.freed()

    def test_with_a_time_to_live(self):
        volume = self.made(workspace(ttl_hours=1), "leaver")
        before = self.volume(volume)["expires_at"]
        self.say(turns([SLEEP], "late"))
        warnings = self.node.deploy(agent("heir", volumes=[source(volume)]))["warnings"]
        self.assertEqual(warnings, [f"volume theirs: volume {volume} is ephemeral: it is deleted "
                                    "1 h after the last execution that had it"])
        execution = self.node.execute("heir")
        self.model.wait_requests(1)
        shown = self.volume(volume)
        self.assertEqual((shown["mounted_by"], shown["expires_at"]), (execution, None))
        self.node.ok("execution", "cancel", execution)
        self.assertGreater(self.volume(volume)["expires_at"], before)
        # One that goes with its execution is nobody else's.
        self.say(turns([SLEEP], "late"))
        self.node.deploy(agent("fleeting", volumes=[workspace()]))
        execution = self.node.execute("fleeting")
        self.model.wait_requests(1)
        own = self.node.record(execution)["volumes"][0]["id"]
        self.node.deploy(agent("heir", volumes=[source(own)]))
        refused = self.node.aegis("execute", "--agent", "heir", "-o", "json")
        self.assertEqual((refused.code, refused.error()["code"]), (4, "conflict"))
        self.assertIn(f"is deleted with execution {execution}", refused.error()["message"])
        self.node.ok("execution", "cancel", execution)

    def hold(self, volume):
        """Deploys agents of which one holds the volume, two wait for it, and one reads."""
        for name in ("one", "two"):
            self.node.deploy(agent(name, volumes=[source(volume)]))
        self.node.deploy(agent("looks", volumes=[source(volume, access_mode="read-only")]))
        self.say(turns([SLEEP], "late", match="first"), turns("ok"))
        first = self.node.execute("one", '"first"')
        self.model.wait_requests(1)
        others = [self.node.execute("two"), self.node.execute("maker")]
        self.assertCompleted(self.node.run("looks"))
        self.assertEqual([self.node.record(e)["status"] for e in [first, *others]],
                         ["running", "pending", "pending"])
        return first, others

    def ended_in_order(self, first, others):
        self.node.ok("execution", "cancel", first)
        ended = [self.node.wait(e) for e in others]
        for record in ended:
            self.assertCompleted(record)
        self.assertLessEqual(self.node.record(first)["ended_at"], ended[0]["started_at"])
        self.assertLessEqual(ended[0]["ended_at"], ended[1]["started_at"])
        self.freed()

    def test_one_writes_at_a_time(self):
        first, others = self.hold(self.made(KEPT, "maker"))
        self.ended_in_order(first, others)

    def test_one_writes_at_a_time_with_a_time_to_live(self):
        """Also against the execution that made it, while that runs."""
        self.say(turns([SLEEP], "late", match="first"), turns("ok"))
        self.node.deploy(agent("passing", volumes=[workspace(ttl_hours=1)]))
        first = self.node.execute("passing", '"first"')
        self.model.wait_requests(1)
        volume = self.node.record(first)["volumes"][0]["id"]
        for name in ("one", "two"):
            self.node.deploy(agent(name, volumes=[source(volume)]))
        others = [self.node.execute("one"), self.node.execute("two")]
        self.assertEqual([self.node.record(e)["status"] for e in others], ["pending", "pending"])
        self.ended_in_order(first, others)

    def test_killed_daemon(self):
        volume = self.made(KEPT, "maker")
        first, others = self.hold(volume)
        self.node.kill()
        self.node.start()
        wait_until(lambda: self.node.record(first)["status"] == "running" and
                   self.volume(volume)["mounted_by"] == first, "it goes on")
        self.assertEqual([self.node.record(e)["status"] for e in others], ["pending", "pending"])
        self.ended_in_order(first, others)

    def test_not_as_the_manifest_says(self):
        missing = "6f1c2a1e-0000-4000-8000-000000000001"
        volume = self.made(KEPT, "sized")
        for entry, code, message in (
                (source(missing), "not_found", f"volume theirs: no volume {missing}"),
                (source(volume, size_limit_mb=64), "conflict",
                 f"volume theirs: volume {volume} has 32Mi, not 64Mi")):
            deployed = self.node.deploy(agent("wrong", volumes=[entry]))
            warnings = deployed["warnings"]
            self.assertEqual(len(warnings), 1, deployed)
            self.assertIn(f"{message}: the agent cannot be executed", warnings[0])
            refused = self.node.aegis("execute", "--agent", "wrong", "-o", "json").error()
            self.assertEqual((refused["code"], refused["message"]), (code, message))
        fits = source(volume, size_limit_mb=32, storage_class="persistent")
        self.assertEqual(self.node.deploy(agent("wrong", volumes=[fits]))["warnings"], [])
        self.assertCompleted(self.node.run("wrong"))


class Deleted(Existing):
    config = {"runtime": {"max_concurrent_executions": 1}}

    def test_while_it_is_waited_for(self):
        volume = self.made(KEPT, "maker")
        self.node.deploy(agent("user", volumes=[source(volume)]))
        self.node.deploy(agent("busy"))
        self.say(turns([SLEEP], "late", match="first"), turns("ok"))
        busy = self.node.execute("busy", '"first"')
        self.model.wait_requests(1)
        execution = self.node.execute("user")
        # While a deployed agent names it, it stays.
        refused = self.node.aegis("volume", "delete", volume, "-o", "json")
        self.assertEqual((refused.code, refused.error()["code"]), (4, "conflict"))
        self.assertIn('is mounted by agent "user" (volume theirs)', refused.error()["message"])
        self.node.ok("agent", "delete", "user", "--yes")
        self.node.ok("volume", "delete", volume)
        self.node.ok("execution", "cancel", busy)
        record = self.node.wait(execution)
        self.assertFailed(record, "sandbox_error", f"volume theirs: no volume {volume}")
        self.freed()


if __name__ == "__main__":
    unittest.main()
