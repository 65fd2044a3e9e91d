"""A model that fails in every way: clear errors in record and terminal, and no key anywhere."""

import json
import os
import socket
import subprocess
import unittest

from case import Case
from model import KEY, Model, call, python, secret_in, tool_results, turns
from node import Node, agent, free_port, wait_until


class Errors(Case):
    def fails(self, rule, *words, manifest=None, timeout=90):
        record = self.run_with(rule, manifest=manifest or agent("asker"), timeout=timeout)
        self.assertFailed(record, "model_error", *words)
        self.assertEqual(len(record["iterations"]), 1, "model errors are not retried by iterations")
        text = self.node.aegis("execution", "watch", record["id"])
        self.assertEqual(text.code, 6)
        self.assertIn("Failed (1 iteration, ", text.out)
        self.assertNotIn(KEY, json.dumps(record) + text.out + text.err)
        return record

    def test_refused(self):
        self.fails({"status": 401, "error": f"Incorrect API key provided: {KEY}"}, "401")
        self.assertEqual(self.model.stats()["requests"], 1)
        self.fails({"status": 400, "error": "no such thing"}, "no such thing")
        self.fails({"status": 404, "error": "model not found"}, "model not found")
        self.assertEqual(self.model.stats()["requests"], 1)

    def test_server_errors(self):
        self.fails({"status": 500, "error": "broken today"}, "500")
        self.assertGreater(self.model.stats()["requests"], 1, "a 5xx is tried again")

    def test_transient_errors(self):
        self.node.deploy(agent("asker"))
        for rule in ({"status": 429, "times": 1, "headers": {"Retry-After": "1"}},
                     {"status": 503, "times": 2}, {"reset": True, "times": 1}):
            with self.subTest(rule=rule):
                self.say(rule, {"content": "at last"})
                record = self.node.run("asker")
                self.assertCompleted(record)
                self.assertEqual(record["output"], "at last")

    def test_garbage(self):
        self.fails({"raw": "<html>It works!</html>", "content_type": "text/html"})
        self.fails({"raw": "data: {]\n\n"})
        self.fails({"half_json": True, "content": "half of an answer that is long enough"})

    def test_cut(self):
        for cut in (1, 200, 400):
            with self.subTest(cut=cut):
                self.fails({"cut_after_bytes": cut, "content": "word " * 200})
        self.fails({"cut_after_bytes": 400, "cut": "clean", "content": "word " * 200})

    def test_50_mib(self):
        self.fails({"content_bytes": 50 << 20}, "8388608", timeout=120)

    def test_endless_tool_calls(self):
        manifest = agent("busy", execution={"max_iterations": 1, "max_tool_calls": 20})
        step = [call("cmd.run", command="true")] * 3
        record = self.run_with(turns(step, repeat=True), manifest=manifest)
        self.assertFailed(record, "tool_call_limit")
        self.assertLessEqual(len(record["iterations"][0]["tool_calls"]), 20)
        manifest = agent("busy", execution={"max_iterations": 1, "max_model_calls": 5})
        record = self.run_with(turns(step, repeat=True), manifest=manifest)
        self.assertFailed(record, "model_call_limit")
        self.assertEqual(self.model.stats()["requests"], 5)

    def test_ten_thousand_calls_in_one_answer(self):
        manifest = agent("busy", execution={"max_iterations": 1})
        rule = turns({"repeat_tool_calls": 10_000, "tool_calls": [call("cmd.run", command="true")]})
        record = self.run_with(rule, manifest=manifest)
        self.assertFailed(record, "model_error", "tool calls")

    def test_tools_that_are_none(self):
        record = self.run_with(turns(
            [call("fs.fly", path="/x"), {"name": "no_such_tool", "arguments": "{}"},
             {"name": "cmd_run", "arguments": "{not json"}, {"name": "cmd_run", "arguments": "[1]"},
             {"name": "cmd_run", "arguments": {"args": ["x"]}}, python("print(1 + 1)")], "ok"))
        self.assertCompleted(record)
        calls = record["iterations"][0]["tool_calls"]
        self.assertEqual(len(calls), 6)
        self.assertNotIn("ok", [c["status"] for c in calls[:5]])
        self.assertEqual(calls[5]["status"], "ok")
        results = tool_results(self.model.requests()[1])
        self.assertEqual(len(results), 6)
        self.assertIn("2", results[5])
        for text in results[:5]:
            self.assertNotEqual(text, "")


