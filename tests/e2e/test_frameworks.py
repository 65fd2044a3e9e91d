"""Agents that bring their own framework: programs in a sandbox that speak OpenAI's or Anthropic's
API to the daemon, by hand and with the vendors' own packages."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

import packages
from case import Case
from model import KEY, call
from node import ISOLATION, agent

from test_hostile import build_image

# The image's own bootstrap: the prompt is the program.
RUN = "import sys\nsys.path.append('/agent/packages')\nexec(compile(sys.argv[1], 'p', 'exec'))\n"
# For programs that speak HTTP themselves: ask(path, body) -> [status, headers, text].
BY_HAND = """
import http.client, json, os, sys, threading
PORT = int(os.environ['OPENAI_BASE_URL'].split(':')[2].split('/')[0])
def ask(path, body, method='POST'):
    c = http.client.HTTPConnection('127.0.0.1', PORT, timeout=60)
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    c.request(method, path, data, {'Content-Type': 'application/json'})
    r = c.getresponse()
    return [r.status, {k.lower(): v for k, v in r.getheaders()}, r.read().decode()]
def out(*values): print(json.dumps(values))
CHAT, MESSAGES = '/v1/chat/completions', '/v1/messages'
USER = [{'role': 'user', 'content': 'hello'}]
def chat(**more): return {'model': 'default', 'messages': USER, **more}
def messages(**more): return {'model': 'default', 'max_tokens': 100, 'messages': USER, **more}
"""
TOOL = {"name": "add", "description": "Adds.", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
ADD = call("add", a=1)


def setUpModule():
    """One image for all classes: the base image, the packages, RUN. For the embedded sandbox it is
    unpacked once, and not into the directory of images that other tests share."""
    global IMAGE, UNPACKED
    packages.use()
    site = next(p for p in sys.path if p.endswith("site-packages")
                and os.path.isdir(os.path.join(p, "openai")))
    IMAGE = f"aegis-test/frameworks:{os.getpid()}"
    unittest.addModuleCleanup(subprocess.run, ["docker", "rmi", "-f", IMAGE],
                              capture_output=True, check=False)
    build_image(IMAGE, files=[("agent/run.py", RUN)], trees=[(site, "agent/packages")])
    if ISOLATION == "process":
        UNPACKED = tempfile.mkdtemp(prefix="aegis-test-")
        unittest.addModuleCleanup(shutil.rmtree, UNPACKED)
        archive = os.path.join(UNPACKED, "image.tar")
        subprocess.run(["docker", "save", "-o", archive, IMAGE], check=True)
        os.mkdir(os.path.join(UNPACKED, "images"))
        IMAGE = archive


class Frameworks(Case):
    """The default alias is a provider that speaks OpenAI's format, `claude` one of Anthropic's."""

    @classmethod
    def prepare_node(cls):
        if ISOLATION == "process":
            images = os.path.join(cls.node.data_dir, "images")
            os.unlink(images)
            os.symlink(os.path.join(UNPACKED, "images"), images)
        claude = {"name": "claude", "type": "anthropic", "api_key": "env:TEST_MODEL_KEY",
                  "model": "claude-test", "base_url": f"http://127.0.0.1:{cls.model.port}"}
        cls.node.configure({
            "llm": {"providers": [cls.model.provider(), claude],
                    "aliases": {"default": "gpt", "claude": "claude"}},
            "runtime": {"images": {"python": {"3.11": IMAGE}}}})

    def begin(self, program, *flags, **spec):
        manifest = agent("own", **{"execution": {"max_iterations": 1}, **spec})
        manifest["spec"]["task"]["prompt_template"] = "{{{input.program}}}"
        manifest["spec"]["advanced"] = {"bootstrap_path": "/agent/run.py"}
        self.node.deploy(manifest)
        return self.node.execute("own", json.dumps({"program": program}), *flags)

    def run_program(self, program, *flags, **spec):
        return self.node.wait(self.begin(program, *flags, **spec))

    def printed(self, program, *flags, **spec):
        """What a program printed last, as JSON; it must end well."""
        record = self.run_program(program, *flags, **spec)
        self.assertCompleted(record)
        self.record = record
        return json.loads(record["output"].splitlines()[-1])

    def by_hand(self, program, *flags, **spec):
        return self.printed(BY_HAND + program, *flags, **spec)

    def types(self, execution):
        return [e["type"] for e in self.node.events(execution)]


def events(text):
    """Server-sent events, strictly: (name or None, data)."""
    assert text.endswith("\n\n"), text[-100:]
    out = []
    for block in text[:-2].split("\n\n"):
        name, data = None, None
        for line in block.split("\n"):
            field, _, value = line.partition(": ")
            assert field in ("event", "data"), line
            if field == "event":
                name = value
            else:
                assert data is None
                data = value
        out.append((name, data))
    return out


class ByHand(Frameworks):
    def test_an_openai_answer(self):
        self.say({"content": "Hello there.", "usage": {"prompt_tokens": 11,
                                                        "completion_tokens": 7}})
        [(status, headers, text)] = self.by_hand("out(ask(CHAT, chat(temperature=0.5, stop='x')))")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        answer = json.loads(text)
        self.assertRegex(answer.pop("id"), r"^chatcmpl-[0-9a-f]{32}$")
        self.assertGreater(answer.pop("created"), 1_700_000_000)
        self.assertEqual(answer, {
            "object": "chat.completion", "model": "default", "system_fingerprint": None,
            "choices": [{"index": 0, "logprobs": None, "finish_reason": "stop", "message": {
                "role": "assistant", "content": "Hello there.", "refusal": None}}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}})
        [request] = self.model.requests()
        self.assertEqual(request["json"]["messages"], [{"role": "user", "content": "hello"}])
        self.assertEqual((request["json"]["temperature"], request["json"]["stop"]), (0.5, ["x"]))
        self.assertNotIn("tools", request["json"], "none of the daemon's own")
        # The same stands in the record, the journal and the metrics.
        self.assertEqual(self.record["usage"]["calls"], 1)
        self.assertEqual(self.record["usage"]["prompt_tokens"], 11)
        found = [e["data"] for e in self.node.events(self.record["id"])
                 if e["type"].startswith("LlmCall")]
        self.assertEqual(found[0]["format"], "openai")
        self.assertEqual((found[1]["finish_reason"], found[1]["provider"]), ("stop", "gpt"))

    def test_an_anthropic_answer(self):
        self.say({"content": "Hello there.", "tool_calls": [ADD],
                  "usage": {"prompt_tokens": 11, "completion_tokens": 7}})
        tool = {"name": "add", "input_schema": TOOL["parameters"]}
        [(status, headers, text)] = self.by_hand(
            f"out(ask(MESSAGES, messages(system='be brief', tools=[{tool!r}], "
            "tool_choice={'type': 'any'}, stop_sequences=['x'])))")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        answer = json.loads(text)
        self.assertRegex(answer.pop("id"), r"^msg_[0-9a-f]{32}$")
        self.assertNotEqual(answer["content"][1].pop("id"), "")
        self.assertEqual(answer, {
            "type": "message", "role": "assistant", "model": "default", "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "Hello there."},
                        {"type": "tool_use", "name": "add", "input": {"a": 1}}],
            "stop_sequence": None, "usage": {
                "input_tokens": 11, "output_tokens": 7, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0}})
        [request] = self.model.requests()
        self.assertEqual(request["json"]["messages"][0], {"role": "system", "content": "be brief"})
        self.assertEqual((request["json"]["tool_choice"], request["json"]["max_tokens"]),
                         ("required", 100))
        self.assertNotIn("ToolCallStarted", self.types(self.record["id"]))

    def test_an_openai_stream(self):
        self.say({"content": "one two three four", "tool_calls": [ADD, ADD], "chunk_chars": 4})
        tool = {"type": "function", "function": TOOL}
        [(status, headers, text)] = self.by_hand(
            f"out(ask(CHAT, chat(stream=True, tools=[{tool!r}], "
            "stream_options={'include_usage': True})))")
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertNotIn("content-length", headers)
        *found, done = events(text)
        self.assertEqual(done, (None, "[DONE]"))
        chunks = [json.loads(data) for _, data in found]
        for chunk in chunks:
            self.assertEqual((chunk["object"], chunk["id"], chunk["model"]),
                             ("chat.completion.chunk", chunks[0]["id"], "default"))
        *chunks, usage = chunks
        self.assertEqual(usage["choices"], [])
        self.assertGreater(usage["usage"]["total_tokens"], 0)
        self.assertEqual([c["usage"] for c in chunks], [None] * len(chunks))
        choices = [c["choices"][0] for c in chunks]
        self.assertEqual([c["finish_reason"] for c in choices],
                         [None] * (len(choices) - 1) + ["tool_calls"])
        deltas = [c["delta"] for c in choices]
        self.assertEqual(deltas[0], {"role": "assistant", "content": "", "refusal": None})
        self.assertEqual("".join(d.get("content") or "" for d in deltas), "one two three four")
        calls = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
        self.assertEqual([c["index"] for c in calls], [0, 1])
        self.assertEqual([json.loads(c["function"]["arguments"]) for c in calls], [{"a": 1}] * 2)
        self.assertEqual(deltas[-1], {})

    def test_an_anthropic_stream(self):
        self.say({"content": "one two three four", "tool_calls": [ADD], "chunk_chars": 4})
        tool = {"name": "add", "input_schema": TOOL["parameters"]}
        [(status, headers, text)] = self.by_hand(
            f"out(ask(MESSAGES, messages(stream=True, tools=[{tool!r}])))")
        self.assertEqual(status, 200)
        self.assertEqual(headers["content-type"], "text/event-stream; charset=utf-8")
        found = [(name, json.loads(data)) for name, data in events(text)]
        for name, data in found:
            self.assertEqual(name, data["type"])
        names = [name for name, _ in found if name != "content_block_delta"]
        self.assertEqual(names, ["message_start", "content_block_start", "content_block_stop",
                                 "content_block_start", "content_block_stop", "message_delta",
                                 "message_stop"])
        said = [d["delta"] for n, d in found if n == "content_block_delta" and d["index"] == 0]
        self.assertEqual("".join(d["text"] for d in said), "one two three four")
        wanted = [d["delta"] for n, d in found if n == "content_block_delta" and d["index"] == 1]
        self.assertEqual(json.loads("".join(d["partial_json"] for d in wanted)), {"a": 1})
        self.assertEqual(found[-2][1]["delta"]["stop_reason"], "tool_use")
        self.assertGreater(found[-2][1]["usage"]["output_tokens"], 0)

    def test_deltas_come_while_the_model_speaks(self):
        """Who has read the first piece asks something else, and has that before the first ends."""
        for path, slow in (("CHAT", "chat(messages=SLOW, stream=True)"),
                           ("MESSAGES", "messages(messages=SLOW, stream=True)")):
            with self.subTest(path):
                self.say({"match": "slow", "content": "word " * 30, "chunk_chars": 5,
                          "chunk_delay_ms": 150}, {"content": "quick"})
                status, rest = self.by_hand(f"""
