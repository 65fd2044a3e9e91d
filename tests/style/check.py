#!/usr/bin/env python3
"""The house rules that a script can see. Prints every breach; exit 1 if there is one.

    check.py [ROOT]

Rooms are the folders under src/ with a CMakeLists.txt. ARROWS says which rooms a room may use; what
those may use, it may use too. The rest are sizes, banned names and who may touch the machine.
"""
import os
import re
import sys

PURE = ["agent", "config", "execution", "proto", "text", "validation", "wire"]
BELOW = PURE + ["os", "ports"]
ADAPTERS = ["egress", "image", "models", "sandbox/docker", "sandbox/process", "store/sqlite", "tools", "volume"]
ARROWS = {
    "base": [],
    "os": ["base"],
    "text": ["base"],
    "wire": ["base"],
    "net": ["os", "wire"],
    "net/curl": ["net"],
    "net/tls": ["net"],
    "telemetry": ["execution", "net"],
    "config": ["text"],
    "agent": ["text"],
    "execution": ["agent", "text"],
    "validation": ["execution", "text"],
    "proto": ["text", "wire"],
    "ports": ["execution", "os"],
    # Adapters: ports and below, never one another. The parts of tools make one adapter together.
    "store/sqlite": BELOW,
    "models": BELOW + ["net/curl"],
    "launcher": ["os", "proto"],
    "sandbox/common": BELOW,
    "sandbox/docker": BELOW + ["net", "sandbox/common"],
    "sandbox/process": BELOW + ["sandbox/common"],
    "egress": BELOW + ["net/curl"],
    "image": BELOW,
    "volume": BELOW,
    "tools/args": BELOW,
    "tools/cmd": BELOW + ["tools/args"],
    "tools/fs": BELOW + ["tools/args"],
    "tools/web": BELOW + ["tools/args"],
    "tools": BELOW + ["tools/args", "tools/cmd", "tools/fs", "tools/web"],
    "runner": ["execution", "validation", "ports", "proto"],
    # Looks at the machine as an adapter does; the engine and the daemon are handed in.
    "doctor": ["config", "net/curl"],
    "service": ["text"],
    "service/local": ["service", "runner", "wire"],
    "console": ["text"],
    "api": ["service/local", "net", "console"],
    "guest_api": ["runner", "net", "proto"],
    "client": ["service", "net"],
    "cli": ["service", "os"],
    "node": ["agent", "config", "image"],
    "daemon": ["node", "api", "guest_api", "config", "net/curl", "net/tls", "telemetry"]
              + ADAPTERS,
    "program": ["cli", "client", "daemon", "doctor", "launcher"],
}

MACHINE = {
    "threads": r"\bstd::j?thread\b(?!::hardware_concurrency)|\bpthread_create\b|\bstd::async\b",
    "sleeps": r"\bsleep_(for|until)\b|(?<!\w)::(u|nano)?sleep\s*\(",
    "clocks": r"\b(steady|system|high_resolution)_clock::now\b|\bclock_gettime\b|::time\s*\(",
    "randomness": r"\bstd::random_device\b|\bmt19937\b|\bgetrandom\b|(?<!\w)::s?rand\s*\(",
    "sockets": r"(?<![\w:])::(socket|connect|accept4?|bind|listen)\s*\(",
    "forks": r"(?<!\w)::(v?fork|clone3?|posix_spawnp?|execv[pe]*|system|popen)\s*\(",
}
EVERYTHING = set(MACHINE)
TOUCHES = {room: EVERYTHING for room in (
    "os", "net", "net/curl", "net/tls", "daemon", "doctor", "store/sqlite", "models",
    "sandbox/common", "sandbox/docker", "sandbox/process", "launcher", "image", "volume", "tools",
    "tools/fs", "egress")}
TOUCHES["runner"] = {"threads"}  # the core threads are its business; time comes from the Clock
TOUCHES["program"] = {"forks"}  # --detach forks before there is a thread

BANNED = {
    r"\bstd::(w?regex|basic_regex|regex_\w+)\b|#include <regex>": "std::regex is banned: use RE2",
    r"\bco_(await|return|yield)\b|#include <coroutine>":
        "coroutines are banned: g++ 12 breaks them",
    r"#include <(format|print)>|\bstd::(format|print|println)\b": "use fmt",
}
# What would make markup or code out of text, or look elsewhere for something.
BANNED_IN_PAGE = (r"\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|DOMParser)\b"
                  r"|\bdocument\.write|\beval\(|\bnew Function\b|\bEventSource\b|\blocalStorage\b"
                  r"|\son\w+=|\bstyle=|@import|(?<!xmlns=\")https?://")
