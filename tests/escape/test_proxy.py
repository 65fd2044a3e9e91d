"""The way out: what the egress proxy must not be talked into, under the most permissive policy."""

import errno
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import unittest

import test_egress
from escape import Escape, printed
from model import python
from node import AEGIS, Node

API, PLAIN_PORT, TLS_PORT, DAEMON = "api.dns.test", "%plain%", "%tls%", "%daemon%"


class Dns:
    """A resolver that answers by `names`: a list of answers, the next one for each question."""

    def __init__(self, names):
        self.names, self.asked = names, {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for last in range(1, 250):
            try:
                self.address = f"127.53.53.{last}"
                self.socket.bind((self.address, 53))
                break
            except OSError:
                continue
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.socket.close()

    def serve(self):
        while True:
            try:
                question, sender = self.socket.recvfrom(4096)
                self.socket.sendto(self.answer(question), sender)
            except OSError:
                return

    def answer(self, question):
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode("latin-1"))
            at += 1 + question[at]
        name, kind = ".".join(labels).lower(), struct.unpack(">H", question[at + 1:at + 3])[0]
        addresses = []
        if name in self.names and kind in (1, 28):
            turn = self.asked.get((name, kind), 0)
            self.asked[name, kind] = turn + 1
            rounds = self.names[name]
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            addresses = [socket.inet_pton(family, a) for a in rounds[turn % len(rounds)]
                         if (":" in a) == (kind == 28)]
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(a)) + a for a in addresses)
        flags = 0x8180 if name in self.names else 0x8183
        return (question[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
                + question[12:at + 5] + records)


class NodeWithResolver(Node):
    """A node that asks a resolver of the test's, in a mount namespace where /etc says so. Only its
    data directory is shared with the rest of the machine: the engine must see its volumes."""

    resolver = ""

    def spawn(self):
        os.makedirs(self.data_dir, mode=0o700, exist_ok=True)
        for command in (["mount", "--bind", self.data_dir, self.data_dir],
                        ["mount", "--make-shared", self.data_dir]):
            subprocess.run(command, check=True)
        binds = ["mount --make-private /"]
        for name, text in (("hosts", "127.0.0.1 localhost\n"), ("nsswitch.conf", "hosts: files dns\n"),
                           ("resolv.conf", f"nameserver {self.resolver}\noptions timeout:2\n")):
            path = os.path.join(self.dir, name)
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
            if os.path.exists(f"/etc/{name}"):
                binds.append(f"mount --bind {path} {os.path.realpath('/etc/' + name)}")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "--propagation", "unchanged", "sh", "-c",
                 f'{" && ".join(binds)} && exec "$0" "$@"', AEGIS, "--config", self.config_path,
                 "daemon", "start"], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)

    def close(self):
        try:
            super().close()
        finally:
            subprocess.run(["umount", "-l", self.data_dir], check=False)
            shutil.rmtree(self.dir, ignore_errors=True)


def get(host, port=PLAIN_PORT):
    return ["get", f"{host}:{port}"]


def connect(host, port=TLS_PORT, sni=API):
    return ["connect", f"{host}:{port}", sni]


def raw(text):
    return ["raw", text]


def request(line, *fields, body=""):
    return raw("\r\n".join([line, *fields, "", body]))


HOST = f"Host: {API}:{PLAIN_PORT}"
TARGET = f"http://{API}:{PLAIN_PORT}"
LOOPBACK = {"dotted": "127.0.0.1", "name": "localhost", "name_with_dot": "localhost.", "capitals": "LOCALHOST",
            "short": "127.1", "decimal": "2130706433", "hexadecimal": "0x7f000001", "octal": "0177.0.0.1",
            "zero": "0", "unspecified": "0.0.0.0", "other": "127.8.8.8", "dot_at_end": "127.0.0.1.",
            "v6": "[::1]", "v6_unspecified": "[::]", "mapped": "[::ffff:127.0.0.1]",
            "mapped_in_hex": "[::ffff:7f00:1]", "compatible": "[::127.0.0.1]", "nat64": "[64:ff9b::7f00:1]",
            "six_to_four": "[2002:7f00:1::]", "scoped": "[fe80::1%25lo]", "circled": "\u2460\u2461\u2466.0.0.1"}
