#!/usr/bin/env python3
"""Runs the escape suite in one isolation; the last line is "escape: N passed, N failed".

    run.py [--aegis BINARY] [--isolation docker|process] [NAME...]     NAME: test_kernel, ...
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "programs"), os.path.join(TESTS, "lib"),
                os.path.join(TESTS, "e2e")]

import runner  # noqa: E402  found by the path above

if __name__ == "__main__":
    runner.take_option("--aegis", "AEGIS_BIN", os.path.abspath)
    runner.take_option("--isolation", "AEGIS_TEST_ISOLATION")
    sys.exit(runner.run("escape", HERE))
