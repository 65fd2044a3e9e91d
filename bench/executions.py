"""Whole executions: accepted, one by one, many at once, the next iteration, a cancel."""

import datetime
import json
import os
import subprocess
import time

import floors
from figures import Peer, percentile
from stage import IMAGE, VOLUME, Client, Feed, manifest, processes, refining, wait_until

AT_ONCE = 16


def accepted(stage, table, runs):
    runs *= 10
    agents = [manifest("plain", "process"), manifest("long", "process", "sleep")]
    # The one that runs sleeps, so that the others stay in the queue and the machine is quiet.
    with stage.node("process", agents, runtime={"max_concurrent_executions": 1}) as daemon:
        client, disk, echo = Client(daemon.port), floors.Disk(stage.folder), floors.Echo()
        long = client.execute("long")
        wait_until(lambda: processes(daemon), "the long one runs")
        times, syncs, trips = [], [], []
        for turn in range(runs + 10):
            taken = floors.ms_of(lambda: client.execute("plain"))
            if turn >= 10:
                times.append(taken)
                syncs.append(disk.ms())
                trips.append(echo.ms())
        echo.close()
        client.close()
        daemon.ok("execution", "cancel", long)
    peer = Peer("fdatasync + loopback round trip", percentile(syncs, .5) + percentile(trips, .5))
    table.times("execution accepted (durable)", times, peer=peer,
                goal="2 x fdatasync + round trip",
                most=2 * percentile(syncs, .5) + percentile(trips, .5))


def one_by_one(client, feed, agent, runs, between=lambda: None):
    times = []
    for turn in range(runs + 3):
        between()
        start = time.perf_counter()
        execution = client.execute(agent)
        took = feed.end(execution) - start
        if turn >= 3:
            times.append(took * 1e3)
    return times


def rate(client, feed, agent, seconds):
    """Executions per second with AT_ONCE of them under way."""
    under_way = [client.execute(agent) for _ in range(AT_ONCE)]
    start, done = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        feed.end(under_way.pop(0))
        under_way.append(client.execute(agent))
        done += 1
    took = time.perf_counter() - start
    for execution in under_way:
        feed.end(execution)
    return done / took


def whole(stage, table, runs):
    agents = [manifest("plain", "process"), manifest("volume", "process", volumes=[VOLUME])]
    syncs = []
    with stage.node("process", agents) as daemon:
        client, feed, disk = Client(daemon.port), Feed(daemon.port), floors.Disk(stage.folder)
        plain = one_by_one(client, feed, "plain", runs, lambda: syncs.append(disk.ms()))
        volume = one_by_one(client, feed, "volume", runs)
        per_second = rate(client, feed, "plain", 6)
        with_volume = rate(client, feed, "volume", 4)
        feed.close()
        client.close()
    sync = percentile(syncs, .5)
    peer = Peer("4 x fdatasync", 4 * sync)
    limit = 8 + 4 * sync
    table.times("whole execution, process", plain, peer=peer, goal="8 ms + 4 x fdatasync",
                most=limit)
    more = percentile(volume, .5) - percentile(plain, .5)
    table.times("whole execution, process, with a volume", volume,
                peer=Peer("without a volume", percentile(plain, .5)), goal="4 ms more",
                most=percentile(plain, .5) + 4, note=f"{more:.1f} ms more")
    peer = Peer("unshare and a Python each", floors.per_second(floors.NAMESPACES_FLOOR, AT_ONCE, 4))
    table.single(f"executions, {AT_ONCE} at once", per_second, "per second", peer=peer,
                 goal="300/s on 2 cores", met=per_second >= 300)
    table.single(f"executions with a volume, {AT_ONCE} at once", with_volume, "per second",
                 peer=peer)


def command_line(stage, table, runs):
    """As a user has it: the command, a container, the record; beside docker run of nothing."""
    if not stage.has_engine():
        return table.absent(f"no container engine with {IMAGE}")
    times, peers = [], []
    with stage.node("docker", [manifest("plain", "docker")]) as daemon:
        for turn in range(min(runs, 10) + 1):
            start = time.perf_counter()
            execution = daemon.execute("plain")
            daemon.ok("execution", "wait", execution)
            took = (time.perf_counter() - start) * 1e3
            peer = floors.first_byte_ms(["docker", "run", "--rm", "--network", "none", IMAGE,
                                         "echo", "x"])[1]
            if turn:
                times.append(took)
                peers.append(peer)
    table.times("aegis execute and wait, docker", times,
                peer=Peer.of("docker run --network none, whole", peers))
    return None


def event_time(events, type_name, iteration):
    event = next(e for e in events if e["type"] == type_name and e.get("iteration") == iteration)
    return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


def refine(stage, table, runs):
    """By the events' own times: they may reach a watcher in one commit."""
    times = []
    with stage.node("process", [refining("again", "process")]) as daemon:
        client, feed = Client(daemon.port), Feed(daemon.port)
        for turn in range(runs + 1):
            execution = client.execute("again")
            feed.end(execution)
            events = json.loads(client.call("GET", f"/v1/executions/{execution}/events"))["items"]
            refused = event_time(events, "ValidationCompleted", 1)
            asked = event_time(events, "LlmCallStarted", 2)
            if turn:
                times.append((asked - refused) * 1e3)
        feed.close()
        client.close()
    table.times("failed validation to the next iteration's model call", times, goal="5 ms p50",
                most=5)


def started(daemon, client, feed):
    """A new execution whose command sleeps inside by now, and the pids to watch."""
    execution = client.execute("long")
    feed.wait(execution, "ToolCallStarted")
    if daemon.isolation == "process":
        return execution, wait_until(lambda: processes(daemon, "sleep"), "the command runs")
    [container] = daemon.containers()
    top = subprocess.run(["docker", "top", container, "-o", "pid"], capture_output=True, text=True,
                         check=True).stdout.split()[1:]
    return execution, {int(pid) for pid in top}


def cancel(isolation, goal_ms):
    def measure(stage, table, runs):
        if isolation == "docker" and not stage.has_engine():
            return table.absent(f"no container engine with {IMAGE}")
        times = []
        with stage.node(isolation, [manifest("long", isolation, "sleep")]) as daemon:
            client, feed = Client(daemon.port), Feed(daemon.port, "ToolCallStarted")
            for _ in range(min(runs, 20)):
                execution, pids = started(daemon, client, feed)
                start = time.perf_counter()
                command = subprocess.Popen(
                    [stage.aegis, "execution", "cancel", execution], env=daemon.env,
                    stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
                while any(os.path.exists(f"/proc/{pid}") for pid in pids):
                    time.sleep(0.0005)
                times.append((time.perf_counter() - start) * 1e3)
                if command.wait() != 0:
                    raise AssertionError("cancel failed")
                wait_until(lambda: not daemon.containers(), "the sandbox is gone")
            client.close()
            feed.close()
        table.times(f"cancel, {isolation}: command to no process left", times,
                    goal=f"{goal_ms} ms p50", most=goal_ms)
        return None
    return measure