SLOW = [{{'role': 'user', 'content': 'slow'}}]
c = http.client.HTTPConnection('127.0.0.1', PORT, timeout=60)
c.request('POST', {path}, json.dumps({slow}))
r = c.getresponse()
while b'word' not in r.readline(): pass
status = ask(CHAT, chat())[0]
out(status, r.read().decode())
""")
                self.assertEqual(status, 200)
                self.assertEqual(rest.count("word"), 29)
                done = [e["data"]["call"] for e in self.node.events(self.record["id"])
                        if e["type"] == "LlmCallCompleted"]
                self.assertEqual(done, [2, 1])

    def test_refusals(self):
        self.say({"content": "never asked"})
        answers = self.by_hand("""
image = [{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {'url': 'data:'}}]}]
out(ask(CHAT, chat(n=2)), ask(CHAT, chat(messages=image)), ask(CHAT, 'not json'),
    ask(CHAT, chat(model='gpt-4')), ask(CHAT, '', 'GET'),
    ask(MESSAGES, messages(top_k=3)), ask(MESSAGES, chat()), ask(MESSAGES, messages(model='x')))
""")
        self.assertEqual([a[0] for a in answers], [400, 400, 400, 404, 405, 400, 400, 404])
        bodies = [json.loads(a[2]) for a in answers]
        for body, param, code in zip(bodies[:4], ("n", "messages[0].content[0].type", None, None),
                                     ("unsupported_parameter", "unsupported_parameter", None,
                                      "model_not_found")):
            self.assertEqual(set(body), {"error"})
            self.assertEqual(set(body["error"]), {"message", "type", "param", "code"})
            self.assertEqual(body["error"]["type"], "invalid_request_error")
            self.assertEqual((body["error"]["param"], body["error"]["code"]), (param, code))
        self.assertIn("'n'", bodies[0]["error"]["message"])
        self.assertIn("model alias default", bodies[3]["error"]["message"])
        self.assertEqual(answers[4][1]["allow"], "POST")
        for body, kind, word in zip(bodies[5:], ("invalid_request_error", "invalid_request_error",
                                                 "not_found_error"), ("top_k", "max_tokens", "x")):
            self.assertEqual((set(body), body["type"]), ({"type", "error"}, "error"))
            self.assertEqual(body["error"]["type"], kind)
            self.assertIn(word, body["error"]["message"])
        self.assertEqual(self.model.stats()["requests"], 0)

    def test_what_the_provider_refuses(self):
        self.say({"nth": 1, "status": 429, "headers": {"Retry-After": "60"}, "error": "slow"},
                 {"nth": 2, "status": 400, "error": "no such thing"},
                 {"nth": 3, "status": 429, "headers": {"Retry-After": "60"}, "error": "slow"},
                 {"content": "well"})
        answers = self.by_hand("out(ask(CHAT, chat()), ask(CHAT, chat()), "
                               "ask(MESSAGES, messages()), ask(MESSAGES, messages()))")
        self.assertEqual([a[0] for a in answers], [429, 400, 429, 200])
        self.assertEqual([a[1].get("retry-after") for a in answers], ["60", None, "60", None])
        self.assertEqual(json.loads(answers[0][2])["error"]["code"], "rate_limit_exceeded")
        self.assertIn("no such thing", json.loads(answers[1][2])["error"]["message"])
        self.assertEqual(json.loads(answers[2][2])["error"]["type"], "rate_limit_error")
        self.assertEqual(self.types(self.record["id"]).count("LlmCallFailed"), 3)

    def test_a_stream_that_breaks(self):
        self.say({"content": "word " * 200, "cut_after_bytes": 4000})
        (status, _, text), (other, _, said) = self.by_hand(
            "out(ask(CHAT, chat(stream=True)), ask(MESSAGES, messages(stream=True)))")
        self.assertEqual((status, other), (200, 200))
        self.assertEqual(set(json.loads(events(text)[-1][1])), {"error"})
        self.assertNotIn("[DONE]", text)
        name, data = events(said)[-1]
        self.assertEqual((name, json.loads(data)["type"]), ("error", "error"))
        self.assertNotIn("message_stop", said)

    def test_nothing_else_is_served(self):
        self.say({"content": "never asked"})
        answers = self.by_hand("out(*[ask(p, '{}', m) for m, p in (('GET', '/v1/models'), "
                               "('POST', '/v1/responses'), ('POST', '/v1/completions'), "
                               "('POST', '/v1/messages/count_tokens'), ('GET', '/'), "
                               "('POST', '/v1/executions'), ('POST', '/chat/completions'))])")
        self.assertEqual({a[0] for a in answers}, {404})
        for path in ("/v1/chat/completions", "/v1/messages"):
            for method in ("GET", "POST"):
                self.assertEqual(self.node.api(method, path, {} if method == "POST" else None)[0],
                                 404)

    def test_limits(self):
        program = BY_HAND + "print([ask(CHAT, chat(user=str(i)))[0] for i in range(9)])"
        self.say({"content": "again"})
        record = self.run_program(program, execution={"max_iterations": 1, "max_model_calls": 3})
        self.assertFailed(record, "model_call_limit")
        self.assertEqual(self.model.stats()["requests"], 3)
        self.say({"content": "again"})
        record = self.run_program(program, execution={"max_iterations": 1,
                                                      "budget": {"llm_calls": 2}})
        self.assertFailed(record, "budget_exceeded")
        self.assertEqual(self.model.stats()["requests"], 2)
        self.say({"content": "again"})
        self.by_hand("out(ask(MESSAGES, messages(max_tokens=4000)))", runtime={"max_tokens": 50})
        self.assertEqual(self.model.requests()[0]["json"]["max_tokens"], 50)

    def test_hostile_bodies(self):
        self.say({"content": "fine"})
        answers = self.by_hand("""
