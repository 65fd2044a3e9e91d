#!/usr/bin/env python3
"""Thousands of executions in a row, of every kind, and what they leave behind: nothing.

    bench/soak.py [--build build] [--executions 10000] [--minutes 60] [--json FILE]

In isolation `process`: successes, refinements, failures and cancels, with and without volumes (see
tests/lib/leftovers.py). Compared are processes, control groups of every hierarchy, mounts, loop
devices, sockets, descriptors, threads and files before and after; exit 1 if any of them is more, or
if the daemon's memory grew by more than --grow-mib.
"""
import argparse
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
WARM_UP = 400
# The database and its log grow with what is stored; nothing else may.
GROW_MIB = 24


class OverTime(Exception):
    pass


def disk(folder):
    out = 0
    for at, _, names in os.walk(folder):
        out += sum(os.lstat(os.path.join(at, n)).st_blocks * 512 for n in names
                   if not n.startswith("aegis.db"))
    return out


def measure(soak, options):
    began = time.monotonic()

    def progress(done):
        if time.monotonic() > began + options.minutes * 60:
            raise OverTime
        if done % 100 == 0:
            took = time.monotonic() - began
            print(f"\r{done}/{options.executions}, {done / took:.0f}/s, "
                  f"{soak.resident_kib() // 1024} MiB ", end="", file=sys.stderr, flush=True)
    soak.start()
    soak.run(WARM_UP)
    before = dict(soak.quiet(), **{"resident KiB": soak.resident_kib(),
                                   "disk KiB": disk(soak.node.data_dir) // 1024})
    done = options.executions
    began = time.monotonic()
    try:
        soak.run(options.executions, progress)
    except OverTime:
        sys.exit(f"error: not done within {options.minutes} minutes")
    took = time.monotonic() - began
    print(file=sys.stderr)
    failure = ""
    try:
        soak.settled(before)
    except AssertionError as error:
        failure = str(error)
    after = dict(soak.leftovers(), **{"resident KiB": soak.resident_kib(),
                                      "disk KiB": disk(soak.node.data_dir) // 1024})
    return {"executions": done, "per_second": done / took, "before": before, "after": after,
            "failure": failure}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build", help="the folder with aegis in it")
    parser.add_argument("--executions", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--grow-mib", type=float, default=GROW_MIB)
    parser.add_argument("--json", help="where to store the figures (default: BUILD/soak.json)")
    options = parser.parse_args()
    os.environ["AEGIS_BIN"] = os.path.join(os.path.abspath(options.build), "aegis")
    sys.path.append(os.path.join(os.path.dirname(HERE), "tests", "lib"))
    from leftovers import Soak
    soak = Soak()
    try:
        result = measure(soak, options)
    finally:
        soak.close()
    for name, value in result["before"].items():
        print(f"{name:24} {value:>10,} {result['after'][name]:>10,}")
    print(f"{result['executions']:,} executions, {result['per_second']:.1f} per second")
    grown = (result["after"]["resident KiB"] - result["before"]["resident KiB"]) / 1024
    if not result["failure"] and grown > options.grow_mib:
        result["failure"] = f"the daemon's memory grew by {grown:.1f} MiB"
    with open(options.json or os.path.join(options.build, "soak.json"), "w",
              encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    if result["failure"]:
        print(f"error: left behind: {result['failure']}", file=sys.stderr)
    return 1 if result["failure"] else 0


if __name__ == "__main__":
    sys.exit(main())
