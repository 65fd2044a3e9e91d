"""A clean machine for the package, in namespaces that its caller made and that end with it.

Run as root under `unshare --mount --pid --fork`: puts an overlay on the base root, installs the
package with apt (over the host's network), then takes a network of its own and runs the README's
session with a container engine of its own. An exception is the verdict.
"""
import argparse
import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
CONFIG = "/etc/aegis/aegis-config.yaml"
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
       "DEBIAN_FRONTEND": "noninteractive"}


class Machine:
    def __init__(self, work):
        self.root = os.path.join(work, "root")
        self.began = time.monotonic()
        self.children = []

    def say(self, what):
        print(f"{time.monotonic() - self.began:5.1f} s  {what}", flush=True)

    def mount(self, *args):
        subprocess.run(["mount", *args], check=True)

    def raise_from(self, base, work):
        for name in ("root", "upper", "overlay-work", "docker"):
            os.mkdir(os.path.join(work, name))
        self.mount("-t", "overlay", "overlay", "-o",
                   f"lowerdir={base},upperdir={work}/upper,workdir={work}/overlay-work", self.root)
        self.mount("-t", "proc", "proc", f"{self.root}/proc")
        self.mount("--rbind", "/sys", f"{self.root}/sys")
        self.mount("--rbind", "/dev", f"{self.root}/dev")
        self.mount("-t", "tmpfs", "tmpfs", f"{self.root}/run")
        os.makedirs(f"{self.root}/var/lib/docker", exist_ok=True)
        # An engine's layers cannot lie on an overlay.
        self.mount("--bind", f"{work}/docker", f"{self.root}/var/lib/docker")

    def run(self, *command, check=True, timeout=120):
        done = subprocess.run(["chroot", self.root, *command], env=ENV, capture_output=True,
                              text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} -> {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def start(self, *command, log, env=None):
        with open(self.path(log), "ab") as out:
            child = subprocess.Popen(["chroot", self.root, *command], env={**ENV, **(env or {})},
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.children.append(child)
        return child

    def path(self, inside):
        return self.root + inside

    def exists(self, inside):
        return os.path.lexists(self.path(inside))

    def read(self, inside):
        with open(self.path(inside), encoding="utf-8", errors="replace") as f:
            return f.read()


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def until(condition, what, timeout=30):
    end = time.monotonic() + timeout
    while not condition():
        expect(time.monotonic() < end, f"not within {timeout} s: {what}")
        time.sleep(0.05)


def install(m, deb):
    with open(deb, "rb") as f, open(m.path("/root/aegis.deb"), "wb") as out:
        out.write(f.read())
    with open("/etc/resolv.conf", "rb") as f, open(m.path("/etc/resolv.conf"), "wb") as out:
        out.write(f.read())
    done = m.run("dpkg", "-i", "/root/aegis.deb", check=False)
    expect("dependency problems" in done.stderr, "a clean machine lacks the libraries")
    m.run("apt-get", "-qq", "update", timeout=60)
    m.run("apt-get", "-qq", "-y", "--no-install-recommends", "-f", "install", timeout=120)
    status = m.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "aegis").stdout
    expect(status == "installed", status)
    mode = os.stat(m.path("/var/lib/aegis")).st_mode & 0o7777
    expect(mode == 0o700, f"/var/lib/aegis has mode {mode:o}")
    expect(m.exists("/etc/systemd/system/multi-user.target.wants/aegis.service"),
           "the service is enabled")
    missing = m.run("ldd", "/usr/bin/aegis").stdout
    expect("not found" not in missing, missing)
    m.say("installed")


def engine(m, work, image):
    ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET)
    m.run("ip", "link", "set", "lo", "up")
    os.link(image, os.path.join(work, "docker", "image.tar"))
    m.start("dockerd", "--bridge=none", "--iptables=false", "--ip-forward=false",
            "--cgroup-parent=/aegis-package-test", log="/run/dockerd.log")
    until(lambda: m.run("docker", "info", check=False).returncode == 0,
          "the container engine answers")
    m.run("docker", "load", "-i", "/var/lib/docker/image.tar")
    m.say("the engine runs")


def configure(m):
    """The scripted model of the installed examples, in the installed configuration."""
    script = "/usr/share/doc/aegis/examples/scripted/script.yaml"
    with open(m.path(CONFIG), "a", encoding="utf-8") as f:
        f.write(f"llm:\n  providers:\n    - {{name: offline, type: scripted, script: {script}}}\n")


