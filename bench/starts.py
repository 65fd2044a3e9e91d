"""How long a sandbox takes, from its runtime's order to its guest's first request."""

import json
import time

import floors
from figures import Peer
from stage import IMAGE, Client, Feed, manifest

AGENT = "plain"
FIRST_RUNS = 8


def node(stage, isolation, pool):
    return stage.node(isolation, [manifest(AGENT, isolation)],
                      runtime={"warm_pool": {"size": pool}},
                      observability={"log_level": "debug", "log_format": "json"})


class Clock:
    """Reads the daemon's own word: its debug line of each sandbox's first request."""

    def __init__(self, daemon):
        self.log = open(daemon.log_path, encoding="utf-8")

    def ms(self, execution):
        # The execution has ended: the line has been written.
        for line in self.log:
            if '"first request of a sandbox"' in line and execution in line:
                return json.loads(line)["us"] / 1e3
        raise AssertionError(f"the log has no first request of {execution}")

    def close(self):
        self.log.close()


def run(daemon, runs, between, pause=0.1):
    """Times of the sandbox's part; `between` is called before each, as the peers take turns."""
    client, feed, clock = Client(daemon.port), Feed(daemon.port), Clock(daemon)
    times = []
    for turn in range(runs + 1):
        between()
        time.sleep(pause)  # as a single user would, and a pool can fill again
        execution = client.execute(AGENT)
        feed.end(execution)
        if turn:  # the first is another figure
            times.append(clock.ms(execution))
        else:
            clock.ms(execution)
    for part in (client, feed, clock):
        part.close()
    return times


def first_of_an_image(stage, runs):
    """The first sandbox of a daemon that has just started and whose agent has just been deployed:
    its template is under way."""
    times = []
    for _ in range(runs):
        with node(stage, "process", 0) as daemon:
            client, feed, clock = Client(daemon.port), Feed(daemon.port), Clock(daemon)
            execution = client.execute(AGENT)
            feed.end(execution)
            times.append(clock.ms(execution))
            for part in (client, feed, clock):
                part.close()
    return times


def process(stage, table, runs):
    python, bare = [], []
    socket = floors.BareSocket(stage.folder)

    def floor():
        python.append(floors.command_ms(floors.PYTHON_FLOOR))
        bare.append(socket.ms())
    with node(stage, "process", 0) as daemon:
        cold = run(daemon, runs, floor)
    with node(stage, "process", 4) as daemon:
        warm = run(daemon, runs, floor, pause=0.3)
    first = first_of_an_image(stage, FIRST_RUNS)
    socket.close()
    peer = Peer.of(" ".join(floors.PYTHON_FLOOR), python)
    table.times("process, warm: job to first model request", warm,
                peer=Peer.of("a Python that waits on a socket", bare),
                goal="1 ms p50, 3 ms p99", most=1, most_p99=3)
    table.times("process, no warm one left", cold, peer=peer, goal="0.5 x Python's start",
                most=0.5 * peer.value)
    table.times("process, first of an image", first, peer=peer, goal="1.6 x Python's start",
                most=1.6 * peer.value)


def docker(stage, table, runs):
    if not stage.has_engine():
        return table.absent(f"no container engine with {IMAGE}")
    runs = min(runs, 12)
    first_byte = []

    def peer():
        command = ["docker", "run", "--rm", "--network", "none", IMAGE, "echo", "x"]
        first_byte.append(floors.first_byte_ms(command)[0])
    with node(stage, "docker", 0) as daemon:
        cold = run(daemon, runs, peer)
    with node(stage, "docker", 2) as daemon:
        warm = run(daemon, runs, lambda: None, pause=1.5)
    beside = Peer.of("docker run --network none, first byte", first_byte)
    table.times("docker, warm: job to first model request", warm, peer=beside, goal="1 ms p50",
                most=1)
    table.times("docker, cold", cold, peer=beside, goal="0.6 x docker run",
                most=0.6 * beside.value)
    return None