big = json.dumps(chat(messages=[{'role': 'user', 'content': 'x' * (17 << 20)}]))
many = '{"model":"default","messages":[' + '0,' * 600000 + '0]}'
deep = '{"model":"default","messages":' + '[' * 100000 + ']' * 100000 + '}'
fits = chat(messages=[{'role': 'user', 'content': 'x' * (15 << 20)}])
got = [ask(CHAT, b) for b in (big, many, deep, '[]', '')] + [ask(MESSAGES, b) for b in
       (big, many, deep, 'null', '{"model"')] + [ask(CHAT, fits)]
out(*[[s, h.get('content-type'), t[:300]] for s, h, t in got])
""")
        self.assertEqual([a[0] for a in answers], [413, 413, 400, 400, 400] * 2 + [200])
        self.assertEqual(json.loads(answers[0][2])["error"]["type"], "invalid_request_error")
        self.assertEqual(json.loads(answers[5][2])["error"]["type"], "request_too_large")
        self.assertEqual(self.model.stats()["requests"], 1)

    def test_many_at_once(self):
        """Twelve at once are served; who comes beyond is told to come again."""
        self.say({"content": "there", "delay_ms": 4000})
        answers = self.by_hand("""
got = [None] * 14
def one(i): got[i] = ask(CHAT, chat())
threads = [threading.Thread(target=one, args=(i,)) for i in range(14)]
for t in threads: t.start()
for t in threads: t.join()
out(*got)
""")
        self.assertEqual(sorted(a[0] for a in answers), [200] * 12 + [429] * 2)
        for status, headers, text in answers:
            if status == 429:
                self.assertEqual(headers["retry-after"], "1")
                self.assertEqual(json.loads(text)["error"]["code"], "rate_limit_exceeded")
        self.assertEqual(self.model.stats()["requests"], 12)
        self.assertEqual(len({json.loads(a[2])["id"] for a in answers if a[0] == 200}), 12,
                         "each an answer of its own, though all asked the same")


class Killed(Frameworks):
    PROGRAM = """
