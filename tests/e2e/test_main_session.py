"""The seed's session for real: the manifests unmodified, tools, refinement, the input's bytes."""

import json
import unittest

from case import Case
from model import call, python, tool_results, turns
from node import agent, example, wait_until, workspace

SOLUTION = "print('reverse: ok')\n"
GOOD = json.dumps({"solution_path": "/workspace/solution.py", "output": "reverse: ok"})


class Session(Case):
    def test_pr_reviewer_unmodified(self):
        self.node.deploy(example("pr-reviewer.yaml"))
        self.say(turns("No concerns."))
        given = '{"diff": "<git diff output>", "repo": "my-org/my-repo", "pr": 42}'
        done = self.node.ok("execute", "--agent", "pr-reviewer", "--input", given, "--watch")
        self.assertIn("Completed (1 iteration, ", done.out)
        record = self.node.record("@last")
        self.assertEqual(record["output"], "No concerns.")
        messages = self.model.requests()[0]["json"]["messages"]
        self.assertEqual(len(messages), 1)
        self.assertEqual(messages[0]["role"], "user")
        self.assertTrue(messages[0]["content"].endswith(f"\n\nUser: {given}\nReviewer:\n"))
        self.node.clean()

    def test_python_coder_refines(self):
        self.node.deploy(example("python-coder.yaml"))
        bad = [call("fs.write", path="/workspace/solution.py", content=SOLUTION),
               call("cmd.run", command="python", args=["/workspace/solution.py"]),
               call("fs.write", path="/workspace/result.json", content='{"output": ""}')]
        self.say(turns([call("fs.read", path="/workspace/solution.py"),
                        call("fs.write", path="/workspace/result.json", content=GOOD)], "Fixed.",
                       match="previous attempt failed"),
                 turns(bad, "First."))
        record = self.node.run("python-coder", '{"task": "reverse"}')
        self.assertCompleted(record)
        self.assertEqual([i["status"] for i in record["iterations"]], ["refining", "success"])
        requests = self.model.requests()
        # All calls of one answer ran, in order, before the model was asked again.
        self.assertEqual(len(requests), 4)
        self.assertIn("reverse: ok", tool_results(requests[1])[1])
        self.assertEqual(len(tool_results(requests[1])), 3)
        prompt = requests[2]["json"]["messages"][0]["content"]
        self.assertEqual(len(requests[2]["json"]["messages"]), 1)
        self.assertIn("required property 'solution_path' is missing", prompt)
        self.assertIn("/output", prompt)
        # The volume lives across the iterations.
        self.assertIn("reverse: ok", tool_results(requests[3])[0])
        tools = {t["function"]["name"] for t in requests[0]["json"]["tools"]}
        self.assertLessEqual({"fs_write", "fs_read", "cmd_run"}, tools)

    def test_last_iteration(self):
        self.node.deploy(example("python-coder.yaml"))
        self.say(turns("I give up."))
        record = self.node.run("python-coder", "{}", "--max-iterations", "3")
        self.assertFailed(record, "validation_exhausted", "json_schema")
        self.assertEqual([i["status"] for i in record["iterations"]],
                         ["refining", "refining", "failed"])
        self.assertEqual(self.model.stats()["requests"], 3)

    def test_previous_error_is_appended(self):
        checks = [{"type": "regex", "pattern": "right"}]
        self.say(turns("right", match="previous attempt failed"), turns("wrong"))
        self.node.deploy(agent("plain", task={"prompt_template": "Say it."},
                               execution={"validation": checks}))
        self.assertCompleted(self.node.run("plain"))
        second = self.model.requests()[1]["json"]["messages"][0]["content"]
        self.assertTrue(second.startswith("Say it.\n\nYour previous attempt failed with the "
                                          "following error. Fix it:\n"), second)

    def test_one_shot(self):
        checks = [{"type": "regex", "pattern": "right"}]
        manifest = agent("once", execution={"mode": "one-shot", "validation": checks})
        self.assertFailed(self.run_with(turns("wrong"), manifest=manifest), "validation_exhausted")
        self.assertEqual(self.model.stats()["requests"], 1)


