"""Volumes come free at every kind of end, and nothing of them stays on the machine."""

import contextlib
import os
import sqlite3
import threading
import unittest

from case import Case
from leftovers import READY_VOLUMES, files, loops
from model import python, turns
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
            hits += images.isdisjoint(rows)
            self.node.start()
            items = self.node.api("GET", "/v1/executions")[1]["items"]
            record = self.node.wait(items[0]["id"])
            self.assertCompleted(record)
            self.assertEqual(record["iterations"][0]["tool_calls"][0]["exit_code"], 0, record)
            wait_until(lambda: not self.images(), "the volume is gone")
            self.assertEqual(self.node.api("GET", "/v1/volumes")[1]["items"], [])
        self.released()


if __name__ == "__main__":
    unittest.main()
