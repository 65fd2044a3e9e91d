"""What an agent runs as: sends the prompt to the daemon, does what it is told, prints the answer.

    python3 -I -S -X utf8 -c "import sys; sys.path.append('/aegis/bin')
    import bootstrap; bootstrap.main()" PROMPT

(imported, so that its compiled form is used; `python3 bootstrap.py PROMPT` does the same, slower).
With `bootstrap.standby(3)` instead of main() it waits on descriptor 3 until it is told its prompt.
PROMPT "-" means: read it from stdin. Speaks the protocol of docs/api.md, "Inside a container": a
POST to /v1/llm/generate on the unix socket $AEGIS_SOCKET, answered by newline-delimited JSON.

Exit code 0 after printing the final answer and nothing else on stdout; 1 with a message on stderr.
Only built-in C modules: importing socket, json and subprocess takes longer than Python's own start.
"""

import posix
import sys
import time

import _json
import _socket

PATH = "/v1/llm/generate"
MAX_LINE = 64 * 1024 * 1024
MAX_HEAD = 64 * 1024
# Two streams, each byte at most six in JSON, stay below what the daemon takes as one body (24 MiB).
MAX_OUTPUT = 1900 * 1000
DEFAULT_OUTPUT = 1024 * 1024
MAX_JOB = 160 * 1024
MAX_TRIES = 6
TERM_GRACE = 2.0
DRAIN_TIME = 0.1


class Lost(Exception):
    """The daemon is away, or went away before it had said all: ask again."""


class Fatal(Exception):
    """Asking again would not help."""


class Busy(Exception):
    """The daemon answers, but asks to come back later."""


# --- JSON -----------------------------------------------------------------------------------------


def _constant(name):
    raise ValueError("JSON has no " + name)


class _ScannerSettings:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)
    memo = {}


_scan = _json.make_scanner(_ScannerSettings)


def parse_object(text):
    """The JSON object that `text` is; ValueError for anything else."""
    text = text.strip(" \t\r\n")
    try:
        value, end = _scan(text, 0)
    except (StopIteration, RecursionError):
        raise ValueError("not JSON") from None
    if end != len(text) or not isinstance(value, dict):
        raise ValueError("not one JSON object")
    return value


def dump_object(pairs):
    """JSON, as bytes, of a flat list of (key, string | bool | int | list of nothing)."""
    parts = []
    for key, value in pairs:
        if isinstance(value, str):
            text = _json.encode_basestring(clean(value))
        elif isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, int):
            text = str(value)
        else:
            text = "[]"
        parts.append('"' + key + '":' + text)
    return ("{" + ",".join(parts) + "}").encode()


