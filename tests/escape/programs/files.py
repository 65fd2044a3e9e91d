"""Attempts on files: the injected programs, the image, the volumes, what a volume may bring."""

import fcntl
import os
import shutil
import stat
import struct
import subprocess

from inside import PARAMS, Refused, all_refused, attempt, each

BIN = "/aegis/bin"


# --- what the daemon injects --------------------------------------------------------------------


@attempt("EROFS", "EACCES", control=False)
def write_the_bootstrap():
    open(f"{BIN}/bootstrap.py", "ab").close()


@attempt("EROFS", "EACCES", "ETXTBSY", control=False)
def write_the_init():
    open(f"{BIN}/init", "r+b").close()


@attempt("EROFS", "EACCES", "EPERM", control=False)
def change_the_injected():
    all_refused([("unlink", lambda: os.unlink(f"{BIN}/bootstrap.py"))])
    return "unlinked"


@attempt("EROFS", "EPERM", control=False)
def chmod_the_injected():
    all_refused([("init", lambda: os.chmod(f"{BIN}/init", 0o777)),
                 ("bootstrap", lambda: os.chmod(f"{BIN}/bootstrap.py", 0o777)),
                 ("times", lambda: os.utime(f"{BIN}/bootstrap.py", (0, 0)))])


@attempt("EROFS", "EACCES", "EXDEV", control=False)
def replace_the_injected():
    all_refused([("new", lambda: open(f"{BIN}/json.py", "w", encoding="ascii"))])


@attempt("EROFS", "EACCES", "EBUSY", control=False)
def move_the_injected_away():
    os.rename("/aegis", "/aegis.old")


@attempt("EROFS", "EACCES", control=False)
def remove_the_sockets():
    os.unlink("/aegis/run/api.sock")


@attempt("EROFS", "EACCES", control=False)
def new_socket_beside():
    os.mknod("/aegis/run/other.sock", stat.S_IFSOCK | 0o666)


@attempt("EROFS", "EACCES", "ETXTBSY", control=False)
def write_the_running_interpreter():
    """What an escape through /proc/self/exe would overwrite."""
    open("/proc/self/exe", "r+b").close()


# --- the image ----------------------------------------------------------------------------------


@attempt("EROFS", "EACCES", control=False)
def write_the_image():
    all_refused((p, lambda p=p: open(p, "ab")) for p in ("/etc/passwd", "/etc/hosts", "/usr/bin/env"))


@attempt("EROFS", "EACCES", control=False)
def new_file_in_the_image():
    all_refused((p, lambda p=p: open(p, "w", encoding="ascii")) for p in ("/new", "/usr/bin/new"))


@attempt("EROFS", "EACCES", control=False)
def directory_and_link_in_the_image():
    all_refused([("mkdir", lambda: os.mkdir("/new")), ("link", lambda: os.symlink("/", "/new"))])


@each({"image": "/etc/passwd", "injected": f"{BIN}/init"}, "EXDEV", control=False)
def hard_link_of_the(path):
    os.link(path, "/workspace/link")


