"""Files: what is injected, the image, the volumes, and what a volume brings from outside."""

import glob
import json
import os
import re
import subprocess
import unittest

from escape import Attempts, Escape, attempts, printed
from model import call, python
from node import wait_until, workspace

KEEP = {"name": "keep", "storage_class": "persistent", "mount_point": "/keep",
        "access_mode": "read-write", "size_limit_mb": 32}


class Outside:
    """What the machine's administrator does to a volume behind the daemon's back."""

    def __init__(self, node, volume):
        self.node, self.volume = node, volume
        self.place = os.path.join(node.dir, "outside")

    def __enter__(self):
        wait_until(lambda: not self.node.api("GET", f"/v1/volumes/{self.volume}")[1]["mounted_by"],
                   "the volume is free")
        [image] = glob.glob(f"{self.node.data_dir}/volumes/**/{self.volume}*.img", recursive=True)
        os.makedirs(self.place, exist_ok=True)
        subprocess.run(["mount", "-o", "loop,suid,dev", image, self.place], check=True)
        return self.place

    def __exit__(self, *_):
        subprocess.run(["umount", self.place], check=True)


@attempts("files")
class Files(Attempts):
    @classmethod
    def prepare(cls):
        record, _ = cls.attack("files", [python(
            "import shutil\nshutil.copy('/usr/bin/id', '/keep/root-id')\n"
            "open('/keep/data', 'w').write('kept')")], volumes=[KEEP])
        cls.volume = record["volumes"][0]["id"]
        with Outside(cls.node, cls.volume) as place:
            os.chown(f"{place}/root-id", 0, 0)
            os.chmod(f"{place}/root-id", 0o6755)
            os.mknod(f"{place}/device", 0o020666, os.makedev(1, 5))
            os.mknod(f"{place}/loop", 0o060666, os.makedev(7, 0))
            for name in ("device", "loop"):
                os.chmod(f"{place}/{name}", 0o666)
        cls.canary = os.path.join(cls.node.dir, "canary")
        os.chmod(cls.node.dir, 0o755)
        with open(cls.canary, "w", encoding="ascii") as f:
            f.write("of the host")
        cls.params = {"volume": "/keep", "canary": cls.canary}
        cls.spec = {"volumes": [{**KEEP, "access_mode": "read-only"}, workspace()]}

    @classmethod
    def run_controls(cls):
        with Outside(cls.node, cls.volume) as place:
            cls.control_params = {"volume": place}
            return super().run_controls()


