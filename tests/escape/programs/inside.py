"""What the programs of attempts share. Runs inside a sandbox, and on the host as their control.

An attempt is a function. It returns when it got what it must not get; an OSError is a refusal by
the kernel, Refused one that shows otherwise. Each runs in a process of its own.
"""

import ctypes
import errno
import json
import os
import select
import signal
import traceback

PARAMS = {}
ATTEMPTS = {}
SECONDS = 20
CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """No error of the kernel's, and yet no success; its text says what it was instead."""


def attempt(*expected, docker=(), process=(), control=True, missing=()):
    """What it expects, in both isolations or in one of them: names of errno, a signal, or what
    Refused says. `control`: on the host, as root and in namespaces of its own, it succeeds;
    `missing`: or it fails so, where the kernel or its root have nothing of the kind."""
    def add(function):
        function.expected = {"docker": {*expected, *_words(docker)},
                             "process": {*expected, *_words(process)}}
        function.control = control
        function.missing = {*_words(missing)}
        name = function.__name__
        assert name not in ATTEMPTS.setdefault(function.__module__, {}), name
        ATTEMPTS[function.__module__][name] = function
        return function
    return add


def _words(text):
    return (text,) if isinstance(text, str) else text


def each(items, *expected, **more):
    """An attempt for each item, named by the function's name and the item's."""
    def add(function):
        for name, value in items.items():
            def one(value=value):
                return function(value)
            one.__name__, one.__module__ = f"{function.__name__}_{name}", function.__module__
            attempt(*expected, **more)(one)
        return function
    return add


def syscall(number, *arguments):
    """A system call by its number on x86-64."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = _libc.syscall(ctypes.c_long(number), *wide)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def all_refused(calls):
    """Refused only if each of the calls is, and all in the same way."""
    refusals = {}
    for name, call in calls:
        try:
            call()
        except OSError as error:
            refusals.setdefault(errno.errorcode.get(error.errno, str(error)), []).append(name)
            last = error
        else:
            return name
    if len(refusals) != 1:
        raise Refused(str(refusals))
    raise last


def run(function, alone):
    """How the attempt ended: [word, details]."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(_outcome(function, alone)).encode())
        os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], SECONDS)
    text = os.read(reader, 65536) if ready else b""
    os.close(reader)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if text:
        return json.loads(text)
    if not ready:
        return ["late", ""]
    return [signal.Signals(status & 127).name if status & 127 else "silent", ""]


def _outcome(function, alone):
    try:
        if alone:
            syscall(272, CLONE_NEWNS)
        return ["done", repr(function())[:400]]
    except Refused as refusal:
        return [str(refusal), ""]
    except OSError as error:
        return [errno.errorcode.get(error.errno, f"E{error.errno}"), str(error)[:400]]
    except BaseException:
        return ["broken", traceback.format_exc()[-800:]]


def main(module, params, alone=False):
    """Runs all attempts of a program and prints {name: [word, details]}."""
    PARAMS.update(params)
    os.umask(0o022)
    print(json.dumps({name: run(function, alone)
                      for name, function in ATTEMPTS.get(module, {}).items()
                      if function.control or not alone}))