def text(path, body):
    status, _, said = ask(path, body)
    said = json.loads(said)
    assert status == 200, said
    return said['choices'][0]['message']['content'] if path == CHAT else said['content'][0]['text']
def named(n): return [{'role': 'user', 'content': n}]
print(text(CHAT, chat(messages=named('first'))), text(MESSAGES, messages(messages=named('second'))),
      text(CHAT, chat(messages=named('third'))))
"""

    def test_in_the_middle_of_a_call(self):
        """What is recorded is told again and not bought again; what was in flight is unknown, then
        asked again."""
        self.say({"match": "first", "content": "one"},
                 {"match": "second", "hang": True, "times": 1},
                 {"match": "second", "content": "two"}, {"match": "third", "content": "three"})
        execution = self.begin(BY_HAND + self.PROGRAM)
        self.model.wait_requests(2)
        self.node.kill()
        self.node.start()
        record = self.node.wait(execution)
        self.assertCompleted(record)
        self.assertEqual(record["output"], "one two three")
        asked = [r["json"]["messages"][-1]["content"] for r in self.model.requests()]
        self.assertEqual(asked, ["first", "second", "second", "third"])
        self.gap_free(self.node.events(execution))
        lost = [e["data"] for e in self.node.events(execution) if e["type"] == "EffectLost"]
        self.assertEqual({d["effect"] for d in lost}, {"sandbox", "llm_call"})
        self.assertEqual(record["total_iterations"], 1)
        status, replay = self.node.api("GET", f"/v1/executions/{execution}/replay")
        self.assertEqual((status, replay["status"]), (200, "reproduced"), replay)
        with tarfile.open(fileobj=io.BytesIO(self.node.api(
                "GET", f"/v1/executions/{execution}/export")[1])) as archive:
            bodies = [archive.extractfile(m).read() for m in archive if "bodies/" in m.name]
        self.assertTrue(any(b'"format":"anthropic"' in b and b"second" in b for b in bodies))

    def test_a_client_that_goes_away_and_comes_back(self):
        """A broken connection: the same request, sent once more, gets the answer that was bought,
        from its beginning."""
        self.say({"content": "bought and paid for", "chunk_chars": 4, "chunk_delay_ms": 200,
                  "times": 1}, {"content": "anew"})
        streamed, again = self.by_hand("""
