#!/usr/bin/env python3
"""Installation and Debian package; the last line is "package: N passed, N failed".

    run.py --build DIR [NAME...]       DIR: a build of everything; NAME: testLayout, testMachine, ...
"""
import argparse
import glob
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get("AEGIS_TEST_CACHE", "/var/cache/aegis-test")
# Beyond the essential: the engine that the package recommends, and what this test looks with. Part
# of the root's name, so that a change makes another.
BASE = ["docker.io", "iproute2", "procps"]


def run(*command, check=True, **kw):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **kw)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} -> {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Suite:
    def __init__(self, build, work):
        self.build, self.work, self.deb = os.path.abspath(build), work, None

    def installTo(self, prefix, destdir=None):
        env = dict(os.environ, **({"DESTDIR": destdir} if destdir else {}))
        run("cmake", "--install", self.build, "--prefix", prefix, env=env)

    def package(self):
        """Path of the package, made once."""
        if self.deb is None:
            out = os.path.join(self.work, "deb")
            run("cpack", "-G", "DEB", "-B", out, cwd=self.build)
            found = glob.glob(os.path.join(out, "*.deb"))
            expect(len(found) == 1, f"one package, not {found}")
            self.deb = found[0]
        return self.deb

    def field(self, name):
        return run("dpkg-deb", "--field", self.package(), name).stdout.strip()

    # -- tests

    def testLayout(self):
        """All parts are there, and the tree works wherever it is moved."""
        first, second = os.path.join(self.work, "first"), os.path.join(self.work, "second")
        self.installTo(first)
        for path in ("bin/aegis", "lib/aegis/guest/init", "lib/aegis/guest/bootstrap.py",
                     "share/aegis/images/build.sh", "share/aegis/images/python/3.11/image.conf",
                     "share/doc/aegis/README.md", "share/doc/aegis/operations.md",
                     "share/doc/aegis/examples/scripted/aegis-config.yaml",
                     "share/man/man1/aegis.1.gz", "share/bash-completion/completions/aegis",
                     "share/zsh/vendor-completions/_aegis",
                     "share/fish/vendor_completions.d/aegis.fish",
                     "lib/systemd/system/aegis.service", "etc/aegis/aegis-config.yaml"):
            expect(os.path.isfile(os.path.join(first, path)), f"{path} is not installed")
        unit = open(os.path.join(first, "lib/systemd/system/aegis.service"), encoding="utf-8").read()
        expect(f"ExecStart={first}/bin/aegis --config {first}/etc/aegis/aegis-config.yaml " in unit,
               f"the unit names the prefix:\n{unit}")
        os.rename(first, second)
        done = run(f"{second}/bin/aegis", "image", "list", "-o", "json")
        expect('"python"' in done.stdout, f"the recipes are found: {done.stdout}{done.stderr}")
        run(f"{second}/bin/aegis", "--config", f"{second}/etc/aegis/aegis-config.yaml", "config",
            "validate")

    def testConfigurationIsKept(self):
        """An installation over another leaves the node's configuration alone."""
        prefix = os.path.join(self.work, "kept")
        self.installTo(prefix)
        path = os.path.join(prefix, "etc/aegis/aegis-config.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("# mine\n")
        self.installTo(prefix)
        expect(open(path, encoding="utf-8").read() == "# mine\n", "it was overwritten")

    def testDestdir(self):
        """DESTDIR stands before every path; /usr goes with /etc; nothing lands elsewhere."""
        root = os.path.join(self.work, "dest")
        self.installTo("/usr", destdir=root)
        expect(sorted(os.listdir(root)) == ["etc", "usr"], f"{os.listdir(root)}")
        unit = open(f"{root}/usr/lib/systemd/system/aegis.service", encoding="utf-8").read()
        expect("ExecStart=/usr/bin/aegis --config /etc/aegis/aegis-config.yaml daemon start" in unit,
               unit)
        expect(root not in unit and "@AEGIS" not in unit, "the unit holds no staging path")

    def testUnit(self):
        """The unit is well-formed, and gives the service no mount namespace of its own."""
        prefix = os.path.join(self.work, "unit")
        self.installTo(prefix)
        path = os.path.join(prefix, "lib/systemd/system/aegis.service")
        text = open(path, encoding="utf-8").read()
        settings = [line.split("=")[0] for line in text.splitlines() if re.match(r"[A-Z]\w+=", line)]
        namespaced = re.compile(r"Private|Protect|ReadOnly|ReadWrite|Inaccessible|Bind|Temporary|"
                                r"Root|Dynamic|ProcSubset|LoadCred|SetCred|MountFlags|ExecPaths|"
                                r"NoExec|Extension|MountAPI")
        bad = [name for name in settings if namespaced.match(name)]
        expect(not bad, f"these make a mount namespace: {bad}")
        for needed in ("KillMode=process", "Delegate=yes", "Type=notify", "Restart=on-failure"):
            expect(f"\n{needed}\n" in text, f"{needed} is missing")
        if shutil.which("systemd-analyze"):
            done = run("systemd-analyze", "verify", "--man=no", path, check=False)
            words = [line for line in (done.stdout + done.stderr).splitlines() if "aegis" in line]
            expect(done.returncode == 0 and not words, "\n".join(words) or done.stderr)

    def testPackage(self):
        """Its fields, its files' modes, no symbols, its configuration as such."""
        version = run(os.path.join(self.build, "aegis"), "--version").stdout.split()[1]
        expect(self.field("Version") == version, f"{self.field('Version')} is not {version}")
        expect(self.field("Package") == "aegis", "the name")
        depends, recommends = self.field("Depends"), self.field("Recommends")
        for library in ("libc6", "libcurl4", "libarchive13", "libsqlite3-0", "libyaml-0-2",
                        "e2fsprogs"):
            expect(re.search(rf"(^|, ){re.escape(library)}\b", depends), f"{library}: {depends}")
        expect("libgtest" not in depends and "docker" not in depends, depends)
        expect("docker.io |" in recommends and "podman-docker" in recommends, recommends)
        expect("mmdebstrap" in recommends, recommends)
        root = os.path.join(self.work, "unpacked")
        run("dpkg-deb", "--raw-extract", self.deb, root)
        conffiles = open(f"{root}/DEBIAN/conffiles", encoding="utf-8").read()
        expect(conffiles == "/etc/aegis/aegis-config.yaml\n", conffiles)
        for where, _, names in os.walk(root):
            for name in names:
                info = os.lstat(os.path.join(where, name))
                expect(info.st_uid == info.st_gid == 0, f"{name} belongs to root")
                expect(not info.st_mode & 0o7022, f"{name}: mode {stat.filemode(info.st_mode)}")
        for program in ("bin/aegis", "lib/aegis/guest/init"):
            done = run("file", "-b", f"{root}/usr/{program}")
            expect("not stripped" not in done.stdout, f"{program}: {done.stdout}")
        texts = run("grep", "-rlI", self.build, root, check=False).stdout
        expect(not texts, f"these name the build tree: {texts}")

    def testLintian(self):
        """Debian's checker finds no error."""
        done = run("lintian", "--fail-on", "error", "--tag-display-limit", "0",
                   "--allow-root", self.package(), check=False)
        print("".join(f"       {line}\n" for line in done.stdout.splitlines()), end="")
        expect(done.returncode == 0, done.stdout + done.stderr)

    def testMachine(self):
        """Installs on a clean Debian 12, runs the README's session, and goes again."""
        image = os.path.join(self.work, "image.tar")
        run("docker", "save", "-o", image, "aegis/python:3.11")
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "--fork", "--pid", "--kill-child",
             sys.executable, "-B", os.path.join(HERE, "machine.py"), "--base", cleanRoot(),
             "--deb", self.package(), "--image", image, "--work", self.work],
            capture_output=True, text=True, check=False, timeout=240)
        print("".join(f"       {line}\n" for line in done.stdout.splitlines()), end="")
        expect(done.returncode == 0, done.stdout + done.stderr)


