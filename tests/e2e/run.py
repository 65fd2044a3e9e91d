#!/usr/bin/env python3
"""Runs the end-to-end tests, one class after the other; the last line is "e2e: N passed, N failed".

    run.py [--aegis BINARY] [--isolation docker|process] [NAME...]
                                           NAME: test_model, test_model.Errors, ...
"""
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
if "--aegis" in sys.argv:
    at = sys.argv.index("--aegis")
    os.environ["AEGIS_BIN"] = os.path.abspath(sys.argv[at + 1])
    del sys.argv[at:at + 2]
if "--isolation" in sys.argv:
    at = sys.argv.index("--isolation")
    os.environ["AEGIS_TEST_ISOLATION"] = sys.argv[at + 1]
    del sys.argv[at:at + 2]


class Result(unittest.TextTestResult):
    """Prints a line per test with its time."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def report(self, test, verdict):
        print(f"{verdict:6} {test.id()} ({time.monotonic() - self.began:.1f} s)", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.report(test, "ok")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(test, "FAILED")

    def addError(self, test, err):
        super().addError(test, err)
        if hasattr(self, "began"):
            self.report(test, "ERROR")


def main():
    began = time.monotonic()
    names = sys.argv[1:] or sorted(n[:-3] for n in os.listdir(HERE)
                                   if n.startswith("test_") and n.endswith(".py"))
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    with open(os.devnull, "w", encoding="utf-8") as quiet:
        runner = unittest.TextTestRunner(stream=quiet, resultclass=Result, verbosity=0)
        result = runner.run(suite)
    for test, trace in result.failures + result.errors:
        print(f"\n=== {test}\n{trace}", end="")
    failed = len({str(test) for test, _ in result.failures + result.errors})
    passed = result.testsRun - len({str(t) for t, _ in result.failures + result.errors
                                    if isinstance(t, unittest.TestCase)})
    print(f"e2e: {time.monotonic() - began:.0f} s")
    print(f"e2e: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