c = http.client.HTTPConnection('127.0.0.1', PORT, timeout=60)
c.request('POST', CHAT, json.dumps(chat(stream=True)))
r = c.getresponse()
while b'boug' not in r.readline(): pass
r.close()
c.close()
out(ask(CHAT, chat(stream=True)), ask(CHAT, chat()))
""")
        chunks = [json.loads(data)["choices"][0]["delta"] for _, data in events(streamed[2])[:-1]]
        self.assertEqual("".join(d.get("content", "") for d in chunks), "bought and paid for")
        self.assertEqual(json.loads(again[2])["choices"][0]["message"]["content"], "anew")
        self.assertEqual(self.model.stats()["requests"], 2)


OPENAI = f"""
import json, openai
client = openai.OpenAI()
model = __import__('os').environ['AEGIS_MODEL_ALIAS']
tools = [{{'type': 'function', 'function': {TOOL!r}}}]
history = [{{'role': 'system', 'content': 'be brief'}}, {{'role': 'user', 'content': 'add'}}]
first = client.chat.completions.create(model=model, messages=history, tools=tools,
                                       tool_choice='auto', max_completion_tokens=100)
message = first.choices[0].message
history.append(message.model_dump(exclude_none=True))
for c in message.tool_calls:
    history.append({{'role': 'tool', 'tool_call_id': c.id,
                     'content': str(json.loads(c.function.arguments)['a'] + 1)}})
