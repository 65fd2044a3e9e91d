"""Commands that follow: logs, events, wait; through kills of the daemon. References by prefix."""

import collections
import json
import re
import signal
import unittest

from case import Case
from model import python, turns
from node import TERMINAL, agent, wait_until, workspace


def steps(count, pause=0.2):
    """A rule of `count` commands that take their time."""
    made = [[python(f"import sys, time; time.sleep({pause}); sys.stderr.write('step {n}')")]
            for n in range(count)]
    return turns(*made, "all done")


def minds_interrupts(pid):
    """Whether a process blocks or catches SIGINT by now (proc(5))."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        masks = dict(line.split(":", 1) for line in f if line.startswith(("SigBlk", "SigCgt")))
    return any(int(mask, 16) & 1 << signal.SIGINT - 1 for mask in masks.values())


class Following(Case):
    def restart(self, execution, more):
        """Kills the daemon when the execution has gone on by so many events, or has ended."""
        before = len(self.node.events(execution))
        wait_until(lambda: len(self.node.events(execution)) >= before + more or
                   self.node.record(execution)["status"] in TERMINAL, "the execution goes on")
        self.node.kill()
        self.node.start()

    def start_slow(self, name, count=6):
        self.say(steps(count))
        self.node.deploy(agent(name, volumes=[workspace()]))
        return self.node.execute(name)

    def test_logs_through_kills(self):
        execution = self.start_slow("logged")
        table = self.node.popen("execution", "logs", "--follow", execution)
        record = self.node.popen("execution", "logs", "-f", execution, "-o", "json")
        only_stderr = self.node.popen("execution", "logs", "-f", "--stderr", execution)
        self.node.joined(3)
        wait_until(lambda: any(e["type"] == "ToolCallCompleted"
                               for e in self.node.events(execution)), "a command has ended")
        self.restart(execution, 1)
        self.restart(execution, 4)
        out, err = table.communicate(timeout=90)
        self.assertEqual(table.returncode, 0, err)
        stored = self.node.ok("execution", "logs", execution).out
        self.assertEqual(out, re.sub(r"(=== Iteration \d+) \(\w+\)", r"\1", stored))
        done = [line for line in out.splitlines() if "Tool: cmd.run" in line and "lost" not in line]
        self.assertEqual(len(done), 6, out)
        out, err = record.communicate(timeout=30)
        self.assertEqual([json.loads(line) for line in out.splitlines()],
                         self.node.ok("execution", "logs", execution, "-o", "json").json(), err)
        out, err = only_stderr.communicate(timeout=30)
        self.assertEqual(out, self.node.ok("execution", "logs", "--stderr", execution).out, err)

    def test_logs_are_told_as_they_come(self):
        execution = self.start_slow("talker", 3)
        follower = self.node.popen("execution", "logs", "--follow", execution)
        self.assertEqual(follower.stdout.readline(), "=== Iteration 1 ===\n")
        self.assertIn("Tool: cmd.run", follower.stdout.readline())
        self.assertEqual(self.node.record(execution)["status"], "running")
        follower.communicate(timeout=60)

    def test_one_iteration_of_several(self):
        self.say(turns("wrong", match="Do it"), turns("wrong again", match="failed"))
        self.node.deploy(agent("refiner", execution={
            "max_iterations": 3, "validation": [{"type": "regex", "pattern": "right"}]}))
        execution = self.node.execute("refiner")
        done = self.node.ok("execution", "logs", "--follow", execution, "--iteration", "2")
        self.assertEqual(done.out.count("=== Iteration"), 1, done.out)
        self.assertIn("=== Iteration 2 ===", done.out)
        self.node.wait(execution)
        done = self.node.aegis("execution", "logs", "--follow", execution, "--iteration", "4")
        self.assertEqual(done.code, 1, done)
        self.assertIn("no iteration 4", done.err)

    def test_wait_through_kills(self):
        execution = self.start_slow("awaited")
        waiters = [self.node.popen("execution", "wait", execution),
                   self.node.popen("execution", "wait", execution, "--timeout", "90s")]
        self.node.joined(1)
        # The first has asked three times by now, so one of these is the second's.
        wait_until(lambda: self.node.log().count(f"path=/v1/executions/{execution} ") >= 5,
                   "the other one has asked")
        self.restart(execution, 3)
        for waiter in waiters:
            out, err = waiter.communicate(timeout=90)
            self.assertEqual(waiter.returncode, 0, err)
            self.assertEqual(out, f"Execution {execution} completed\n")

    def all_events(self, *flags):
        done = self.node.ok("events", "-o", "json", *flags)
        return [json.loads(line) for line in done.out.splitlines()]

    def test_events_through_kills(self):
        follower = self.node.popen("events", "--follow", "-o", "json")
        pauses = self.node.popen("events", "-f", "-o", "json", "--type", "AgentPaused")
        self.addCleanup(follower.kill)
        self.addCleanup(pauses.kill)
        self.node.joined(2)
        execution = self.start_slow("heard")
        for _ in range(3):
            self.node.ok("agent", "pause", "heard")
            self.node.ok("agent", "resume", "heard")
            self.restart(execution, 2)
        self.node.wait(execution)
        self.node.ok("agent", "delete", "heard", "--yes")
        stored = self.all_events()
        self.assertEqual(stored[-1]["type"], "AgentDeleted")
        seen = []
        while not seen or seen[-1]["cursor"] != stored[-1]["cursor"]:
            line = follower.stdout.readline()
            self.assertTrue(line, "the stream ended")
            seen.append(json.loads(line))
        self.assertEqual(seen, stored, "none skipped, none repeated, in order")
        mine = [e for e in stored if e.get("execution_id") == execution]
        self.assertEqual(mine, [dict(e, agent_name="heard", cursor=m["cursor"])
                                for e, m in zip(self.node.events(execution), mine)])
        for process in (follower, pauses):
            process.send_signal(signal.SIGINT)
        follower.communicate(timeout=10)
        out, _ = pauses.communicate(timeout=10)
        self.assertEqual(follower.returncode, 130)
        self.assertEqual([json.loads(line)["cursor"] for line in out.splitlines()],
                         [e["cursor"] for e in stored if e["type"] == "AgentPaused"])

    def test_interrupt(self):
        self.say(turns([python("import time; time.sleep(60)")], "late"))
        self.node.deploy(agent("sleeper"))
        execution = self.node.execute("sleeper")
        for command in (["wait", execution], ["wait", "--timeout", "1m", execution],
                        ["logs", "-f", execution]):
            process = self.node.popen("execution", *command)
            wait_until(lambda: minds_interrupts(process.pid), "it waits for Ctrl-C")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
            self.assertEqual(process.returncode, 130, command)
        self.assertEqual(self.node.record(execution)["status"], "running")
        self.node.ok("execution", "cancel", execution)

    def test_daemon_gone_for_good(self):
        execution = self.start_slow("left")
        self.node.kill()

        def end():
            """Nothing of it goes on beside the other tests, which count all that happens."""
            self.node.start()
            self.node.ok("execution", "cancel", execution)
        self.addCleanup(end)
        done = self.node.aegis("execution", "wait", execution)
        self.assertEqual(done.code, 5, "a daemon that was never there is not waited for")
        self.assertEqual(self.node.aegis("events", "--follow").code, 5)
        self.assertEqual(self.node.aegis("execution", "logs", "-f", execution).code, 5)


class Run(Case):
    def test_interrupt_detaches(self):
        self.say(turns([python("import time; time.sleep(60)")], "late"))
        path = self.node.dir + "/sleeper.yaml"
        with open(path, "w", encoding="utf-8") as f:
            json.dump(agent("sleeper"), f)
        for flag, code, status in (("--detach-on-interrupt", 130, "running"),
                                   ("--cancel-on-interrupt", 7, "cancelled")):
            with self.subTest(flag=flag):
                runner = self.node.popen("run", path, flag)
                self.assertIn("Started", runner.stdout.readline())
                runner.send_signal(signal.SIGINT)
                _, err = runner.communicate(timeout=30)
                record = self.node.record("@last")
                self.assertEqual((runner.returncode, record["status"]), (code, status), err)
                if status == "running":
                    self.node.ok("execution", "cancel", record["id"])
        self.assertEqual(self.node.ok("agent", "get", "sleeper", "-o", "json").json()["revision"], 1)


class References(Case):
    def test_ambiguous_prefixes_list_the_matches(self):
        documents = [json.dumps(agent(f"many-{n}")) for n in range(1200)]
        self.node.ok("agent", "deploy", "-", stdin="\n---\n".join(documents))
        ids = self.node.ok("agent", "list", "-q").out.split()
        self.assertEqual(len(ids), 1200)
        counts = collections.Counter(i[:4] for i in ids)
        prefix = next(p for p, n in counts.items() if n > 1)
        matches = [i for i in ids if i.startswith(prefix)]
        for command in (["agent", "get", prefix], ["agent", "pause", prefix],
                        ["execute", "--agent", prefix], ["execution", "list", "--agent", prefix],
                        ["events", "--agent", prefix]):
            done = self.node.aegis(*command)
            self.assertEqual(done.code, 2, done)
            for match in matches:
                self.assertIn(match, done.err)
            self.assertIn("hint: ", done.err)
        unique = next(i for i in ids if counts[i[:4]] == 1)
        for reference in (unique[:4], unique[:13] + "-...", unique):
            done = self.node.ok("agent", "get", reference, "-o", "json")
            self.assertEqual(done.json()["id"], unique)
        self.assertEqual(self.node.aegis("agent", "get", unique[:3]).code, 1, "too short")

    def test_execution_prefix(self):
        self.say(turns("ok"))
        self.node.deploy(agent("one"))
        execution = self.node.execute("one")
        self.node.wait(execution)
        for reference in (execution[:4], execution[:13] + "-...", "@last"):
            done = self.node.ok("execution", "get", reference, "-o", "json")
            self.assertEqual(done.json()["id"], execution)


if __name__ == "__main__":
    unittest.main()