# What each name resolves to; more than one list: another one for each question.
NAMES = {"loop": [["127.0.0.1"]], "meta": [["169.254.169.254"]], "bridge": [["172.17.0.1"]],
         "zero": [["0.0.0.0"]], "multicast": [["224.0.0.1"]], "private": [["10.0.0.1"]],
         "shared": [["100.64.0.1"]], "link-local": [["169.254.1.1"]], "broadcast": [["255.255.255.255"]],
         "mixed": [["%own%", "127.0.0.1"]], "mixed-later": [["%own%"] * 1 + ["10.1.1.1"]],
         "many": [["%own%"] + [f"10.2.{i}.1" for i in range(20)]],
         "mapped": [["::ffff:127.0.0.1"]], "v6": [["::1"]], "nat64": [["64:ff9b::a9fe:a9fe"]]}
# name: the probe. Each must be refused, by an answer of the proxy's own or by silence.
PROBES = {
    **{f"connect_to_loopback_{n}": connect(h, DAEMON) for n, h in LOOPBACK.items()},
    **{f"get_from_loopback_{n}": get(h) for n, h in LOOPBACK.items()},
    **{f"api_of_the_daemon_at_{n}": raw(f"GET http://{h}:{DAEMON}/v1/agents HTTP/1.1\r\nHost: {h}:{DAEMON}\r\n\r\n")
       for n, h in LOOPBACK.items() if n in ("dotted", "name", "mapped", "v6", "unspecified")},
    **{f"name_that_resolves_to_{n.replace('-', '_')}": get(f"{n}.dns.test") for n in NAMES},
    "connect_to_the_metadata_service": connect("169.254.169.254", 80),
    "get_from_the_metadata_service": get("169.254.169.254", 80),
    "get_from_the_metadata_service_of_v6": get("[fd00:ec2::254]", 80),
    "get_from_another_metadata_service": get("100.100.100.200", 80),
    "connect_to_a_bridge": connect("172.17.0.1", PLAIN_PORT),
    "connect_to_the_network": connect("172.17.255.255", 80),
    "name_on_the_denylist": get("blocked.dns.test"),
    "name_on_the_denylist_in_capitals": get("BLOCKED.dns.test"),
    "name_on_the_denylist_with_dot": get("blocked.dns.test."),
    "name_that_does_not_exist": get("nowhere.dns.test"),
    "another_server_name": connect(API, sni="other.dns.test"),
    "no_server_name": connect(API, sni=None),
    "server_name_of_the_denied": connect(API, sni="blocked.dns.test"),
    "tunnel_without_tls": request(f"CONNECT {API}:{PLAIN_PORT} HTTP/1.1", HOST,
                                  body="GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "tunnel_with_nonsense": request(f"CONNECT {API}:{PLAIN_PORT} HTTP/1.1", HOST, body="\x16\x03\x01\x00\x05nonsense"),
    "tunnel_with_a_body": request(f"CONNECT {API}:{PLAIN_PORT} HTTP/1.1", HOST, "Content-Length: 5", body="GET /"),
    "tunnel_to_another_host_field": request(f"CONNECT {API}:{PLAIN_PORT} HTTP/1.1", "Host: localhost"),
    "tunnel_without_a_port": request(f"CONNECT {API} HTTP/1.1", f"Host: {API}"),
    "tunnel_to_port_zero": request(f"CONNECT {API}:0 HTTP/1.1", f"Host: {API}:0"),
    "tunnel_to_a_large_port": request(f"CONNECT {API}:65616 HTTP/1.1", f"Host: {API}:65616"),
    "tunnel_to_a_url": request(f"CONNECT {TARGET}/ HTTP/1.1", HOST),
    "user_in_the_target": request(f"GET http://{API}@127.0.0.1:{PLAIN_PORT}/ HTTP/1.1", HOST),
    "user_that_looks_like_the_host": request(f"GET http://{API}:{PLAIN_PORT}@localhost:{PLAIN_PORT}/ HTTP/1.1", HOST),
    "backslash_in_the_target": request(f"GET http://{API}:{PLAIN_PORT}\\@127.0.0.1/ HTTP/1.1", HOST),
    "fragment_in_the_target": request(f"GET http://127.0.0.1:{PLAIN_PORT}#@{API}/ HTTP/1.1", HOST),
    "own_target": request("GET / HTTP/1.1", f"Host: 127.0.0.1:{DAEMON}"),
    "https_target": request(f"GET https://{API}:{PLAIN_PORT}/ HTTP/1.1", HOST),
    "file_target": request("GET file:///etc/passwd HTTP/1.1", "Host: x"),
    "unix_target": request("GET unix:/var/run/docker.sock HTTP/1.1", "Host: x"),
    "other_host_field": request(f"GET {TARGET}/ HTTP/1.1", "Host: 127.0.0.1"),
    "two_host_fields": request(f"GET {TARGET}/ HTTP/1.1", HOST, "Host: 127.0.0.1"),
    "no_host_field": request(f"GET {TARGET}/ HTTP/1.1", "X: y"),
    "length_and_chunks": request(f"POST {TARGET}/ HTTP/1.1", HOST, "Content-Length: 3", "Transfer-Encoding: chunked",
                                 body="0\r\n\r\n"),
    "two_lengths": request(f"POST {TARGET}/ HTTP/1.1", HOST, "Content-Length: 0", "Content-Length: 30"),
    "list_of_lengths": request(f"POST {TARGET}/ HTTP/1.1", HOST, "Content-Length: 3, 4", body="abc"),
    "length_with_a_sign": request(f"POST {TARGET}/ HTTP/1.1", HOST, "Content-Length: +3", body="abc"),
    "length_that_overflows": request(f"POST {TARGET}/ HTTP/1.1", HOST, "Content-Length: 18446744073709551619",
                                     body="abc"),
    "two_encodings": request(f"POST {TARGET}/ HTTP/1.1", HOST, "Transfer-Encoding: chunked, identity",
                             body="0\r\n\r\n"),
    "unknown_encoding": request(f"POST {TARGET}/ HTTP/1.1", HOST, "Transfer-Encoding: xchunked", body="0\r\n\r\n"),
    "encoding_in_http_1_0": request(f"POST {TARGET}/ HTTP/1.0", HOST, "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "folded_field": request(f"GET {TARGET}/ HTTP/1.1", HOST, "X: a", " b"),
    "space_before_colon": request(f"GET {TARGET}/ HTTP/1.1", HOST, "Content-Length : 3", body="abc"),
    "bare_line_feeds": raw(f"GET {TARGET}/ HTTP/1.1\n{HOST}\n\n"),
    "bare_carriage_return": request(f"GET {TARGET}/ HTTP/1.1", HOST, "X: a\rHost: evil"),
    "nul_in_a_field": request(f"GET {TARGET}/ HTTP/1.1", HOST, "X: a\0b"),
    "space_in_the_target": request(f"GET {TARGET}/a b HTTP/1.1", HOST),
    "http_0_9": raw(f"GET {TARGET}/\r\n\r\n"),
    "http_2": raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "socks": raw("\x04\x01\x00\x50\x7f\x00\x00\x01\x00\r\n\r\n"),
}
# Where the first request is good, and what is hidden behind it must not arrive as another.
HIDDEN = {
    "pipelined": request(f"GET {TARGET}/allowed-1 HTTP/1.1", HOST, body="GET http://127.0.0.1/evil HTTP/1.1\r\n\r\n"),
    "behind_the_length": request(f"POST {TARGET}/allowed-2 HTTP/1.1", HOST, "Content-Length: 3",
                                 body="abcGET /evil HTTP/1.1\r\nHost: x\r\n\r\n"),
    "behind_the_chunks": request(f"POST {TARGET}/allowed-3 HTTP/1.1", HOST, "Transfer-Encoding: chunked",
                                 body="0\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n"),
    "upgrade": request(f"GET {TARGET}/allowed-4 HTTP/1.1", HOST, "Connection: Upgrade, HTTP2-Settings",
                       "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ", body="GET /evil HTTP/1.1\r\n\r\n"),
    "connection_names_host": request(f"GET {TARGET}/allowed-5 HTTP/1.1", HOST, "Connection: Host, Content-Length"),
}


class Upstream(test_egress.Answers):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()


class Proxy(Escape):
    node_class = NodeWithResolver
    handler = Upstream

    @classmethod
    def prepare_node(cls):
        cls.address = test_egress.own_address()
        names = {f"{n}.dns.test": [[a.replace("%own%", cls.address) for a in r] for r in rounds]
                 for n, rounds in NAMES.items()}
        names.update({n: [[cls.address]] for n in (API, "other.dns.test", "blocked.dns.test")})
        names["rebind.dns.test"] = [[cls.address], ["127.0.0.1"]]
        cls.dns = Dns(names)
        cls.addClassCleanup(cls.dns.close)
        cls.node.resolver = cls.dns.address
        cls.config = {"egress": {"allow_private": [f"{cls.address}/32"]}}
        cls.node.configure(cls.model.config(**cls.config))

    @classmethod
    def serve(cls):
        """Serves; returns who listens at the same port of loopback, which may be another's."""
        for _ in range(20):
            cls.plain, cls.tls = test_egress.serve_both(cls)
            try:
                return socket.create_server(("127.0.0.1", cls.plain))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        raise AssertionError("no port is free at both addresses")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        del Upstream.seen[:]
        cls.canary_reached = []
        canary = cls.serve()
        cls.addClassCleanup(canary.close)
        threading.Thread(target=cls.watch, args=(canary,), daemon=True).start()
        policy = {"network": {"mode": "deny", "denylist": ["blocked.dns.test"]}}
        probes = [*PROBES.values(), *HIDDEN.values(), get(API), connect(API),
                  *[get("rebind.dns.test")] * 24]
        text = json.dumps(probes)
        for mark, port in ((PLAIN_PORT, cls.plain), (TLS_PORT, cls.tls), (DAEMON, cls.node.port)):
            text = text.replace(mark, str(port))
        record, results = cls.attack("proxy", [python(test_egress.PROGRAM % text)], security=policy)
        cls.undisturbed()
        answers = json.loads(printed(results[0]))
        cls.answers = dict(zip([*PROBES, *HIDDEN], answers))
        cls.ordinary = answers[-26:-24]
        cls.rebound = answers[-24:]
        cls.events = [e for e in cls.node.events(record["id"]) if e["type"].startswith("Egress")]

    @classmethod
    def watch(cls, canary):
        while True:
            try:
                connection, sender = canary.accept()
            except OSError:
                return
            cls.canary_reached.append(sender)
            connection.close()

    def test_control_of_what_is_allowed(self):
        for answer in self.ordinary:
            self.assertEqual(answer[0], 200, answer)
            self.assertIn("reached", answer[2])

    def test_control_of_the_canary(self):
        before = len(self.canary_reached)
        with socket.create_connection(("127.0.0.1", self.plain)) as s:
            s.recv(1)
        self.assertEqual(len(self.canary_reached), before + 1)
        del self.canary_reached[before:]

    def test_names_that_rebind_never_reach_loopback(self):
        """An address is looked at once, and that one is connected to."""
        self.assertEqual({a[0] for a in self.rebound}, {200, 403}, self.rebound)
        self.assertEqual(self.canary_reached, [])

    def test_nothing_else_reached_the_server(self):
        allowed = {f"/allowed-{i}" for i in range(1, 6)} | {"/"}
        self.assertEqual({path for path, _ in Upstream.seen} - allowed, set())

    def test_refusals_are_events(self):
        denied = {e["data"].get("host") for e in self.events if e["type"] == "EgressDenied"}
        for host in ("127.0.0.1", "169.254.169.254", "meta.dns.test", "blocked.dns.test"):
            self.assertIn(host, denied)


def refused(name):
    def test(self):
        status, size, tail = self.answers[name]
        self.assertNotIn("reached", tail)
        # A tunnel is opened before the server's name is known, and closed without a byte.
        silent = status == 200 and (size < 0 or "Connection established" in tail) or size == 0
        self.assertTrue(status in (400, 403, 431, 501, 502, 504, 505) or silent, (status, size, tail))
    return test


def hidden(name):
    def test(self):
        status, _, tail = self.answers[name]
        self.assertIn(status, (200, 400), tail)
        self.assertFalse([p for p, _ in Upstream.seen if "evil" in p])
    return test


for one in PROBES:
    setattr(Proxy, f"test_{one}", refused(one))
for one in HIDDEN:
    setattr(Proxy, f"test_hidden_{one}", hidden(one))


if __name__ == "__main__":
    unittest.main()