text, usage, reasons = '', None, []
for chunk in client.chat.completions.create(model=model, messages=history, tools=tools, stream=True,
                                            stream_options={{'include_usage': True}}):
    usage = chunk.usage or usage
    for choice in chunk.choices:
        text += choice.delta.content or ''
        reasons.append(choice.finish_reason)
errors = []
quick = client.with_options(max_retries=0)
for body in ({{'model': 'gpt-4'}}, {{'n': 3}}, {{'messages': 'x'}}, {{'messages': [
        {{'role': 'user', 'content': 'limit'}}]}}):
    try:
        quick.chat.completions.create(**{{'model': model, 'messages': history, 'tools': tools,
                                          **body}})
    except openai.APIStatusError as e:
        errors.append([type(e).__name__, e.status_code, e.code, e.param,
                       e.response.headers.get('retry-after')])
print(json.dumps([len(message.tool_calls), first.choices[0].finish_reason, text,
                  usage.total_tokens > 0, reasons[-1], errors]))
"""

ANTHROPIC = f"""
import json, anthropic
client = anthropic.Anthropic()
model = __import__('os').environ['AEGIS_MODEL_ALIAS']
tool = {TOOL!r}
tools = [{{'name': tool['name'], 'description': tool['description'],
           'input_schema': tool['parameters']}}]
