"""The egress proxy: what an agent's programs reach, by policy, in both isolations."""

import http.server
import json
import os
import ssl
import subprocess
import threading
import unittest

from case import Case
from model import Model, python, tool_results, turns
from node import AEGIS, Node, agent, wait_until
from test_embedded import prepare
from tls import Authority

LIMIT = 1 << 20

# Runs inside; PROBES is a list of [kind, ...] and each gets one line of the answer.
PROGRAM = """
import json, os, socket, ssl
PROBES = json.loads(%r)
at = os.environ["HTTP_PROXY"].rsplit("/", 1)[1].split(":")
def opened():
    s = socket.create_connection((at[0], int(at[1])), 20)
    s.settimeout(20)
    return s
def rest(s):
    out = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece: return out
            out += piece
    except OSError:
        return out
def raw(text):
    s = opened(); s.sendall(text.encode()); out = rest(s)
    return [int(out[9:12] or 0), len(out), out[-200:].decode("latin-1")]
def get(host, path="/", extra=""):
    return raw("GET http://%%s%%s HTTP/1.1\\r\\nHost: %%s\\r\\n%%s\\r\\n" %% (host, path, host, extra))
def connect(authority, sni):
    s = opened(); s.sendall(("CONNECT %%s HTTP/1.1\\r\\nHost: %%s\\r\\n\\r\\n" %% (authority, authority)).encode())
    head = s.recv(65536)
    if not head.startswith(b"HTTP/1.1 200"): return [int(head[9:12] or 0), 0, head[-200:].decode("latin-1")]
    context = ssl._create_unverified_context()
    try:
        t = context.wrap_socket(s, server_hostname=sni)
    except (OSError, ValueError) as e:
        return [200, -1, "no TLS"]
    t.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); out = rest(t)
    return [int(out[9:12] or 0), len(out), out[-200:].decode("latin-1")]
def direct(host, port):
    try:
        socket.create_connection((host, port), 3); return [1, 0, "connected"]
    except OSError as e:
        return [0, 0, str(e)]
print(json.dumps([globals()[p[0]](*p[1:]) for p in PROBES]))
"""


class Replies(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Answers(Replies):
    seen = []

    def do_GET(self):
        Answers.seen.append((self.path, dict(self.headers)))
        self.reply(200, b"x" * (3 * LIMIT) if self.path == "/large" else b"reached")


def own_address():
    run = subprocess.run(["ip", "-j", "-4", "addr", "show", "up", "scope", "global"],
                         capture_output=True, text=True, check=True)
    for link in json.loads(run.stdout):
        for address in link.get("addr_info", []):
            return address["local"]
    raise unittest.SkipTest("this machine has no address but loopback")


class NodeWithHosts(Node):
    """A node that resolves by a hosts file of its own, and trusts who it is told to."""

    hosts = ""
    trusts = "/etc/ssl/certs/ca-certificates.crt"

    def spawn(self):
        path = os.path.join(self.dir, "hosts")
        with open(path, "w", encoding="ascii") as f:
            f.write("127.0.0.1 localhost\n" + self.hosts)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && mount --bind "$1" '
                 '/etc/ssl/certs/ca-certificates.crt && shift && exec "$@"', path, self.trusts,
                 AEGIS, "--config", self.config_path, "daemon", "start"], env=self.env,
                cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)


def serve(case, address, handler, cert=None, key=None):
    """Serves until the end of the test class; https if there is a certificate. The port."""
    server = http.server.ThreadingHTTPServer((address, 0), handler)
    server.daemon_threads = True
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True,
                                            do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    case.addClassCleanup(server.server_close)
    case.addClassCleanup(server.shutdown)
    return server.server_address[1]


def serve_both(case):
    """The ports of the class's `handler` at its `address`, without and with TLS."""
    cert, key = (os.path.join(case.node.dir, n) for n in ("up.pem", "up.key"))
    Authority(case.node.dir).issue(cert, key, "DNS:api.egress.test")
    return (serve(case, case.address, case.handler),
            serve(case, case.address, case.handler, cert, key))


