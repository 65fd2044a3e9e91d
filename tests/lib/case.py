"""The base of the end-to-end tests: one daemon and one model server for each class."""

import unittest

from model import Model
from node import Node, agent


class Case(unittest.TestCase):
    """`config`: what the class adds to its node's configuration; `start`: runs at once or not;
    `prepare_node`: what is to be done before it starts."""

    config = {}
    start = True
    node_class = Node

    @classmethod
    def setUpClass(cls):
        cls.model = Model()
        cls.addClassCleanup(cls.model.close)
        cls.node = cls.node_class(cls.model.config(**cls.config), env=cls.model.env())
        cls.addClassCleanup(cls.node.close)
        cls.prepare_node()
        if cls.start:
            cls.node.start()

    @classmethod
    def prepare_node(cls):
        pass

    def say(self, *rules):
        """What the model answers from now on; its counters start anew."""
        self.model.script(*rules)

    def run_with(self, rule, given="{}", manifest=None, flags=(), timeout=90):
        """Deploys, runs with this one rule of the model, and returns the record."""
        self.say(rule)
        manifest = manifest or agent()
        self.node.deploy(manifest)
        return self.node.run(manifest["metadata"]["name"], given, *flags, timeout=timeout)

    def assertFailed(self, record, code, *words):
        self.assertEqual(record["status"], "failed", record["output"])
        self.assertEqual(record["error"]["code"], code, record["error"])
        for word in words:
            self.assertIn(word, record["error"]["message"])

    def assertCompleted(self, record):
        self.assertEqual(record["status"], "completed", f"{record['error']} {record['iterations']}")

    def gap_free(self, events):
        self.assertEqual([e["seq"] for e in events], list(range(1, len(events) + 1)))
