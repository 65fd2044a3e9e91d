"""Budgets, exports, replays, what is in volumes, and the order of starts."""

import gzip
import io
import json
import os
import sqlite3
import tarfile
import tempfile

from case import Case
from model import KEY, call, python, turns
from node import agent, wait_until, workspace

PRICE = {"price": {"input_per_mtok": 10, "output_per_mtok": 10}}
WRITE = call("fs.write", path="a.txt", content="hello")


def step(calls=None, tokens=(10, 8)):
    out = {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
    return {**out, "tool_calls": calls} if calls else {**out, "content": "done"}


def budgeted(**budget):
    return agent("spender", volumes=[workspace()], execution={"budget": budget})


class Budgets(Case):
    config = {"provider": PRICE}

    def spend(self, budget, *flags, calls=6):
        steps = [step([WRITE]) for _ in range(calls)] + [step()]
        manifest = budgeted(**budget) if budget else agent("spender", volumes=[workspace()])
        return self.run_with(turns(*steps), manifest=manifest, flags=flags)

    def exceeded(self, record, what, requests):
        self.assertFailed(record, "budget_exceeded")
        self.assertEqual(self.model.stats()["requests"], requests, "the next call was not made")
        self.assertEqual(record["total_iterations"], 1, "no iteration is used up for it")
        events = self.node.events(record["id"])
        told = [e for e in events if e["type"] == "BudgetExceeded"]
        self.assertEqual([e["data"]["what"] for e in told], [what])
        self.assertEqual(self.node.aegis("execution", "wait", record["id"]).code, 6)

    def test_model_calls(self):
        self.exceeded(self.spend({"llm_calls": 3}), "llm_calls", 3)

    def test_tool_calls(self):
        record = self.spend({"tool_calls": 2})
        self.exceeded(record, "tool_calls", 3)
        self.assertEqual(len(record["iterations"][0]["tool_calls"]), 2)

    def test_tokens(self):
        record = self.spend({"tokens": 50})
        self.exceeded(record, "tokens", 2)  # 36 are used, 18 more would not fit
        usage = record["usage"]
        self.assertLessEqual(usage["prompt_tokens"] + usage["completion_tokens"], 50)

    def test_money(self):
        record = self.spend({"usd": 0.0006})
        self.exceeded(record, "usd", 3)  # 0.00018 each
        self.assertAlmostEqual(record["usage"]["cost_usd"], 0.00054)

    def test_enough_is_enough(self):
        budget = {"usd": 1, "tokens": 10000, "llm_calls": 7, "tool_calls": 6}
        self.assertCompleted(self.spend(budget))

    def test_flag_and_request_replace_the_manifests(self):
        self.exceeded(self.spend({"usd": 5}, "--budget-usd", "0.0002"), "usd", 1)
        self.say(turns(step([WRITE]), step()))
        status, body = self.node.api("POST", "/v1/executions", {
            "agent_id": "spender", "budget": {"llm_calls": 1}})
        self.assertEqual(status, 201, body)
        self.exceeded(self.node.wait(body["id"]), "llm_calls", 1)
        for bad in ({"usd": -1}, {"usd": "1"}, {"tokens": 1.5}, {"euros": 1}, 5):
            status, body = self.node.api("POST", "/v1/executions",
                                         {"agent_id": "spender", "budget": bad})
            self.assertEqual(status, 400, body)

    def test_a_lost_call_counts_as_reserved(self):
        self.say({"hang": True})
        self.node.deploy(budgeted(llm_calls=2, tokens=100000))
        execution = self.node.execute("spender")
        self.model.wait_requests(1)
        self.assertEqual(len(self.claims()), 1, "what a call may cost is claimed while it is made")
        self.node.kill()
        self.say(turns(step([WRITE]), step()))
        self.node.start()
        record = self.node.wait(execution)
        self.exceeded(record, "llm_calls", 1)  # one was lost, one is made, the third is not
        started = [e for e in self.node.events(execution) if e["type"] == "LlmCallStarted"]
        self.assertEqual(len(started), 2)
        self.assertGreater(started[0]["data"]["reserved"]["tokens"], 0)
        self.assertEqual(self.claims(), [])

    def claims(self):
        with sqlite3.connect(f"file:{self.node.data_dir}/aegis.db?mode=ro", uri=True) as db:
            return db.execute("SELECT key FROM claims WHERE kind = 'budget'").fetchall()


class NoPrice(Case):
    def test_money_needs_a_price(self):
        self.say({"content": "done"})
        self.node.deploy(agent("free"))
        done = self.node.aegis("execute", "--agent", "free", "--budget-usd", "1")
        self.assertEqual(done.code, 2, done)
        self.assertIn('the provider "gpt" has no price', done.err)
        self.assertIn("hint:", done.err)
        self.assertEqual(self.node.run("free", "{}")["status"], "completed")
        self.assertEqual(self.model.stats()["requests"], 1)


class ExportAndReplay(Case):
    def finished(self):
        rule = turns([call("fs.write", path="a.txt", content="x" * 100),
                      python("print('out'); import sys; sys.stderr.write('err')")], "one",
                     repeat=True)
        manifest = agent("archived", volumes=[workspace()], execution={
            "max_iterations": 2,
            "validation": [{"type": "exit_code"}, {"type": "regex", "pattern": "never"}]})
        record = self.run_with(rule, '{"a": [1, 2.0]}', manifest)
        self.assertFailed(record, "validation_exhausted")
        return record

    def export(self, execution):
        with tempfile.TemporaryDirectory(dir=self.node.dir) as where:
            path = os.path.join(where, "e.tar.gz")
            self.node.ok("execution", "export", execution, "--file", path)
            with open(path, "rb") as f:
                return f.read()

    @staticmethod
    def files(archive):
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            return {m.name.split("/", 1)[1]: tar.extractfile(m).read() for m in tar}

    @staticmethod
    def pack(files, folder):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(f"{folder}/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return out.getvalue()

    def replay_file(self, archive, *flags):
        path = os.path.join(self.node.dir, "changed.tar.gz")
        with open(path, "wb") as f:
            f.write(archive)
        # No daemon is asked.
        return self.node.aegis("execution", "replay", path, *flags,
                               env={"AEGIS_DAEMON_ADDR": "127.0.0.1:1"})

    def test_archive(self):
        record = self.finished()
        archive = self.export(record["id"])
        self.assertEqual(archive, self.export(record["id"]), "the same bytes each time")
        self.assertNotIn(KEY.encode(), gzip.decompress(archive))
        files = self.files(archive)
        self.assertEqual(json.loads(files["record.json"]), self.node.record(record["id"]))
        lines = files["events.ndjson"].decode().splitlines()
        self.assertEqual([json.loads(line) for line in lines], self.node.events(record["id"]))
        self.assertIn("kind", files["manifest.yaml"].decode())
        self.assertEqual(json.loads(files["manifest.json"])["metadata"]["name"], "archived")
        logs = json.loads(files["logs.json"])
        self.assertEqual([entry["iteration"] for entry in logs], [1, 2])
        bodies = {name for name in files if name.startswith("bodies/")}
        answer = next(json.loads(line)["data"]["answer"]["sha256"] for line in lines
                      if '"LlmCallCompleted"' in line)
        self.assertIn(f"bodies/{answer}", bodies)

    def test_replay(self):
        record = self.finished()
        done = self.node.ok("execution", "replay", record["id"])
        events = len(self.node.events(record["id"]))
        self.assertIn(f"Reproduced execution {record['id']}: {events} events of 2 iterations",
                      done.out)
        told = self.node.ok("execution", "replay", "@last", "-o", "json").json()
        self.assertEqual(told["status"], "reproduced")
        self.assertEqual((told["prompts"], told["verdicts"]), (2, 4))
        self.assertIsNone(told["divergence"])
        done = self.replay_file(self.export(record["id"]))
        self.assertEqual(done.code, 0, done)
        self.assertIn("Reproduced", done.out)

    def test_what_was_changed_is_found(self):
        record = self.finished()
        files = self.files(self.export(record["id"]))
        events = [json.loads(line) for line in files["events.ndjson"].splitlines()]

        def changed(what, changes):
            archive = self.pack({**files, **changes}, record["id"])
            done = self.replay_file(archive)
            self.assertEqual(done.code, 10, done)
            self.assertIn(what, done.err)
            self.assertIn("recorded: ", done.err)
            self.assertIn("replayed: ", done.err)
            error = self.replay_file(archive, "-o", "json").error()
            self.assertEqual([d["path"] for d in error["details"]], ["recorded", "replayed"])

        def lines(change):
            copy = json.loads(json.dumps(events))
            change(copy)
            return {"events.ndjson": "".join(json.dumps(e) + "\n" for e in copy).encode()}

        def first(all_events, kind):
            return next(e for e in all_events if e["type"] == kind)

        def score(e):
            first(e, "ValidationCompleted")["data"]["results"][1]["score"] = 0.5

        def outcome(e):
            first(e, "OutcomeDecided")["data"]["outcome"] = "completed"

        def name(e):
            first(e, "ToolCallStarted")["data"]["tool"] = "fs.delete"

        changed("(validation)", lines(score))
        changed("(event)", lines(outcome))
        changed("(tool call)", lines(name))
        changed("(event)", lines(lambda e: e.pop(7)))
        answer = "bodies/" + first(events, "LlmCallCompleted")["data"]["answer"]["sha256"]
        changed("(body)", {answer: b'{"content":"other","tool_calls":[]}'})
        manifest = json.loads(files["manifest.json"])
        manifest["spec"]["task"]["instruction"] = "Do something else."
        changed("(prompt)", {"manifest.json": json.dumps(manifest).encode()})
        told = json.loads(files["record.json"])
        told["iterations"][0]["validation"]["score"] = 1
        changed("/iterations/0/validation/score", {"record.json": json.dumps(told).encode()})

    def test_refusals(self):
        self.assertEqual(self.node.aegis("execution", "replay", "0000aaaa").code, 1)
        self.assertEqual(self.node.aegis("execution", "export", "0000aaaa").code, 1)
        self.assertEqual(self.replay_file(b"no archive").code, 2)
        self.assertEqual(self.node.aegis("execution", "replay", "none.tar.gz").code, 2)
        self.say({"hang": True})
        self.node.deploy(agent("slow"))
        execution = self.node.execute("slow")
        self.model.wait_requests(1)
        done = self.node.aegis("execution", "replay", execution)
        self.assertEqual(done.code, 4, done)
        self.assertIn("still running", done.err)
        self.assertEqual(self.node.api("GET", f"/v1/executions/{execution}/replay")[0], 409)
        # What there is so far can be taken away all the same, and says that it is not the whole.
        done = self.replay_file(self.export(execution))
        self.assertEqual(done.code, 4, done)
        self.node.ok("execution", "cancel", execution)

    def test_files_are_not_overwritten(self):
        record = self.finished()
        name = record["id"] + ".tar.gz"
        with tempfile.TemporaryDirectory(dir=self.node.dir) as where:
            done = self.node.ok("execution", "export", "@last", cwd=where)
            self.assertIn(f"to {name}", done.out)
            self.assertEqual(os.listdir(where), [name], "and nothing beside it")
            done = self.node.aegis("execution", "export", "@last", cwd=where)
            self.assertEqual(done.code, 4, done)
            self.assertIn("exists already", done.err)
            told = self.node.ok("execution", "export", "@last", "--yes", "-o", "json",
                                cwd=where).json()
            self.assertEqual(told["bytes"], os.path.getsize(os.path.join(where, name)))
            done = self.node.aegis("execution", "export", "@last", "-f", "/nowhere/x.tar.gz")
            self.assertEqual(done.code, 2, done)

    def test_after_a_crash_and_a_cancel(self):
        self.say(turns([python("import time; time.sleep(60)")], "done"))
        self.node.deploy(agent("crash"))
        execution = self.node.execute("crash")
        wait_until(lambda: any(e["type"] == "ToolCallStarted" for e in self.node.events(execution)),
                   "the command runs")
        self.node.kill()
        self.node.start()
        wait_until(lambda: any(e["type"] == "ExecutionResumed"
                               for e in self.node.events(execution)), "it goes on")
        self.node.ok("execution", "cancel", execution)
        self.assertIn("Reproduced", self.node.ok("execution", "replay", execution).out)


class Volumes(Case):
    def made(self, ttl=1, hold=False):
        code = ("import os; os.makedirs('d/e', exist_ok=True); open('d/e/f.txt','w').write('deep');"
                "open('a b.txt','w').write('x'*70000); os.symlink('/etc/passwd','out');"
                "os.symlink('a b.txt','inside'); os.mkfifo('pipe')")
        steps = [[python(code)]] + ([[python("import time; time.sleep(60)")]] if hold else [])
        self.say(turns(*steps, "done"))
        self.node.deploy(agent("writer", volumes=[workspace(ttl_hours=ttl)]))
        execution = self.node.execute("writer")
        if hold:
            wait_until(lambda: self.model.stats()["requests"] >= 2, "the files are there")
        else:
            self.assertCompleted(self.node.wait(execution))
        return execution, self.node.record(execution)["volumes"][0]["id"]

    def look(self, volume):
        listing = self.node.ok("volume", "files", volume, "-o", "json").json()
        self.assertEqual([(e["name"], e["type"]) for e in listing["items"]],
                         [("a b.txt", "file"), ("d", "directory"), ("inside", "symlink"),
                          ("out", "symlink"), ("pipe", "other")])
        self.assertEqual(listing["items"][0]["size"], 70000)
        self.assertEqual(listing["items"][3]["target"], "/etc/passwd")
        table = self.node.ok("volume", "files", volume, "/d").out.splitlines()
        self.assertRegex(table[1], r"^directory +\d+ +\S+Z +e$")
        self.assertEqual(self.node.ok("volume", "cp", f"{volume}:/d/e/f.txt", "-").out, "deep")
        status, body = self.node.api("GET", f"/v1/volumes/{volume}/files/a%20b.txt")
        self.assertEqual((status, len(body)), (200, 70000))

    def test_after_the_end(self):
        execution, volume = self.made()
        self.look(volume)
        listed = self.node.ok("volume", "list", "--execution", execution[:8], "-o", "json").json()
        self.assertEqual([v["id"] for v in listed], [volume])
        self.assertGreater(listed[0]["used_bytes"], 70000)
        self.assertLess(listed[0]["used_bytes"], 32 << 20)
        self.assertIsNone(listed[0]["mounted_by"])
        self.assertEqual(self.node.mounts(), [], "looking leaves nothing behind")
        deleted = self.node.ok("volume", "delete", volume, "-o", "json").json()
        self.assertEqual(deleted["id"], volume)
        self.assertEqual(self.node.aegis("volume", "files", volume).code, 1)

    def test_while_it_runs(self):
        execution, volume = self.made(hold=True)
        self.look(volume)
        done = self.node.aegis("volume", "delete", volume)
        self.assertEqual(done.code, 4, done)
        self.assertIn("in use", done.err)
        self.assertEqual(self.node.api("DELETE", f"/v1/volumes/{volume}")[0], 409)
        self.node.ok("execution", "cancel", execution)
        self.node.clean()
        self.look(volume)

    def test_nothing_leads_out(self):
        _, volume = self.made()
        base = f"/v1/volumes/{volume}/files"
        for path in ("/out", "/inside", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
                     "/d/../../../../../etc/passwd", "/pipe", "/a%00b"):
            status, body = self.node.api("GET", base + path)
            self.assertIn(status, (200, 400, 403, 404), path)
            self.assertNotIn("root:", json.dumps(body) if isinstance(body, dict) else str(body))
            if path in ("/out", "/inside", "/pipe", "/a%00b"):
                self.assertEqual(status, 400, body)
        for path in ("/out", "/inside", "/pipe", "/d"):
            self.assertEqual(self.node.aegis("volume", "cp", f"{volume}:{path}", "-").code, 2, path)
        self.assertEqual(self.node.aegis("volume", "cp", f"{volume}:/none", "-").code, 1)
        self.assertEqual(self.node.aegis("volume", "cp", "nocolon", "-").code, 2)

    def test_copies(self):
        _, volume = self.made()
        with tempfile.TemporaryDirectory(dir=self.node.dir) as where:
            done = self.node.ok("volume", "cp", f"{volume}:/", "all", cwd=where)
            self.assertIn("Copied 2 files (70004 bytes) to all", done.out)
            self.assertIn("left out: it is a symbolic link", done.err)
            found = sorted(os.path.relpath(os.path.join(at, f), where)
                           for at, _, names in os.walk(where) for f in names)
            self.assertEqual(found, ["all/a b.txt", "all/d/e/f.txt"])
            self.node.ok("volume", "cp", f"{volume}:d/e", "all", cwd=where)
            self.assertTrue(os.path.exists(os.path.join(where, "all/e/f.txt")),
                            "into a directory that is there")
            self.node.ok("volume", "cp", f"{volume}:/d/e/f.txt", "copy.txt", cwd=where)
            done = self.node.aegis("volume", "cp", f"{volume}:/d/e/f.txt", "copy.txt", cwd=where)
            self.assertEqual(done.code, 4, done)
            self.node.ok("volume", "cp", f"{volume}:/d/e/f.txt", "copy.txt", "--yes", cwd=where)

    def test_killed_while_somebody_looks(self):
        _, volume = self.made()
        for _ in range(3):
            watcher = self.node.popen("volume", "cp", f"{volume}:/", "copy", "--yes")
            self.node.kill()
            watcher.communicate()
            self.node.start()
            wait_until(lambda: not self.node.mounts(), "no mount is left")
        self.look(volume)


class Order(Case):
    config = {"runtime": {"max_concurrent_executions": 1}}

    def test_starts_in_the_order_of_acceptance(self):
        self.say({"content": "done"})
        self.node.deploy(agent("quick", runtime={"isolation": "docker"}))
        posts = [self.node.popen("execute", "--agent", "quick", "-o", "json") for _ in range(6)]
        ids = [json.loads(p.communicate()[0])["id"] for p in posts]
        for execution in ids:
            self.assertCompleted(self.node.wait(execution))
        listed = [r["id"] for r in self.node.api("GET", "/v1/executions")[1]["items"]]
        started = sorted(ids, key=lambda e: self.node.record(e)["started_at"])
        self.assertEqual(started, list(reversed(listed)))
