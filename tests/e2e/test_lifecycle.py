"""Cancel, Ctrl-C, many at once, and a daemon that comes back, after SIGTERM and after SIGKILL."""

import glob
import json
import os
import random
import signal
import time
import unittest

from case import Case
from model import call, python, turns
from node import ISOLATION, TERMINAL, agent, base_image, wait_until, workspace

SLEEP = python("import time; time.sleep(60)")


class Cancel(Case):
    def test_while_a_command_runs(self):
        self.say(turns([SLEEP], "late"))
        self.node.deploy(agent("sleeper", volumes=[workspace()]))
        execution = self.node.execute("sleeper")
        self.model.wait_requests(1)
        container = wait_until(self.node.containers, "a container")[0]
        wait_until(lambda: any(e["type"] == "ToolCallStarted" for e in self.node.events(execution)),
                   "the command runs")
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.processes(container), [], "no process is alive when cancel returns")
        record = self.node.record(execution)
        self.assertEqual(record["status"], "cancelled")
        self.assertEqual(self.node.aegis("execution", "cancel", execution).code, 4)
        self.assertEqual(self.node.aegis("execution", "wait", execution).code, 7)
        self.node.clean()

    def processes(self, container):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
                    if container in f.read():
                        found.append(pid)
            except OSError:
                pass
        return found

    def test_while_the_model_is_silent(self):
        self.say({"hang": True})
        self.node.deploy(agent("asker"))
        execution = self.node.execute("asker")
        self.model.wait_requests(1)
        self.node.ok("execution", "cancel", execution)
        wait_until(lambda: self.model.stats()["open"] == 0, "the call to the model is given up", 5)
        self.node.clean()

    def test_ignores_sigterm(self):
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
        self.say(turns([python(code)], "late"))
        self.node.deploy(agent("stubborn"))
        execution = self.node.execute("stubborn")
        self.model.wait_requests(1)
        began = time.monotonic()
        self.node.ok("execution", "cancel", execution)
        self.assertLess(time.monotonic() - began, 15)
        self.node.clean()

    def test_interrupt_detaches(self):
        self.say(turns([SLEEP], "late"))
        self.node.deploy(agent("sleeper"))
        for flag, status in ((None, "running"), ("--cancel-on-interrupt", "cancelled")):
            with self.subTest(flag=flag):
                more = [flag] if flag else []
                watcher = self.node.popen("execute", "--agent", "sleeper", "--watch", *more)
                self.assertIn("Started", watcher.stdout.readline())
                watcher.send_signal(signal.SIGINT)
                out, err = watcher.communicate(timeout=30)
                record = self.node.record("@last")
                self.assertEqual(record["status"], status)
                if flag:
                    self.assertEqual(watcher.returncode, 7, err)
                else:
                    self.assertEqual(watcher.returncode, 130, err)
                    self.assertIn(f"aegis execution watch {record['id']}", err)
                    self.assertIn(f"aegis execution cancel {record['id']}", err)
                    self.node.ok("execution", "cancel", record["id"])


class ManyAtOnce(Case):
    config = {"runtime": {"max_concurrent_executions": 4}}

    def test_the_answer_is_the_record(self):
        """What an accepted execution is answered with is what is read of it then."""
        self.say(turns([SLEEP], "late"))
        self.node.deploy(agent("worker"))
        busy = [self.node.execute("worker") for _ in range(4)]
        status, answered = self.node.api(
            "POST", "/v1/agents/worker/execute",
            {"input": {"a": [1, "\u00e9"]}, "labels": {"team": "x"}})
        self.assertEqual(status, 201)
        self.assertEqual(answered["status"], "pending")
        self.assertEqual(answered, self.node.record(answered["id"]))
        for execution in [answered["id"], *busy]:
            self.node.ok("execution", "cancel", execution)
        self.node.clean()

    def test_fifty(self):
        self.say(turns([call("fs.write", path="/workspace/x", content="x")], "ok"))
        self.node.deploy(agent("one-of-many", volumes=[workspace(size_limit_mb=8)]))
        body = {"agent_id": "one-of-many", "input": "{}"}
        ids = [self.node.api("POST", "/v1/executions", body)[1]["id"] for _ in range(50)]
        self.assertEqual(len(set(ids)), 50)
        most = 0

        def all_ended():
            nonlocal most
            rows = self.node.api("GET", "/v1/executions?limit=100")[1]["items"]
            most = max(most, sum(r["status"] == "running" for r in rows))
            return all(r["status"] in TERMINAL for r in rows) and len(rows) == 50
        wait_until(all_ended, "all 50 end", 180)
        rows = self.node.api("GET", "/v1/executions?limit=100")[1]["items"]
        self.assertEqual({r["status"] for r in rows}, {"completed"})
        self.assertLessEqual(most, 4)
        rows.reverse()
        self.assertEqual([r["id"] for r in rows], ids)
        starts = [r["started_at"] for r in rows]
        self.assertEqual(starts, sorted(starts), "first come, first served")
        # Never more than four at a time, by their own times.
        points = sorted([(r["started_at"], 1) for r in rows] + [(r["ended_at"], 0) for r in rows])
        running = 0
        for _, starts_here in points:
            running += 1 if starts_here else -1
            self.assertLessEqual(running, 4)
        self.assertEqual(self.model.stats()["requests"], 100)
        self.node.clean()