history = [{{'role': 'user', 'content': 'add'}}]
common = dict(model=model, max_tokens=100, system='be brief', tools=tools)
first = client.messages.create(messages=history, tool_choice={{'type': 'auto'}}, **common)
history.append({{'role': 'assistant', 'content': first.content}})
history.append({{'role': 'user', 'content': [
    {{'type': 'tool_result', 'tool_use_id': b.id, 'content': str(b.input['a'] + 1)}}
    for b in first.content if b.type == 'tool_use']}})
with client.messages.stream(messages=history, **common) as stream:
    text = ''.join(stream.text_stream)
    last = stream.get_final_message()
errors = []
quick = client.with_options(max_retries=0)
for body in ({{'model': 'claude-x'}}, {{'extra_body': {{'top_k': 3}}}}, {{'messages': [
        {{'role': 'user', 'content': 'limit'}}]}}):
    try:
        quick.messages.create(**{{**common, 'messages': history, **body}})
    except anthropic.APIStatusError as e:
        errors.append([type(e).__name__, e.status_code, e.body['error']['type'],
                       e.response.headers.get('retry-after')])
print(json.dumps([sum(b.type == 'tool_use' for b in first.content), first.stop_reason, text,
                  last.usage.output_tokens > 0, last.stop_reason, errors]))
"""


class Packages(Frameworks):
    """The vendors' own packages, each with a provider of its own kind and of the other's."""

    def session(self, program, alias):
        self.say({"match": "limit", "status": 429, "headers": {"Retry-After": "60"},
                  "error": "slow down"},
                 {"turns": [{"content": "let me see", "tool_calls": [ADD, call("add", a=2)]},
                            {"content": "it is 2", "chunk_chars": 2}]})
        said = self.printed(program, "--model", alias)
        asked = [r["json"] for r in self.model.requests()]
        self.assertEqual([r["error"] for r in self.model.requests()[:2]], [None, None])
        results = [m for m in asked[1]["messages"] if m["role"] == "tool"] if alias == "default" \
            else [b for b in asked[1]["messages"][-1]["content"] if b["type"] == "tool_result"]
        self.assertEqual([r["content"] for r in results], ["2", "3"])
        self.assertEqual(self.types(self.record["id"]).count("LlmCallCompleted"), 2)
        self.assertNotIn(KEY, json.dumps(self.record))
        return said

    def openai(self, alias):
        calls, why, text, counted, then, errors = self.session(OPENAI, alias)
        self.assertEqual((calls, why, text, counted, then), (2, "tool_calls", "it is 2", True,
                                                             "stop"))
        self.assertEqual(errors, [
            ["NotFoundError", 404, "model_not_found", None, None],
            ["BadRequestError", 400, "unsupported_parameter", "n", None],
            ["BadRequestError", 400, None, "messages", None],
            ["RateLimitError", 429, "rate_limit_exceeded", None, "60"]])

    def anthropic(self, alias):
        calls, why, text, counted, then, errors = self.session(ANTHROPIC, alias)
        self.assertEqual((calls, why, text, counted, then), (2, "tool_use", "it is 2", True,
                                                             "end_turn"))
        self.assertEqual(errors, [
            ["NotFoundError", 404, "not_found_error", None],
            ["BadRequestError", 400, "invalid_request_error", None],
            ["RateLimitError", 429, "rate_limit_error", "60"]])

    def test_openai_to_openai(self):
        self.openai("default")

    def test_openai_to_anthropic(self):
        self.openai("claude")

    def test_anthropic_to_openai(self):
        self.anthropic("default")

    def test_anthropic_to_anthropic(self):
        self.anthropic("claude")


if __name__ == "__main__":
    unittest.main()