# What a guest puts into its volume, for the daemon to stumble over.
LITTER = """
import os, socket
os.chdir('/workspace')
open('plain', 'w').write('plain text')
os.mkfifo('fifo'); os.mkdir('directory')
socket.socket(socket.AF_UNIX).bind('socket')
for name, target in {'to-etc': '/etc', 'to-init': '/proc/1/root', 'to-self': '/proc/self/root',
                     'to-cwd': '/proc/self/cwd', 'to-fd': '/proc/self/fd', 'to-host': %r, 'up': '../../../../..' + %r,
                     'to-run': '/aegis/run',
                     'to-bin': '/aegis/bin', 'loop': 'loop', 'to-fifo': 'fifo', 'to-dev': '/dev',
                     'long': 'x/' * 2000}.items(): os.symlink(target, name)
with open('sparse', 'w') as f: f.truncate(20 << 20)
with open('bottomless', 'w') as f: f.truncate(1 << 40)
with open('wide', 'w') as f: f.write('y' * (4 << 20))
"""
W = "/workspace"
# name: (call, what the model is told)
REFUSED = {
    "read_a_fifo": (call("fs.read", path=f"{W}/fifo"), "FIFO"),
    "read_a_socket": (call("fs.read", path=f"{W}/socket"), "socket"),
    "read_a_fifo_by_link": (call("fs.read", path=f"{W}/to-fifo"), "FIFO"),
    "read_a_directory": (call("fs.read", path=f"{W}/directory"), "directory"),
    "read_a_loop": (call("fs.read", path=f"{W}/loop"), "symbolic links"),
    "read_a_long_link": (call("fs.read", path=f"{W}/long"), ""),
    "read_a_binary": (call("fs.read", path=f"{W}/sparse"), "binary"),
    "read_a_device": (call("fs.read", path="/dev/zero"), "not allowed"),
    "read_a_device_by_link": (call("fs.read", path=f"{W}/to-dev/zero"), "not allowed"),
    "read_environment": (call("fs.read", path="/proc/self/environ"), "not allowed"),
    "read_environment_of_init": (call("fs.read", path="/proc/1/environ"), ""),
    "read_kernel_memory": (call("fs.read", path="/proc/kcore"), "not allowed"),
    "read_through_init": (call("fs.read", path=f"{W}/to-init/etc/passwd"), ""),
    "read_through_self": (call("fs.read", path=f"{W}/to-self/etc/passwd"), ""),
    "read_through_cwd": (call("fs.read", path=f"{W}/to-cwd/canary"), ""),
    "read_descriptors": (call("fs.read", path=f"{W}/to-fd/3"), ""),
    "read_the_host_by_link": (call("fs.read", path=f"{W}/to-host"), ""),
    "read_the_host_upwards": (call("fs.read", path=f"{W}/up"), ""),
    "read_the_host_by_dots": (call("fs.read", path="/../../../../../..%s"), ""),
    "read_api_socket": (call("fs.read", path="/aegis/run/api.sock"), "not allowed"),
    "read_own_run_directory": (call("fs.list", path="/aegis/run"), "not allowed"),
    "read_all_run_directories": (call("fs.list", path="/run/aegis"), ""),
    "read_with_nul": (call("fs.read", path=f"{W}/plain\x00.txt"), ""),
    "read_a_path_too_long": (call("fs.read", path="/" + "x/" * 5000), ""),
    "write_a_fifo": (call("fs.write", path=f"{W}/fifo", content="x"), "not a regular file"),
    "write_a_socket": (call("fs.write", path=f"{W}/socket", content="x"), "not a regular file"),
    "write_a_directory": (call("fs.write", path=f"{W}/directory", content="x"), "directory"),
    "write_to_etc_by_link": (call("fs.write", path=f"{W}/to-etc/x", content="x"), "not allowed"),
    "write_to_init_by_link": (call("fs.write", path=f"{W}/to-init/tmp/x", content="x"), ""),
    "write_to_bin_by_link": (call("fs.write", path=f"{W}/to-bin/x", content="x"), "not allowed"),
    "write_bootstrap": (call("fs.write", path="/aegis/bin/bootstrap.py", content="x"), "not allowed"),
    "write_to_dev": (call("fs.write", path=f"{W}/to-dev/null", content="x"), ""),
    "write_shared_memory": (call("fs.write", path="/dev/shm/x", content="x"), "not allowed"),
    "write_a_sysctl": (call("fs.write", path="/proc/sys/kernel/core_pattern", content="x"), ""),
    "write_through_a_loop": (call("fs.write", path=f"{W}/loop/x", content="x"), ""),
    "edit_a_fifo": (call("fs.edit", path=f"{W}/fifo", old_string="a", new_string="b"), ""),
    "edit_the_bottomless": (call("fs.edit", path=f"{W}/bottomless", old_string="a", new_string="b"), "larger"),
    "list_through_init": (call("fs.list", path=f"{W}/to-init"), ""),
    "list_descriptors": (call("fs.list", path=f"{W}/to-fd"), ""),
    "delete_in_etc_by_link": (call("fs.delete", path=f"{W}/to-etc/passwd"), ""),
    "delete_a_mount": (call("fs.delete", path=W, recursive=True), ""),
    "delete_the_root": (call("fs.delete", path="/", recursive=True), ""),
    "create_in_init_by_link": (call("fs.create_dir", path=f"{W}/to-init/tmp/d"), ""),
}