class Unreachable(unittest.TestCase):
    def node(self, **provider):
        node = Node({"llm": {"providers": [{"name": "gpt", "type": "openai", "api_key": KEY,
                                            "model": "m", **provider}]}})
        self.addCleanup(node.close)
        node.start()
        node.deploy(agent())
        return node

    def check(self, node, *words):
        done = node.aegis("execute", "--agent", "worker", "--watch")
        self.assertEqual(done.code, 6, done)
        record = node.record("@last")
        self.assertEqual(record["error"]["code"], "model_error")
        for word in words:
            self.assertIn(word, done.out)
        self.assertNotIn(KEY, str(done) + node.log())

    def test_refused(self):
        self.check(self.node(base_url=f"http://127.0.0.1:{free_port()}/v1"),
                   "cannot be reached", "base_url")

    def test_no_such_host(self):
        self.check(self.node(base_url="http://model.invalid/v1"), "model.invalid")

    def test_timeout(self):
        model = Model({"hang": True})
        self.addCleanup(model.close)
        node = Node(model.config(provider={"timeout": "1s"}), env=model.env())
        self.addCleanup(node.close)
        node.start()
        node.deploy(agent())
        self.check(node)

    def test_silent_peer(self):
        with socket.create_server(("127.0.0.1", 0)) as peer:
            url = f"http://127.0.0.1:{peer.getsockname()[1]}/v1"
            self.check(self.node(base_url=url, timeout="1s"))

    def test_no_provider(self):
        node = Node({}, env={"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""})
        self.addCleanup(node.close)
        node.start()
        node.deploy(agent())
        done = node.aegis("execute", "--agent", "worker", "--watch")
        self.assertNotEqual(done.code, 0, done)
        self.assertIn("llm.providers", done.out + done.err)

    def test_provider_without_key(self):
        node = Node({"llm": {"providers": [{"name": "gpt", "type": "openai", "model": "m",
                                            "api_key": "env:AEGIS_TEST_UNSET"}]}})
        self.addCleanup(node.close)
        node.start()
        self.assertIn("key", node.log())
        node.deploy(agent())
        done = node.aegis("execute", "--agent", "worker", "--watch")
        self.assertEqual(done.code, 6, done)
        self.assertIn("key", done.out)


class NoKeyAnywhere(Case):
    def test_key(self):
        self.say({"status": 401, "error": f"Incorrect API key provided: {KEY}", "times": 1},
                 turns([python("import os; print(sorted(os.environ.items())); "
                               "import time; time.sleep(60)")], "ok"))
        self.node.deploy(agent())
        self.assertFailed(self.node.run("worker"), "model_error")
        execution = self.node.execute("worker")
        self.model.wait_requests(2)
        container = wait_until(self.node.containers, "a container")[0]
        texts = {"inspect": subprocess.run(["docker", "inspect", container], capture_output=True,
                                           check=True).stdout,
                 "logs": subprocess.run(["docker", "logs", container], capture_output=True,
                                        check=False).stdout}
        for pid in subprocess.run(["docker", "top", container, "-eo", "pid"], capture_output=True,
                                  check=True, text=True).stdout.split()[1:]:
            with open(f"/proc/{pid}/environ", "rb") as f:
                texts[f"environ {pid}"] = f.read()
        self.node.ok("execution", "cancel", execution)
        with open(self.node.log_path, "rb") as f:
            texts["daemon.log"] = f.read()
        dump = self.node.ok("config", "dump", "--config", self.node.config_path)
        texts["dump"] = dump.out.encode()
        for path in ("/v1/executions", f"/v1/executions/{execution}", "/v1/events", "/v1/node",
                     f"/v1/executions/{execution}/events", f"/v1/executions/{execution}/logs"):
            texts[path] = json.dumps(self.node.api("GET", path)[1]).encode()
        self.assertEqual(self.node.terminate(), 0)
        for at, _, files in os.walk(self.node.data_dir):
            for name in files:
                with open(os.path.join(at, name), "rb") as f:
                    texts[os.path.join(at, name)] = f.read()
        self.assertGreater(len(texts), 10)
        self.assertEqual([name for name, text in texts.items() if secret_in(text)], [])


class Anthropic(unittest.TestCase):
    def test_a_session(self):
        model = Model(turns([call("cmd.run", command="echo", args=["hi"])], "done"))
        self.addCleanup(model.close)
        node = Node({"llm": {"providers": [{"name": "claude", "type": "anthropic", "api_key": KEY,
                                            "model": "claude-test",
                                            "base_url": f"http://127.0.0.1:{model.port}"}]}})
        self.addCleanup(node.close)
        node.start()
        node.deploy(agent())
        done = node.aegis("execute", "--agent", "worker", "--watch")
        self.assertEqual(done.code, 0, done)
        self.assertIn("Tool: cmd.run echo hi\n", done.out)
        self.assertEqual(model.stats()["requests"], 2)
        self.assertEqual(node.record("@last")["output"], "done")


if __name__ == "__main__":
    unittest.main()