@attempt("none", control=False)
def writable_places():
    """Only what is mounted for it can be written."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as f:
        mounts = [line.split() for line in f]
    for _, target, kind, options, *_ in mounts:
        if "rw" in options.split(",") and kind not in ("proc", "sysfs", "cgroup", "cgroup2",
                                                       "mqueue", "devpts"):
            found.append(target)
    odd = [t for t in found if t not in ("/tmp", "/workspace", "/dev/shm", "/dev", "/keep")
           and not t.startswith(("/proc/", "/dev/")) and os.access(t, os.W_OK)]
    if not odd:
        raise Refused("none")
    return odd


@attempt("none", control=False)
def mounts_without_nosuid_or_nodev():
    """Every place that can be written is mounted nosuid and nodev."""
    odd = [p for p in ("/tmp", "/workspace", "/keep", "/dev/shm")
           if os.statvfs(p).f_flag & (os.ST_NOSUID | os.ST_NODEV) != os.ST_NOSUID | os.ST_NODEV]
    if not odd:
        raise Refused("none")
    return odd


@attempt("none", control=False)
def set_user_id_programs_of_the_image():
    found = []
    for at, _, names in os.walk("/usr"):
        for name in names:
            status = os.lstat(os.path.join(at, name))
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o6000 and status.st_uid == 0:
                found.append(os.path.join(at, name))
    for path in found:
        if identity(path, "-c", "id -u") == "0":
            return path
    raise Refused("none")


# --- volumes ------------------------------------------------------------------------------------


@attempt("EROFS", "EACCES", control=False)
def write_a_read_only_volume():
    open("/keep/new", "w", encoding="ascii").close()


@attempt("EROFS", "EACCES", control=False)
def change_a_read_only_volume():
    all_refused([("unlink", lambda: os.unlink("/keep/data"))])


@attempt("EROFS", "EACCES", "EPERM", control=False)
def reopen_read_only_for_writing():
    with open("/keep/data", "rb") as f:
        open(f"/proc/self/fd/{f.fileno()}", "r+b").close()


@attempt("EACCES", "EPERM", control=False)
def symbolic_link_into_init():
    os.symlink("/proc/1/root", "/workspace/init-root")
    return os.listdir("/workspace/init-root/")


@attempt("ENOENT", control=False)
def symbolic_link_to_the_host():
    os.symlink(PARAMS["canary"], "/workspace/canary")
    with open("/workspace/canary", "rb") as f:
        return f.read()


@attempt("EXDEV", "ENOENT", "EACCES", "inside", control=False)
def above_the_volume():
    """From a directory that is held open while it is moved: still the sandbox's own root."""
    os.makedirs("/workspace/a/b/c")
    here = os.open("/workspace/a/b/c", os.O_PATH)
    os.rename("/workspace/a/b/c", "/workspace/c")
    up = os.open("../../../../../..", os.O_PATH, dir_fd=here)
    if os.path.sameopenfile(up, os.open("/", os.O_PATH)):
        raise Refused("inside")
    return os.readlink(f"/proc/self/fd/{up}")


def identity(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True,
                          check=False).stdout.strip()


@attempt("own user", control=False)
def set_user_id_of_its_own():
    shutil.copy("/usr/bin/id", "/workspace/own-id")
    os.chmod("/workspace/own-id", 0o6755)
    if identity("/workspace/own-id", "-u") == "1000":
        raise Refused("own user")
    return identity("/workspace/own-id")


@attempt("own user")
def set_user_id_root_in_a_volume():
    """The file belongs to root and is set-uid: somebody put it there from outside."""
    path = os.path.join(PARAMS["volume"], "root-id")
    status = os.stat(path)
    assert status.st_mode & 0o4000 and status.st_uid in (0, 65534), status
    user = {"user": 1000} if os.getuid() == 0 else {}
    seen = subprocess.run([path, "-u"], capture_output=True, text=True, check=False,
                          **user).stdout.strip()
    if seen == "1000":
        raise Refused("own user")
    return seen


@attempt("EACCES")
def device_in_a_volume():
    os.open(os.path.join(PARAMS["volume"], "device"), os.O_RDONLY)


@attempt("EACCES")
def loop_device_in_a_volume():
    os.open(os.path.join(PARAMS["volume"], "loop"), os.O_RDONLY)


@attempt("EPERM", control=False)
def new_device_in_a_volume():
    os.mknod("/workspace/mem", 0o020666, os.makedev(1, 1))


def control(number, argument=b"\0" * 64):
    with open("/workspace/f", "w", encoding="ascii") as f:
        fcntl.ioctl(f, number, bytearray(argument))


@attempt("EPERM", control=False)
def freeze_the_volume():
    control(0xC0045877)


@attempt("EPERM", control=False)
def shut_the_volume_down():
    control(0x8004587D)


@attempt("EPERM", control=False)
def resize_the_volume():
    control(0x40086610, struct.pack("Q", 1 << 20))


@attempt("EPERM", control=False)
def make_immutable():
    control(0x40086602, struct.pack("Q", 0x10))


@attempt("EPERM", "ENOTTY", control=False)
def swap_the_boot_loader():
    control(0x6611)


@attempt("EPERM", control=False)
def give_a_file_away():
    open("/workspace/mine", "w", encoding="ascii").close()
    os.chown("/workspace/mine", 0, 0)


@attempt("EPERM", control=False)
def trusted_attribute():
    open("/workspace/mine", "w", encoding="ascii").close()
    os.setxattr("/workspace/mine", "trusted.overlay.opaque", b"y")
