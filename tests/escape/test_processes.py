"""Processes that do not want to end: nothing of them is left, whatever they do."""

import os
import unittest
import uuid

from escape import Escape
from model import python
from node import wait_until, workspace

DEAF = """
import os, signal, socket, sys, time
def deaf():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
def daemon(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir('/')
            deaf()
            work()
            os._exit(0)
        os._exit(0)
    os.wait()
def wait(): time.sleep(600)
"""


class Processes(Escape):
    def setUp(self):
        self.mark = uuid.uuid4().hex

    def marked(self):
        """Processes of this machine that carry this test's mark, but for those that deliver it."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if f"MARK={self.mark}".encode() in f.read():
                        found.append(pid)
            except OSError:
                pass
        return found

    def program(self, code):
        """Starts `code` in a process of its own whose environment has the mark."""
        child = DEAF + code
        return python(f"import os, sys\nos.execve(sys.executable, ['python3', '-c', {child!r}], "
                      f"{{**os.environ, 'MARK': '{self.mark}'}})")

    def cancelled(self, name, code, **spec):
        """Runs until the program is there, then cancels: nothing is left."""
        execution = self.begin(name, [self.program(code)], "late", **spec)
        wait_until(self.marked, "the program runs")
        self.node.ok("execution", "cancel", execution)
        wait_until(lambda: not self.marked(), "all of it is gone", 10)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")
        self.undisturbed()

    def completed(self, name, code, **spec):
        """The execution ends by itself, and all of it has gone by then."""
        record, _ = self.attack(name, [self.program(code)], **spec)
        self.assertEqual(self.marked(), [])
        self.undisturbed()
        return record

    def test_ignoring_every_signal(self):
        self.cancelled("deaf", "deaf(); wait()")

    def test_fork_bomb(self):
        self.cancelled("bomb", """
deaf()
while True:
    try: os.fork()
    except OSError: pass""")

    def test_stopping_everybody(self):
        """The agent's own program stands still too: only the daemon can end it."""
        self.cancelled("stop", "os.kill(-1, signal.SIGSTOP); wait()")

    def test_double_fork_and_a_new_session(self):
        self.completed("daemons", "for _ in range(5): daemon(wait)")

    def test_stopped_daemons(self):
        self.completed("stopped", "daemon(lambda: os.kill(os.getpid(), signal.SIGSTOP))")

    def test_a_daemon_that_forks_on(self):
        """Always a new process, so that no list of processes is ever complete."""
        self.completed("hare", """
def run():
    while True:
        try:
            if os.fork(): os._exit(0)
        except OSError: pass
for _ in range(4): daemon(run)""")

    def test_a_reaper_of_its_own(self):
        self.completed("reaper", """
import ctypes
def adopt():
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    for _ in range(3):
        if os.fork() == 0: deaf(); wait()
    wait()
daemon(adopt)""")

    def test_holding_a_volume(self):
        """Open files, a working directory and a mapping in a volume do not keep it."""
        record = self.completed("holder", """
import mmap
def hold():
    os.chdir('/workspace')
    f = open('f', 'w+b'); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096); wait()
daemon(hold)""", volumes=[workspace()])
        volume = record["volumes"][0]["id"]
        wait_until(lambda: self.node.api("GET", f"/v1/volumes/{volume}")[0] == 404, "it is deleted")

    def test_the_time_of_an_iteration(self):
        execution = self.begin("overdue", [self.program("daemon(wait); deaf(); wait()")], "late",
                               execution={"max_iterations": 1, "iteration_timeout": "2s"})
        record = self.node.wait(execution)
        self.assertEqual(record["error"]["code"], "iteration_timeout")
        wait_until(lambda: not self.marked(), "all of it is gone", 10)
        self.undisturbed()

    def test_killing_everybody(self):
        """The agent's program is killed by what it ran: the iteration breaks, and that is all."""
        execution = self.begin("killer", [self.program("os.kill(-1, signal.SIGKILL); wait()")],
                               "late", execution={"max_iterations": 1})
        record = self.node.wait(execution)
        self.assertEqual(record["status"], "failed")
        wait_until(lambda: not self.marked(), "all of it is gone", 10)
        self.undisturbed()


if __name__ == "__main__":
    unittest.main()
