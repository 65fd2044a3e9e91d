"""A command of aegis in a pseudo-terminal: what a person would see, and typing into it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from node import AEGIS

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def plain(text):
    """Without colours."""
    return ESCAPE.sub("", text)


class Terminal:
    """Runs `aegis ARGS` (or another program) on a terminal of `columns` columns."""

    def __init__(self, node, *args, columns=100, env=None, program=AEGIS):
        whole = dict(node.env, TERM="xterm-256color")
        whole.pop("NO_COLOR", None)
        whole.pop("COLUMNS", None)
        whole.update(env or {})
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            # A shell's background job ignores Ctrl-C, and what it starts would inherit that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        self.process = subprocess.Popen([program, *args], stdin=slave, stdout=slave, stderr=slave,
                                        env=whole, cwd=node.dir, preexec_fn=own_terminal)
        os.close(slave)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.text += piece.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(piece)

    def until(self, words, timeout=30):
        deadline = time.monotonic() + timeout
        while words not in plain(self.text):
            open_still = self._read(0.1)
            if time.monotonic() > deadline or not (open_still or words in plain(self.text)):
                raise AssertionError(f"{words!r} was not shown:\n{self.text}")
        return self.text

    def type(self, keys):
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def end(self, timeout=30):
        """(exit code, all that was shown) once the command has ended."""
        deadline = time.monotonic() + timeout
        while self._read(0.1):
            if self.process.poll() is not None and not select.select([self.master], [], [], 0)[0]:
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end:\n{self.text}")
        code = self.process.wait(max(deadline - time.monotonic(), 1))
        return (128 - code if code < 0 else code), self.text


def show(node, *args, **kw):
    with Terminal(node, *args, **kw) as terminal:
        return terminal.end()


INTERRUPT, END_OF_INPUT, KILL_LINE = b"\x03", b"\x04", b"\x15"
