"""Holds every answer of a session against the daemon's own /openapi.json."""

import json
import re

import packages

packages.use()
import jsonschema  # noqa: E402


class Contract:
    """What the document says of each answer; counts which of it was seen."""

    def __init__(self, document):
        self.document = document
        self.seen = {}
        self.patterns = []
        for path, methods in document["paths"].items():
            pattern = re.sub(r"\{[^}]*\}", "[^/]+", path)
            # A fixed segment goes before a captured one.
            self.patterns.append((path.count("{"), re.compile(pattern + r"\Z"), path, methods))
        self.patterns.sort(key=lambda entry: entry[0])
        self.checkers = {}

    def operation(self, method, path):
        """(path in the document, its operation), or None for what is not in it."""
        path = path.split("?")[0]
        for _, pattern, name, methods in self.patterns:
            if pattern.match(path):
                return name, methods.get(method.lower())
        return None, None

    def checker(self, schema):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.checkers:
            whole = dict(schema, components=self.document["components"])
            self.checkers[key] = jsonschema.Draft202012Validator(
                whole, format_checker=jsonschema.FormatChecker(["uuid", "date-time"]))
        return self.checkers[key]

    def problems(self, schema, value):
        return [f"{e.json_path}: {e.message[:300]}" for e in self.leaves(schema, value)]

    def leaves(self, schema, value):
        """The errors; of a union by type only those of the type that was meant."""
        for error in self.checker(schema).iter_errors(value):
            best = [e for e in error.context or []]
            kind = value.get("type") if isinstance(value, dict) else None
            named = self.document["components"]["schemas"].get(kind) if kind else None
            if best and named:
                yield from self.checker(named).iter_errors(value)
            else:
                yield error

    def check(self, method, path, status, media, body):
        """AssertionError unless the document allows exactly this answer."""
        name, operation = self.operation(method, path)
        what = f"{method} {path[:200]} -> {status}"
        if operation is None:
            if status not in (204, 401, 403, 404, 405):
                raise AssertionError(f"{what}: not in the document")
            return
        answer = operation["responses"].get(str(status))
        if answer is None:
            raise AssertionError(f"{what}: this status is not in the document")
        self.seen.setdefault((method, name), set()).add(status)
        content = answer.get("content")
        if content is None:
            if body:
                raise AssertionError(f"{what}: has a body")
            return
        media = media.split(";")[0].strip()
        if media not in content:
            raise AssertionError(f"{what}: {media} is not in the document")
        schema = content[media]["schema"]
        if media == "application/json":
            self.hold(what, schema, json.loads(body))
        elif media == "text/event-stream":
            for line in body.decode().splitlines():
                if line.startswith("data:"):
                    self.hold(what, schema, json.loads(line[5:]))

    def hold(self, what, schema, value):
        problems = self.problems(schema, value)
        if problems:
            raise AssertionError(f"{what}: {problems[:5]} in {json.dumps(value)[:800]}")

    def missing(self):
        """Successful answers of the document that were not seen."""
        out = []
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                seen = self.seen.get((method.upper(), path), set())
                for status in operation["responses"]:
                    if int(status) < 400 and int(status) not in seen:
                        out.append(f"{method.upper()} {path} {status}")
        return out