def service(m):
    """Starts what the unit says, as systemd would; (process, ready message)."""
    unit = m.read("/usr/lib/systemd/system/aegis.service")
    command = re.search(r"^ExecStart=(.*)$", unit, re.M)[1].split()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(m.path("/run/notify"))
    manager.settimeout(30)
    daemon = m.start(*command, log="/run/aegis.log", env={"NOTIFY_SOCKET": "/run/notify"})
    try:
        word = manager.recv(4096).decode()
    except socket.timeout:
        raise AssertionError("no word of readiness:\n" + m.read("/run/aegis.log")) from None
    expect(word.startswith("READY=1\n"), word)
    m.say("the service is ready")
    return daemon, manager, unit


def session(m):
    """The README's, to the letter but for the path of the examples."""
    examples = "/usr/share/doc/aegis/examples"
    deployed = m.run("aegis", "agent", "deploy", f"{examples}/python-coder.yaml").stdout
    expect(re.fullmatch(r'Deployed agent "python-coder" \(id: [0-9a-f-]{36}\)\n', deployed), deployed)
    watched = m.run("aegis", "execute", "--agent", "python-coder", "--watch", "--input",
                    '{"task": "Write a function that reverses a linked list."}')
    for line in ("Tool: cmd.run python /workspace/solution.py",
                 "Validation: exit_code=PASS json_schema=FAIL (score=0.0)",
                 "Validation: exit_code=PASS json_schema=PASS (score=1.0)",
                 "Completed (2 iterations, "):
        expect(line in watched.stdout, f"{line}:\n{watched.stdout}{watched.stderr}")
    record = json.loads(m.run("aegis", "execution", "get", "@last", "-o", "json").stdout)
    expect(record["status"] == "completed", record)
    for part in (["agent", "list"], ["execution", "list"], ["execution", "logs", "@last"]):
        expect(m.run("aegis", *part).stdout, f"{part} prints something")
    m.say("the README's session works")


def doctor(m):
    done = m.run("aegis", "--config", CONFIG, "doctor", "-o", "json", check=False)
    report = json.loads(done.stdout)
    failed = [c for c in report["checks"] if c["status"] == "fail"]
    expect(done.returncode == 0 and report["usable"] and not failed, f"{failed} {done.stderr}")
    checks = {c["check"]: c for c in report["checks"]}
    for name in ("container engine", "base image", "daemon", "data directory", "loop devices"):
        expect(checks[name]["status"] == "ok", checks[name])
    m.say("doctor finds nothing wrong")


def stop(m, daemon, manager, unit):
    reload = re.search(r"^ExecReload=(.*)$", unit, re.M)[1].split()
    m.run(*reload)
    until(lambda: "the configuration was read again" in m.read("/run/aegis.log"), "the reload")
    daemon.terminate()
    expect(daemon.wait(40) == 0, m.read("/run/aegis.log"))
    expect(manager.recv(4096) == b"STOPPING=1", "the manager is told of the end")
    with open("/proc/self/mounts", encoding="utf-8") as f:
        left = [line for line in f if "/var/lib/aegis" in line]
    expect(not left, f"volumes are still mounted: {left}")
    expect(os.listdir(m.path("/run/aegis")) == [], os.listdir(m.path("/run/aegis")))
    expect(not m.run("docker", "ps", "-aq").stdout, "containers are left")
    m.say("stopped")


def remove(m):
    m.run("dpkg", "-r", "aegis")
    expect(not m.exists("/usr/bin/aegis"), "the program is gone")
    expect(m.exists(CONFIG), "the configuration stays")
    expect(m.exists("/var/lib/aegis/aegis.db"), "the data stay")
    m.run("dpkg", "-P", "aegis")
    for path in ("/etc/aegis", "/var/lib/aegis", "/run/aegis",
                 "/etc/systemd/system/multi-user.target.wants/aegis.service"):
        expect(not m.exists(path), f"{path} is still there after a purge")
    m.say("removed and purged")


def main():
    parser = argparse.ArgumentParser()
    for name in ("base", "deb", "image", "work"):
        parser.add_argument("--" + name, required=True)
    args = parser.parse_args()
    m = Machine(args.work)
    try:
        m.raise_from(args.base, args.work)
        install(m, args.deb)
        engine(m, args.work, args.image)
        configure(m)
        running = service(m)
        session(m)
        doctor(m)
        stop(m, *running)
        remove(m)
    finally:
        for child in reversed(m.children):
            if child.poll() is None:
                child.terminate()
                child.wait(30)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as e:
        sys.exit(f"error: {e}")