def cleanRoot():
    """A Debian 12 as it comes, made once for this machine."""
    path = os.path.join(CACHE, "machine-" + "-".join(BASE))
    if os.path.isdir(path):
        return path
    began = time.monotonic()
    os.makedirs(CACHE, exist_ok=True)
    partial = tempfile.mkdtemp(prefix="making-", dir=CACHE)
    targets = run("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) main",
                  "Created-By: Packages", "Origin: Debian").stdout
    sources = os.path.join(partial, "sources.list")
    with open(sources, "w", encoding="utf-8") as f:
        f.write("".join(sorted({line + "\n" for line in targets.splitlines()
                                if "bookworm" in line})))
    try:
        run("mmdebstrap", "--variant=apt", "--mode=root", "--include=" + ",".join(BASE),
            "--aptopt=APT::Install-Recommends \"false\"", "bookworm",
            os.path.join(partial, "root"), sources, timeout=900)
        os.rename(os.path.join(partial, "root"), path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"       (the clean root took {time.monotonic() - began:.0f} s; it is kept: {path})")
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(REPO, "build"))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    # Not below /tmp, which may be a small tmpfs: an overlay's upper folder and an engine's images.
    work = tempfile.mkdtemp(prefix="aegis-package-", dir="/var/tmp")
    suite = Suite(args.build, work)
    passed = failed = 0
    try:
        for name in args.names or [n for n in vars(Suite) if n.startswith("test")]:
            began = time.monotonic()
            try:
                getattr(suite, name)()
                passed, verdict = passed + 1, "ok"
            except Exception as e:  # whatever it is, the others are still run
                print(f"=== {name}: {e}", flush=True)
                failed, verdict = failed + 1, "FAILED"
            print(f"{verdict:6} {name} ({time.monotonic() - began:.1f} s)", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"package: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
