"""The embedded sandbox on a node without a container engine, and what is only its own."""

import hashlib
import json
import os
import signal
import unittest

from case import Case
from model import Model, call, python, tool_results, turns
from node import IMAGES, Node, agent, base_image, example, wait_until, workspace

NO_ENGINE = {"docker_host": "unix:///nonexistent/docker.sock"}


def prepare(node):
    """Unpacks the base image on this node and calls it by its name, as `aegis image build` does."""
    images = os.path.join(node.data_dir, "images")
    os.makedirs(os.path.join(IMAGES, "unpacked", "names"), exist_ok=True)
    os.makedirs(node.data_dir, mode=0o700, exist_ok=True)
    if not os.path.lexists(images):
        os.symlink(os.path.join(IMAGES, "unpacked"), images)
    names = os.path.join(images, "names")
    own = os.path.join(names, hashlib.sha256(b"aegis/python:3.11").hexdigest())
    archive = base_image()
    for name in os.listdir(names):
        with open(os.path.join(names, name), encoding="utf-8") as f:
            entry = json.load(f)
        if entry["name"].startswith(archive + "|"):
            with open(own + ".new", "w", encoding="utf-8") as f:
                json.dump({"name": "aegis/python:3.11", "digest": entry["digest"]}, f)
            os.rename(own + ".new", own)
            return
    raise unittest.SkipTest("no base image is unpacked yet: run test_sandbox --isolation process")


def launchers(node):
    """The launcher processes of this node's daemon."""
    out = []
    for task in os.listdir(f"/proc/{node.process.pid}/task"):
        path = f"/proc/{node.process.pid}/task/{task}/children"
        with open(path, encoding="ascii") as f:
            for pid in f.read().split():
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    if b"launcher" in cmdline.read():
                        out.append(int(pid))
    return out


class NoEngine(Case):
    config = {"runtime": NO_ENGINE}
    start = False

    def setUp(self):
        if not self.node.process:
            prepare(self.node)
            self.node.start()

    def test_inherit_means_the_embedded_sandbox(self):
        record = self.run_with(turns([python("print('hello')")], "ok"),
                               manifest=agent(runtime={"isolation": "inherit"}))
        self.assertCompleted(record)
        started = [e for e in self.node.events(record["id"]) if e["type"] == "SandboxStarted"]
        self.assertIn('"runtime": "process"', json.dumps(started[0]))
        line = self.node.ok("agent", "list").out.splitlines()[1]
        self.assertIn(" process", line)
        self.assertIn("isolation: process", self.node.ok("config", "dump", "--config",
                                                         self.node.config_path).out)

    def test_docker_is_refused(self):
        done = self.node.aegis("agent", "deploy", "-", stdin=example("pr-reviewer.yaml"))
        self.assertEqual(done.code, 2, done)
        self.assertIn("/nonexistent/docker.sock", done.err)
        copy = example("pr-reviewer.yaml").replace("isolation: docker", "isolation: inherit")
        self.node.ok("agent", "deploy", "-", stdin=copy)

    def test_the_image_of_a_deployed_agent_is_made_ready(self):
        template = self.node.templates
        self.node.deploy(agent(runtime={"isolation": "process"}))
        wait_until(template, "a template after the deployment")
        [before] = template()
        self.node.terminate()
        self.node.start()
        wait_until(lambda: template() not in ([], [before]), "a template of the next daemon")

    def test_a_launcher_that_dies_is_started_again(self):
        manifest = agent(runtime={"isolation": "process"})
        self.assertCompleted(self.run_with(turns("ok"), manifest=manifest))
        [pid] = launchers(self.node)
        os.kill(pid, signal.SIGKILL)
        self.assertCompleted(self.node.run("worker"))
        self.assertNotEqual(launchers(self.node), [pid])

    def test_image_list_tells_what_is_unpacked(self):
        images = self.node.ok("image", "list", "-o", "json", "--config",
                              self.node.config_path).json()
        self.assertEqual([i["unpacked"] for i in images if i["image"] == "aegis/python:3.11"],
                         [True])


class LongPath(unittest.TestCase):
    """Paths of unix sockets end at 108 bytes, those of data directories do not."""

    def check(self, isolation, runtime):
        model = Model()
        self.addCleanup(model.close)
        node = Node(model.config(runtime=runtime), env=model.env())
        self.addCleanup(node.close)
        os.chmod(node.dir, 0o755)
        node.data_dir = os.path.join(node.dir, "x" * (200 - len(node.dir) - 1))
        self.assertEqual(len(node.data_dir), 200)
        node.configure(model.config(runtime=runtime))
        if isolation == "process":
            prepare(node)
        node.start()
        model.script(turns([call("fs.write", path="/workspace/a", content="b"),
                            python("print(open('/workspace/a').read())")], "ok"))
        node.deploy(agent(runtime={"isolation": isolation}, volumes=[workspace()],
                          execution={"validation": [{"type": "command", "command": ["true"]}]}))
        record = node.run("worker")
        self.assertEqual(record["status"], "completed", record["error"])
        results = tool_results(model.requests()[1])
        self.assertEqual(json.loads(results[1])["stdout"], "b\n")
        wait_until(lambda: not node.groups(), "the cgroups are gone")

    def test_data_dir_of_200_characters(self):
        self.check("process", NO_ENGINE)

    def test_data_dir_of_200_characters_with_containers(self):
        self.check("docker", {"isolation": "docker"})


if __name__ == "__main__":
    unittest.main()
