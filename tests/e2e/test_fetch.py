"""web.fetch: what an agent's model reads of the web, by policy, in both isolations."""

import gzip
import json
import os
import unittest

from case import Case
from model import Model, call, tool_results, turns
from node import ISOLATION, agent, wait_until
from test_egress import NodeWithHosts, Replies, own_address, serve
from test_embedded import prepare
from tls import Authority

PAGE = 256 * 1024


class Web(Replies):
    seen = []
    open = set()

    def do_GET(self):
        Web.seen.append((self.path, dict(self.headers)))
        if self.path.startswith("/to/"):
            to = self.path[4:]
            return self.reply(302, b"elsewhere", Location=to if "://" in to else "/" + to)
        if self.path == "/silent":
            Web.open.add(self)
            self.connection.settimeout(60)
            try:
                self.connection.recv(1)  # until the other side goes away
            except OSError:
                pass
            Web.open.discard(self)
            self.close_connection = True
            return None
        if self.path == "/large":
            return self.reply(200, b"x" * (PAGE + 1000), Content_Type="text/plain")
        if self.path == "/png":
            return self.reply(200, b"\x89PNG\0", Content_Type="image/png")
        if self.path == "/bomb":
            return self.reply(200, gzip.compress(b"0" * (1 << 24)), Content_Type="text/plain",
                              Content_Encoding="gzip")
        if self.path == "/gone":
            return self.reply(404, b"not here", Content_Type="text/plain")
        return self.reply(200, "<p>b\u00fccher</p>".encode(), Content_Type="text/html; charset=utf-8",
                          Set_Cookie="a=b")


