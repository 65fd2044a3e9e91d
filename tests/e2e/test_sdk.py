"""A client written to the published SDK's shapes: httpx and pydantic models with the fields that
it requires, for agents, executions and streams. What it relies on may not change."""

import json
import unittest
from datetime import datetime
from typing import Any, Dict, Iterator, List, Literal, Optional

import packages
from case import Case
from model import call, turns
from node import agent, workspace

packages.use()
import httpx  # noqa: E402
from pydantic import BaseModel  # noqa: E402


class AgentInfo(BaseModel):
    id: str
    name: str
    version: str
    status: str
    description: str
    labels: Dict[str, str]
    created_at: datetime
    updated_at: datetime


class AgentList(BaseModel):
    items: List[AgentInfo]
    count: int


class DeployResponse(BaseModel):
    id: str
    agent_id: str
    version: str
    deployed_at: datetime


class StartedExecution(BaseModel):
    execution_id: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]


class ExecutionInfo(BaseModel):
    id: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    started_at: Optional[datetime]
    ended_at: Optional[datetime]
    agent_id: str
    output: Optional[str]
    error: Optional[Dict[str, str]]
    iterations: List[Dict[str, Any]]


class ExecutionList(BaseModel):
    items: List[Dict[str, Any]]
    count: int
    next_cursor: Optional[str]


class ExecutionEvent(BaseModel):
    type: str
    seq: int
    time: datetime
    execution_id: str
    data: Dict[str, Any]


class SdkError(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body['error']['message']}")
        self.status = status


class Client:
    """`base_url` and `bearer_token`, as the SDK's AegisClient takes them."""

    def __init__(self, base_url, bearer_token=None):
        headers = {"Authorization": f"Bearer {bearer_token}"} if bearer_token else {}
        self.http = httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False)

    def request(self, method, path, **kwargs):
        answer = self.http.request(method, path, **kwargs)
        if answer.status_code >= 400:
            raise SdkError(answer.status_code, answer.json())
        return answer.json()

    def deploy_agent(self, manifest):
        return DeployResponse(**self.request("POST", "/v1/agents", content=manifest,
                                             headers={"Content-Type": "text/yaml"}))

    def list_agents(self):
        return AgentList(**self.request("GET", "/v1/agents"))

    def get_agent(self, agent_id):
        return AgentInfo(**self.request("GET", f"/v1/agents/{agent_id}"))

    def lookup_agent(self, name):
        return AgentInfo(**self.request("GET", f"/v1/agents/lookup/{name}"))

    def delete_agent(self, agent_id):
        self.request("DELETE", f"/v1/agents/{agent_id}")

    def execute(self, agent_id, given):
        return StartedExecution(**self.request("POST", "/v1/executions",
                                               json={"agent_id": agent_id, "input": given}))

    def execute_agent(self, agent_id, given):
        return StartedExecution(**self.request("POST", f"/v1/agents/{agent_id}/execute",
                                               json={"input": given}))

    def get_execution(self, execution_id):
        return ExecutionInfo(**self.request("GET", f"/v1/executions/{execution_id}"))

    def list_executions(self, **query):
        return ExecutionList(**self.request("GET", "/v1/executions", params=query))

    def cancel(self, execution_id):
        return ExecutionInfo(**self.request("POST", f"/v1/executions/{execution_id}/cancel"))

    def stream(self, execution_id) -> Iterator[ExecutionEvent]:
        with self.http.stream("GET", f"/v1/executions/{execution_id}/stream") as answer:
            # Its end is the connection's end, which must be said: the pool would use it again.
            assert answer.headers["connection"] == "close", answer.headers
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield ExecutionEvent(**json.loads(line[len("data:"):]))


class Sdk(Case):
    config = {"server": {"token": "sdk-token"}}

    def setUp(self):
        self.node.env["AEGIS_TOKEN"] = "sdk-token"
        self.client = Client(f"http://127.0.0.1:{self.node.port}", "sdk-token")
        self.addCleanup(self.client.http.close)

    def test_a_session(self):
        self.say(turns([call("fs.write", path="/workspace/a", content="x")], "the answer"))
        manifest = json.dumps(agent("sdk-agent", volumes=[workspace()]))
        deployed = self.client.deploy_agent(manifest)
        self.assertEqual(deployed.id, deployed.agent_id)
        self.assertEqual(self.client.deploy_agent(manifest).id, deployed.id)
        self.assertEqual([a.name for a in self.client.list_agents().items], ["sdk-agent"])
        self.assertEqual(self.client.get_agent(deployed.id).status, "deployed")
        self.assertEqual(self.client.lookup_agent("sdk-agent").id, deployed.id)
        started = self.client.execute(deployed.id, {"task": "x"})
        events = list(self.client.stream(started.execution_id))
        self.assertEqual([e.seq for e in events], list(range(1, len(events) + 1)))
        self.assertEqual((events[0].type, events[-1].type),
                         ("ExecutionCreated", "ExecutionCompleted"))
        done = self.client.get_execution(started.execution_id)
        self.assertEqual((done.status, done.output), ("completed", "the answer"))
        self.assertLessEqual(done.started_at, done.ended_at)
        self.assertEqual(self.client.list_executions(status="completed").count, 1)
        self.say({"delay_ms": 60000, "content": "late"})
        second = self.client.execute_agent(deployed.id, "verbatim")
        self.assertEqual(self.client.cancel(second.execution_id).status, "cancelled")
        self.client.delete_agent(deployed.id)
        self.assertEqual(self.client.list_agents().count, 0)

    def test_errors(self):
        for action, status in ((lambda: self.client.get_agent("nobody"), 404),
                               (lambda: self.client.deploy_agent("kind: Agent\n"), 400),
                               (lambda: self.client.execute("nobody", {}), 404)):
            with self.assertRaises(SdkError) as caught:
                action()
            self.assertEqual(caught.exception.status, status)
        stranger = Client(f"http://127.0.0.1:{self.node.port}", "wrong")
        with self.assertRaises(SdkError) as caught:
            stranger.list_agents()
        self.assertEqual(caught.exception.status, 401)
        stranger.http.close()


if __name__ == "__main__":
    unittest.main()