def clean(text):
    """`text` without lone surrogates, which UTF-8 and the daemon refuse."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape_or_pass").decode("utf-8", "replace")


def _surrogateescape_or_pass(error):
    # An escaped byte becomes that byte again; any other surrogate a question mark.
    out = bytearray()
    for character in error.object[error.start : error.end]:
        code = ord(character)
        out += bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else b"?"
    return bytes(out), error.end


def _register_errors():
    import _codecs

    _codecs.register_error("surrogateescape_or_pass", _surrogateescape_or_pass)


_register_errors()

# --- HTTP -----------------------------------------------------------------------------------------


def environment(name, default=""):
    value = posix.environ.get(name.encode())
    return default if value is None else value.decode("utf-8", "surrogateescape")


def connect():
    """A socket connected to the unix one, else to AEGIS_ORCHESTRATOR_URL. Raises OSError."""
    path = environment("AEGIS_SOCKET")
    url = environment("AEGIS_ORCHESTRATOR_URL")
    if path and (not url or exists(path)):
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        address = path
    elif url:
        host, _, port = url.split("://", 1)[-1].split("/", 1)[0].rpartition(":")
        if not port.isdigit():
            host, port = (host + ":" + port).strip(":"), "80"
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        address = (host, int(port))
    else:
        raise Fatal("neither AEGIS_SOCKET nor AEGIS_ORCHESTRATOR_URL is set")
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def exists(path):
    try:
        posix.stat(path)
        return True
    except OSError:
        return False


class Response:
    """One HTTP/1.1 answer, read as it comes. Raises Lost when it ends before it is whole."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()
        self.status = 0
        self.length = None
        self.chunked = False
        self._read_head()

    def _fill(self):
        try:
            data = self.sock.recv(64 * 1024)
        except OSError as error:
            raise Lost(str(error)) from None
        self.buffer += data
        return len(data)

    def _head_line(self):
        searched = 0
        while True:
            end = self.buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self.buffer[:end]).rstrip(b"\r")
                del self.buffer[: end + 1]
                return line
            if len(self.buffer) > MAX_HEAD:
                raise Fatal("the daemon's answer has no end of line")
            searched = len(self.buffer)
            if not self._fill():
                raise Lost("connection closed")

    def _read_head(self):
        while True:
            words = self._head_line().split(b" ", 2)
            if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
                raise Fatal("the daemon does not speak HTTP")
            self.status = int(words[1])
            for _ in range(256):
                line = self._head_line()
                if not line:
                    break
                name, _, value = line.partition(b":")
                name = name.strip().lower()
                value = value.strip().lower()
                if name == b"content-length" and value.isdigit():
                    self.length = int(value)
                elif name == b"transfer-encoding":
                    self.chunked = value == b"chunked"
            else:
                raise Fatal("the daemon's answer has too many header lines")
            if self.status >= 200:
                return

    def _take(self, limit):
        """At least one byte and at most `limit` of the body, None at the end of the connection."""
        if not self.buffer and not self._fill():
            return None
        data = bytes(self.buffer[:limit])
        del self.buffer[:limit]
        return data

    def body(self):
        """The body in pieces."""
        if self.chunked:
            while True:
                size = self._head_line().partition(b";")[0].strip()
                try:
                    left = int(size, 16)
                except ValueError:
                    raise Lost("malformed chunk") from None
                if left == 0:
                    return
                while left:
                    data = self._take(left)
                    if data is None:
                        raise Lost("connection closed")
                    left -= len(data)
                    yield data
                self._head_line()
        elif self.length is not None:
            left = self.length
            while left:
                data = self._take(left)
                if data is None:
                    raise Lost("connection closed")
                left -= len(data)
                yield data
        else:
            while True:
                data = self._take(256 * 1024)
                if data is None:
                    return
                yield data

    def lines(self):
        """The body's lines, decoded; the last one may lack its newline."""
        parts = []
        size = 0
        for data in self.body():
            start = 0
            while True:
                end = data.find(b"\n", start)
                parts.append(data[start:] if end < 0 else data[start:end])
                size += len(parts[-1])
                if size > MAX_LINE:
                    raise Fatal("the daemon sent a line of more than 64 MiB")
                if end < 0:
                    break
                yield b"".join(parts).decode("utf-8", "replace")
                parts = []
                size = 0
                start = end + 1
        if size:
            yield b"".join(parts).decode("utf-8", "replace")

    def text(self, limit):
        out = bytearray()
        for data in self.body():
            out += data
            if len(out) > limit:
                break
        return out[:limit].decode("utf-8", "replace")


def post(body):
    """Sends a request and returns the message that ends its stream: dispatch, final or error."""
    try:
        sock = connect()
    except OSError as error:
        raise Lost(str(error)) from None
    try:
        head = (
            "POST " + PATH + " HTTP/1.1\r\nHost: aegis\r\nConnection: close\r\n"
            "Accept: application/x-ndjson\r\nContent-Type: application/json\r\n"
            "Content-Length: " + str(len(body)) + "\r\n\r\n"
        )
        try:
            sock.sendall(head.encode() + body)
        except OSError:
            # It may have answered, and closed, before it had read everything: a refusal.
            pass
        response = Response(sock)
        if response.status != 200:
            raise_for_status(response)
        for line in response.lines():
            message = parse_line(line)
            if message is not None:
                return message
        raise Lost("the stream ended early")
    finally:
        sock.close()


def parse_line(line):
    """The message in a line if it ends the stream, None for deltas, blank and unknown lines."""
    if not line.strip():
        return None
    try:
        message = parse_object(line)
    except ValueError:
        raise Lost("the daemon sent a line that is no JSON object") from None
    return message if message.get("type") in ("dispatch", "final", "error") else None


def raise_for_status(response):
    text = response.text(64 * 1024)
    detail = text.strip()[:500]
    try:
        error = parse_object(text)["error"]
        detail = str(error["code"]) + ": " + str(error["message"])
    except (ValueError, KeyError, TypeError):
        pass
    if response.status == 503:
        raise Lost(detail)
    problem = "the daemon answered " + str(response.status) + " " + detail
    if response.status == 429 or response.status >= 500:
        raise Busy(problem)
    raise Fatal(problem)