class SpecialFiles(Escape):
    """The daemon's own tools on what a guest made: refused, at once, and nothing is followed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.canary = os.path.join(cls.node.dir, "canary")
        os.chmod(cls.node.dir, 0o755)
        with open(cls.canary, "w", encoding="ascii") as f:
            f.write("of the host")
        calls = json.loads(json.dumps([c for c, _ in REFUSED.values()]).replace("%s", cls.canary))
        cls.record, results = cls.attack(
            "litter", [python(LITTER % (cls.canary, cls.canary)),
                       call("fs.read", path=f"{W}/plain"), call("fs.glob", pattern="**/*"),
                       call("fs.grep", pattern="of the host|root:"), *calls],
            volumes=[workspace(ttl_hours=1)])
        cls.undisturbed()
        cls.volume = cls.record["volumes"][0]["id"]
        statuses = [t["status"] for t in cls.record["iterations"][0]["tool_calls"]]
        cls.ordinary = list(zip(statuses, results))[:4]
        cls.outcomes = dict(zip(REFUSED, list(zip(statuses, results))[4:]))

    def test_control_of_an_ordinary_file(self):
        self.assertEqual(self.ordinary[0][0], "ok", self.ordinary[0])
        self.assertEqual(self.ordinary[1], ("ok", "plain text"))

    def test_glob_and_grep_follow_nothing(self):
        (_, names), (_, found) = self.ordinary[2:]
        self.assertNotIn("passwd", names)
        self.assertNotIn("canary", names)
        self.assertNotIn("of the host\n", found + "\n")
        self.assertNotIn("root:x", found)

    def ask(self, path):
        return self.node.api("GET", f"/v1/volumes/{self.volume}/files/{path}")

    def test_volume_files_of_the_api(self):
        self.assertEqual(self.ask("plain"), (200, b"plain text"))
        for path in ("fifo", "socket", "to-etc/passwd", "to-host", "up", "loop", "to-fifo", "to-init/etc/passwd",
                     "to-self/etc/passwd", "to-fd/0", "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "long"):
            status, body = self.ask(path)
            self.assertGreaterEqual(status, 400, (path, body))
            self.assertLess(status, 500, (path, body))

    def test_volume_cp(self):
        to = os.path.join(self.node.dir, "copy")
        done = self.node.aegis("volume", "cp", f"{self.volume}:/", to, timeout=60)
        for at, folders, names in os.walk(to):
            for name in folders + names:
                path = os.path.join(at, name)
                self.assertTrue(os.path.isfile(path) or os.path.isdir(path), path)
                self.assertFalse(os.path.islink(path), path)
        self.assertNotIn("of the host", done.out + done.err)
        for name in ("fifo", "to-host", "to-init", "socket"):
            self.assertFalse(os.path.lexists(os.path.join(to, name)), name)
        for name in ("fifo", "to-host", "socket", "to-init/etc/passwd"):
            done = self.node.aegis("volume", "cp", f"{self.volume}:/{name}", to + "-one", timeout=60)
            self.assertNotEqual(done.code, 0, done)
            self.assertFalse(os.path.lexists(to + "-one"))

    def test_volume_files_of_a_device(self):
        with Outside(self.node, self.volume) as place:
            os.mknod(f"{place}/device", 0o020666, os.makedev(1, 5))
            os.chmod(f"{place}/device", 0o666)
        status, body = self.ask("device")
        self.assertIn(status, (400, 403, 404, 409), body)
        done = self.node.aegis("volume", "cp", f"{self.volume}:/device", "d", timeout=60)
        self.assertNotEqual(done.code, 0, done)


def refusal(name, words):
    def test(self):
        status, text = self.outcomes[name]
        self.assertNotEqual(status, "ok", text)
        self.assertIn(words, text)
        self.assertNotIn("of the host", text)
    return test


for one, (_, told) in REFUSED.items():
    setattr(SpecialFiles, f"test_{one}", refusal(one, told))


# Exchanges two names for ever; `done` says how often when the file `stop` is there.
RACER = """
import ctypes, os
swap = ctypes.CDLL(None).renameat2
os.makedirs(%r, exist_ok=True); os.chdir(%r)
%s
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        count = 0
        while not os.path.exists('stop'):
            for _ in range(100): swap(-100, %r, -100, %r, 2); count += 1
        open('done.new', 'w').write(str(count)); os.rename('done.new', 'done')
        os._exit(0)
    os._exit(0)