class Restart(Case):
    def test_sigterm(self):
        quick = python("import os, time\nfirst = not os.path.exists('/workspace/b')\n"
                       "open('/workspace/b', 'a').close()\nif first: time.sleep(60)")
        self.say(turns([call("fs.write", path="/workspace/a", content="1")], [quick], "ok"))
        self.node.deploy(agent("goer", volumes=[workspace()]))
        execution = self.node.execute("goer")
        wait_until(lambda: glob.glob(f"{self.node.data_dir}/volumes/mnt/*/b"), "the command runs")
        self.assertEqual(self.node.terminate(), 0)
        self.assertEqual(self.node.containers(), [])
        self.assertEqual(self.node.sockets(), [])
        self.assertEqual(self.node.mounts(), [])
        self.node.start()
        record = self.node.wait(execution)
        self.assertCompleted(record)
        self.assertEqual([i["number"] for i in record["iterations"]], [1])
        self.gap_free(self.node.events(execution))
        self.assertEqual(self.model.stats()["requests"], 3, "no recorded answer is bought again")
        self.node.clean()

    def test_sigterm_while_executions_begin_and_fail(self):
        """What is committed last is still shown to whoever counts and logs it."""
        hopeless = agent("hopeless")
        hopeless["spec"]["runtime"] = {"image": "aegis-test/no-such-image", "isolation": "docker",
                                       "image_pull_policy": "Never"}
        self.node.deploy(hopeless)
        ids = []
        for _ in range(3):
            ids += [self.node.api("POST", "/v1/agents/hopeless/execute", {"input": "{}"})[1]["id"]
                    for _ in range(40)]
            self.assertEqual(self.node.terminate(), 0, self.node.log())
            self.node.start()
        for execution in ids:
            self.assertEqual(self.node.wait(execution)["error"]["code"], "sandbox_error")
        self.node.clean()

    def test_paused_agent_keeps_its_promises(self):
        self.say({"delay_ms": 1500, "content": "ok"})
        self.node.deploy(agent("paused"))
        execution = self.node.execute("paused")
        self.node.ok("agent", "pause", "paused")
        self.assertEqual(self.node.aegis("execute", "--agent", "paused").code, 4)
        self.node.ok("agent", "delete", "paused", "--yes")
        self.assertCompleted(self.node.wait(execution))

    def restart_with(self, **config):
        self.assertEqual(self.node.terminate(), 0)
        self.node.configure(self.model.config(**config))
        self.node.start()

    def test_what_is_no_longer_offered(self):
        """A configuration that lost the image: the execution fails and says so, it does not hang."""
        image = base_image() if ISOLATION == "process" else "aegis/python:3.11"
        self.restart_with(runtime={"images": {"python": {"3.99": image}}})
        self.addCleanup(self.restart_with)
        self.say(turns([SLEEP], "late"))
        self.node.deploy(agent("orphan", runtime={"version": "3.99"}, volumes=[workspace()]))
        execution = self.node.execute("orphan")
        self.model.wait_requests(1)
        self.restart_with()
        record = self.node.wait(execution)
        self.assertFailed(record, "sandbox_error", "no base image for python 3.99", "runtime.images")
        self.gap_free(self.node.events(execution))
        self.node.clean()


class Retention(Case):
    config = {"retention": {"executions": "2s"}}

    def test_what_ended_long_ago_goes(self):
        self.say(turns([SLEEP], "late", match="sleep"), {"content": "x" * 100_000})
        self.node.deploy(agent("short", task={"prompt_template": "{{input}}"}))
        running = self.node.execute("short", '"sleep"')
        ended = self.node.execute("short")
        folder = f"{self.node.data_dir}/executions/{ended}"
        self.node.aegis("execution", "wait", ended)
        wait_until(lambda: self.node.api("GET", f"/v1/executions/{ended}")[0] == 404, "it is gone")
        wait_until(lambda: not os.path.exists(folder), "its files too")
        events = self.node.ok("events", "-o", "json").out
        self.assertNotIn(ended, events)
        self.assertIn(running, events)
        self.assertEqual(self.node.record(running)["status"], "running")
        self.node.ok("execution", "cancel", running)


