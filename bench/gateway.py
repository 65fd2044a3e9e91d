"""Model calls through the daemon, from many sandboxes' own sockets."""

import json

from figures import Peer
from stage import Client, manifest, wait_until

SANDBOXES = 40
RATES = (100, 1000)
SECONDS = 5
PROMPT = "Say hello. " + "x" * 400


def sockets(client):
    """(path of its socket, agent) of each sandbox that stands, by execution: as the journal names
    its first process, `pid N`."""
    out = {}
    for row in json.loads(client.call("GET", "/v1/executions?status=running&limit=1000"))["items"]:
        events = json.loads(client.call("GET", f"/v1/executions/{row['id']}/events"))["items"]
        for event in events:
            if event["type"] == "SandboxStarted":
                pid = event["data"]["name"].split()[1]
                out[row["id"]] = (f"/proc/{pid}/root/aegis/run/api.sock", row["agent_id"])
    return out


def guest(path, agent, execution):
    return (f"unix:{path}", "/v1/llm/generate",
            {"type": "generate", "request_id": "bench-@@@@@@@@@@@@", "agent_id": agent,
             "execution_id": execution, "iteration_number": 1, "model_alias": "default",
             "prompt": PROMPT, "messages": []})


def bare(port):
    return (f"tcp:{port}", "/v1/chat/completions",
            {"model": "m", "stream": True, "messages": [{"role": "user", "content": PROMPT}]})


def added(table, rate, through, floor):
    """What the daemon adds: the difference of the percentiles of the two runs."""
    goal = "0.3 ms p50, 1 ms p99" if rate == max(RATES) else ""
    for what in ("first", "whole"):
        p50 = through[what]["p50"] - floor[what]["p50"]
        p99 = through[what]["p99"] - floor[what]["p99"]
        name = "first token" if what == "first" else "whole answer"
        table.single(f"gateway at {rate:,} requests/s: added to {name}", p50, "ms", p99=p99,
                     peer=Peer("the bare model server", floor[what]["p50"]), goal=goal,
                     met=(p50 <= 0.3 and p99 <= 1) if goal else None,
                     note=f"{through['failed']} failed" if through["failed"] else "")


def gateway(stage, table, _runs):
    agent = manifest("hold", "process", "hold on",
                     execution={"mode": "one-shot", "max_model_calls": 1_000_000})
    with stage.model() as (llm, port), \
            stage.node("process", [agent], llm=llm,
                       runtime={"max_concurrent_executions": SANDBOXES}) as daemon:
        client = Client(daemon.port)
        for _ in range(SANDBOXES):
            client.execute("hold")
        wait_until(lambda: len(sockets(client)) == SANDBOXES, "the sandboxes are up", 60)
        targets = [guest(path, owner, execution)
                   for execution, (path, owner) in sorted(sockets(client).items())]
        floor_targets = [bare(port)] * SANDBOXES
        stage.load(targets, 50, 1)  # warms up
        for rate in RATES:
            floor = stage.load(floor_targets, rate, SECONDS)
            added(table, rate, stage.load(targets, rate, SECONDS), floor)
        floor = stage.load(floor_targets, 0, SECONDS)
        most = stage.load(targets, 0, SECONDS)
        client.close()
    table.single(f"gateway, as fast as {SANDBOXES} sandboxes can", most["per_second"],
                 "per second", peer=Peer("the bare model server", floor["per_second"]),
                 goal="10,000/s on 2 cores", met=most["per_second"] >= 10_000)
