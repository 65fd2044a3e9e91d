#!/usr/bin/env python3
"""Runs the golden sessions: each *.test file against a daemon of its own. README.md has the format.

    run.py [--aegis BINARY] [NAME...]      AEGIS_ACCEPT=1 rewrites the files with what was printed
"""
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
if "--aegis" in sys.argv:
    at = sys.argv.index("--aegis")
    os.environ["AEGIS_BIN"] = os.path.abspath(sys.argv[at + 1])
    del sys.argv[at:at + 2]

import node as harness  # noqa: E402

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
SHORT = r"\b[0-9a-f]{8}-[0-9a-f]{4}-\.\.\."


class Step:
    def __init__(self, notes, command):
        self.notes, self.command = notes, command
        self.body = []


def parse(text):
    """(header lines, steps) of a .test file."""
    header, steps, notes = [], [], []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append(Step(notes, line[2:]))
            notes = []
        elif line.startswith("##"):
            notes.append(line)
        elif not steps:
            header.append(line)
        elif line.startswith("> ") and not steps[-1].body:
            steps[-1].command += "\n" + line[2:]
        elif line == ">" and not steps[-1].body:
            steps[-1].command += "\n"
        else:
            steps[-1].body.append(line)
    for step in steps:
        while step.body and not step.body[-1]:
            step.body.pop()
    return header, steps


class Normaliser:
    """Replaces what differs between two runs; an id keeps its number through the whole file."""

    def __init__(self, node, folder):
        self.node, self.folder = node, folder
        self.ids = []

    def number(self, uuid):
        for i, known in enumerate(self.ids):
            if known.startswith(uuid) or uuid.startswith(known):
                self.ids[i] = max(known, uuid, key=len)
                return i + 1
        self.ids.append(uuid)
        return len(self.ids)

    def __call__(self, text):
        # YAML quotes the ids that would else be numbers.
        text = re.sub(rf'^([\s-]*\w+: )"({UUID})"$', r"\1\2", text, flags=re.MULTILINE)
        text = re.sub(UUID, lambda m: f"{{uuid{self.number(m[0])}}}", text)
        text = re.sub(SHORT, lambda m: f"{{short{self.number(m[0][:-3])}}}", text)
        text = text.replace(self.folder, "{dir}").replace(self.node.dir, "{node}")
        text = re.sub(rf"(localhost|127\.0\.0\.1):{self.node.port}\b", "{address}", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "{time}", text)
        text = re.sub(r'("(?:duration_ms|start_ms|used_bytes|pid)": ?)\d+', r"\1{n}", text)
        return re.sub(r"\b\d+\.\ds\b", "{seconds}s", text)


def header_of(lines):
    out = {}
    for line in lines:
        found = re.match(r"# (script|daemon|config): (.*)", line)
        if found:
            out[found[1]] = found[2]
    return out


def perform(step, node, folder, bin_dir):
    env = dict(node.env, PATH=bin_dir + ":" + os.environ["PATH"], LC_ALL="C.UTF-8")
    try:
        run = subprocess.run(["bash", "-c", step.command], cwd=folder, env=env, timeout=120,
                             stdin=subprocess.DEVNULL, capture_output=True, check=False)
        code, out, err = run.returncode, run.stdout, run.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = "timeout", late.stdout or b"", late.stderr or b""
    lines = out.decode("utf-8", "replace").splitlines()
    lines += [f"! {line}".rstrip() for line in err.decode("utf-8", "replace").splitlines()]
    if code != 0:
        lines.append(f"? {code}")
    return lines


def session(path):
    """Runs a file; (expected, got) as texts."""
    with open(path, encoding="utf-8") as f:
        expected = f.read()
    header, steps = parse(expected)
    settings = header_of(header)
    node = harness.Node()
    folder = os.path.join(node.dir, "here")
    shutil.copytree(harness.EXAMPLES, folder)
    bin_dir = os.path.join(node.dir, "bin")
    os.mkdir(bin_dir)
    os.symlink(harness.AEGIS, os.path.join(bin_dir, "aegis"))
    script = os.path.join(HERE, "scripts", settings.get("script", "main.yaml"))
    config = {"llm": {"providers": [{"name": "scripted", "type": "scripted", "script": script}],
                      "aliases": {"default": "scripted", "reasoning": "scripted"}}}
    config.update(json.loads(settings.get("config", "{}")))
    node.configure(config)
    shutil.copy(node.config_path, os.path.join(folder, "node.yaml"))
    normalise = Normaliser(node, folder)
    got = list(header)
    try:
        if settings.get("daemon") != "none":
            node.start()
        for step in steps:
            body = perform(step, node, folder, bin_dir)
            got += step.notes
            got.append("$ " + step.command.replace("\n", "\n> ").replace("\n> \n", "\n>\n"))
            got += [normalise(line) for line in body] + [""]
    finally:
        node.close()
    return expected, "\n".join(got).rstrip("\n") + "\n"


def main():
    names = sys.argv[1:] or sorted(n for n in os.listdir(HERE) if n.endswith(".test"))
    passed = failed = 0
    for name in names:
        path = os.path.join(HERE, name if name.endswith(".test") else name + ".test")
        began = time.monotonic()
        try:
            expected, got = session(path)
            problem = "".join(difflib.unified_diff(expected.splitlines(True), got.splitlines(True),
                                                   "expected", "got"))
        except AssertionError as e:
            problem, got = f"{e}\n", None
        if problem and got and os.environ.get("AEGIS_ACCEPT"):
            with open(path, "w", encoding="utf-8") as f:
                f.write(got)
            problem = ""
        passed, failed = passed + (not problem), failed + bool(problem)
        verdict = "FAILED" if problem else "ok"
        print(f"{verdict:6} {name} ({time.monotonic() - began:.1f} s)")
        print(problem, end="", flush=True)
    print(f"golden: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