class Egress:
    isolation = ""
    handler = Answers

    @classmethod
    def setUpClass(cls):
        cls.address = own_address()
        cls.model = Model()
        cls.addClassCleanup(cls.model.close)
        config = cls.model.config(egress={"allow_private": [f"{cls.address}/32"],
                                          "max_response_bytes": LIMIT})
        cls.node = NodeWithHosts(config, env=cls.model.env())
        cls.addClassCleanup(cls.node.close)
        names = " ".join(f"{n}.egress.test" for n in ("api", "other", "a.wild"))
        cls.node.hosts = (f"{cls.address} {names}\n127.0.0.1 rebind.egress.test\n"
                          f"{cls.address} rebind.egress.test\n"
                          "169.254.169.254 meta.egress.test\n")
        if cls.isolation == "process":
            prepare(cls.node)
        cls.plain, cls.tls = serve_both(cls)
        cls.node.start()

    def probe(self, network, *probes):
        """(what each probe got, the egress events)."""
        self.say(turns([python(PROGRAM % json.dumps(probes))], "done"))
        self.node.deploy(agent("prober", runtime={"isolation": self.isolation},
                               security={"network": network}))
        record = self.node.run("prober")
        self.assertCompleted(record)
        text = tool_results(self.model.requests()[-1])[-1]
        results = json.loads(json.loads(text)["stdout"])
        events = [e for e in self.node.events(record["id"]) if e["type"].startswith("Egress")]
        return results, [(e["type"], e["data"].get("host"), e["data"].get("port"),
                          e["data"].get("reason", ""), e["data"].get("bytes", 0)) for e in events]

    def test_allowlist(self):
        p, t = self.plain, self.tls
        results, events = self.probe(
            {"mode": "allow", "allowlist": ["api.egress.test", "*.wild.egress.test",
                                            f"other.egress.test:{p}", "rebind.egress.test",
                                            "meta.egress.test", "169.254.169.254"],
             "denylist": ["b.wild.egress.test"]},
            ["get", f"api.egress.test:{p}"], ["get", f"a.wild.egress.test:{p}"],
            ["get", f"other.egress.test:{p}"], ["connect", f"api.egress.test:{t}", "api.egress.test"],
            ["connect", f"other.egress.test:{t}", "other.egress.test"], ["get", "evil.egress.test"],
            ["get", "b.wild.egress.test"], ["get", "rebind.egress.test"], ["get", "meta.egress.test"],
            ["get", "169.254.169.254"], ["get", "127.0.0.1"], ["get", f"{self.address}:{p}"],
            ["connect", f"api.egress.test:{t}", "other.egress.test"],
            ["connect", f"api.egress.test:{t}", None], ["direct", self.address, p],
            ["get", f"api.egress.test:{p}", "/large"])
        self.assertEqual([r[0] for r in results],
                         [200, 200, 200, 200] + [403] * 8 + [200, 200, 0, 200], results)
        self.assertTrue(all("reached" in r[2] for r in results[:4]), results)
        self.assertEqual([r[1] for r in results[12:14]], [-1, -1], results)
        self.assertLessEqual(results[15][1], LIMIT + 65536)
        kinds = [(e[0], e[1]) for e in events]
        for host in ("evil", "b.wild", "rebind", "meta"):
            self.assertIn(("EgressDenied", f"{host}.egress.test"), kinds, events)
        reasons = {e[1]: e[3] for e in events if e[0] == "EgressDenied"}
        self.assertEqual(reasons["169.254.169.254"], "169.254.169.254 is a metadata address")
        self.assertEqual(reasons["rebind.egress.test"], "127.0.0.1 is a loopback address")
        self.assertEqual(reasons["b.wild.egress.test"], "denylist: b.wild.egress.test")
        self.assertTrue(any(e[0] == "EgressAllowed" and e[2] == t and e[4] > 100 for e in events))
        self.assertTrue(any(f"{LIMIT} bytes" in e[3] for e in events), events)

    def test_smuggling(self):
        host = f"api.egress.test:{self.plain}"
        line = f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\n"
        del Answers.seen[:]
        forms = [line + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 line + "Content-Length: 0\r\nContent-Length: 30\r\n\r\n",
                 line + "X: a\r\n b\r\n\r\n", line + "X: a\n\r\n",
                 f"GET http://{host}/ HTTP/1.1\r\nHost: evil\r\n\r\n",
                 "GET / HTTP/1.1\r\nHost: evil\r\n\r\n"]
        pipelined = (f"GET http://{host}/one HTTP/1.1\r\nHost: {host}\r\n\r\n"
                     f"GET http://evil.egress.test/two HTTP/1.1\r\nHost: evil\r\n\r\n")
        results, _ = self.probe({"mode": "allow", "allowlist": ["api.egress.test"]},
                                *[["raw", form] for form in forms], ["raw", pipelined])
        self.assertEqual([r[0] for r in results], [400] * len(forms) + [200], results)
        self.assertEqual([path for path, _ in Answers.seen], ["/one"])
        self.assertNotIn("Proxy-Connection", Answers.seen[0][1])

    def test_cidr_deny_and_none(self):
        p = self.plain
        probes = (["get", f"{self.address}:{p}"], ["get", f"api.egress.test:{p}"])
        cidr, _ = self.probe({"mode": "allow", "allowlist": [f"{self.address}/32"]}, *probes)
        self.assertEqual([r[0] for r in cidr], [200, 403])
        deny, _ = self.probe({"mode": "deny", "denylist": ["other.egress.test"]}, *probes,
                             ["get", f"other.egress.test:{p}"])
        self.assertEqual([r[0] for r in deny], [200, 200, 403])
        none, events = self.probe({"mode": "none"}, *probes)
        self.assertEqual([r[0] for r in none], [403, 403])
        self.assertEqual(events[0][3], "network.mode is none")


class DockerEgress(Egress, Case):
    isolation = "docker"


class ProcessEgress(Egress, Case):
    isolation = "process"


if __name__ == "__main__":
    unittest.main()
