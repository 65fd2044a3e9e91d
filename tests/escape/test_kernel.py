"""What a program may ask of the kernel."""

import unittest

from escape import Attempts, attempts


@attempts("kernel")
class Kernel(Attempts):
    @classmethod
    def prepare(cls):
        cls.params = {"host_pid": cls.node.process.pid}
        cls.control_params = {"host_pid": 1}


if __name__ == "__main__":
    unittest.main()
