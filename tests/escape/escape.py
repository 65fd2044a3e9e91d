"""Classes of escape attempts: programs that run inside a real sandbox beside a neighbour."""

import json
import os
import subprocess
import sys

from case import Case
from model import call, python, tool_results, turns
from node import ISOLATION, PATIENCE, agent, patient, wait_until, workspace

import inside

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
LIMITS = {"memory": "128Mi", "pids": 64, "disk": "16Mi"}

# A process of the neighbour's: it looks at all that is its own and counts on while that holds.
NEIGHBOUR = """
import os, socket, time
secret = os.urandom(16).hex()
with open('/tmp/secret', 'w') as f: f.write(secret)
def people(): return sorted(p for p in os.listdir('/proc') if p.isdigit())
here, began, beat = people(), os.stat('/proc/1').st_ctime, 0
while True:
    beat += 1
    wrong = []
    with open('/tmp/secret') as f:
        if f.read() != secret: wrong.append('its file has changed')
    if people() != here: wrong.append('a stranger: ' + ' '.join(people()))
    if os.listdir('/tmp') != ['secret']: wrong.append('a strange file')
    pid = os.fork()
    if pid == 0: os._exit(7)
    if os.waitpid(pid, 0)[1] != 7 << 8: wrong.append('its child')
    here_socket, there = socket.socketpair()
    here_socket.send(b'x')
    if there.recv(1) != b'x': wrong.append('its sockets')
    here_socket.close(); there.close()
    with open('/workspace/beat.new', 'w') as f: f.write(f'{beat} {"; ".join(wrong)}')
    os.rename('/workspace/beat.new', '/workspace/beat')
    time.sleep(0.02)
"""


def source(name):
    with open(os.path.join(PROGRAMS, name + ".py"), encoding="utf-8") as f:
        return f.read()


def code_of(program, params, alone=False):
    """The text of a program of attempts with all that it needs."""
    return (f"import sys, types\ninside = types.ModuleType('inside')\n"
            f"exec({source('inside')!r}, inside.__dict__)\nsys.modules['inside'] = inside\n"
            f"inside.SECONDS *= {PATIENCE}\n"
            f"__name__ = {program!r}\n{source(program)}\n"
            f"inside.main({program!r}, {params!r}, {alone!r})\n")


class Escape(Case):
    """Runs beside a neighbour, whom nothing that happens here may disturb."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rules = {}
        stay = call("cmd.run", command="python3", args=["-c", NEIGHBOUR],
                    timeout=min(3600, int(600 * PATIENCE)))
        cls.neighbour = cls.begin("neighbour", [stay], "late", volumes=[workspace()],
                                  security={"resources": {**LIMITS, "timeout": patient(600)}},
                                  execution={"iteration_timeout": patient(600)})
        cls.beats = 0
        wait_until(lambda: cls.node.record(cls.neighbour)["volumes"], "the neighbour has a volume")
        cls.neighbour_volume = cls.node.record(cls.neighbour)["volumes"][0]["id"]
        cls.undisturbed()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.undisturbed()
            cls.node.ok("execution", "cancel", cls.neighbour)
            cls.node.clean()
        finally:
            super().tearDownClass()

    @classmethod
    def undisturbed(cls):
        """The daemon answers, and the neighbour goes on and finds nothing changed."""
        assert cls.node.api("GET", "/health/ready")[0] == 200, cls.node.log()[-2000:]
        record = cls.node.record(cls.neighbour)
        assert record["status"] == "running" and len(record["iterations"]) <= 1, record

        def beat():
            status, text = cls.node.api("GET", f"/v1/volumes/{cls.neighbour_volume}/files/beat")
            count, _, wrong = text.decode().partition(" ") if status == 200 else ("0", "", "")
            assert not wrong, f"the neighbour was disturbed: {wrong}"
            return int(count) if int(count) > cls.beats else 0

        for _ in range(2):
            cls.beats = wait_until(beat, "the neighbour goes on")

    @classmethod
    def begin(cls, name, *steps, security=None, **spec):
        """Starts an execution whose model says `steps`; returns its id."""
        cls.rules[name] = turns(*steps, match=f'input of {name}"')
        cls.model.script(*cls.rules.values())
        spec["execution"] = {"iteration_timeout": patient(300), **spec.get("execution", {})}
        resources = {**LIMITS, "timeout": patient(300)}
        cls.node.deploy(agent(name, security={"resources": resources, **(security or {})}, **spec))
        return cls.node.execute(name, f'"input of {name}"')

    @classmethod
    def attack(cls, name, *steps, timeout=120, **spec):
        """(the record, the texts of the tools' results) of an execution that completes."""
        execution = cls.begin(name, *steps, "over", **spec)
        record = cls.node.wait(execution, timeout)
        assert record["status"] == "completed", (record["error"], record["iterations"])
        asked = [r for r in cls.model.requests() if f'input of {name}\\"' in r["body"]]
        return record, tool_results(asked[-1])


def printed(result):
    """What a command printed, of the text that the model got."""
    answer = json.loads(result)
    assert answer["exit_code"] == 0, answer
    return answer["stdout"]


class Attempts(Escape):
    """A program of attempts, run once in a sandbox and once on the host; a test for each."""

    program = None
    params = {}
    control_params = {}
    spec = {}
    control_namespaces = ("--mount", "--pid", "--mount-proc", "--net", "--uts", "--ipc", "--cgroup")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare()
        code = code_of(cls.program, cls.params)
        _, results = cls.attack(cls.program, [python(code)], **cls.spec)
        cls.results = json.loads(printed(results[0]))
        cls.undisturbed()
        cls.controls = cls.run_controls()

    @classmethod
    def prepare(cls):
        """Sets params, control_params and spec."""

    @classmethod
    def run_controls(cls):
        command = [sys.executable, "-c",
                   code_of(cls.program, {**cls.params, **cls.control_params}, True)]
        if cls.control_namespaces:
            command = ["unshare", "--fork", *cls.control_namespaces, *command]
        run = subprocess.run(command, capture_output=True, text=True, check=False,
                             timeout=60 * PATIENCE)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)


def attempts(program):
    """Gives a class a test for each attempt of the program, and one for each control."""
    __import__(program)
    functions = inside.ATTEMPTS[program]

    def decorate(cls):
        cls.program = program
        for name, function in functions.items():
            def test(self, name=name, expected=function.expected[ISOLATION],
                     missing=function.missing):
                # What this machine does not have at all may be missing inside too.
                absent = missing & {self.controls.get(name, [""])[0]}
                self.assertIn(self.results[name][0], expected | absent, self.results[name])
            setattr(cls, f"test_{name}", test)
            if function.control:
                def control(self, name=name, missing=function.missing):
                    self.assertIn(self.controls[name][0], {"done", *missing}, self.controls[name])
                setattr(cls, f"test_control_{name}", control)
        return cls
    return decorate
