#!/usr/bin/env python3
"""Runs this folder's tests as whoever it is started by: run_as_user.py NAME..."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
os.environ["AEGIS_TEST_ISOLATION"] = "process"

import runner  # noqa: E402  found by the path above

if __name__ == "__main__":
    sys.exit(runner.run("user", HERE))
