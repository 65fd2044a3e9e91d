"""bootstrap.py as a process, against a fake daemon on a unix socket."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LAUNCH = "import sys; sys.dont_write_bytecode = True; sys.path.append({!r}); import bootstrap; bootstrap.main()"


def lines(*messages):
    return b"".join(json.dumps(m).encode() + b"\n" for m in messages)


def final(content):
    return {"type": "final", "content": content, "tool_calls_executed": 0}


def dispatch(command, *args, **more):
    return dict({"type": "dispatch", "dispatch_id": "d1", "action": "exec", "command": command,
                 "args": list(args), "cwd": "", "env_additions": {}, "timeout_secs": 20,
                 "max_output_bytes": 1 << 20}, **more)


def ok(body, chunked=False):
    if not chunked:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for i in range(0, len(body), chunked):
        piece = body[i:i + chunked]
        out += b"%x\r\n" % len(piece) + piece + b"\r\n"
    return out + b"0\r\n\r\n"


class Daemon:
    """Answers the n-th request with the n-th of `answers` (bytes, or a function of the request)."""

    def __init__(self, path, answers, family=socket.AF_UNIX):
        self.path = path
        self.answers = list(answers)
        self.requests = []
        self.heads = []
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while self.answers:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                request = self.read(connection)
                answer = self.answers.pop(0)
                if callable(answer):
                    answer = answer(request)
                try:
                    connection.sendall(answer)
                except OSError:
                    pass

    def read(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, body = data.split(b"\r\n\r\n", 1)
        length = int([l.split(b":")[1] for l in head.split(b"\r\n") if l.lower().startswith(b"content-length")][0])
        while len(body) < length:
            body += connection.recv(1 << 20)
        self.heads.append(head)
        self.requests.append(json.loads(body))
        return self.requests[-1]

    def close(self):
        self.listener.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="aegis-bootstrap-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.socket = os.path.join(self.dir, "api.sock")
        self.daemon = None

    def serve(self, *answers):
        self.daemon = Daemon(self.socket, answers)
        self.addCleanup(self.daemon.close)
        return self.daemon

    def env(self, **more):
        return dict({"PATH": os.environ["PATH"], "AEGIS_SOCKET": self.socket, "AEGIS_AGENT_ID": "agent",
                     "AEGIS_EXECUTION_ID": "exec", "AEGIS_ITERATION": "3", "AEGIS_MODEL_ALIAS": "default"}, **more)

    def start(self, prompt="hi", stdin=subprocess.DEVNULL, env=None, **more):
        return subprocess.Popen([sys.executable, "-I", "-S", "-X", "utf8", "-c", LAUNCH.format(HERE), prompt],
                                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=env or self.env(), cwd=self.dir, **more)

    def finish(self, process, data=None, timeout=60):
        try:
            out, err = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, out, err

    def result_of(self, message, **more):
        """The dispatch_result for one dispatch."""
        daemon = self.serve(ok(lines(message)), ok(lines(final("done"))))
        code, out, err = self.finish(self.start(**more))
        self.assertEqual((code, out, err), (0, b"done\n", b""))
        return daemon.requests[1]


class Standby(Case):
    """One that waits until it is told its job."""
    WAIT = "import sys; sys.path.append({!r}); import bootstrap; bootstrap.standby(3)"

    def start_waiting(self, job):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", self.WAIT.format(HERE)], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"LEFT": "over"},
                preexec_fn=lambda: os.dup2(theirs.fileno(), 3), close_fds=False)
            theirs.close()
            job(ours)
        return process

    def job(self, prompt, **env):
        return b"\0".join([self.dir.encode(), prompt] + [f"{k}={v}".encode() for k, v in self.env(**env).items()])

    def test_the_same_as_a_fresh_one(self):
        daemon = self.serve(ok(lines({"type": "dispatch", "dispatch_id": "1", "action": "exec", "command": "sh",
                                      "args": ["-c", "pwd; echo $X; echo ${LEFT-none}"]})), ok(lines(final("done"))))
        process = self.start_waiting(lambda s: s.send(self.job("prompt \u00e9=".encode(), X="a=b")))
        self.assertEqual(self.finish(process), (0, b"done\n", b""))
        self.assertEqual(daemon.requests[0]["prompt"], "prompt \u00e9=")
        self.assertEqual(daemon.requests[0]["request_id"], "exec:3:1")
        self.assertEqual(daemon.requests[1]["stdout"], self.dir + "\na=b\nnone\n")

    def test_a_prompt_on_stdin(self):
        daemon = self.serve(ok(lines(final("done"))))
        with tempfile.TemporaryFile() as prompt:
            prompt.write(b"p" * 1_500_000)
            prompt.seek(0)
            process = self.start_waiting(lambda s: socket.send_fds(s, [self.job(b"-")], [prompt.fileno()]))
        self.assertEqual(self.finish(process), (0, b"done\n", b""))
        self.assertEqual(daemon.requests[0]["prompt"], "p" * 1_500_000)

    def test_no_job(self):
        self.assertEqual(self.finish(self.start_waiting(lambda s: None)), (0, b"", b""))


class Talking(Case):
    def test_the_first_request_and_the_answer(self):
        daemon = self.serve(ok(lines({"type": "delta", "content": "noise"}, final("caf\u00e9 \u2603\n"))))
        code, out, err = self.finish(self.start("prompt \u00e9 \U0001f600"))
        self.assertEqual((code, out, err), (0, "caf\u00e9 \u2603\n\n".encode(), b""))
        self.assertEqual(daemon.requests, [{
            "type": "generate", "request_id": "exec:3:1", "agent_id": "agent", "execution_id": "exec",
            "iteration_number": 3, "model_alias": "default", "prompt": "prompt \u00e9 \U0001f600", "messages": []}])
        self.assertTrue(daemon.heads[0].startswith(b"POST /v1/llm/generate HTTP/1.1\r\n"))
        self.assertIn(b"Accept: application/x-ndjson", daemon.heads[0])

    def test_a_stream_in_any_pieces(self):
        body = lines(*[{"type": "delta", "content": "\u00e9" * i} for i in range(50)]) + b"\n" + lines(final("x"))
        for size in (1, 2, 3, 7, 1000):
            os.path.exists(self.socket) and os.unlink(self.socket)
            self.serve(ok(body, chunked=size))
            self.assertEqual(self.finish(self.start())[:2], (0, b"x\n"))

    def test_a_prompt_of_several_mebibytes_comes_by_stdin(self):
        prompt = "\u00e4\"\\\n\x01" * 700_000
        daemon = self.serve(ok(lines(final("ok"))))
        code, out, _ = self.finish(self.start("-", stdin=subprocess.PIPE), prompt.encode())
        self.assertEqual((code, out), (0, b"ok\n"))
        self.assertEqual(daemon.requests[0]["prompt"], prompt)

    def test_a_prompt_that_is_not_utf8_is_still_sent(self):
        daemon = self.serve(ok(lines(final("ok"))))
        code, _, _ = self.finish(self.start(b"a\xffb"))
        self.assertEqual((code, daemon.requests[0]["prompt"]), (0, "a\ufffdb"))

    def test_a_50_mib_answer(self):
        content = "x" * (50 << 20)
        self.serve(ok(lines(final(content)), chunked=1 << 20))
        code, out, _ = self.finish(self.start())
        self.assertEqual(code, 0)
        self.assertTrue(out == content.encode() + b"\n")

    def test_a_line_without_end_is_refused(self):
        self.serve(ok(b"x" * (65 << 20), chunked=1 << 20))
        code, out, err = self.finish(self.start())
        self.assertEqual((code, out), (1, b""))
        self.assertIn(b"64 MiB", err)

    def test_lone_surrogates_in_the_answer(self):
        self.serve(ok(b'{"type":"final","content":"a\\ud800b"}\n'))
        self.assertEqual(self.finish(self.start())[:2], (0, b"a?b\n"))

    def test_nobody_reads_stdout(self):
        self.serve(ok(lines(final("x" * 500_000))))
        process = self.start()
        process.stdout.close()
        process.stdout = None
        code, _, err = self.finish(process)
        self.assertEqual(code, 1)
        self.assertNotIn(b"Traceback", err)

    def test_tcp_when_there_is_no_socket(self):
        daemon = Daemon(("127.0.0.1", 0), [ok(lines(final("tcp")))], socket.AF_INET)
        self.addCleanup(daemon.close)
        url = "http://127.0.0.1:{}".format(daemon.listener.getsockname()[1])
        code, out, _ = self.finish(self.start(env=self.env(AEGIS_ORCHESTRATOR_URL=url)))
        self.assertEqual((code, out), (0, b"tcp\n"))


class Trouble(Case):
    def test_an_error_that_is_final(self):
        self.serve(ok(lines({"type": "error", "code": "model_error", "message": "no key", "retryable": False})))
        code, out, err = self.finish(self.start())
        self.assertEqual((code, out), (1, b""))
        self.assertEqual(err, b"bootstrap: model call failed: model_error: no key\n")

    def test_an_error_that_may_pass_is_asked_again_with_the_same_id(self):
        later = {"type": "error", "code": "unavailable", "message": "later", "retryable": True}
        daemon = self.serve(ok(lines(later)), ok(lines(final("now"))))
        self.assertEqual(self.finish(self.start())[:2], (0, b"now\n"))
        self.assertEqual(daemon.requests[0], daemon.requests[1])

    def test_http_errors(self):
        body = b'{"error":{"code":"permission_denied","message":"not yours"}}'
        self.serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        code, _, err = self.finish(self.start())
        self.assertEqual(code, 1)
        self.assertEqual(err, b"bootstrap: the daemon answered 403 permission_denied: not yours\n")

    def test_garbage_is_no_traceback(self):
        self.serve(b"SSH-2.0-OpenSSH\r\n\r\n")
        code, _, err = self.finish(self.start())
        self.assertEqual(code, 1)
        self.assertEqual(err, b"bootstrap: the daemon does not speak HTTP\n")

    def test_cut_at_every_place_it_asks_again(self):
        whole = ok(lines({"type": "delta", "content": "par"}, final("all")), chunked=20)
        cuts = list(range(0, len(whole) - 12, 9))
        daemon = self.serve(*[whole[:cut] for cut in cuts], whole)
        process = self.start()
        # The delay grows to a second: enough cuts to see every state, not so many as to wait long.
        daemon.answers = daemon.answers[:4] + daemon.answers[-4:]
        code, out, _ = self.finish(process)
        self.assertEqual((code, out), (0, b"all\n"))
        self.assertTrue(all(r == daemon.requests[0] for r in daemon.requests))

    def test_it_waits_for_a_daemon_that_is_away(self):
        process = self.start()
        time.sleep(0.4)
        self.assertIsNone(process.poll())
        daemon = self.serve(ok(lines(dispatch("true"))))
        daemon.thread.join(10)
        daemon.close()  # connection refused from here on
        time.sleep(0.4)
        self.assertIsNone(process.poll())
        os.unlink(self.socket)
        again = self.serve(ok(b""), ok(lines(final("back"))))
        self.assertEqual(self.finish(process)[:2], (0, b"back\n"))
        self.assertEqual([r["type"] for r in again.requests], ["dispatch_result"] * 2)
        self.assertEqual(again.requests[0], again.requests[1])


class Running(Case):
    def test_arguments_are_a_vector_and_streams_are_apart(self):
        script = "import sys,os; print(sys.argv[1:]); print(os.environ['X'], file=sys.stderr); sys.exit(3)"
        r = self.result_of(dispatch(sys.executable, "-c", script, "a b", "$(id)", "", "*",
                                    env_additions={"X": "\u00e9 $HOME"}))
        self.assertEqual(r["exit_code"], 3)
        self.assertEqual(r["stdout"], "['a b', '$(id)', '', '*']\n")
        self.assertEqual(r["stderr"], "\u00e9 $HOME\n")
        self.assertEqual((r["truncated"], r["dispatch_id"], r["execution_id"]), (False, "d1", "exec"))
        self.assertEqual(set(r), {"type", "execution_id", "dispatch_id", "exit_code", "stdout", "stderr",
                                  "duration_ms", "truncated"})

    def test_directory_environment_and_stdin(self):
        os.mkdir(os.path.join(self.dir, "sub"))
        r = self.result_of(dispatch("sh", "-c", "pwd; cat; echo $AEGIS_EXECUTION_ID; trap | wc -l; "
                                    "grep SigIgn /proc/self/status", cwd="sub"))
        *rest, ignored = r["stdout"].split()
        self.assertEqual(rest, [os.path.realpath(os.path.join(self.dir, "sub")), "exec", "0", "SigIgn:"])
        self.assertEqual(int(ignored, 16) & (1 << 12 | 1 << 24), 0)  # SIGPIPE, SIGXFSZ

    def test_what_cannot_be_started(self):
        plain = os.path.join(self.dir, "plain")
        with open(plain, "w") as f:
            f.write("x")
        for message, code, text in (
                (dispatch("no-such-command"), 127, "no-such-command: command not found"),
                (dispatch("/no/such"), 127, "/no/such: No such file or directory"),
                (dispatch(plain), 126, plain + ": Permission denied"),
                (dispatch(self.dir), 126, self.dir + ": Permission denied"),
                (dispatch("true", cwd="/no/dir"), 126, "working directory /no/dir: No such file or directory"),
                (dispatch("true", "nul\0byte"), 126, "true: embedded null byte"),
                (dispatch("true", "x" * 200_000), 126, "true: Argument list too long"),
                (dispatch("true", args="no list"), 126, "malformed dispatch: command and args must be strings")):
            os.path.exists(self.socket) and os.unlink(self.socket)
            r = self.result_of(message)
            self.assertEqual((r["exit_code"], r["stderr"]), (code, text))

    def test_unknown_action(self):
        r = self.result_of(dispatch("x", action="levitate"))
        self.assertEqual((r["exit_code"], r["stderr"]), (-1, "unknown_action:levitate"))

    def test_signals(self):
        r = self.result_of(dispatch("sh", "-c", "kill -9 $$"))
        self.assertEqual(r["exit_code"], 137)

    def test_timeout_kills_the_whole_group(self):
        mark = os.path.join(self.dir, "alive")
        begin = time.monotonic()
        r = self.result_of(dispatch("sh", "-c", "trap '' TERM; (sleep 4; touch %s) & echo out; wait; sleep 4" % mark,
                                    timeout_secs=0.5))
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual((r["exit_code"], r["stdout"]), (124, "out\n"))
        self.assertEqual(r["stderr"], "timed out after 0.5 seconds")
        time.sleep(max(0, begin + 5 - time.monotonic()))
        self.assertFalse(os.path.exists(mark))

    def test_the_tail_of_each_stream_is_kept(self):
        script = "import sys\nfor i in range(300000): print(i)\nsys.stderr.write('e'*5000)"
        r = self.result_of(dispatch(sys.executable, "-c", script, max_output_bytes=1000))
        whole = "".join("%d\n" % i for i in range(300000))
        head, tail = r["stdout"].split("\n", 1)
        self.assertEqual(head, "[... %d bytes omitted]" % (len(whole) - 1000))
        self.assertEqual(tail, whole[-1000:])
        self.assertEqual(r["stderr"], "[... 4000 bytes omitted]\n" + "e" * 1000)
        self.assertTrue(r["truncated"])

    def test_a_tail_does_not_begin_inside_a_character(self):
        r = self.result_of(dispatch("printf", "\u20ac\u20ac\u20ac", max_output_bytes=4))
        self.assertEqual(r["stdout"], "[... 6 bytes omitted]\n\u20ac")

    def test_a_flood_needs_bounded_memory(self):
        script = "import sys\nb=b'x'*(1<<20)\nfor i in range(300): sys.stdout.buffer.write(b)"
        daemon = self.serve(ok(lines(dispatch(sys.executable, "-c", script))), ok(lines(final("done"))))
        process = self.start(preexec_fn=lambda: __import__("resource").setrlimit(
            __import__("resource").RLIMIT_AS, (256 << 20, 256 << 20)))
        self.assertEqual(self.finish(process)[:2], (0, b"done\n"))
        r = daemon.requests[1]
        self.assertEqual(r["stdout"], "[... %d bytes omitted]\n" % (299 << 20) + "x" * (1 << 20))

    def test_limit_beyond_what_fits_into_one_request(self):
        r = self.result_of(dispatch("head", "-c", "5000000", "/dev/zero", max_output_bytes=1 << 40))
        self.assertEqual(r["exit_code"], 0)
        self.assertEqual(r["stdout"], "[... 3100000 bytes omitted]\n" + "\0" * 1900000)

    def test_a_background_process_that_holds_the_pipe(self):
        pid_file = os.path.join(self.dir, "pid")
        begin = time.monotonic()
        r = self.result_of(dispatch("sh", "-c", "sleep 30 & echo $! > %s; echo done" % pid_file))
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual((r["exit_code"], r["stdout"]), (0, "done\n"))
        with open(pid_file) as f:
            os.kill(int(f.read()), signal.SIGKILL)  # still alive: a server left running is the agent's right

    def test_output_that_is_not_utf8(self):
        r = self.result_of(dispatch("printf", "a\\377b"))
        self.assertEqual(r["stdout"], "a\ufffdb")

    def test_several_dispatches_in_a_row(self):
        daemon = self.serve(*[ok(lines(dispatch("echo", str(i), dispatch_id="d%d" % i))) for i in range(20)],
                            ok(lines(final("end"))))
        self.assertEqual(self.finish(self.start())[:2], (0, b"end\n"))
        self.assertEqual([(r["dispatch_id"], r["stdout"]) for r in daemon.requests[1:]],
                         [("d%d" % i, "%d\n" % i) for i in range(20)])


if __name__ == "__main__":
    unittest.main()