def ask(body):
    """post() until there is an answer: a daemon that is away is waited for without end, one that
    says "later" is asked a few times. The same bytes each time, which the daemon recognises."""
    away_delay = 0.02
    busy_delay = 0.5
    tries = 1
    while True:
        try:
            message = post(body)
            if message["type"] != "error":
                return message
            problem = "model call failed: {}: {}".format(
                message.get("code", "error"), message.get("message", "")
            )
            if message.get("retryable") is not True:
                raise Fatal(problem)
            raise Busy(problem)
        except Lost:
            time.sleep(away_delay)
            away_delay = min(away_delay * 2, 1.0)
        except Busy as busy:
            if tries >= MAX_TRIES:
                raise Fatal(str(busy)) from None
            tries += 1
            time.sleep(busy_delay)
            busy_delay = min(busy_delay * 2, 8.0)


# --- Running commands -----------------------------------------------------------------------------


class Tail:
    """The last `limit` bytes of a pipe, in at most about twice that memory."""

    def __init__(self, fd, limit):
        self.fd = fd
        self.limit = limit
        self.bytes = bytearray()
        self.omitted = 0
        self.open = True

    def read(self):
        """Reads once. False when there is nothing now."""
        try:
            data = posix.read(self.fd, 256 * 1024)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self.bytes += data
        if len(self.bytes) > 2 * self.limit + 256 * 1024:
            self._cut()
        return True

    def _cut(self):
        extra = len(self.bytes) - self.limit
        if extra > 0:
            self.omitted += extra
            del self.bytes[:extra]

    def close(self):
        if self.open:
            posix.close(self.fd)
            self.open = False

    def text(self):
        self._cut()
        if self.omitted:
            # Do not begin in the middle of a character.
            skip = 0
            while skip < min(3, len(self.bytes)) and self.bytes[skip] & 0xC0 == 0x80:
                skip += 1
            self.omitted += skip
            del self.bytes[:skip]
        text = self.bytes.decode("utf-8", "replace")
        return "[... {} bytes omitted]\n".format(self.omitted) + text if self.omitted else text


class NotStarted(Exception):
    def __init__(self, exit_code, text):
        Exception.__init__(self, text)
        self.exit_code = exit_code


def strings(value):
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def encode(text):
    return text.encode("utf-8", "surrogateescape_or_pass")


def find_program(command, env):
    """The path to execute, as execvp finds it but in the PATH that the command itself will have."""
    if b"/" in command:
        return command
    found = None
    for folder in env.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin").split(b":"):
        candidate = (folder or b".") + b"/" + command
        try:
            # S_IFMT, S_IFREG
            if posix.stat(candidate).st_mode & 0o170000 == 0o100000:
                if posix.access(candidate, posix.X_OK):
                    return candidate
                found = found or candidate
        except (OSError, ValueError):
            pass
    if found is None:
        raise NotStarted(127, command.decode("utf-8", "replace") + ": command not found")
    return found


