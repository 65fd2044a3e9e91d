"""Runs a folder of unittest files; the last line is "SUITE: N passed, N failed"."""

import os
import sys
import time
import unittest


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


def take_option(name, variable, change=str):
    """Moves the option and its value from the command line into the environment."""
    if name in sys.argv:
        at = sys.argv.index(name)
        os.environ[variable] = change(sys.argv[at + 1])
        del sys.argv[at:at + 2]


def run(suite_name, folder):
    """The tests that the command line names, else all of the folder; returns the exit code."""
    began = time.monotonic()
    names = sys.argv[1:] or sorted(n[:-3] for n in os.listdir(folder)
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
    print(f"{suite_name}: {time.monotonic() - began:.0f} s")
    print(f"{suite_name}: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
