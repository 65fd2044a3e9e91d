"""The command line in a terminal: colours, widths, Ctrl-C, prompts, what a model may not do to it."""

import os
import re
import socket
import subprocess
import tempfile
import unicodedata

from case import Case
from model import python, turns
from node import AEGIS, agent
from terminal import END_OF_INPUT, ESCAPE, INTERRUPT, KILL_LINE, Terminal, plain, show

SLEEP = python("import time; time.sleep(60)")


def columns(line):
    return sum(0 if unicodedata.combining(c) else
               2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


class Look(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        manifest = agent("coder", task={"instruction": "Do it."})
        manifest["metadata"]["labels"] = {"purpose": "日本語のとても長いラベル" * 3, "a": "b"}
        cls.node.deploy(manifest)
        cls.node.deploy(agent("cleaner"))
        cls.node.ok("agent", "pause", "cleaner")

    def test_colours_are_for_terminals(self):
        code, text = show(self.node, "agent", "list")
        self.assertEqual(code, 0)
        self.assertIn("\x1b[32mdeployed\x1b[0m", text)
        self.assertIn("\x1b[33mpaused\x1b[0m", text)
        self.assertNotIn("\x1b", self.node.ok("agent", "list", env={"NO_COLOR": ""}).out)
        for args, env in ((["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}),
                          ([], {"TERM": ""})):
            code, text = show(self.node, "agent", "list", *args, env=env)
            self.assertEqual(code, 0)
            self.assertNotIn("\x1b", text, (args, env))
        self.assertIn("\x1b[32m", show(self.node, "agent", "list", env={"NO_COLOR": ""})[1])

    def test_data_has_none(self):
        for form in ("json", "yaml"):
            for args in (["agent", "list"], ["daemon", "status"], ["execution", "list"]):
                self.assertNotIn("\x1b", show(self.node, *args, "-o", form)[1])

    def test_errors(self):
        code, text = show(self.node, "agent", "get", "codr")
        self.assertEqual(code, 1)
        self.assertIn('\x1b[31merror:\x1b[0m agent "codr" not found\n', text)
        self.assertIn('\x1b[36mhint:\x1b[0m did you mean "coder"?\n', text)
        code, text = show(self.node, "agnt", "--no-color")
        self.assertEqual((code, text), (2, 'error: unknown command "agnt"\n'
                                           "hint: did you mean agent?\n"))

    def test_tables_fit(self):
        for width in (40, 60, 80, 120):
            code, text = show(self.node, "agent", "list", columns=width)
            self.assertEqual(code, 0)
            lines = plain(text).splitlines()
            self.assertEqual(len(lines), 3)
            least = max(width, 5 * 8 + 4 * 2)
            for line in lines:
                self.assertLessEqual(columns(line), least, line)
        self.assertIn("…", plain(show(self.node, "agent", "list", columns=60)[1]))
        wide = plain(show(self.node, "agent", "list", columns=60, env={"COLUMNS": "300"})[1])
        self.assertNotIn("…", wide)
        self.assertIn("日本語のとても長いラベル" * 3, wide)
        self.assertIn("日本語のとても長いラベル" * 3, self.node.ok("agent", "list").out)

    def test_columns_stand_under_one_another(self):
        manifest = agent("wide")
        manifest["metadata"]["version"] = "1.0.0"
        self.node.deploy(manifest)
        lines = plain(show(self.node, "agent", "list", columns=200)[1]).splitlines()
        at = lines[0].index("STATUS")
        for line in lines[1:]:
            self.assertIn(line[at:].split()[0], ("deployed", "paused"))
        self.node.ok("agent", "delete", "-y", "wide")

    def test_help_wraps(self):
        code, text = show(self.node, "execute", "--help", columns=60)
        self.assertEqual(code, 0)
        self.assertIn("\x1b[1mUsage:\x1b[0m", text)
        examples = plain(text).index("Examples:")
        for line in plain(text)[:examples].splitlines():
            if "<" not in line and "|" not in line:
                self.assertLessEqual(len(line), 60, line)


class Prompt(Case):
    def ask(self, keys):
        self.node.deploy(agent("doomed"))
        with Terminal(self.node, "agent", "delete", "doomed") as terminal:
            terminal.until("[y/N] ")
            terminal.type(keys)
            code, _ = terminal.end()
        there = self.node.aegis("agent", "get", "doomed").code == 0
        return code, there

    def test_answers(self):
        for keys in ("y\n", "yes\n", "Y\n"):
            self.assertEqual(self.ask(keys), (0, False), keys)
        for keys in ("n\n", "\n", "yet\n", "no\n", END_OF_INPUT, INTERRUPT):
            code, there = self.ask(keys)
            self.assertTrue(there, keys)
            self.assertEqual(code, 130, keys)

    def test_yes_asks_nothing(self):
        self.node.deploy(agent("doomed"))
        code, text = show(self.node, "agent", "delete", "--yes", "doomed")
        self.assertEqual(code, 0)
        self.assertNotIn("[y/N]", text)


class Interrupt(Case):
    def start(self, *flags):
        self.say(turns([SLEEP], "late"))
        self.node.deploy(agent("sleeper"))
        return Terminal(self.node, "execute", "--agent", "sleeper", "--watch", *flags)

    def id_of(self, terminal):
        return re.search(r"Execution started: (\S+)", plain(terminal.text))[1]

    def test_detaches(self):
        with self.start() as terminal:
            terminal.until("Iteration 1")
            execution = self.id_of(terminal)
            terminal.type(INTERRUPT)
            code, text = terminal.end()
        self.assertEqual(code, 130)
        shown = plain(text)
        self.assertIn(f"  watch:  aegis execution watch {execution}\n", shown)
        self.assertIn(f"  cancel: aegis execution cancel {execution}\n", shown)
        self.assertIn(self.node.record(execution)["status"], ("pending", "running"))
        self.node.ok("execution", "cancel", execution)
        self.node.clean()

    def test_cancels(self):
        with self.start("--cancel-on-interrupt") as terminal:
            terminal.until("Iteration 1")
            execution = self.id_of(terminal)
            terminal.type(INTERRUPT)
            code, text = terminal.end()
        self.assertEqual(code, 7)
        self.assertIn("Cancelled (", plain(text))
        self.assertEqual(self.node.record(execution)["status"], "cancelled")
        self.node.clean()


class HostileText(Case):
    def test_a_model_cannot_write_to_the_terminal(self):
        evil = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b2J\u202e\rEND"
        self.say(turns([python("print('\\x1b[2J')")], evil))
        self.node.deploy(agent("evil"))
        with Terminal(self.node, "execute", "--agent", "evil", "--watch") as terminal:
            code, watched = terminal.end(90)
        self.assertEqual(code, 0, watched)
        shown = watched
        for args in (["get"], ["logs"], ["watch"]):
            shown += show(self.node, "execution", *args, "@last")[1]
        self.assertIn("END", shown)
        for bad in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\rEND"):
            self.assertNotIn(bad, ESCAPE.sub("", shown), repr(bad))
        self.assertIn("\\x1b]0;owned\\x07", shown)


class Shells(Case):
    """The completion scripts in the shells themselves."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("coder", "cleaner"):
            cls.node.deploy(agent(name))
        cls.dir = tempfile.TemporaryDirectory(prefix="aegis-shells-")
        cls.addClassCleanup(cls.dir.cleanup)
        os.symlink(AEGIS, os.path.join(cls.dir.name, "aegis"))
        for shell in ("bash", "zsh", "fish"):
            with open(cls.path(shell), "w", encoding="utf-8") as f:
                f.write(cls.node.ok("completion", shell).out)
        for name in ("agent.yaml", "other.txt"):
            with open(os.path.join(cls.node.dir, name), "w", encoding="utf-8") as f:
                f.write("x")

    @classmethod
    def path(cls, shell):
        return os.path.join(cls.dir.name, "_aegis" if shell == "zsh" else "aegis." + shell)

    def run_shell(self, *command):
        env = dict(self.node.env, PATH=self.dir.name + ":" + os.environ["PATH"], TERM="dumb",
                   HOME=self.dir.name)
        done = subprocess.run(command, env=env, cwd=self.node.dir, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.stderr, "", command)
        return done.stdout.splitlines()

    CASES = [
        ("aegis execut", {"execute", "execution"}),
        ("aegis agent dep", {"deploy"}),
        ("aegis execute --agent c", {"coder", "cleaner"}),
        ("aegis -o json agent pause cl", {"cleaner"}),
        ("aegis agent list --status p", {"paused"}),
        ("aegis agent list --wi", {"--wide"}),
        ("aegis agent deploy age", {"agent.yaml"}),
    ]

    def in_bash(self, line):
        script = ("source \"$1\"; COMP_LINE=$2; COMP_POINT=${#2}; COMP_WORDS=(); w=$2\n"
                  # As readline does: words end at blanks, and "=" and ":" are words of their own.
                  "mapfile -t COMP_WORDS < <(sed -E 's/([=:]+)/ \\1 /g; s/ +/ /g' <<<\"$2\" |"
                  " tr ' ' '\\n')\n"
                  "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _aegis; printf '%s\\n' \"${COMPREPLY[@]}\"")
        return set(filter(None, self.run_shell("bash", "-c", script, "bash", self.path("bash"), line)))

    def test_bash(self):
        self.assertEqual(self.run_shell("bash", "-n", self.path("bash")), [])
        for line, wanted in self.CASES:
            self.assertEqual(self.in_bash(line), wanted, line)
        self.assertEqual(self.in_bash("aegis agent list --status=p"), {"paused"})
        self.assertEqual(self.in_bash("aegis --output=j"), {"json"})
        self.assertEqual(self.in_bash("aegis execute --input @age"), {"@agent.yaml"})
        self.assertLessEqual({"agent", "daemon", "volume"}, self.in_bash("aegis "))

    def test_fish(self):
        for line, wanted in self.CASES:
            said = self.run_shell("fish", "--no-config", "-c",
                                  f"source {self.path('fish')}; complete -C '{line}'")
            self.assertEqual({s.split("\t")[0] for s in said}, wanted, line)

    def test_zsh(self):
        self.assertEqual(self.run_shell("zsh", "-n", self.path("zsh")), [])
        env = {"PATH": self.dir.name + ":" + os.environ["PATH"], "HOME": self.dir.name}
        with Terminal(self.node, "-f", "-i", columns=200, env=env, program="zsh") as shell:
            shell.type(f"PS1='>'; fpath=({self.dir.name} $fpath); autoload -Uz compinit; "
                       "compinit -u -D; print REA''DY\n")
            shell.until("READY\n")
            for line, wanted in (("aegis agent dep", "deploy "), ("aegis agent list --wi", "--wide "),
                                 ("aegis -o json agent pause cl", "cleaner "),
                                 ("aegis agent list --status p", "paused "),
                                 ("aegis agent deploy age", "agent.yaml ")):
                shell.text = ""
                shell.type(line + "\t")
                shell.until(line[:line.rindex(" ") + 1] + wanted)
                shell.type(KILL_LINE)

    def test_no_daemon_no_word(self):
        done = self.node.aegis("__complete", "--", "--daemon-addr", "localhost:1", "agent", "get", "")
        self.assertEqual((done.code, done.out, done.err), (0, "", ""))
        # One that accepts and never answers.
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            done = self.node.aegis("__complete", "--", "--daemon-addr",
                                   f"127.0.0.1:{deaf.getsockname()[1]}", "agent", "get", "",
                                   timeout=5)
        self.assertEqual((done.code, done.out, done.err), (0, "", ""))
