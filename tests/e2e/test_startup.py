"""advanced.startup_script: what runs in a sandbox before its agent."""

import json
import unittest

from case import Case
from model import call, python, tool_results, turns
from node import agent, patient, workspace


class Startup(Case):
    def run_script(self, script, rule, **spec):
        execution = {"max_iterations": 2, **spec.pop("execution", {})}
        return self.run_with(rule, manifest=agent(
            "prepared", advanced={"startup_script": script}, execution=execution,
            volumes=[workspace()], **spec))

    def log(self, record):
        return self.node.ok("execution", "logs", record["id"], "-o", "json").json

    def test_prepares_what_the_agent_finds(self):
        script = ("set -e\necho told; echo complained >&2\nid -u > /workspace/who\n"
                  "grep CapEff /proc/self/status > /tmp/rights\n"
                  "pwd > /tmp/where; echo \"$GREETING $AEGIS_ITERATION\" > /tmp/env\n"
                  "read line && echo got >> /tmp/env || true\n(sleep 300 &)\n")
        look = python("print(*[open(p).read().strip() for p in "
                      "('/workspace/who', '/tmp/rights', '/tmp/where', '/tmp/env')], sep='|')")
        record = self.run_script(script, turns([look], "done"), env={"GREETING": "hello"})
        self.assertCompleted(record)
        self.assertEqual(record["output"], "done")
        seen = json.loads(tool_results(self.model.requests()[-1])[0])["stdout"].strip()
        self.assertEqual(seen, "1000|CapEff:\t0000000000000000|/workspace|hello 1")
        lines = self.node.ok("execution", "logs", record["id"]).out
        self.assertIn("--- stderr ---\ntold\ncomplained\n", lines)
        self.assertNotIn("--- stdout ---", lines)

    def test_a_long_prompt_still_arrives(self):
        record = self.run_script("cat", turns("done"), task={"instruction": "x" * 200_000})
        self.assertCompleted(record)
        prompt = self.model.requests()[0]["json"]["messages"][0]["content"]
        self.assertIn("x" * 200_000, prompt)

    def test_its_failure_fails_the_iteration(self):
        checks = [{"type": "exit_code", "expected": 3}]
        record = self.run_script("echo out; echo broken >&2; exit 3", turns("done"),
                                 execution={"validation": checks})
        self.assertFailed(record, "sandbox_error", "the startup script failed with exit code 3")
        self.assertEqual([i["status"] for i in record["iterations"]], ["failed", "failed"])
        self.assertEqual(self.model.stats()["requests"], 0)
        lines = self.node.ok("execution", "logs", record["id"]).out
        self.assertIn("out\nbroken\n", lines)
        self.assertNotIn("aegis: the startup script", lines)

    def test_the_next_iteration_runs_it_again(self):
        script = "test -e /workspace/once || { touch /workspace/once; echo cold >&2; exit 1; }"
        record = self.run_script(script, turns([call("fs.list", path="/workspace")], "done"))
        self.assertCompleted(record)
        self.assertEqual([i["status"] for i in record["iterations"]], ["failed", "success"])
        prompt = self.model.requests()[0]["json"]["messages"][0]["content"]
        self.assertIn("the startup script failed with exit code 1", prompt)
        self.assertIn("cold", prompt)

    def test_it_has_the_iterations_time(self):
        record = self.run_script("sleep 600", turns("done"), execution={
            "max_iterations": 1, "iteration_timeout": patient(2)})
        self.assertFailed(record, "iteration_timeout")

    def test_too_long(self):
        refused = self.node.aegis("agent", "deploy", "-", stdin=json.dumps(
            agent("long", advanced={"startup_script": "#" * 40_000})))
        self.assertEqual(refused.code, 2)
        self.assertIn("spec.advanced.startup_script: is too long (expected at most 32 KiB)", refused.err)



if __name__ == "__main__":
    unittest.main()
