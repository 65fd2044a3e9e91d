"""What the same machine does without AEGIS: the floors that figures stand beside."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

PYTHON_FLOOR = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
# The least that a sandbox which starts an interpreter comes to: no root of its own, no limit, no
# filter, no journal, and nobody asks for it.
NAMESPACES_FLOOR = ["/usr/bin/unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork",
                    *PYTHON_FLOOR]


def ms_of(action):
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def command_ms(command):
    """A whole process, without what Python's subprocess adds."""
    quiet = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]

    def run():
        path = command[0] if "/" in command[0] else "/usr/bin/env"
        argv = command if "/" in command[0] else ["env", *command]
        pid = os.posix_spawn(path, argv, os.environ, file_actions=quiet)
        if os.waitpid(pid, 0)[1] != 0:
            sys.exit(f"error: {' '.join(command)} failed")
    return ms_of(run)


def per_second(command, at_once, seconds):
    """How many whole processes, `at_once` of them running."""
    start = time.perf_counter()
    done = []

    def run():
        while time.perf_counter() < start + seconds:
            command_ms(command)
            done.append(time.perf_counter())
    threads = [in_thread(run) for _ in range(at_once)]
    for thread in threads:
        thread.join()
    return len(done) / (max(done) - start)


def first_byte_ms(command):
    """(to the first byte of output, to the end) of a command."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as child:
        child.stdout.read(1)
        first = time.perf_counter() - start
        if child.wait() != 0:
            sys.exit(f"error: {' '.join(command)} failed")
    return first * 1e3, (time.perf_counter() - start) * 1e3


class Disk:
    """fdatasync of 16 KiB in place, what a small commit comes to; on the disk of `folder`."""

    def __init__(self, folder):
        self.fd = os.open(os.path.join(folder, "fdatasync"), os.O_RDWR | os.O_CREAT, 0o600)
        self.page = b"x" * 16384
        self.ms()

    def ms(self):
        os.pwrite(self.fd, self.page, 0)
        return ms_of(lambda: os.fdatasync(self.fd))


class Echo:
    """A round trip over the loopback to another process that only sends back."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.child = os.fork()
            if self.child == 0:
                with contextlib.suppress(OSError):
                    peer, _ = listener.accept()
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    while data := peer.recv(4096):
                        peer.sendall(data)
                os._exit(0)
            self.socket = socket.create_connection(listener.getsockname())
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ms(self):
        def trip():
            self.socket.sendall(b"x" * 200)
            self.socket.recv(4096)
        return ms_of(trip)

    def close(self):
        self.socket.close()
        os.waitpid(self.child, 0)


WAITING = r"""
import socket, sys
job = socket.socket(fileno=int(sys.argv[1]))
while job.recv(4096):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[2])
    s.sendall(b"POST /v1/llm/generate HTTP/1.1\r\n\r\n")
    s.close()
"""


class BareSocket:
    """A Python that is up and waits: a job sent to it until its request is here. The lowest that a
    warm sandbox could reach."""

    def __init__(self, folder):
        path = os.path.join(folder, "bare.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.job, theirs = socket.socketpair()
        self.child = subprocess.Popen([PYTHON_FLOOR[0], "-c", WAITING, str(theirs.fileno()), path],
                                      pass_fds=[theirs.fileno()])
        theirs.close()

    def ms(self):
        def ask():
            self.job.sendall(b"x" * 500)
            with self.listener.accept()[0] as peer:
                peer.recv(4096)
        return ms_of(ask)

    def close(self):
        self.job.close()
        self.child.wait()
        self.listener.close()


def in_thread(target, *args):
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread
