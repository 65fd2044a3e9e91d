#!/usr/bin/env python3
"""Golden sessions and end-to-end tests together; the last line is "N passed, N failed".

    run.py [--aegis BINARY]
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    totals = [0, 0]
    for suite in ("golden", "e2e"):
        run = subprocess.Popen([sys.executable, "-B", os.path.join(HERE, suite, "run.py"),
                                *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
        last = ""
        for last in run.stdout:
            print(last, end="", flush=True)
        found = re.search(r"(\d+) passed, (\d+) failed", last)
        passed, failed = (int(found[1]), int(found[2])) if found else (0, 1)
        totals[0] += passed
        totals[1] += max(failed, 1 if run.wait() else 0)
    print(f"{totals[0]} passed, {totals[1]} failed")
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