def spawn(message, out, err):
    """Starts the command in a process group of its own. Returns its pid."""
    command = message.get("command")
    args = message.get("args", [])
    additions = message.get("env_additions") or {}
    cwd = message.get("cwd") or "."
    if not isinstance(command, str) or not command or not strings(args):
        raise NotStarted(126, "malformed dispatch: command and args must be strings")
    if (not isinstance(cwd, str) or not isinstance(additions, dict)
            or not strings(list(additions.values()))):
        raise NotStarted(126, "malformed dispatch: cwd and env_additions")
    env = dict(posix.environ)
    for name, value in additions.items():
        env[encode(name)] = encode(value)
    home = posix.open(".", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        # This process has one thread: it may visit the directory for the moment of the start.
        try:
            posix.chdir(encode(cwd))
        except (OSError, ValueError) as error:
            raise NotStarted(126, "working directory {}: {}".format(cwd, reason(error))) from None
        try:
            return posix.posix_spawn(
                find_program(encode(command), env),
                [encode(command)] + [encode(arg) for arg in args],
                env,
                file_actions=[
                    (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
                    (posix.POSIX_SPAWN_DUP2, out, 1),
                    (posix.POSIX_SPAWN_DUP2, err, 2),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[13, 25],  # SIGPIPE and SIGXFSZ, which Python ignores
            )
        except (OSError, ValueError) as error:
            code = 127 if getattr(error, "errno", 0) == 2 else 126
            raise NotStarted(code, "{}: {}".format(command, reason(error))) from None
    finally:
        posix.fchdir(home)
        posix.close(home)


def reason(error):
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def signal_group(pid, number):
    try:
        posix.killpg(pid, number)
    except OSError:
        pass


def read_for(tails, seconds):
    """Reads what comes within `seconds`, once; whether anything did. Sleeps without open pipes."""
    import select

    poller = select.poll()
    by_fd = {tail.fd: tail for tail in tails if tail.open}
    if not by_fd:
        time.sleep(seconds)
        return False
    for fd in by_fd:
        poller.register(fd, select.POLLIN)
    events = poller.poll(max(0, int(seconds * 1000 + 0.999)))
    for fd, _ in events:
        by_fd[fd].read()
    return bool(events)


def wait(pid, tails, timeout):
    """Reads both pipes until the child ends. Returns (wait status, whether the time ran out)."""
    begin = time.monotonic()
    deadline = None if timeout is None else begin + timeout
    kill_at = None
    timed_out = False
    pause = 0.001
    while True:
        now = time.monotonic()
        if kill_at is not None and now >= kill_at:
            signal_group(pid, 9)
            kill_at = now + 0.5
        elif kill_at is None and deadline is not None and now >= deadline:
            timed_out = True
            signal_group(pid, 15)
            kill_at = now + TERM_GRACE
        done, status = posix.waitpid(pid, posix.WNOHANG)
        if done:
            if timed_out:
                signal_group(pid, 9)
            return status, timed_out
        until = kill_at if kill_at is not None else deadline
        step = pause if until is None else min(pause, max(0.0, until - now))
        # An end of the pipes is mostly the end of the child too: look soon after one.
        pause = 0.001 if read_for(tails, step) else min(pause * 2, 0.02)


def drain(tails):
    # A process left in the background may hold the pipes open: take what there is and go on.
    until = time.monotonic() + DRAIN_TIME
    while any(tail.open for tail in tails):
        left = until - time.monotonic()
        if left <= 0:
            break
        read_for(tails, left)
    for tail in tails:
        tail.close()


def number_or(value, default):
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    return value if usable else default


def run(message):
    """Carries out an exec. Returns (exit_code, stdout, stderr, truncated)."""
    limit = int(min(number_or(message.get("max_output_bytes"), DEFAULT_OUTPUT), MAX_OUTPUT))
    timeout = number_or(message.get("timeout_secs"), None)
    out_read, out_write = posix.pipe2(posix.O_CLOEXEC)
    err_read, err_write = posix.pipe2(posix.O_CLOEXEC)
    tails = [Tail(out_read, limit), Tail(err_read, limit)]
    for tail in tails:
        posix.set_blocking(tail.fd, False)
    try:
        pid = spawn(message, out_write, err_write)
    except NotStarted as error:
        for tail in tails:
            tail.close()
        return error.exit_code, "", str(error), False
    finally:
        posix.close(out_write)
        posix.close(err_write)
    status, timed_out = wait(pid, tails, timeout)
    drain(tails)
    stdout, stderr = tails[0].text(), tails[1].text()
    truncated = bool(tails[0].omitted or tails[1].omitted)
    if timed_out:
        if stderr and not stderr.endswith("\n"):
            stderr += "\n"
        return 124, stdout, stderr + "timed out after {} seconds".format(timeout), truncated
    if posix.WIFSIGNALED(status):
        return 128 + posix.WTERMSIG(status), stdout, stderr, truncated
    return posix.WEXITSTATUS(status), stdout, stderr, truncated


def carry_out(message):
    """Does what a dispatch says. Returns the body of the answer."""
    begin = time.monotonic()
    action = message.get("action")
    if action == "exec":
        exit_code, stdout, stderr, truncated = run(message)
    else:
        exit_code, stdout, stderr, truncated = -1, "", "unknown_action:" + str(action), False
    return dump_object(
        [
            ("type", "dispatch_result"),
            ("execution_id", environment("AEGIS_EXECUTION_ID")),
            ("dispatch_id", str(message.get("dispatch_id", ""))),
            ("exit_code", exit_code),
            ("stdout", stdout),
            ("stderr", stderr),
            ("duration_ms", int((time.monotonic() - begin) * 1000)),
            ("truncated", truncated),
        ]
    )


# --- The agent ------------------------------------------------------------------------------------


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view) :]


def read_prompt(argv):
    if len(argv) < 2:
        raise Fatal("no prompt: usage: bootstrap.py PROMPT")
    if argv[1] != "-":
        raw = argv[1].encode(sys.getfilesystemencoding(), "surrogateescape")
    else:
        parts = []
        while True:
            data = posix.read(0, 1024 * 1024)
            if not data:
                break
            parts.append(data)
        raw = b"".join(parts)
    return raw.decode("utf-8", "replace")


REHEARSED_JOB = b"/\0\0AEGIS_SOCKET=/aegis/run/none\0AEGIS_EXECUTION_ID=none\0AEGIS_ITERATION=1"
REHEARSED_ANSWER = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'22\r\n{"type":"final","content":"none"}\n\r\n'
    b"0\r\n\r\n"
)


