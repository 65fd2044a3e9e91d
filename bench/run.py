#!/usr/bin/env python3
"""Figures of performance, each beside its floor or peer from the same run, in one table.

    bench/run.py [--build build] [--runs 40] [--json FILE] [--list] [GROUP...]

Needs root; the figures of `isolation: docker` also a container engine with the base image. Every
group starts daemons of its own (temporary data directories, free ports) and ends them. Runs of a
figure and of its peer take turns, so that both see the same machine. README.md tells what each
row is. Stored as JSON in BUILD/bench.json.
"""
import argparse
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True


def groups():
    """In the order of the table. Imported late: they need to know which binary."""
    import commands
    import crowds
    import executions
    import gateway
    import starts
    import storage
    return {"process": starts.process, "docker": starts.docker,
            "accepted": executions.accepted, "whole": executions.whole,
            "execute": executions.command_line, "refine": executions.refine,
            "cancel-process": executions.cancel("process", 50),
            "cancel-docker": executions.cancel("docker", 300),
            "waiting": crowds.waiting, "gateway": gateway.gateway, "journal": storage.journal,
            "stored": storage.stored, "daemon": commands.daemon,
            "commands": commands.command_line, "api": crowds.api, "watchers": crowds.watchers}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="only these; see --list")
    parser.add_argument("--build", default="build", help="the folder with aegis in it")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--json", help="where to store the figures (default: BUILD/bench.json)")
    parser.add_argument("--list", action="store_true", help="names the groups")
    options = parser.parse_args()
    os.environ["AEGIS_BIN"] = os.path.join(os.path.abspath(options.build), "aegis")
    os.environ["AEGIS_TEST_ISOLATION"] = "process"
    from figures import Table, machine
    from stage import Stage
    known = groups()
    if options.list:
        print("\n".join(known))
        return 0
    unknown = [name for name in options.groups if name not in known]
    if unknown:
        sys.exit(f"error: no group {unknown[0]}; there are {', '.join(known)}")
    table, stage = Table(), Stage(options.build)
    began = time.monotonic()
    try:
        for name in options.groups or known:
            print(f"[{time.monotonic() - began:3.0f} s] {name}", file=sys.stderr, flush=True)
            table.group = name
            known[name](stage, table, options.runs)
    finally:
        stage.close()
        print(table.text())
        m = machine()
        print(f"{m['cores']} cores, Linux {m['kernel']}, load {m['load'][0]:.1f}, "
              f"{time.monotonic() - began:.0f} s in all")
        path = options.json or os.path.join(options.build, "bench.json")
        table.store(path)
        print(f"stored in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
