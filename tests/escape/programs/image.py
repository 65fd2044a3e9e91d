"""Attempts with what an image brings along: set-uid programs, file capabilities, devices."""

import os
import subprocess

from inside import Refused, attempt, each


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@each({"user": "-u", "group": "-g"}, "own", control=False)
def set_id_of_the(option):
    """/agent/root-id belongs to root, and is set-uid and set-gid."""
    seen = output("/agent/root-id", option)
    if seen == "1000":
        raise Refused("own")
    return seen


@attempt("none", "EPERM", control=False)
def file_capabilities():
    seen = output("/agent/capable", "-c", "print(open('/proc/self/status').read())")
    effective = [line.split()[1] for line in seen.splitlines() if line.startswith("CapEff")]
    if effective == ["0" * 16]:
        raise Refused("none")
    return effective


@each({n: f"/agent/{n}" for n in ("memory", "kmsg", "loop", "disk")}, docker="EPERM",
      process="ENOENT", control=False)
def device(path):
    os.open(path, os.O_RDONLY | os.O_NONBLOCK)
