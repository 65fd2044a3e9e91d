#!/usr/bin/env python3
"""Runs the end-to-end tests, one class after the other; the last line is "e2e: N passed, N failed".

    run.py [--aegis BINARY] [--isolation docker|process] [NAME...]
                                           NAME: test_model, test_model.Errors, ...
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import runner  # noqa: E402  found by the path above

if __name__ == "__main__":
    runner.take_option("--aegis", "AEGIS_BIN", os.path.abspath)
    runner.take_option("--isolation", "AEGIS_TEST_ISOLATION")
    sys.exit(runner.run("e2e", HERE))