class Input(Case):
    def prompt_for(self, text):
        self.say({"content": "ok"})
        self.node.deploy(agent("echo", task={"prompt_template": "<<{{input}}>>"}))
        record = self.node.run("echo", text)
        self.assertCompleted(record)
        self.assertEqual(record["input"], text)
        return self.model.requests()[0]["json"]["messages"][0]["content"]

    def test_byte_for_byte(self):
        for text in ['{"z": 1.10, "a": 1e2, "m":   -0.0, "z2":[1,2 ,3]}',
                     '{"n": 123456789012345678901234567890, "x": 0.1000}',
                     '{"braces": "{{input}} {% if x %} {{{y}}} {# c #}"}',
                     '{"u": "\\u00e9 é \U0001f600 \\ud83d\\ude00", "t": "a\\tb", "q": "\\"\\\\"}',
                     '"just text"', '[]', 'null', '  {"spaces": 1}\n\n']:
            with self.subTest(text=text):
                self.assertEqual(self.prompt_for(text), f"<<{text}>>")

    def test_large(self):
        for size in (130_000, 1 << 20, 7 << 20):
            with self.subTest(size=size):
                text = json.dumps({"text": "äb\"\\\n" * (size // 8)}, ensure_ascii=False)
                self.assertEqual(self.prompt_for(text) == f"<<{text}>>", True)

    def test_fields(self):
        self.say({"content": "ok"})
        template = ("{{input.task}}|{{input.list}}|{{input.none}}|{{iteration_number}}|"
                    "{{agent.name}}")
        self.node.deploy(agent("fields", task={"prompt_template": template}))
        self.node.run("fields", '{"task": "a<b>&", "list": [1, {"k": 2.50}]}')
        self.assertEqual(self.model.requests()[0]["json"]["messages"][0]["content"],
                         'a<b>&|[1,{"k":2.5}]||1|fields')

    def test_file_and_default(self):
        self.say({"content": "ok"})
        self.node.deploy(agent("echo", task={"prompt_template": "<<{{input}}>>"}))
        with open(f"{self.node.dir}/input.json", "w", encoding="utf-8") as f:
            f.write('{"from": "file"}\n')
        self.node.ok("execute", "--agent", "echo", "--input", "@input.json", "--watch")
        self.node.ok("execute", "--agent", "echo", "--watch")
        prompts = [r["json"]["messages"][0]["content"] for r in self.model.requests()]
        self.assertEqual(prompts, ['<<{"from": "file"}\n>>', "<<{}>>"])

    def test_too_large_and_not_json(self):
        self.node.deploy(agent("refuser"))
        done = self.node.aegis("execute", "--agent", "refuser", "--input", "-",
                               stdin='"' + "x" * (9 << 20) + '"')
        self.assertEqual(done.code, 2, done)
        self.assertIn("8388608", done.err)
        status, _ = self.node.api("POST", "/v1/executions",
                                  {"agent_id": "refuser", "input": "x" * (9 << 20)})
        self.assertEqual(status, 413)
        self.assertEqual(self.node.ok("execution", "list", "--agent", "refuser", "-q").out, "")


class Choices(Case):
    def test_model_alias(self):
        config = self.model.config()
        config["llm"]["providers"].append(self.model.provider(name="big", model="big-test"))
        config["llm"]["aliases"]["reasoning"] = "big"
        self.node.configure(config)
        self.node.ok("--config", self.node.config_path, "daemon", "reload")
        self.node.deploy(agent("picky"))
        self.say({"content": "ok"})

        def alias_known():
            done = self.node.aegis("execute", "--agent", "picky", "--model", "reasoning", "--watch")
            return done.code == 0
        wait_until(alias_known, "the reloaded alias works", 20)
        self.assertEqual(self.model.requests()[-1]["json"]["model"], "big-test")
        self.node.deploy(agent("picky", runtime={"model": "reasoning"}))
        self.assertCompleted(self.node.run("picky"))
        self.assertEqual(self.model.requests()[-1]["json"]["model"], "big-test")
        self.assertCompleted(self.node.run("picky", "{}", "--model", "default"))
        self.assertEqual(self.model.requests()[-1]["json"]["model"], "gpt-test")

    def validated(self, validation, *steps, **spec):
        manifest = agent("checked", execution={"max_iterations": 1, "validation": validation},
                         volumes=[workspace()], **spec)
        return self.run_with(turns(*steps), manifest=manifest)

    def test_validators(self):
        write = [call("fs.write", path="/workspace/out.json", content='{"n": 3}')]
        schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 4}}}
        in_file = [call("fs.write", path="/workspace/schema.json", content=json.dumps(schema)),
                   call("fs.write", path="/workspace/out.json", content='{"n": 5}')]
        path = {"type": "json_schema", "target_path": "/workspace/out.json"}
        cases = [
            ("exit_code expected", [{"type": "exit_code", "expected": 1}], ["ok"], "exit_code"),
            ("regex output", [{"type": "regex", "pattern": "^o.$"}], ["ok"], None),
            ("regex file", [{"type": "regex", "pattern": "4", "target": "/workspace/out.json"}],
             [write, "ok"], "regex"),
            ("schema of a file", [{**path, "schema": schema}], [write, "ok"], None),
            ("schema_path", [{**path, "schema_path": "/workspace/schema.json"}], [in_file, "ok"],
             "json_schema"),
            ("schema of fenced output", [{"type": "json_schema", "schema": schema}],
             ['```json\n{"n": 1}\n```'], None),
            ("output is no JSON", [{"type": "json_schema", "schema": schema}], ["n is 1"],
             "json_schema"),
            ("missing target", [{**path, "schema": schema}], ["ok"], "json_schema"),
            ("command passes",
             [{"type": "command", "command": ["test", "-f", "/workspace/out.json"]}],
             [write, "ok"], None),
            ("command fails", [{"type": "command", "command": ["sh", "-c", "echo why; exit 9"]}],
             ["ok"], "command"),
            ("the first failure ends the chain",
             [{"type": "regex", "pattern": "no"}, {"type": "exit_code"}], ["ok"], "regex"),
        ]
        for name, validation, steps, failing in cases:
            with self.subTest(name):
                record = self.validated(validation, *steps)
                results = record["iterations"][0]["validation"]["results"]
                if failing is None:
                    self.assertCompleted(record)
                else:
                    self.assertFailed(record, "validation_exhausted", failing)
                    self.assertFalse(results[-1]["passed"])
                    self.assertEqual(results[-1]["validator"], failing)
                    self.assertNotEqual(results[-1]["detail"], "")

    def test_iteration_timeout(self):
        manifest = agent("slow", execution={"max_iterations": 2, "iteration_timeout": "2s"})
        record = self.run_with(turns([python("import time; time.sleep(60)")], "late"),
                               manifest=manifest)
        self.assertFailed(record, "iteration_timeout")
        self.assertEqual([i["status"] for i in record["iterations"]], ["failed", "failed"])
        self.assertLess(record["duration_ms"], 20_000)
        self.node.clean()

    def test_timeout(self):
        manifest = agent("slow", security={"resources": {"timeout": "3s"}})
        record = self.run_with(turns([python("import time; time.sleep(60)")], "late"),
                               manifest=manifest)
        self.assertFailed(record, "timeout")
        self.assertEqual(len(record["iterations"]), 1)
        record = self.run_with(turns([python("import time; time.sleep(60)")], "late"),
                               manifest=agent("slow"), flags=["--timeout", "2s"])
        self.assertFailed(record, "timeout")
        self.node.clean()


if __name__ == "__main__":
    unittest.main()