os.wait()
"""
STOP = """
import os, time
os.chdir(%r)
open('stop', 'w').close()
while not os.path.exists('done'): time.sleep(0.01)
print(open('done').read())
%s
"""
TIMES = 40


class Race:
    """Exchanges `a` and `b` in the directory `at` while `calls` are made ("AT" in them is that
    directory, "HOST" the host's); `after` is run at the end."""

    def __init__(self, setup, *calls, a="d", b="e", after="", at=None):
        self.setup, self.calls, self.a, self.b, self.after, self.at = setup, calls, a, b, after, at

    def steps(self, name, canary):
        at = self.at or f"{W}/{name}"
        own = [*self.calls] * (TIMES // len(self.calls))
        own = json.loads(json.dumps(own).replace("AT", at).replace("HOST", canary))
        setup = self.setup.replace("AT", at).replace("HOST", canary)
        return [python(RACER % (at, at, setup, self.a.encode(), self.b.encode())), *own,
                python(STOP % (at, self.after))]


def link(target):
    return f"os.mkdir('d'); open('d/secret', 'w').write('own'); os.symlink('{target}', 'e')"


RACES = {
    "read_by_link": Race(link("HOST"), call("fs.read", path="AT/d/secret")),
    "read_upwards": Race(link("../../../../../..HOST"), call("fs.read", path="AT/d/secret")),
    "read_through_init": Race(link("/proc/1/root/etc"), call("fs.read", path="AT/d/hostname")),
    "write_by_link": Race(link("HOST"), call("fs.write", path="AT/d/f", content="escaped")),
    # A directory is moved away between the steps of a path with dots.
    "write_by_dots": Race("os.makedirs('a/d/x'); os.makedirs('e/x')",
                          call("fs.write", path="AT/a/d/x/../../../../..HOST/f", content="escaped"),
                          call("fs.write", path="AT/a/d/x/../f", content="own"), a="a/d"),
    "edit_by_link": Race(link("HOST"), call("fs.edit", path="AT/d/secret", old_string="o", new_string="p")),
    # What a link points to stays, wherever it is.
    "delete_by_link": Race("os.mkdir('precious'); open('precious/f', 'w').close(); os.makedirs('d/x/y');"
                           "os.symlink('AT/precious', 'e')",
                           call("fs.delete", path="AT/d", recursive=True),
                           call("fs.create_dir", path="AT/d/x/y"), after="print('f' in os.listdir('precious'))"),
    "delete_on_the_host": Race("os.makedirs('d/x'); os.symlink('HOST', 'e')",
                               call("fs.delete", path="AT/d/secret"), call("fs.delete", path="AT/d/f"),
                               call("fs.delete", path="AT/d", recursive=True)),
    "create_on_the_host": Race(link("HOST"), call("fs.create_dir", path="AT/d/new/deep")),
    "list_and_search_the_host": Race(link("HOST"), call("fs.list", path="AT/d"),
                                     call("fs.grep", pattern="host", path="AT/d"),
                                     call("fs.glob", pattern="**/f", path="AT/d")),
    # Nothing waits for a writer that never comes.
    "fifo_for_a_file": Race("open('d', 'w').write('own'); os.mkfifo('e')", call("fs.read", path="AT/d"),
                            call("fs.write", path="AT/d", content="x"),
                            call("fs.edit", path="AT/d", old_string="x", new_string="y"),
                            call("fs.grep", pattern="x", path="AT")),
    # Sizes that change between the look and the read.
    "long_for_a_short_file": Race("open('d', 'w').write('own'); open('e', 'w').truncate(1 << 34)",
                                  *[call("fs.edit", path="AT/d", old_string="o", new_string="p")] * 8),
    # /workspace/in is mounted read-only over what /workspace/out may reach.
    "write_into_a_read_only_part": Race(
        "os.mkdir('d'); os.symlink('/workspace/in', 'e')", call("fs.write", path="AT/d/f", content="x"),
        at=f"{W}/out", after="print(os.listdir('/workspace/in'))"),
}


class Races(Escape):
    """A guest exchanges names in a loop while the daemon's tools walk over them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.chmod(cls.node.dir, 0o755)
        cls.canary = os.path.join(cls.node.dir, "canary")
        os.mkdir(cls.canary)
        os.chmod(cls.canary, 0o777)
        for name in ("secret", "f"):
            with open(os.path.join(cls.canary, name), "w", encoding="ascii") as f:
                f.write("of the host")
            os.chmod(os.path.join(cls.canary, name), 0o666)
        cls.outcomes = {}
        part = {"write_into_a_read_only_part"}
        cls.run_races("races", RACES.keys() - part)
        cls.run_races("part", part, security={"filesystem": {"read": [f"{W}/in"], "write": [f"{W}/out"]}})

    @classmethod
    def run_races(cls, agent_name, names, **spec):
        steps = {name: RACES[name].steps(name, cls.canary) for name in sorted(names)}
        _, results = cls.attack(agent_name, sum(steps.values(), []), volumes=[workspace()], timeout=300,
                                execution={"max_tool_calls": 2000}, **spec)
        cls.undisturbed()
        for name, own in steps.items():
            cls.outcomes[name], results = results[:len(own)], results[len(own):]

    def raced(self, name):
        """(what the calls gave, what was printed at the end) of a race that really was one."""
        first, *results, last = self.outcomes[name]
        printed(first)
        count, _, said = printed(last).partition("\n")
        self.assertGreater(int(count), 100, "the names were exchanged all the time")
        self.assertFalse([r for r in results if "of the host" in r])
        return results, said.strip()

    def test_the_host_is_as_it_was(self):
        self.assertEqual(sorted(os.listdir(self.canary)), ["f", "secret"])
        for name in ("secret", "f"):
            with open(os.path.join(self.canary, name), encoding="ascii") as f:
                self.assertEqual(f.read(), "of the host")

    def test_control_of_what_the_calls_reach(self):
        """Some of the calls met the directory: they would have met the link as well."""
        self.assertIn("own", self.outcomes["read_by_link"])

    def test_read_through_init(self):
        results, _ = self.raced("read_through_init")
        self.assertFalse([r for r in results if r.strip() == "aegis"])

    def test_delete_by_link(self):
        self.assertEqual(self.raced("delete_by_link")[1], "True")

    def test_list_and_search_the_host(self):
        results, _ = self.raced("list_and_search_the_host")
        self.assertFalse([r for r in results[2::3] if "/d/f" in r])
        self.assertFalse([r for r in results[::3] if re.search(r"(?m)^f\b", r)])

    def test_write_into_a_read_only_part(self):
        self.assertEqual(self.raced("write_into_a_read_only_part")[1], "[]")


for one in RACES:
    if not hasattr(Races, f"test_{one}"):
        setattr(Races, f"test_{one}", lambda self, name=one: self.raced(name))


if __name__ == "__main__":
    unittest.main()
