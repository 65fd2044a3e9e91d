"""The journal by itself, and the store with a million executions in it."""

import json
import os
import random
import re
import sqlite3
import subprocess
import tempfile
import time

from figures import Peer
from stage import Client, Feed, manifest

STORED = 1_000_000
ASKED = 1000
BATCH = 100
EVENT_BYTES = 300
# Of row n; in no order, as random ones are.
NEW_ID = "printf('%08x-0000-4000-8000-%012x', (n * 2654435761) & 0xffffffff, n)"


def sqlite_rows(folder):
    """Rows per second that SQLite takes in durable batches of 100."""
    path = os.path.join(folder, "rows.db")
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE events (n INTEGER PRIMARY KEY, bytes TEXT)")
        rows = [("x" * EVENT_BYTES,)] * BATCH
        start, count = time.perf_counter(), 0
        while time.perf_counter() < start + 2:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO events (bytes) VALUES (?)", rows)
            db.execute("COMMIT")
            count += BATCH
        took = time.perf_counter() - start
    db.close()
    return count / took


def journal(stage, table, _runs):
    with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
        said = subprocess.run([os.path.join(stage.build, "src/store/sqlite/store_bench"), folder],
                              capture_output=True, text=True, check=True).stdout
        peer = Peer("SQLite, batches of 100 rows", sqlite_rows(folder))
    sync = float(re.search(r"fdatasync of 16 KiB in place +p50 ([\d.]+)", said)[1])
    p50, p99 = map(float, re.search(r"accepted \(durable\) +p50 ([\d.]+) ms, p99 ([\d.]+)",
                                    said).groups())
    table.single("one batch durable, by the journal's own program", p50, "ms", p99=p99,
                 peer=Peer("fdatasync of 16 KiB", sync))
    for batch, rate in re.findall(r"events durable, (\d+) to a batch +(\d+) events/s", said):
        goal = "50,000/s" if batch != "1" else ""
        table.single(f"events durable, {batch} to a batch", float(rate), "per second", peer=peer,
                     goal=goal, met=float(rate) >= 50_000 if goal else None)


def columns(db, name):
    return [row[1] for row in db.execute(f"PRAGMA table_info({name})")]


def multiply(path, count):
    """Copies the one execution that is stored, by SQL: `count` of them, with its events and bodies.

    Digests of bodies and checksums of events do not depend on the execution, so all of it reads
    back; only its chains are not those that the daemon would have made.
    """
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; "
                     "PRAGMA cache_size = -500000; PRAGMA temp_store = MEMORY")
    [(number, events)] = db.execute("SELECT exec_no, last_seq FROM executions")
    [(newest,)] = db.execute("SELECT max(node_no) FROM events")
    numbers = ("WITH RECURSIVE n(n) AS "
               f"(SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count - 1})")

    def copy(table, changed):
        names = columns(db, table)
        values = ", ".join(changed.get(name, f"t.{name}") for name in names)
        db.execute(f"{numbers} INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM n "
                   f"CROSS JOIN {table} t WHERE t.exec_no = {number}")
    db.execute("BEGIN")
    copy("events", {"exec_no": f"{number} + n",
                    "node_no": f"{newest} + (n - 1) * {events} + t.seq"})
    copy("bodies", {"exec_no": f"{number} + n"})
    copy("execution_labels", {"exec_no": f"{number} + n", "value": "'b' || (n % 1000)"})
    copy("executions", {"exec_no": f"{number} + n", "id": NEW_ID})
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    ids = [row[0] for row in db.execute(
        f"SELECT id FROM executions WHERE exec_no % {max(count // ASKED, 1)} = 0")]
    db.close()
    return ids


def times_of(client, paths):
    times = []
    for path in paths:
        start = time.perf_counter()
        client.call("GET", path)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def stored(stage, table, _runs):
    with stage.node("process", [manifest("plain", "process")]) as daemon:
        client, feed = Client(daemon.port), Feed(daemon.port)
        few = json.loads(client.call("POST", "/v1/agents/plain/execute",
                                     {"input": "{}", "labels": {"batch": "b0"}}))["id"]
        feed.end(few)
        floor = times_of(client, [f"/v1/executions/{few}"] * ASKED)
        for part in (client, feed):
            part.close()
        daemon.terminate()
        began = time.perf_counter()
        ids = multiply(os.path.join(daemon.data_dir, "aegis.db"), STORED)
        filled = time.perf_counter() - began
        daemon.start()
        client = Client(daemon.port)
        random.Random(1).shuffle(ids)
        lists = ["/v1/executions", "/v1/executions?status=completed", "/v1/executions?agent=plain",
                 "/v1/executions?label=batch%3Db7", "/v1/executions?since=2020-01-01T00:00:00Z"]
        asked = {"execution list": [lists[i % len(lists)] for i in range(ASKED)],
                 "execution get": [f"/v1/executions/{i}" for i in ids],
                 "execution events": [f"/v1/executions/{i}/events" for i in ids]}
        for name, paths in asked.items():
            times_of(client, paths[:20])
            times = times_of(client, paths)
            figure = table.times(f"{name}, {STORED:,} stored", times, goal="10 ms p99",
                                 peer=Peer.of("get, 1 stored", floor), most=10, most_p99=10)
        figure.note = f"filled by SQL in {filled:.0f} s"
        client.close()
