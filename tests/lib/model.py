"""The strict model provider of tests/model_server, run for a test."""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

from node import REPO, wait_until

KEY = "sk-test-0f1e2d3c4b5a"
_SERVER = os.path.join(REPO, "tests", "model_server", "model_server.py")


class Model:
    """A model server as a child process. `provider()` is its entry for llm.providers."""

    def __init__(self, *rules):
        self.process = subprocess.Popen([sys.executable, "-B", _SERVER, "--port", "0"],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.script(*rules)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def _call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_control/{path}", data=data)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.load(answer)

    def script(self, *rules):
        """New rules; the counters start anew."""
        self._call("script", {"keys": [KEY], "rules": list(rules) or [{"content": "Hello."}]})

    def requests(self):
        """The requests so far, each body parsed as `json` too."""
        out = self._call("requests")
        for entry in out:
            try:
                entry["json"] = json.loads(entry["body"])
            except ValueError:
                entry["json"] = None
        return out

    def stats(self):
        return self._call("stats")

    def wait_requests(self, count, timeout=30):
        wait_until(lambda: self.stats()["requests"] >= count, f"{count} model requests", timeout)

    def provider(self, **more):
        return {"name": "gpt", "type": "openai", "api_key": "env:TEST_MODEL_KEY",
                "model": "gpt-test", "base_url": f"http://127.0.0.1:{self.port}/v1", **more}

    def config(self, **more):
        """A node configuration whose default alias is this server."""
        provider = self.provider(**more.pop("provider", {}))
        return {"llm": {"providers": [provider], "aliases": {"default": "gpt"}}, **more}

    @staticmethod
    def env():
        return {"TEST_MODEL_KEY": KEY}


def call(name, **arguments):
    """A tool call of the model, by the tool's own name."""
    return {"name": name.replace(".", "_"), "arguments": arguments}


def turns(*steps, match=None, repeat=False):
    """A rule: a text is an answer, a list of calls is a message with these calls."""
    rule = {"turns": [{"content": s} if isinstance(s, str) else
                      {"tool_calls": s} if isinstance(s, list) else s for s in steps]}
    if match is not None:
        rule["match"] = match
    if repeat:
        rule["repeat"] = True
    return rule


def python(code):
    """cmd.run of Python code."""
    return call("cmd.run", command="python3", args=["-c", code])


def tool_results(request):
    """The texts of the tool messages of a request's body, in order."""
    return [m["content"] for m in request["json"]["messages"] if m["role"] == "tool"]


def secret_in(data):
    """Whether the test's key occurs in bytes."""
    return re.search(re.escape(KEY.encode()), data) is not None


def temporary(text, suffix=""):
    """A file with that text; the caller removes it."""
    fd, path = tempfile.mkstemp(prefix="aegis-test-", suffix=suffix)
    with os.fdopen(fd, "w", encoding="utf-8") as f:
        f.write(text)
    return path
