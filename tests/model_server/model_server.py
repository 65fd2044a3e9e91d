#!/usr/bin/env python3
"""A strict stand-in for a model provider, for tests. The script's format is in README.md."""

import argparse
import itertools
import json
import os
import re
import select
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic_api
import openai_api

MAX_BODY = 64 << 20
STEP_KEYS = set("content content_bytes tool_calls repeat_tool_calls finish_reason usage status "
                "error headers delay_ms chunk_delay_ms chunk_chars cut_after_bytes cut raw "
                "content_type half_json hang reset".split())
RULE_KEYS = STEP_KEYS | {"match", "model", "key", "nth", "times", "turns", "repeat"}


class ClientGone(Exception):
    """The client closed its connection."""


class ScriptError(Exception):
    """The script has nothing for a request, or cannot be used."""


class Answer:
    """What a step makes the model say."""

    def __init__(self, step, body):
        self.content = step.get("content", "") or "x" * step.get("content_bytes", 0)
        self.chunk_chars = step.get("chunk_chars", 16 if "content" in step else 16384)
        self.calls = []
        calls = step.get("tool_calls", [])
        for repeat in range(step.get("repeat_tool_calls", 1)):
            for call in calls:
                arguments = call.get("arguments", {})
                if not isinstance(arguments, str):
                    arguments = json.dumps(arguments, ensure_ascii=False)
                number = len(self.calls) + 1
                call_id = call.get("id", f"call_{number}") if repeat == 0 else f"call_{number}"
                self.calls.append((call_id, call["name"], arguments))
        self.finish = step.get("finish_reason")
        usage = step.get("usage", {})
        said = len(self.content.encode()) + sum(len(a.encode()) for _, _, a in self.calls)
        asked = len(json.dumps(body.get("messages"), ensure_ascii=False).encode())
        self.prompt_tokens = usage.get("prompt_tokens", (asked + 3) // 4)
        self.completion_tokens = usage.get("completion_tokens", (said + 3) // 4)

    def finish_reason(self):
        return self.finish or ("tool_calls" if self.calls else "stop")

    def split(self, text):
        return (text[i:i + self.chunk_chars] for i in range(0, len(text), self.chunk_chars))

    def pieces(self):
        return self.split(self.content)


class Script:
    """The rules; picks the step for a request. Locked by the server."""

    def __init__(self, value):
        value = {"rules": value} if isinstance(value, list) else value
        self.keys = value.get("keys", ["sk-test"])
        self.models = value.get("models", [])
        self.ollama_models = value.get("ollama_models")
        self.rules = value.get("rules", [{"content": "Hello."}])
        self.patterns = [re.compile(rule.get("match", ""), re.S) for rule in self.rules]
        self.hits = [0] * len(self.rules)
        for rule in self.rules:
            for step in [rule] + rule.get("turns", []):
                unknown = set(step) - (RULE_KEYS if step is rule else STEP_KEYS)
                if unknown:
                    raise ScriptError(f"unknown in the script: {sorted(unknown)}")

    def pick(self, body, number, key):
        text = last_user_text(body["messages"])
        for i, rule in enumerate(self.rules):
            if not self.patterns[i].search(text):
                continue
            if rule.get("model", body["model"]) != body["model"]:
                continue
            if rule.get("key", key) != key or rule.get("nth", number) != number:
                continue
            if self.hits[i] >= rule.get("times", self.hits[i] + 1):
                continue
            self.hits[i] += 1
            return self.turn(rule, body["messages"])
        raise ScriptError("no rule of the script matches")

    @staticmethod
    def turn(rule, messages):
        turns = rule.get("turns")
        if turns is None:
            return rule
        turn = sum(1 for m in messages if m["role"] == "assistant")
        if turn >= len(turns) and rule.get("repeat"):
            turn = len(turns) - 1
        if turn >= len(turns):
            raise ScriptError(f"the rule has no turn {turn + 1}")
        return turns[turn]


def last_user_text(messages):
    """The text of the last message that a user wrote (tool results are none)."""
    for message in reversed(messages):
        if message["role"] != "user":
            continue
        content = message["content"]
        if isinstance(content, str):
            return content
        texts = [part["text"] for part in content if part.get("type") == "text"]
        if texts:
            return "".join(texts)
    return ""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, address, script, log_path):
        self.lock = threading.Lock()
        self.script = Script(script)
        self.log_path = log_path
        self.reset()
        super().__init__(address, Handler)

    def reset(self):
        self.stats = {"requests": 0, "by_key": {}, "by_status": {}, "open": 0, "max_open": 0,
                      "client_gone": 0}
        self.seen = []
        self.script.hits = [0] * len(self.script.rules)

    def record(self, entry):
        """Called with the lock held, before the answer goes out."""
        status = str(entry["status"])
        self.stats["by_status"][status] = self.stats["by_status"].get(status, 0) + 1
        self.seen.append(entry)
        if self.log_path:
            with open(self.log_path, "a", encoding="utf-8") as log:
                log.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def handle_error(self, request, client_address):
        pass  # a client that goes away is part of the tests


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        server = self.server
        if self.path == "/_control/stats":
            with server.lock:
                value = {**server.stats, "hits": list(server.script.hits)}
            self.send_json(200, value)
        elif self.path == "/_control/requests":
            with server.lock:
                value = list(server.seen)
            self.send_json(200, value)
        elif self.path == "/api/tags" and server.script.ollama_models is not None:
            self.send_json(200, {"models": [{"name": m, "model": m}
                                            for m in server.script.ollama_models]})
        else:
            self.send_json(404, {"error": {"message": f"Unknown request URL: GET {self.path}"}})

    def do_POST(self):
        raw = self.read_body()
        if raw is None:
            return
        path = self.path.split("?")[0]
        if path == "/_control/reset":
            with self.server.lock:
                self.server.reset()
            self.send_json(200, {})
        elif path == "/_control/script":
            with self.server.lock:
                self.server.script = Script(json.loads(raw))
                self.server.reset()
            self.send_json(200, {})
        elif path.endswith("/chat/completions"):
            self.serve(openai_api, raw)
        elif path == "/v1/messages":
            self.serve(anthropic_api, raw)
        else:
            self.send_json(404, {"error": {"message": f"Unknown request URL: POST {self.path}",
                                           "type": "invalid_request_error"}})

    def read_body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            self.send_json(413 if length.isdigit() else 411, {"error": {"message": "bad length"}})
            return None
        return self.rfile.read(int(length))

    def serve(self, api, raw):
        server = self.server
        key = api.key_of(self.headers)
        with server.lock:
            server.stats["requests"] += 1
            server.stats["by_key"][key] = server.stats["by_key"].get(key, 0) + 1
            server.stats["open"] += 1
            server.stats["max_open"] = max(server.stats["max_open"], server.stats["open"])
        try:
            step, body, refused = self.decide(api, raw, key)
            if refused is not None:
                self.send_json(refused[0], refused[1])
            else:
                self.perform(api, step, body)
        except (ClientGone, ConnectionError):
            self.close_connection = True
            with server.lock:
                server.stats["client_gone"] += 1
        finally:
            with server.lock:
                server.stats["open"] -= 1

    def decide(self, api, raw, key):
        """The step for a request, or (status, body) of its refusal. Logs it either way."""
        server, step, body, refused = self.server, None, None, None
        try:
            api.check_key(self.headers, server.script.keys)
            if self.headers.get_content_type() != "application/json":
                raise api.Refused("Unsupported content type: expected application/json.")
            try:
                body = json.loads(raw.decode("utf-8"), parse_constant=lambda c: 1 / 0)
            except (ValueError, ZeroDivisionError, RecursionError):
                raise api.Refused("We could not parse the JSON body of your request. (HINT: This "
                                  "likely means you aren't using your HTTP library correctly.)")
            api.check(body, server.script.models)
        except api.Refused as e:
            refused = (e.status, e.body())
        with server.lock:
            if refused is None:
                try:
                    step = server.script.pick(body, server.stats["requests"], key)
                except ScriptError as e:
                    refused = (400, api.Refused(f"model_server: {e}").body())
            status = refused[0] if refused else step.get("status", 200)
            server.record({"n": server.stats["requests"], "time": time.time(), "path": self.path,
                           "key": key, "status": status,
                           "headers": {k.lower(): v for k, v in self.headers.items()},
                           "body": raw.decode("utf-8", "backslashreplace"),
                           "error": refused[1]["error"]["message"] if refused else None})
        return step, body, refused

    def perform(self, api, step, body):
        if step.get("reset"):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        if step.get("hang"):
            self.pause(3600)
        self.pause(step.get("delay_ms", 0) / 1000)
        headers = step.get("headers", {})
        status = step.get("status", 200)
        if "raw" in step:
            self.send_whole(status, step["raw"].encode("utf-8", "surrogateescape"), headers,
                            step.get("content_type", "text/event-stream"))
        elif status != 200:
            message = step.get("error", f"scripted error {status}")
            self.send_json(status, api.error_body(status, message), headers)
        elif body.get("stream"):
            self.send_stream(self.stream_of(api, step, body), step)
        else:
            payload = json.dumps(api.document(body["model"], Answer(step, body))).encode()
            if step.get("half_json"):
                payload = payload[:len(payload) // 2]
            self.send_whole(200, payload, headers, "application/json", step.get("cut_after_bytes"))

    @staticmethod
    def stream_of(api, step, body):
        events = api.events(body, Answer(step, body))
        if not step.get("half_json"):
            return events
        first = list(itertools.islice(events, 2))
        half = first[-1][:len(first[-1]) // 2] + b"\n\n"
        return iter(first[:-1] + [half])

    def send_stream(self, events, step):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in step.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        left = step.get("cut_after_bytes", float("inf"))
        for i, event in enumerate(events):
            if i > 0:
                self.pause(step.get("chunk_delay_ms", 0) / 1000)
            part = event if len(event) <= left else event[:left]
            if part:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            left -= len(part)
            if left <= 0:
                break
        if left > 0 or step.get("cut") == "clean":
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def send_whole(self, status, payload, headers, content_type, cut=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(payload)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload[:cut])
        self.close_connection = self.close_connection or cut is not None

    def send_json(self, status, value, headers=()):
        payload = json.dumps(value, ensure_ascii=False).encode()
        self.send_whole(status, payload, dict(headers), "application/json")

    def pause(self, seconds):
        """Sleeps; ClientGone as soon as the client closes its side."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.connection, select.POLLIN | select.POLLHUP | select.POLLERR)
        while (left := end - time.monotonic()) > 0:
            if not poll.poll(left * 1000):
                continue
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ClientGone
            time.sleep(min(left, 0.01))  # a pipelined request; it waits


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", help="JSON file; without one every answer is 'Hello.'")
    parser.add_argument("--port-file", help="gets the port number once the server listens")
    parser.add_argument("--log", help="gets each request as a line of JSON")
    options = parser.parse_args()
    script = {}
    if options.script:
        with open(options.script, encoding="utf-8") as file:
            script = json.load(file)
    server = Server((options.host, options.port), script, options.log)
    port = server.server_address[1]
    if options.port_file:
        with open(options.port_file + ".tmp", "w", encoding="utf-8") as file:
            file.write(f"{port}\n")
        os.rename(options.port_file + ".tmp", options.port_file)
    print(f"listening on {options.host}:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
