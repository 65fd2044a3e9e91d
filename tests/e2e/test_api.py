"""The HTTP API: each answer against /openapi.json, strictness, metrics, health."""

import hashlib
import http.client
import json
import os
import time
import unittest

import packages
from case import Case
from model import call, python, turns
from node import Node, agent, wait_until, workspace

packages.use()
from contract import Contract  # noqa: E402

SCHEMA = {"type": "object", "required": ["n"]}
NOBODY = "00000000-0000-4000-8000-000000000000"


def validated():
    """An agent with a volume whose first answer is refused and whose second passes."""
    return agent("checked", volumes=[workspace()], execution={
        "max_iterations": 3, "validation": [{"type": "exit_code"},
                                            {"type": "json_schema", "schema": SCHEMA}]})


ANSWERS = turns([call("fs.write", path="/workspace/a", content="hi")],
                [python("import sys; print('out'); print('err', file=sys.stderr)"),
                 call("fs.read", path="/workspace/none")], "no json",
                match="^(?![\\s\\S]*previous attempt)")
BETTER = turns('{"n": 1}', match="previous attempt")


class Session(Case):
    """Every path, good and bad, each answer held against the document."""

    def setUp(self):
        self.contract = Contract(self.node.api("GET", "/openapi.json")[1])

    def ask(self, method, path, body=None, expect=200, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        try:
            headers = dict(headers or {})
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        media = answer.headers.get("Content-Type", "")
        self.contract.check(method, path, answer.status, media, text)
        self.assertEqual(answer.status, expect, f"{method} {path}: {text[:2000]}")
        self.headers = answer.headers
        return json.loads(text) if "json" in media and text else text

    def error(self, method, path, expect, code, body=None, headers=None):
        error = self.ask(method, path, body, expect, headers)["error"]
        self.assertEqual(error["code"], code, error)
        return error

    def test_document_is_openapi(self):
        packages.use()
        from openapi_spec_validator import validate
        validate(self.contract.document)
        self.assertEqual(self.contract.document["openapi"], "3.1.0")

    def test_every_path(self):
        self.agents()
        execution = self.executions()
        self.events(execution)
        self.node_paths()
        self.removal(execution)
        self.assertEqual(self.contract.missing(), [])

    def agents(self):
        text = json.dumps(validated())
        yaml = {"Content-Type": "text/yaml"}
        valid = self.ask("POST", "/v1/agents?validate_only=true", text, headers=yaml)
        self.assertEqual(valid["result"], "valid")
        made = self.ask("POST", "/v1/agents", text, 201, yaml)
        self.assertEqual(self.ask("POST", "/v1/agents", text, 200, yaml)["result"], "unchanged")
        again = self.ask("POST", "/v1/agents", {"manifest_yaml": text})
        self.assertEqual((again["id"], again["result"]), (made["id"], "unchanged"))
        files = [{"name": "a.yaml", "text": json.dumps(agent("other"))}]
        self.assertEqual(self.ask("POST", "/v1/agents", {"files": files}, 201)["count"], 1)
        bad = self.error("POST", "/v1/agents", 400, "invalid", "kind: Agent\nspec: 3\n", yaml)
        self.assertTrue(all(d["line"] > 0 for d in bad["details"]), bad)
        self.error("POST", "/v1/agents", 400, "invalid", '{"files": 1}',
                   {"Content-Type": "application/json"})
        error = self.error("POST", "/v1/executions", 400, "invalid", '{"agent_id":\n "x",,}')
        self.assertEqual((error["details"][0]["line"], error["details"][0]["column"]), (2, 6))
        page = self.ask("GET", "/v1/agents?status=deployed&limit=1")
        self.assertEqual(page["count"], 1)
        rest = self.ask("GET", f"/v1/agents?status=deployed&limit=9&cursor={page['next_cursor']}")
        names = [a["name"] for a in page["items"] + rest["items"]]
        self.assertEqual(names, ["checked", "other"])
        for path in (f"/v1/agents/{made['id']}", "/v1/agents/checked",
                     "/v1/agents/lookup/checked", "/v1/agents/checked?revision=1"):
            self.assertEqual(self.ask("GET", path)["id"], made["id"])
        self.error("GET", "/v1/agents/nobody", 404, "not_found")
        self.error("GET", "/v1/agents/checked?revision=9", 404, "not_found")
        self.assertEqual(self.ask("GET", "/v1/agents/checked/versions")["count"], 1)
        for verb, status in (("pause", "paused"), ("pause", "paused"), ("resume", "deployed")):
            self.assertEqual(self.ask("POST", f"/v1/agents/other/{verb}")["status"], status)
        self.ask("POST", "/v1/agents/other/pause")
        self.error("POST", "/v1/agents/other/execute", 409, "conflict")
        self.assertEqual(self.ask("DELETE", "/v1/agents/other")["status"], "archived")
        self.error("DELETE", "/v1/agents/other", 404, "not_found")

    def executions(self):
        self.say(ANSWERS, BETTER)
        made = self.ask("POST", "/v1/executions", {"agent_id": "checked", "input": {"a": 1},
                                                   "labels": {"x": "y"}, "timeout": "2m"}, 201)
        execution = made["id"]
        self.assertEqual(made["input"], '{"a":1}')
        self.ask("GET", f"/v1/executions/{execution}")
        stream = self.ask("GET", f"/v1/executions/{execution}/stream").decode()
        self.assertIn('"type":"ExecutionCompleted"', stream)
        record = self.ask("GET", f"/v1/executions/{execution}")
        self.assertEqual((record["status"], record["total_iterations"]), ("completed", 2), record)
        self.ask("GET", "/v1/executions/@last")
        self.ask("GET", f"/v1/executions/{execution}/logs")
        self.ask("GET", f"/v1/executions/{execution}/logs?iteration=2")
        self.error("GET", f"/v1/executions/{execution}/logs?iteration=7", 404, "not_found")
        self.error("POST", f"/v1/executions/{execution}/cancel", 409, "conflict")
        second = self.ask("POST", "/v1/agents/checked/execute", {"max_iterations": 1},
                          201, {"Idempotency-Key": "k1"})
        same = self.ask("POST", "/v1/agents/checked/execute", {"max_iterations": 1},
                        201, {"Idempotency-Key": "k1"})
        self.assertEqual(second["execution_id"], same["execution_id"])
        self.error("POST", "/v1/agents/checked/execute", 409, "conflict", {"max_iterations": 2},
                   {"Idempotency-Key": "k1"})
        self.node.wait(second["id"])
        failed = self.ask("GET", f"/v1/executions/{second['id']}")
        self.assertEqual(failed["error"]["code"], "validation_exhausted")
        self.say({"delay_ms": 60000, "content": "late"})
        third = self.ask("POST", "/v1/executions", {"agent_id": "checked"}, 201)["id"]
        self.error("DELETE", f"/v1/executions/{third}", 409, "conflict")
        cancelled = self.ask("POST", f"/v1/executions/{third}/cancel")
        self.assertEqual(cancelled["status"], "cancelled")
        page = self.ask("GET", "/v1/executions?limit=2&agent_id=checked")
        rest = self.ask("GET", f"/v1/executions?limit=2&agent_id=checked"
                               f"&cursor={page['next_cursor']}")
        self.assertEqual([e["id"] for e in page["items"] + rest["items"]],
                         [third, second["id"], execution])
        self.assertIsNone(rest["next_cursor"])
        for query, ids in (("status=failed", [second["id"]]), ("label=x=y", [execution]),
                           ("since=2100-01-01T00:00:00.000Z", []), ("label=x=z", [])):
            got = self.ask("GET", f"/v1/executions?{query}")
            self.assertEqual([e["id"] for e in got["items"]], ids, query)
        listed = self.ask("GET", "/v1/executions?agent_id=checked&input_summary=true")
        self.assertEqual([e["input_summary"] for e in listed["items"]], ["{}", "{}", '{"a":1}'])
        return execution

    def bodies(self, execution, events):
        """A text for each reference; and none of another execution."""
        refs = [ref for e in events for ref in e["data"].values()
                if isinstance(ref, dict) and "sha256" in ref]
        self.assertGreater(len(refs), 5)
        for ref in refs:
            text = self.ask("GET", f"/v1/executions/{execution}/bodies/{ref['sha256']}")
            self.assertEqual((len(text), hashlib.sha256(text).hexdigest()),
                             (ref["size"], ref["sha256"]))
        other = self.ask("GET", "/v1/executions?agent_id=checked&status=cancelled")["items"][0]["id"]
        answer = next(e["data"]["answer"] for e in events if e["type"] == "LlmCallCompleted")
        self.error("GET", f"/v1/executions/{other}/bodies/{answer['sha256']}", 404, "not_found")
        bodies = f"/v1/executions/{execution}/bodies"
        for name in ("x", answer["sha256"].upper(), "%00"):
            self.error("GET", f"{bodies}/{name}", 400, "invalid")
        self.error("GET", f"{bodies}/..%2f..%2faegis.db", 404, "not_found")

    def events(self, execution):
        first = self.ask("GET", f"/v1/executions/{execution}/events?limit=3")
        self.assertEqual(first["next_after"], 3)
        rest = self.ask("GET", f"/v1/executions/{execution}/events?after=3&limit=1000")
        self.gap_free(first["items"] + rest["items"])
        self.bodies(execution, first["items"] + rest["items"])
        tail = self.ask("GET", f"/v1/executions/{execution}/stream?after=3",
                        headers={"Last-Event-ID": str(rest["items"][-2]["seq"])}).decode()
        self.assertEqual(tail.count("data:"), 1)
        cursor, types = "", set()
        while True:
            page = self.ask("GET", f"/v1/events?limit=20&after={cursor}")
            types |= {e["type"] for e in page["items"]}
            cursor = page["next_cursor"]
            if len(page["items"]) < 20:
                break
        newest = self.ask("GET", "/v1/events?after=newest")
        self.assertEqual((newest["items"], newest["next_cursor"]), ([], cursor))
        self.assertLessEqual({"AgentDeployed", "AgentDeleted", "ExecutionCancelled",
                              "VolumeAttached", "IterationRefining"}, types)

    def node_paths(self):
        for path in ("/v1/node", "/version", "/health/live", "/health/ready", "/metrics",
                     "/openapi.json", "/v1/volumes", "/", "/console/main.js"):
            self.ask("GET", path)
        for path in ("/", "/console/main.js"):
            self.ask("GET", path, expect=304, headers={"If-None-Match": "*"})

    def removal(self, execution):
        keeper = agent("keeper", volumes=[workspace(storage_class="persistent")])
        del keeper["spec"]["volumes"][0]["ttl_hours"]
        self.ask("POST", "/v1/agents", json.dumps(keeper), 201, {"Content-Type": "text/yaml"})
        self.say(turns([call("fs.write", path="/workspace/a", content="text")], "done"))
        self.node.wait(self.ask("POST", "/v1/agents/keeper/execute", expect=201)["id"])
        volume = self.ask("GET", "/v1/volumes")["items"][0]["id"]
        self.assertEqual(self.ask("GET", f"/v1/volumes/{volume}")["name"], "workspace")
        self.ask("GET", f"/v1/volumes/{volume}/files")
        self.assertEqual(self.ask("GET", f"/v1/volumes/{volume}/files/a"), b"text")
        self.ask("GET", f"/v1/volumes/{volume}/files/a?stat=true")
        self.error("GET", f"/v1/volumes/{volume}/files/none", 404, "not_found")
        self.ask("GET", f"/v1/executions/{execution}/export")
        self.ask("GET", f"/v1/executions/{execution}/replay")
        self.ask("DELETE", f"/v1/volumes/{volume}", expect=204)
        self.error("GET", f"/v1/volumes/{NOBODY}", 404, "not_found")
        self.ask("DELETE", f"/v1/executions/{execution}", expect=204)
        self.error("GET", f"/v1/executions/{execution}", 404, "not_found")
        self.error("DELETE", f"/v1/executions/{execution}", 404, "not_found")

    def test_nothing_is_ignored(self):
        for path in ("/v1/agents?limit=x", "/v1/agents?limit=-1", "/v1/agents?status=running",
                     "/v1/agents?all=1", "/v1/executions?limit=0", "/v1/executions?limit=1001",
                     "/v1/executions?since=now", "/v1/executions?label=x", "/version?x=1",
                     "/v1/executions?limit=1&limit=2", "/v1/executions?cursor=nonsense",
                     f"/v1/executions/{NOBODY}/events?after=-1", "/v1/events?after=zzz"):
            error = self.error("GET", path, 400, "invalid")
            self.assertTrue(error["message"])
        error = self.error("GET", "/v1/executions?stats=failed", 400, "invalid")
        self.assertEqual((error["details"][0]["path"], error["hint"]),
                         ("query.stats", 'did you mean "status"?'))
        for body in ({"agent_id": "a", "max_iterations": "3"}, {"agent_id": "a", "labels": []},
                     {"agent_id": "a", "timeout": 5}, {"agent_id": "a", "max_iteration": 3},
                     {"input": "x"}, [], {"agent_id": "a", "model": 1}):
            self.error("POST", "/v1/executions", 400, "invalid", body)

    def test_methods(self):
        error = self.ask("PUT", "/v1/agents", "x", 405)["error"]
        self.assertIn("GET", error["hint"])
        self.assertEqual(self.headers["Allow"], "POST, GET, HEAD, OPTIONS")
        self.ask("OPTIONS", "/v1/executions/x", expect=204)
        self.assertEqual(self.headers["Allow"], "GET, HEAD, DELETE, OPTIONS")
        self.assertIsNone(self.headers["Access-Control-Allow-Origin"])
        self.ask("OPTIONS", "*", expect=204)
        status, body = self.node.api("HEAD", "/v1/agents")
        self.assertEqual((status, body), (200, b""))
        for path in ("/v1", "/v1/agents/a/b", "/v1/llm/generate", "/v1/chat/completions",
                     "/v1/messages", "/v2/agents"):
            self.error("GET", path, 404, "not_found")

    def test_too_large(self):
        self.error("POST", "/v1/agents", 413, "too_large", b"x" * (17 << 20))
        self.error("POST", "/v1/agents/a/pause", 413, "too_large", b"x" * (1 << 20))
        self.ask("GET", "/v1/agents?label=" + "a" * 9000, expect=414)
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port)
        connection.request("GET", "/version", headers={"X-Long": "a" * 40000})
        self.assertEqual(connection.getresponse().status, 431)
        connection.close()

    def test_web_pages_cannot_drive_it(self):
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"},
                        {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}):
            self.error("GET", "/v1/agents", 403, "permission_denied", headers=headers)
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
                        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}):
            self.ask("GET", "/v1/agents", headers=headers)
        self.ask("GET", "/v1/agents", headers={"Origin": f"http://127.0.0.1:{self.node.port}"})