class WebFetch:
    isolation = ""

    @classmethod
    def setUpClass(cls):
        cls.address = own_address()
        cls.model = Model()
        cls.addClassCleanup(cls.model.close)
        config = cls.model.config(
            egress={"allow_private": [f"{cls.address}/32"]},
            tools={"builtin_dispatcher": {"timeout_secs": 3}})
        env = {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
        cls.node = NodeWithHosts(config, env={**cls.model.env(), **env})
        cls.addClassCleanup(cls.node.close)
        authority = Authority(cls.node.dir)
        cls.node.trusts = authority.file
        cls.node.hosts = (f"{cls.address} api.fetch.test other.fetch.test a.wild.fetch.test\n"
                          f"{cls.address} rebind.fetch.test\n127.0.0.1 rebind.fetch.test\n"
                          "169.254.169.254 meta.fetch.test\n")
        if cls.isolation == "process":
            prepare(cls.node)
        cert, key = (os.path.join(cls.node.dir, n) for n in ("up.pem", "up.key"))
        authority.issue(cert, key, "DNS:api.fetch.test")
        cls.plain, cls.tls = serve(cls, cls.address, Web), serve(cls, cls.address, Web, cert, key)
        cls.node.start()

    def manifest(self, network, **more):
        return agent("reader", runtime={"isolation": self.isolation},
                     security={"network": network}, **more)

    def fetch(self, network, *urls):
        """The record, what the model got for each URL, and the egress events."""
        del Web.seen[:]
        self.say(turns([call("web.fetch", url=url) for url in urls], "done"))
        self.node.deploy(self.manifest(network))
        record = self.node.run("reader")
        self.assertCompleted(record)
        self.events = self.node.events(record["id"])
        egress = [(e["type"], e["data"].get("host"), e["data"].get("port"),
                   e["data"].get("reason", "")) for e in self.events if e["type"].startswith("Egress")]
        return record, tool_results(self.model.requests()[-1]), egress

    def test_pages(self):
        p, t = f"http://api.fetch.test:{self.plain}", f"https://api.fetch.test:{self.tls}"
        record, results, egress = self.fetch(
            {"mode": "allow", "allowlist": ["api.fetch.test", "*.wild.fetch.test"]},
            f"{p}/page?q=1#part", f"{t}/page", f"http://a.wild.fetch.test:{self.plain}/gone",
            f"{p}/large", f"{p}/to/page", f"{p}/to/{t}/last")
        pages = [json.loads(r) for r in results]
        self.assertEqual([p["status"] for p in pages], [200, 200, 404, 200, 200, 200])
        self.assertEqual(pages[0], {"status": 200, "url": f"{p}/page?q=1", "truncated": False,
                                    "content_type": "text/html; charset=utf-8",
                                    "body": "<p>b\u00fccher</p>"})
        self.assertEqual(pages[2]["body"], "not here")
        self.assertEqual((pages[3]["truncated"], len(pages[3]["body"])), (True, PAGE - 1))
        self.assertEqual([pages[4]["url"], pages[5]["url"]], [f"{p}/page", f"{t}/last"])
        self.assertEqual({(e[0], e[1]) for e in egress},
                         {("EgressAllowed", "api.fetch.test"), ("EgressAllowed", "a.wild.fetch.test")})
        self.assertEqual(len(egress), 8)
        for _, headers in Web.seen:
            self.assertFalse({"Cookie", "Authorization", "Accept-Encoding"} & set(headers), headers)
        first = self.model.requests()[0]["json"]
        names = [tool["function"]["name"] for tool in first["tools"]]
        self.assertEqual(names, ["cmd_run", "web_fetch"])
        lines = self.node.ok("execution", "logs", record["id"]).out
        self.assertIn(f"Tool: web.fetch {t}/page\n", lines)
        self.assertIn("/gone -> HTTP 404\n", lines)
        replayed = self.node.ok("execution", "replay", record["id"]).out
        self.assertIn("Reproduced", replayed)

    def test_refusals(self):
        p, t = self.plain, self.tls
        api = f"http://api.fetch.test:{p}"
        cases = [
            (f"http://evil.fetch.test:{p}/", "not in the allowlist"),
            (f"http://b.wild.fetch.test:{p}/", "denylist: b.wild.fetch.test"),
            (f"http://other.fetch.test:{t}/", "not in the allowlist"),
            ("http://169.254.169.254/latest", "169.254.169.254 is a metadata address"),
            ("http://[::ffff:169.254.169.254]/", "169.254.169.254 is a metadata address"),
            ("http://meta.fetch.test/", "169.254.169.254 is a metadata address"),
            ("http://rebind.fetch.test/", "127.0.0.1 is a loopback address"),
            ("http://10.0.0.1/", "10.0.0.1 is a private address"),
            (f"{api}/to/http://evil.fetch.test/", "redirected to http://evil.fetch.test/: not in"),
            (f"{api}/to/http://169.254.169.254/", "is a metadata address"),
            (f"https://api.fetch.test:{t}/to/{api}/", "from https to http"),
            (f"{api}/to/file:///etc/passwd", "only http and https"),
            (f"https://other.fetch.test:{p}/", "SSL"),  # which that port does not speak
            (f"https://a.wild.fetch.test:{t}/", "certificate"),
            (f"{api}/png", "HTTP 200: the answer is image/png, not text"),
            (f"{api}/bomb", "HTTP 200: the answer is compressed (gzip)"),
            (f"{api}/silent", "timed out"),
            ("ftp://api.fetch.test/", "only http and https"),
            ("http://u:secret@api.fetch.test/", "a user or a password"),
            ("/etc/passwd", "not a URL"),
        ]
        record, results, egress = self.fetch(
            {"mode": "allow", "denylist": ["b.wild.fetch.test"],
             "allowlist": ["api.fetch.test", f"other.fetch.test:{p}", "rebind.fetch.test",
                           "meta.fetch.test", "169.254.169.254", "10.0.0.0/8", "*.wild.fetch.test"]},
            *[url for url, _ in cases])
        for (url, why), got in zip(cases, results):
            said = got.removeprefix("error: ")
            self.assertTrue(said.startswith(f"web.fetch {url}: ") and why in said, (url, why, got))
        self.assertEqual(len(results), len(cases))
        self.assertEqual([e for e in self.events if e["type"] == "IterationFailed"], [])
        denied = [e[1] for e in egress if e[0] == "EgressDenied"]
        for host in ("evil.fetch.test", "b.wild.fetch.test", "meta.fetch.test", "169.254.169.254",
                     "rebind.fetch.test", "10.0.0.1", "api.fetch.test"):
            self.assertIn(host, denied)
        # What can never be fetched was refused before the call began, the rest is its outcome.
        kinds = [e["type"] for e in self.events if e["type"].startswith("ToolCall")]
        self.assertEqual(kinds.count("ToolCallDenied"), 3)
        self.assertEqual(kinds.count("ToolCallCompleted"), len(cases) - 3)
        lines = self.node.ok("execution", "logs", record["id"]).out
        self.assertIn("Tool: web.fetch http://meta.fetch.test/ -> "
                      "169.254.169.254 is a metadata address\n", lines)

    def test_not_offered(self):
        for network in ({"mode": "none"}, {"mode": "allow", "allowlist": []}):
            _, results, egress = self.fetch(network, f"http://api.fetch.test:{self.plain}/")
            self.assertIn('unknown tool "web', results[0])
            self.assertEqual(egress, [])
        self.assertEqual(Web.seen, [])


class DockerWebFetch(WebFetch, Case):
    isolation = "docker"


class ProcessWebFetch(WebFetch, Case):
    isolation = "process"


class Interrupted(WebFetch, Case):
    """A fetch that is under way when something else happens."""

    isolation = ISOLATION
    test_pages = test_refusals = test_not_offered = None

    def begin(self):
        del Web.seen[:]
        url = f"http://api.fetch.test:{self.plain}/silent"
        self.say(turns([call("web.fetch", url=url)], "done"))
        self.node.deploy(self.manifest({"mode": "allow", "allowlist": ["api.fetch.test"]}))
        execution = self.node.execute("reader")
        wait_until(lambda: Web.open, "the fetch is under way")
        return execution

    def test_cancel(self):
        execution = self.begin()
        self.node.ok("execution", "cancel", execution)
        self.assertEqual(self.node.wait(execution)["status"], "cancelled")
        wait_until(lambda: not Web.open, "the connection is closed")

    def test_killed_daemon(self):
        execution = self.begin()
        self.node.kill()
        self.node.start()
        record = self.node.wait(execution)
        self.assertCompleted(record)
        self.assertEqual([path for path, _ in Web.seen], ["/silent", "/silent"])
        calls = [e for e in self.node.events(execution) if e["type"] == "ToolCallCompleted"]
        self.assertEqual([c["data"]["ok"] for c in calls], [False])


if __name__ == "__main__":
    unittest.main()