class Killed(Case):
    """SIGKILL at random points. Each answer of the model has its own turn and is bought once."""

    STEPS = 6

    def rule(self):
        steps = [[python("import time; time.sleep(0.15); "
                         f"open('/workspace/log', 'a').write('{n} ')")] for n in range(self.STEPS)]
        return turns(*steps, [call("fs.read", path="/workspace/log")], "all done")

    def kill_and_restart(self, pause):
        time.sleep(pause)
        self.node.kill()
        self.node.start()

    def bought(self):
        """How often each point of each conversation was answered, by what had been said before."""
        counts = {}
        for request in self.model.requests():
            messages = request["json"]["messages"]
            key = (messages[0]["content"], sum(m["role"] == "assistant" for m in messages))
            counts[key] = counts.get(key, 0) + 1
        return counts

    def recorded(self, executions):
        """How often each turn that is recorded by now was bought."""
        keys = set()
        for number, execution in enumerate(executions):
            done = sum(e["type"] == "LlmCallCompleted" for e in self.node.events(execution))
            keys |= {(f'"run {number}"', turn) for turn in range(done)}
        bought = self.bought()
        return {key: bought[key] for key in keys}

    def test_random_points(self):
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        print(f"       seed {seed}")
        self.say(self.rule())
        self.node.deploy(agent("victim", volumes=[workspace()],
                               task={"prompt_template": "{{input}}"}))
        executions = [self.node.execute("victim", f'"run {n}"') for n in range(3)]
        kills, paid = 6, {}
        for _ in range(kills):
            time.sleep(chance.choice([0.0, 0.02, 0.1, 0.4, 0.8, 1.2]))
            for key, count in self.recorded(executions).items():
                paid.setdefault(key, count)
            self.node.kill()
            self.node.start()
        for execution in executions:
            record = self.node.wait(execution, 120)
            self.assertCompleted(record)
            self.assertEqual([i["number"] for i in record["iterations"]], [1])
            events = self.node.events(execution)
            self.gap_free(events)
            completed = [e["data"]["call"] for e in events if e["type"] == "LlmCallCompleted"]
            self.assertEqual(len(completed), self.STEPS + 2, "one recorded answer for each turn")
            tools = [e["data"]["call"] for e in events if e["type"] == "ToolCallCompleted"]
            self.assertEqual(len(tools), len(set(tools)), "no recorded result is made again")
            self.assertEqual(len(tools), self.STEPS + 1)
        bought = self.bought()
        self.assertEqual({key: bought[key] for key in paid}, paid,
                         "an answer that was recorded before a kill is not bought again")
        extra = sum(bought.values()) - len(bought)
        self.assertLessEqual(extra, kills * len(executions), "only what was in flight")
        self.node.clean()
        wait_until(lambda: not self.node.api("GET", "/v1/volumes")[1]["items"],
                   "volumes with ttl 0 are gone", 20)

    def test_watch_joins_again(self):
        self.say(self.rule())
        self.node.deploy(agent("watched", volumes=[workspace()]))
        watcher = self.node.popen("execute", "--agent", "watched", "--watch", "-o", "json")
        lines = [watcher.stdout.readline() for _ in range(8)]
        self.kill_and_restart(0.0)
        self.kill_and_restart(0.4)
        out, err = watcher.communicate(timeout=90)
        self.assertEqual(watcher.returncode, 0, err)
        seen = [json.loads(line) for line in lines + out.splitlines()]
        self.gap_free(seen)
        self.assertEqual(seen[-1]["type"], "ExecutionCompleted")
        stored = self.node.events(seen[0]["execution_id"])
        self.assertEqual([(e["seq"], e["type"]) for e in seen],
                         [(e["seq"], e["type"]) for e in stored])

    def test_while_a_volume_is_made(self):
        """Each size has a file system of its own, made at first use by programs of their own."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        print(f"       seed {seed}")
        self.say(turns([call("fs.write", path="/workspace/x", content="x")], "ok"))
        executions = []
        for size in range(64, 74):
            self.node.deploy(agent("maker", volumes=[workspace(size_limit_mb=size)]))
            executions.append(self.node.execute("maker"))
            self.kill_and_restart(chance.uniform(0, 0.12))
        for execution in executions:
            record = self.node.wait(execution)
            self.assertCompleted(record)
            self.assertEqual(record["iterations"][0]["tool_calls"][0]["status"], "ok")
        self.node.clean()
        self.assertEqual(glob.glob(f"{self.node.data_dir}/volumes/templates/*tmp"), [])

    def test_acknowledged_means_stored(self):
        self.say({"content": "ok"})
        self.node.deploy(agent("quick"))
        for _ in range(3):
            execution = self.node.execute("quick")
            self.node.kill()
            self.node.start()
            self.assertCompleted(self.node.wait(execution))


if __name__ == "__main__":
    unittest.main()
