"""The command line and the daemon as processes: what they take, hold and load."""

import os
import subprocess
import sys
import time

import floors
from crowds import resident
from figures import Peer
from stage import Client, manifest, wait_until

PEER = ["docker", "--version"]
FORBIDDEN = ("libcurl", "libssl", "libgnutls")


def libraries(command):
    """Names of the shared objects that a command has loaded, at its start or later."""
    said = subprocess.run(command, env=dict(os.environ, LD_DEBUG="files"), text=True, check=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr
    return sorted({os.path.basename(line.split("calling init: ")[1])
                   for line in said.splitlines() if "calling init: " in line})


def command_line(stage, table, runs):
    with stage.node("process", [manifest("plain", "process")]) as daemon:
        address = f"127.0.0.1:{daemon.port}"
        client = [stage.aegis, "--daemon-addr", address]
        commands = {"aegis agent list": [*client, "agent", "list"],
                    "aegis agent list -o json": [*client, "agent", "list", "-o", "json"],
                    "aegis execution list": [*client, "execution", "list"],
                    "aegis --version": [stage.aegis, "--version"],
                    "aegis __complete (a name)": [stage.aegis, "__complete", "--", "--daemon-addr",
                                                  address, "agent", "get", ""],
                    "floor": ["/bin/true"]}
        if subprocess.run(["which", "docker"], capture_output=True, check=False).returncode == 0:
            commands["peer"] = PEER
        loaded = libraries(commands["aegis agent list"])
        taken = {name: [] for name in commands}
        for turn in range(2 * runs + 1):
            for name, command in commands.items():  # taking turns: all see the same machine
                ms = floors.command_ms(command)
                if turn:
                    taken[name].append(ms)
    beside = Peer.of(" ".join(PEER), taken["peer"]) if "peer" in taken else \
        Peer.of("/bin/true", taken["floor"])
    for name, values in taken.items():
        if name == "aegis agent list":
            table.times(f"{name}, whole process", values, peer=beside, goal="8 ms", most=8)
        elif name not in ("floor", "peer"):
            table.times(f"{name}, whole process", values, peer=beside)
    wrong = [name for name in loaded if name.startswith(FORBIDDEN)]
    if wrong:
        sys.exit(f"error: a client command loads {' '.join(wrong)}")


def ready_ms(daemon):
    """From the start of the process until it says that executions can be started."""
    start = time.perf_counter()
    daemon.spawn()
    while True:
        try:
            client = Client(daemon.port)
            ready, _ = client.ask("GET", "/health/ready")
            client.close()
            if ready:
                return (time.perf_counter() - start) * 1e3
        except OSError:
            time.sleep(0.0005)


def children(pid):
    out = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            out += [int(child) for child in f.read().split()]
    return out


def daemon(stage, table, runs):
    times, memory, launcher = [], [], []
    with stage.node("process", start=False, runtime={"warm_pool": {"size": 0}}) as node:
        node.start()  # makes its data directory, unpacks the image
        node.deploy(manifest("plain", "process"))
        node.run("plain")
        node.terminate()
        for _ in range(max(runs // 4, 5)):
            times.append(ready_ms(node))
            wait_until(lambda: children(node.process.pid), "the launcher runs")
            memory.append(resident(node.process.pid, "Rss") / (1 << 20))
            launcher.append(sum(resident(child, "Pss") for child in children(node.process.pid))
                            / (1 << 20))
            node.terminate()
    table.times("daemon, start to ready", times, goal="50 ms", most=50)
    idle = sorted(memory)[len(memory) // 2]
    table.single("daemon, idle memory (resident)", idle, "MiB", p99=max(memory), goal="25 MiB",
                 met=idle <= 25, note=f"its launcher {max(launcher):.1f} MiB beside it")
