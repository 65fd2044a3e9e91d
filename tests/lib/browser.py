"""A headless Chromium over the pipe of its DevTools protocol: a page, what is in it, what it logged.

No port and no driver: the protocol's messages go through two pipes, each ended by a NUL."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from node import wait_until

PROGRAMS = ("chromium-headless-shell", "chromium")
PATIENCE = 30
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-extensions",
         "--hide-scrollbars", "--mute-audio", "--remote-debugging-pipe", "--no-proxy-server",
         # Every other name is this machine as well: nothing is asked outside of it.
         "--host-resolver-rules=MAP * 127.0.0.1")


class Browser:
    """One tab. `logged`: errors of the console, refused and failed loads, exceptions."""

    def __init__(self, width=1200, height=900, dark=False):
        program = next((p for p in map(shutil.which, PROGRAMS) if p), None)
        if program is None:
            raise AssertionError("no Chromium: run scripts/install-deps.sh test")
        self.dir = tempfile.mkdtemp(prefix="aegis-browser-")
        theirs, self.out = self._pipe()
        self.inn, their_out = self._pipe(flip=True)
        command = [program, *FLAGS, f"--user-data-dir={self.dir}",
                   f"--window-size={width},{height}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{their_out}', "bash", *command],
            pass_fds=(theirs, their_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, env=dict(os.environ, HOME=self.dir))
        for fd in (theirs, their_out):
            os.close(fd)
        self.buffer = b""
        self.number = 0
        self.session = None
        self.logged = []
        self.requests = []
        self.dialogs = 0
        self._attach(width, height, dark)

    @staticmethod
    def _pipe(flip=False):
        """(read end, write end) above 9: 3 and 4 are the browser's."""
        ends = []
        for fd in os.pipe():
            ends.append(fcntl.fcntl(fd, fcntl.F_DUPFD, 10))
            os.close(fd)
        keep = ends[0] if flip else ends[1]
        os.set_inheritable(keep, False)
        return tuple(ends)

    def _attach(self, width, height, dark):
        targets = self.call("Target.getTargets", session=None)["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", session=None, targetId=page,
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(width, height)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for fd in (self.inn, self.out):
            os.close(fd)
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- the protocol

    def call(self, method, session=True, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session and self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.inn], [], [], left)[0]:
                raise AssertionError("the browser does not answer")
            piece = os.read(self.inn, 1 << 16)
            if not piece:
                raise AssertionError(f"the browser ended with {self.process.wait()}")
            self.buffer += piece
        text, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.logged.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.logged.append(" ".join(str(a.get("value")) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.logged.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs += 1

    # -- the page

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, code):
        """The value of an expression in the page; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True,
                           returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{code}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def text(self, selector="body"):
        """What one can read in an element; "" if there is none or it is hidden."""
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def sees(self, text, selector="body", timeout=PATIENCE):
        """Waits until the element's text holds it."""
        try:
            wait_until(lambda: text in self.text(selector), f"the page shows {text!r}", timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}; it shows:\n{self.text()}\nlogged: {self.logged}") from e

    def click(self, selector, text=None):
        """Presses the middle of the first visible element that is meant, as a mouse does."""
        find = (f"[...document.querySelectorAll({json.dumps(selector)})].find((e) => "
                f"e.checkVisibility() && e.innerText.includes({json.dumps(text or '')}))")
        wait_until(lambda: self.run(f"!!{find}"), f"{selector} {text or ''} is there")
        x, y = self.run(f"(() => {{ const e = {find}; e.scrollIntoView({{block: 'center'}});"
                        "const r = e.getBoundingClientRect();"
                        "return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text):
        """Into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def key(self, key, code=0):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code)

    def picture(self, path, whole=False):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))
