"""The console at /: its files as a client gets them, and the page in a real browser."""

import contextlib
import http.client
import http.server
import json
import os
import re
import threading
import unittest

from browser import Browser
from case import Case
from model import call, python, turns
from node import Node, agent, wait_until, workspace
from tls import TlsNode

HOSTILE = "<img src=x onerror=\"alert(1)\"><script>alert(2)</script><b>bold</b>"
# Ends when the test has put a file into the volume.
WAIT = """import os, time
while not os.path.exists('/workspace/go'):
    time.sleep(0.02)
"""
LATE = {"delay_ms": 600000, "content": "late", "match": "Slow"}
TOKEN = "a-token-of-the-test-0123456789"
POLICY = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
          "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
          "require-trusted-types-for 'script'")


class Page(Case):
    """One browser and one node for a class; nothing may be in the browser's log after a test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def open(self, route="#/executions", node=None):
        self.browser.logged.clear()
        self.browser.open("about:blank")
        self.browser.open(f"http://127.0.0.1:{(node or self.node).port}/{route}")

    def assertQuiet(self):
        self.browser.run("new Promise((resolve) => setTimeout(resolve))")
        self.assertEqual(self.browser.logged, [])
        self.assertEqual(self.browser.dialogs, 0)

    def assertWithin(self):
        """Nothing was asked of any other place."""
        for request in self.browser.requests:
            self.assertRegex(request["url"], rf"^(http://127\.0\.0\.1:{self.node.port}/|about:)")


class Files(Case):
    """What GET / and its files answer."""

    def get(self, path, method="GET", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def files(self):
        """Every file that the page and its modules name."""
        seen, todo = {}, ["/"]
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            status, headers, body = self.get(path)
            self.assertEqual(status, 200, path)
            seen[path] = headers
            text = body.decode()
            todo += re.findall(r'(?:href|src)="(/console/[^"]+)"', text)
            todo += ["/console/" + name for name in re.findall(r'from "\./([^"]+)"', text)]
        return seen

    def test_headers(self):
        files = self.files()
        self.assertGreater(len(files), 10)
        for path, headers in files.items():
            policy = headers["Content-Security-Policy"].split("; ")
            self.assertLessEqual(set(POLICY), set(policy), path)
            self.assertNotIn("unsafe", headers["Content-Security-Policy"])
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(headers["Referrer-Policy"], "no-referrer")
            self.assertEqual(headers["Cross-Origin-Opener-Policy"], "same-origin")
            self.assertEqual(headers["Cache-Control"], "no-cache")
            self.assertIsNone(headers["Access-Control-Allow-Origin"])
        self.assertEqual(files["/"]["Content-Type"], "text/html; charset=utf-8")
        self.assertEqual(files["/console/main.js"]["Content-Type"],
                         "text/javascript; charset=utf-8")

    def test_tags(self):
        status, headers, body = self.get("/")
        tag = headers["ETag"]
        for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            again = self.get("/", headers={"If-None-Match": given})
            self.assertEqual((again[0], again[2], again[1]["ETag"]), (304, b"", tag), given)
        self.assertEqual(self.get("/", headers={"If-None-Match": '"x"'})[0], 200)
        self.assertNotEqual(self.get("/console/main.js")[1]["ETag"], tag)
        status, headers, nothing = self.get("/", "HEAD")
        self.assertEqual((status, nothing, headers["ETag"], int(headers["Content-Length"])),
                         (200, b"", tag, len(body)))

    def test_other_paths_stay_json(self):
        for path in ("/index.html", "/console", "/console/", "/console/index.html",
                     "/console/none.js", "/console/..%2fmain.js", "/favicon.ico", "/console/a/b"):
            status, headers, body = self.get(path)
            self.assertEqual((status, headers["Content-Type"]), (404, "application/json"), path)
            self.assertEqual(json.loads(body)["error"]["code"], "not_found", path)
        self.assertEqual(self.get("/", "POST")[0], 405)
        self.assertEqual(self.get("/?x=1")[0], 400)

    def test_hosts_and_origins(self):
        own = f"127.0.0.1:{self.node.port}"
        for headers, status in (({"Host": "evil.example"}, 403),
                                ({"Origin": "http://evil.example"}, 403),
                                ({"Host": "localhost", "Origin": "http://localhost"}, 200),
                                ({"Host": "[::1]:9", "Origin": "http://[::1]:9"}, 200),
                                ({"Host": own, "Origin": f"http://{own}"}, 200)):
            self.assertEqual(self.get("/", headers=headers)[0], status, headers)


class Other(unittest.TestCase):
    """A daemon that is not on a loopback address, and one that speaks TLS."""

    def test_own_host_of_a_daemon_beyond_loopback(self):
        node = Node({"server": {"addr": "0.0.0.0:0", "token": TOKEN}})
        self.addCleanup(node.close)
        node.configure({"server": {"addr": f"0.0.0.0:{node.port}", "token": TOKEN}})
        node.start()
        bearer = {"Authorization": f"Bearer {TOKEN}", "Host": "build-host.lan:9090"}
        self.assertEqual(node.api("GET", "/", headers={"Host": "build-host.lan"})[0], 200)
        own = dict(bearer, Origin="http://build-host.lan:9090")
        self.assertEqual(node.api("POST", "/v1/agents/none/pause", headers=own)[0], 404)
        for origin in ("http://evil.example", "http://build-host.lan:9091", "null"):
            foreign = dict(bearer, Origin=origin)
            self.assertEqual(node.api("POST", "/v1/agents/none/pause", headers=foreign)[0], 403)

    def test_over_tls(self):
        node = TlsNode()
        self.addCleanup(node.close)
        node.start()
        self.assertEqual(node.api("GET", "/")[0], 200)
        own = {"Origin": f"https://127.0.0.1:{node.port}"}
        self.assertEqual(node.api("POST", "/v1/agents/none/pause", headers=own)[0], 404)
        foreign = {"Origin": "https://evil.example"}
        self.assertEqual(node.api("POST", "/v1/agents/none/pause", headers=foreign)[0], 403)


class Live(Page):
    """What one sees of executions."""

    def started(self):
        self.say(LATE)
        self.node.deploy(agent("slow", task={"instruction": "Slow."}))
        execution = self.node.execute("slow", '{"ticket": 4711}')
        self.model.wait_requests(1)
        return execution

    def test_a_list_that_lives(self):
        self.open()
        self.browser.sees("live", "#link")
        execution = self.started()
        row = "tbody tr:first-child"
        self.browser.sees(execution[:8], row)
        self.browser.sees("running", row)
        self.browser.sees('{"ticket": 4711}', row)
        self.node.ok("execution", "cancel", execution)
        self.browser.sees("cancelled", row)
        self.browser.run("document.querySelector('#status').value = 'failed';"
                         "document.querySelector('#status').dispatchEvent(new Event('change'))")
        self.browser.sees("No execution is like that.")
        self.assertIn("status=failed", self.browser.run("location.hash"))
        self.assertQuiet()
        self.assertWithin()

    def test_an_execution_from_its_form_to_its_end(self):
        steps = [[call("fs.write", path="/workspace/a.txt", content="hello")],
                 [python("print('said')"), call("fs.read", path="/workspace/none")]]
        self.say(turns(*steps, "no json", match="^(?![\\s\\S]*previous attempt)"),
                 turns([python(WAIT)], '{"n": 1}', match="previous attempt"))
        self.node.deploy(agent("checked", volumes=[workspace()], execution={
            "max_iterations": 3, "validation": [{"type": "json_schema", "schema": {
                "type": "object", "required": ["n"]}}]}))
        self.open("#/agents/checked")
        self.browser.sees("revision 1")
        self.browser.click("#input")
        self.browser.type('{"a": 1}')
        self.browser.sees("{{input.field}} works")
        self.browser.click("button", "Execute")
        self.browser.sees("Iteration 1", ".timeline")
        self.browser.sees("refining", ".timeline")
        self.browser.sees("not valid JSON at line 1", ".timeline")
        self.browser.sees("cmd.run", ".iteration:last-child .step[data-state=running]")
        self.assertEqual(self.browser.text("h1 + .badge"), "running")
        with open(os.path.join(self.node.mounts()[0], "go"), "w", encoding="ascii"):
            pass
        self.browser.sees("completed", "h1 + .badge")
        self.browser.sees("Iteration 2", ".timeline")
        shown = self.browser.text(".timeline")
        for text in ("/workspace/a.txt", "exit code 0", "score 1", "success"):
            self.assertIn(text, shown)
        self.browser.sees('"n": 1', ".texts")
        self.browser.click(".step summary", "Result")
        self.browser.sees("/workspace/a.txt", ".step pre")
        record = self.node.record("@last")
        self.assertEqual((record["input"], record["status"]), ('{"a": 1}', "completed"))
        self.assertQuiet()
        self.assertWithin()

    def test_what_a_model_wrote_is_text(self):
        self.say(turns([call("cmd.run", command="echo", args=[HOSTILE])], HOSTILE))
        manifest = agent("hostile")
        manifest["metadata"]["description"] = HOSTILE
        self.node.deploy(manifest)
        execution = self.node.run("hostile", json.dumps({"x": HOSTILE}))["id"]
        for route, place in (("#/executions", "tbody"), (f"#/executions/{execution}", ".texts"),
                             ("#/agents", "tbody"), ("#/agents/hostile", "main")):
            self.open(route)
            self.browser.sees("onerror=", place)
            self.assertEqual(self.browser.run(
                "document.querySelectorAll('main img, main script, main b').length"), 0, route)
            self.assertQuiet()
        self.open(f"#/executions/{execution}")
        self.browser.sees("success", ".timeline")
        for count, name in enumerate(("Prompt", "Answer", "Result"), 1):
            self.browser.click(".timeline summary", name)
            # What is opened moves what is below it: one after the other.
            wait_until(lambda count=count: self.browser.run(
                "[...document.querySelectorAll('.step pre')].filter((e) => "
                "e.textContent.includes('onerror=')).length") == count, f"{name} is there")
        # And nothing could be made of it, if somebody tried to.
        self.assertIn("TrustedHTML", self.browser.run(
            "(() => { try { document.body.innerHTML = '<b>'; } catch (e) { return e.message; } })()"))

    def test_a_long_one_stays_small(self):
        step = {"tool_calls": [call("fs.read", path="/workspace/none")] * 50}
        self.say(turns(*[step] * 9, "done"))
        self.node.deploy(agent("long", volumes=[workspace()], execution={
            "mode": "one-shot", "max_tool_calls": 1000}))
        execution = self.node.run("long")["id"]
        self.open(f"#/executions/{execution}")
        self.browser.sees("earlier steps are not shown here", ".timeline")
        self.browser.sees("success", ".timeline")
        self.assertEqual(self.browser.run("document.querySelectorAll('.step').length"), 400)
        self.assertQuiet()

    def test_cancel(self):
        execution = self.started()
        self.open(f"#/executions/{execution}")
        self.browser.sees("running", "h1 + .badge")
        self.browser.click("button", "Cancel")
        self.browser.click("dialog button", "Keep it running")
        wait_until(lambda: self.browser.text("dialog") == "", "the question is gone")
        self.assertEqual(self.node.record(execution)["status"], "running")
        self.browser.click("button", "Cancel")
        self.browser.click("dialog button", "Cancel the execution")
        self.browser.sees("cancelled", "h1 + .badge")
        self.browser.sees("The execution has been cancelled", "#said")
        self.assertEqual(self.node.record(execution)["status"], "cancelled")
        self.assertFalse(self.browser.run(
            "document.querySelector('.actions button').checkVisibility()"))
        self.assertQuiet()

    def test_pause_and_resume(self):
        self.node.deploy(agent("paused"))
        self.open("#/agents/paused")
        self.browser.click("button", "Pause")
        self.browser.click("dialog button", "Pause the agent")
        self.browser.sees("paused", "h1 + .badge")
        self.browser.click("button", "Resume")
        self.browser.sees("deployed", "h1 + .badge")
        self.assertQuiet()

    def test_older_ones(self):
        self.say({"content": "short"})
        self.node.deploy(agent("many", execution={"mode": "one-shot"}))
        ids = [self.node.run("many", str(n))["id"] for n in range(3)]
        for n in range(4, 55):
            self.node.api("POST", "/v1/executions", {"agent_id": "many", "input": str(n)})
        wait_until(lambda: not self.node.api("GET", "/v1/node")[1]["running_executions"] and
                   not self.node.api("GET", "/v1/node")[1]["queued_executions"], "all ended", 120)
        self.open("#/executions?agent=many")
        self.browser.click("a.button", "Older")
        self.browser.sees(ids[0][:8], "tbody")
        self.assertEqual(self.browser.run("document.querySelectorAll('tbody tr').length"), 4)
        self.browser.click("a.button", "Newest")
        wait_until(lambda: self.browser.run("document.querySelectorAll('tbody tr').length") == 50,
                   "the first page is there")
        self.assertQuiet()

    def test_the_node(self):
        self.open("#/daemon")
        self.browser.sees("ready", "h1 + span")
        self.browser.sees(self.node.node_id())
        self.open("#/volumes")
        self.browser.sees("Volumes")
        self.open("#/nonsense")
        self.browser.sees("There is no such page")
        self.assertQuiet()

    def test_narrow(self):
        self.started()
        self.browser.size(360, 740)
        self.addCleanup(self.browser.size, 1200, 900)
        for route in ("#/executions", "#/executions/@last", "#/agents", "#/agents/slow",
                      "#/volumes", "#/daemon"):
            self.open(route)
            self.browser.sees("", "h1")
            wait_until(lambda: self.browser.text("h1") != "", "the page is drawn")
            self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), 360,
                                 route)
        self.node.ok("execution", "cancel", "@last")


class Lost(Page):
    """A daemon that goes away and comes back."""

    def test_streams_are_joined_again(self):
        self.say(LATE)
        self.node.deploy(agent("slow", task={"instruction": "Slow."}))
        execution = self.node.execute("slow")
        self.model.wait_requests(1)
        self.open(f"#/executions/{execution}")
        self.browser.sees("Iteration 1", ".timeline")
        self.node.kill()
        self.browser.sees("reconnecting", "#link")
        self.node.start()
        self.browser.sees("Resumed", ".timeline")
        self.node.ok("execution", "cancel", execution)
        self.browser.sees("cancelled", "h1 + .badge")
        # Nothing twice: the stream went on behind the last event.
        self.assertEqual(self.browser.text(".timeline").count("Accepted"), 1)
        self.open()
        self.browser.sees("live", "#link")
        self.node.terminate()
        self.browser.sees("reconnecting", "#link")
        self.node.start()
        self.browser.sees("live", "#link")
        second = self.node.execute("slow")
        self.browser.sees(second[:8], "tbody")
        self.node.ok("execution", "cancel", second)


    def test_who_does_not_look_has_no_stream(self):
        self.open()
        self.browser.sees("live", "#link")
        self.node.joined(1)
        look = ("Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
                "document.dispatchEvent(new Event('visibilitychange'))")
        self.browser.run(look % "true")
        self.node.joined(0)
        self.say({"content": "short"})
        self.node.deploy(agent("quick"))
        execution = self.node.run("quick")["id"]
        self.assertNotIn(execution[:8], self.browser.text())
        self.browser.run(look % "false")
        self.browser.sees(execution[:8], "tbody")
        self.node.joined(1)


class Token(Page):
    config = {"server": {"token": TOKEN}}
    start = False

    @classmethod
    def prepare_node(cls):
        cls.node.env["AEGIS_TOKEN"] = TOKEN

    def test_it_is_asked_for_and_kept_out_of_sight(self):
        self.node.start()
        self.node.deploy(agent("guarded"))
        self.open("#/agents")
        self.browser.sees("asks for a bearer token", "dialog")
        self.assertEqual(self.browser.text("tbody"), "")
        self.browser.type("wrong")
        self.browser.click("dialog button", "Use token")
        self.browser.sees("refused that token", "dialog")
        self.browser.click("#token")
        self.browser.type(TOKEN)
        self.browser.key("Enter", 13)
        self.browser.sees("guarded", "tbody")
        self.browser.sees("live", "#link")
        self.assertTrue(all(TOKEN not in r["url"] for r in self.browser.requests))
        self.assertEqual(self.browser.run(
            "[Object.values(sessionStorage), localStorage.length, document.cookie]"),
            [[TOKEN], 0, ""])
        self.browser.run("location.reload()")
        self.browser.sees("guarded", "tbody")
        self.browser.click("#forget")
        self.browser.sees("asks for a bearer token", "dialog")
        self.assertEqual(self.browser.run("sessionStorage.length"), 0)


class Foreign(Page):
    """A page of another origin in the same browser."""

    def test_it_can_drive_nothing(self):
        self.node.deploy(agent("worker"))

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<p>evil</p>")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        before = self.node.api("GET", "/v1/executions")[1]["count"]
        self.browser.open(f"http://evil.example:{server.server_port}/")
        self.browser.sees("evil")
        for host in ("127.0.0.1", "evil.example"):
            for mode in ("cors", "no-cors"):
                seen = self.browser.run(
                    f"fetch('http://{host}:{self.node.port}/v1/agents/worker/execute', "
                    f"{{method: 'POST', mode: '{mode}', body: '{{}}'}})"
                    ".then((r) => r.type + r.status, (e) => 'refused')")
                self.assertIn(seen, ("refused", "opaque0"))
        self.assertEqual(self.node.api("GET", "/v1/executions")[1]["count"], before)
        # As an image it would get there without an Origin, and hold a stream.
        self.browser.run("new Promise((done) => { const image = new Image(); image.onerror = done;"
                         f"image.src = 'http://127.0.0.1:{self.node.port}/v1/events?follow=true'; }})")
        refused = 'aegis_http_requests_total{method="GET",route="other",status="403"} 1\n'
        self.assertIn(refused.encode(), self.node.api("GET", "/metrics")[1])
        # The same request of no page is taken: it was the origin that was refused.
        self.assertEqual(self.node.api("POST", "/v1/agents/worker/execute", {})[0], 201)
        self.node.wait(self.node.record("@last")["id"])


if __name__ == "__main__":
    unittest.main()
