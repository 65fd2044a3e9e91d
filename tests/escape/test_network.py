"""What a program reaches: the host, other sandboxes, the world, the daemon."""

import fcntl
import os
import socket
import struct
import threading
import unittest

from escape import Attempts, attempts
from node import RUN_DIR
from test_egress import own_address


def nameservers():
    with open("/etc/resolv.conf", encoding="utf-8") as f:
        found = [line.split()[1] for line in f if line.startswith("nameserver ")]
    # A server on loopback is another machine's business inside: the next attempt is about that.
    return [n for n in found if not n.startswith("127.") and n != "::1"] or ["192.0.2.53"]


def serve_forever(server):
    """Accepts, and answers one HTTP request to whoever asks."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            try:
                connection.settimeout(0.2)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            except OSError:
                pass


def echo_forever(server):
    while True:
        try:
            data, address = server.recvfrom(100)
            server.sendto(data, address)
        except OSError:
            return


@attempts("network")
class Network(Attempts):
    control_namespaces = ()

    @classmethod
    def prepare(cls):
        port = cls.listen(socket.AF_INET, ("0.0.0.0", 0))[1]
        abstract = f"aegis-escape-{os.getpid()}"
        cls.listen(socket.AF_UNIX, "\0" + abstract)
        path = os.path.join(cls.node.dir, "host.sock")
        cls.listen(socket.AF_UNIX, path)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        cls.addClassCleanup(udp.close)
        threading.Thread(target=echo_forever, args=(udp,), daemon=True).start()
        addresses = sorted({own_address(), *cls.bridges()})
        run_dir = os.path.join(RUN_DIR, cls.node.node_id())
        cls.params = {
            "nameservers": nameservers(), "udp_port": udp.getsockname()[1], "name": "localhost.test",
            "addresses": addresses, "port": port, "api_port": cls.node.port,
            "url": f"http://{addresses[0]}:{port}/", "abstract": abstract, "file_socket": path,
            "run_dir": run_dir, "other": cls.neighbour}
        cls.control_params = {"api": ["127.0.0.1", cls.node.port], "name": socket.gethostname(),
                              "run_dir": RUN_DIR}

    @classmethod
    def listen(cls, family, address):
        server = socket.socket(family)
        server.bind(address)
        server.listen(16)
        cls.addClassCleanup(server.close)
        threading.Thread(target=serve_forever, args=(server,), daemon=True).start()
        return server.getsockname()

    @staticmethod
    def bridges():
        """The addresses of the bridges of this machine, the engine's among them."""
        out = []
        for name in os.listdir("/sys/class/net"):
            if os.path.isdir(f"/sys/class/net/{name}/bridge"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    try:
                        got = fcntl.ioctl(s, 0x8915, struct.pack("256s", name.encode()[:15]))
                        out.append(socket.inet_ntoa(got[20:24]))
                    except OSError:
                        pass
        return out


if __name__ == "__main__":
    unittest.main()