MAX_COLUMNS = 100
MAX_TEST_COLUMNS = 120  # of tests in Python
MAX_SOURCE = 600
MAX_FUNCTION = 70
MAX_README = 15
MAX_ROOM = {"base": 1500, "daemon": 600}
SOURCE = (".cpp", ".h")
SCRIPTS = (".js", ".css", ".html")  # of the console
WIDE = SOURCE + SCRIPTS + (".py", ".sh", ".cmake")
# Pieces that are not code: literals and comments, taken out before anything is looked for.
NOISE = re.compile(r'R"(\w*)\((?:.|\n)*?\)\1"|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*(?:.|\n)*?\*/'
                   r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'")
RAW = re.compile(r'R"(\w*)\((?:.|\n)*?\)\1"')
OPENS = re.compile(r"^( {0,8})(?!(if|for|while|switch|else|do|catch|namespace|return|case)\b)"
                   r"\S.*\)[^;=]*\{\s*$|^( {0,8})\)[^;=]*\{\s*$")


def is_test(path):
    return path.startswith("tests/") or path.endswith("_test.py")


class Checker:
    def __init__(self, root):
        self.root = root
        self.breaches = []
        self.rooms = {}

    def say(self, where, what):
        self.breaches.append(f"{where}: {what}")

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def files(self, *folders):
        for folder in folders:
            for where, folders_in, names in os.walk(os.path.join(self.root, folder)):
                folders_in[:] = sorted(set(folders_in) - {"__pycache__", "testdata"})
                for name in sorted(names):
                    yield os.path.relpath(os.path.join(where, name), self.root)

    def findRooms(self):
        for path in self.files("src"):
            folder = os.path.dirname(path)
            if os.path.basename(path) != "CMakeLists.txt" or folder == "src":
                continue
            calls = re.findall(r"aegis_room\(([^)]*)\)", self.read(path))
            words = calls[0].split() if calls else ["program"]
            deps = []
            if "DEPS" in words:
                rest = words[words.index("DEPS") + 1:]
                stop = next((i for i, w in enumerate(rest) if w in ("LIBS", "EXCLUDE")), len(rest))
                deps = rest[:stop]
            name = folder[len("src/"):]
            if words[0] != name.replace("/", "_"):
                self.say(path, f"the room of this folder is called {words[0]}")
            self.rooms[name] = deps
            if name not in ARROWS:
                self.say(path, f"the room {name} has no line in the table of arrows")

    def roomOf(self, path):
        folder = os.path.dirname(path)
        while folder and folder not in self.rooms:
            folder = os.path.dirname(folder)
        return folder

    @staticmethod
    def closure(room, arrows):
        seen, todo = set(), [room]
        while todo:
            for below in arrows.get(todo.pop(), []):
                if below not in seen:
                    seen.add(below)
                    todo.append(below)
        return seen

    def checkArrows(self):
        by_target = {name.replace("/", "_"): name for name in self.rooms}
        declared = {room: [by_target.get(d, d) for d in deps] for room, deps in self.rooms.items()}
        allowed = {room: self.closure(room, ARROWS) for room in self.rooms}
        linked = {room: self.closure(room, declared) for room in self.rooms}
        for room, deps in declared.items():
            for dep in deps:
                if dep not in allowed[room]:
                    self.say(f"src/{room}/CMakeLists.txt", f"{room} may not depend on {dep}")
        for path in self.files("src"):
            if not path.endswith(SOURCE):
                continue
            room = self.roomOf(path[len("src/"):])
            for number, line in enumerate(self.read(path).split("\n"), 1):
                found = re.match(r'#include "([^"]+)"', line)
                other = self.roomOf(found.group(1)) if found else room
                if other == room or room == "program":
                    continue
                if other not in allowed[room]:
                    self.say(f"{path}:{number}", f"{room} may not use {other or found.group(1)}")
                elif other not in linked[room]:
                    self.say(f"{path}:{number}", f"DEPS of {room} do not lead to {other}")

    def checkFunctions(self, path, lines):
        start = depth = outer = 0
        for number, line in enumerate(lines, 1):
            if not start and OPENS.match(line):
                start, outer = number, depth
            depth += line.count("{") - line.count("}")
            if start and depth <= outer:
                if number - start + 1 > MAX_FUNCTION:
                    self.say(f"{path}:{start}", f"a function of {number - start + 1} lines")
                start = 0

    def checkSource(self, path):
        text = self.read(path)
        code = NOISE.sub(lambda m: re.sub(r"[^\n]", "", m.group(0)) or '""', text).split("\n")
        includes = [line for line in text.split("\n") if line.startswith("#include")]
        if len(code) - 1 > MAX_SOURCE:
            self.say(path, f"{len(code) - 1} lines")
        self.checkFunctions(path, code)
        test = re.search(r"_(test|fuzz|bench)\.cpp$|test", os.path.basename(path))
        room = self.roomOf(path[len("src/"):]) if path.startswith("src/") else None
        helper = bool(test) or "fake_" in path
        for number, line in enumerate(code, 1):
            for pattern, why in BANNED.items():
                if re.search(pattern, line):
                    self.say(f"{path}:{number}", why)
            if room is None or helper:
                continue
            for kind, pattern in MACHINE.items():
                if kind not in TOUCHES.get(room, ()) and re.search(pattern, line):
                    self.say(f"{path}:{number}", f"{room} may not touch {kind}")
        for line in includes:
            for pattern, why in BANNED.items():
                if re.search(pattern, line):
                    self.say(path, why)

    def checkPage(self, path):
        lines = self.read(path).split("\n")
        if len(lines) - 1 > MAX_SOURCE:
            self.say(path, f"{len(lines) - 1} lines")
        if path.endswith(".js"):
            self.checkFunctions(path, lines)
        for number, line in enumerate(lines, 1):
            found = re.search(BANNED_IN_PAGE, line)
            if found:
                self.say(f"{path}:{number}", f"not in the console: {found.group(0).strip()}")

    def checkColumns(self, path):
        text = self.read(path)
        # Raw literals are recorded data: breaking their lines would change them.
        data = RAW.sub(lambda m: re.sub(r"[^\n]", "", m.group(0)), text).split("\n")
        limit = MAX_TEST_COLUMNS if path.endswith(".py") and is_test(path) else MAX_COLUMNS
        for number, (line, rest) in enumerate(zip(text.split("\n"), data), 1):
            if len(line) > limit and len(line) == len(rest):
                self.say(f"{path}:{number}", f"{len(line)} columns")

    def checkFiles(self):
        totals = {}
        for path in self.files("src", "guest", "tests", "bench", "images", "scripts", "cmake"):
            name = os.path.basename(path)
            if name == "README.md" and not path.startswith(("tests/", "bench/")):
                lines = self.read(path).rstrip("\n").split("\n")[1:]
                if len(lines) > MAX_README:
                    self.say(path, f"{len(lines)} lines (at most {MAX_README})")
            if not (path.endswith(WIDE) or name == "CMakeLists.txt"):
                continue
            self.checkColumns(path)
            if path.endswith(SCRIPTS):
                self.checkPage(path)
            if path.endswith(SOURCE):
                self.checkSource(path)
                room = path.split("/")[1]
                totals[room] = totals.get(room, 0) + self.read(path).count("\n")
        for room, limit in MAX_ROOM.items():
            if totals.get(room, 0) > limit:
                self.say(f"src/{room}", f"{totals[room]} lines (at most {limit})")

    def checkReadmes(self):
        folders = {os.path.dirname(p) for p in self.files("src", "guest") if p.endswith(SOURCE)}
        for folder in sorted(folders):
            if not os.path.exists(os.path.join(self.root, folder, "README.md")):
                self.say(folder, "has no README.md")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    checker = Checker(os.path.abspath(root))
    checker.findRooms()
    checker.checkArrows()
    checker.checkFiles()
    checker.checkReadmes()
    for breach in checker.breaches:
        print(breach)
    print(f"style: {len(checker.breaches)} breaches in {len(checker.rooms)} rooms")
    return 1 if checker.breaches or not checker.rooms else 0


if __name__ == "__main__":
    sys.exit(main())