def rehearse(times=1):
    """Goes the ways of a job, with a socket that is not there and an answer made up: of a fork,
    what that writes to is copied before there is a job, not after. In what forks are made of, with
    `times`, so that the interpreter has settled how it runs the code, and forks need not."""
    for _ in range(times):
        posix.chdir(take(REHEARSED_JOB))
        try:
            post(generate(read_prompt(sys.argv)))
        except Lost:
            pass
        ours, theirs = _socket.socketpair()
        theirs.sendall(REHEARSED_ANSWER)
        theirs.close()
        for line in Response(ours).lines():
            clean(parse_line(line)["content"])
        ours.close()


def take(job):
    """The prompt and the environment are those of this job; its working directory is returned."""
    cwd, prompt, *variables = job.split(b"\0")
    posix.environ.clear()
    for variable in variables:
        name, _, value = variable.partition(b"=")
        posix.environ[name] = value
    sys.argv = ["bootstrap", prompt.decode(sys.getfilesystemencoding(), "surrogateescape")]
    return cwd


def standby(fd, rename=None, unhurried=True):
    """Waits for the job that comes on this socket, then is what main() is for it: one datagram with
    working directory, prompt and environment, each but the last ended by a NUL; with it the
    descriptor of a stdin, if there is one. No job comes: nothing to do."""
    if unhurried:
        rehearse()
    sock = _socket.socket(fileno=fd)
    data, ancillary, _, _ = sock.recvmsg(MAX_JOB, _socket.CMSG_SPACE(4))
    sock.close()
    if not data:
        posix._exit(0)
    if ancillary:
        stdin = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        posix.dup2(stdin, 0)
        posix.close(stdin)
    cwd = take(data)
    if rename:
        rename("python3")  # it is what it does, not what it was forked from
    posix.chdir(cwd)
    main()


def generate(prompt):
    """The body of the first request. Its id is the same after a crash, so that the daemon can give
    the answer it has already recorded."""
    execution = environment("AEGIS_EXECUTION_ID")
    iteration = environment("AEGIS_ITERATION", "1")
    if not iteration.isdigit():
        raise Fatal("AEGIS_ITERATION is not a number")
    return dump_object(
        [
            ("type", "generate"),
            ("request_id", execution + ":" + iteration + ":1"),
            ("agent_id", environment("AEGIS_AGENT_ID")),
            ("execution_id", execution),
            ("iteration_number", int(iteration)),
            ("model_alias", environment("AEGIS_MODEL_ALIAS", "default")),
            ("prompt", prompt),
            ("messages", []),
        ]
    )


def work(argv):
    message = ask(generate(read_prompt(argv)))
    while message["type"] == "dispatch":
        message = ask(carry_out(message))
    content = message.get("content")
    if not isinstance(content, str):
        raise Fatal("the daemon's final message has no content")
    write_all(1, clean(content).encode() + b"\n")


def main():
    code = 0
    try:
        work(sys.argv)
    except Fatal as error:
        code = 1
        text = "bootstrap: " + str(error)
    except BrokenPipeError:
        code = 1
        text = "bootstrap: nobody reads the output"
    if code:
        try:
            write_all(2, clean(text).encode() + b"\n")
        except OSError:
            pass
    # Nothing is left to tidy up, and taking an interpreter down takes a millisecond.
    posix._exit(code)


if __name__ == "__main__":
    main()