class Metrics(Case):
    """/metrics against what was really done."""

    def samples(self):
        packages.use()
        from prometheus_client.parser import text_string_to_metric_families
        text = self.node.api("GET", "/metrics")[1].decode()
        out = {}
        for family in text_string_to_metric_families(text):
            for s in family.samples:
                name = ",".join([s.name] + [f"{k}={v}" for k, v in sorted(s.labels.items())])
                self.assertNotIn(name, out)
                out[name] = s.value
        return out

    def test_true_counts(self):
        self.node.deploy(validated())
        before = self.samples()
        self.say(ANSWERS, BETTER)
        runs = [self.node.run("checked") for _ in range(2)]
        runs.append(self.node.run("checked", "{}", "--max-iterations", "1"))
        for _ in range(3):
            self.node.api("GET", "/v1/agents/nobody")
        now = self.samples()

        def grown(name):
            return now.get(name, 0) - before.get(name, 0)

        self.assertEqual([r["status"] for r in runs], ["completed", "completed", "failed"])
        iterations = [i["status"] for r in runs for i in r["iterations"]]
        verdicts = [(v["validator"], v["passed"]) for r in runs for i in r["iterations"]
                    for v in i["validation"]["results"]]
        expected = {
            "aegis_executions_created_total": 3,
            "aegis_executions_ended_total,status=completed": 2,
            "aegis_executions_ended_total,status=failed": 1,
            "aegis_execution_failures_total,code=validation_exhausted": 1,
            "aegis_execution_duration_seconds_count,status=completed": 2,
            "aegis_sandbox_start_seconds_count,runtime=docker": len(iterations),
            "aegis_model_calls_total,result=completed": sum(r["usage"]["calls"] for r in runs),
            "aegis_http_requests_total,method=GET,route=/v1/agents/{agent},status=404": 3,
            "aegis_tool_calls_total,result=ok,tool=fs.write":
                sum(t["tool"] == "fs.write" for r in runs for i in r["iterations"]
                    for t in i["tool_calls"])}
        for status in ("success", "refining", "failed", "cancelled"):
            expected[f"aegis_iterations_total,status={status}"] = iterations.count(status)
        for validator in ("exit_code", "json_schema"):
            for passed, word in ((True, "passed"), (False, "failed")):
                expected[f"aegis_validations_total,result={word},validator={validator}"] = \
                    verdicts.count((validator, passed))
        for kind in ("prompt", "completion"):
            expected[f"aegis_model_tokens_total,model=gpt-test,provider=gpt,type={kind}"] = \
                sum(r["usage"][f"{kind}_tokens"] for r in runs)
        self.assertEqual({name: grown(name) for name in expected}, expected)
        for gauge in ("aegis_executions,status=running", "aegis_executions,status=pending",
                      "aegis_queue_length"):
            self.assertEqual(now[gauge], 0)
        self.assertEqual(now["aegis_ready"], 1)

    def test_what_runs_and_waits(self):
        self.say({"delay_ms": 60000, "content": "late"})
        self.node.deploy(agent("slow"))
        execution = self.node.execute("slow")
        self.model.wait_requests(1)
        self.assertEqual(self.samples()["aegis_executions,status=running"], 1)
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.samples()["aegis_executions,status=running"], 0)


class Health(unittest.TestCase):
    def node(self, config):
        node = Node(config)
        self.addCleanup(node.close)
        node.spawn()
        wait_until(lambda: self.answers(node), "the daemon answers", 30)
        return node

    @staticmethod
    def answers(node):
        try:
            return node.api("GET", "/health/live")[0] == 200
        except OSError:
            return False

    def test_not_ready_says_why(self):
        node = self.node({"runtime": {"isolation": "docker",
                                      "docker_host": "unix:///nonexistent/docker.sock"}})
        wait_until(lambda: node.api("GET", "/health/ready")[1]["checks"][0]["ok"], "recovered")
        status, body = node.api("GET", "/health/ready")
        self.assertEqual((status, body["status"]), (503, "not_ready"))
        bad = [c for c in body["checks"] if not c["ok"]]
        self.assertEqual([c["name"] for c in bad], ["sandboxes"])
        self.assertIn("/nonexistent/docker.sock", bad[0]["message"])
        self.assertIn("aegis_ready 0\n", node.api("GET", "/metrics")[1].decode())


if __name__ == "__main__":
    unittest.main()
