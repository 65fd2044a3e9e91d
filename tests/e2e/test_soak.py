"""Executions of every kind in the embedded sandbox leave nothing behind."""

import unittest

from leftovers import KINDS, Soak

WARM_UP = 2 * len(KINDS)
EXECUTIONS = 25 * len(KINDS)


class Leftovers(unittest.TestCase):
    def test_two_hundred_executions(self):
        soak = Soak()
        self.addCleanup(soak.close)
        soak.start()
        soak.run(WARM_UP)
        before = soak.quiet()
        soak.run(EXECUTIONS)
        soak.settled(before)


if __name__ == "__main__":
    unittest.main()
