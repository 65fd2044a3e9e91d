#!/usr/bin/env python3
"""What a short-lived volume with a hard limit costs: as the kernel offers it, and in the daemon.

    bench/volumes.py [--build build] [--runs 100] [--json build/bench-volumes.json]

Needs root. The ways take turns, so that all see the same machine. Each makes a volume of 64 MiB,
writes a small file and deletes the volume; what the machine lacks is named. The daemon's figures
come from BUILD/src/volume/volume_bench (built with -DAEGIS_BENCH=ON), if it is there.
"""
import argparse
import ctypes
import errno
import fcntl
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

SIZE = 64 << 20
LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
AUTOCLEAR, DIRECT_IO = 4, 16
BTRFS_SUBVOL_CREATE, BTRFS_SNAP_DESTROY = 0x5000940E, 0x5000940F
BTRFS_QGROUP_LIMIT, BTRFS_QUOTA_CTL = 0x8030942B, 0xC0109428
BTRFS_MAX_REFERENCED = 1
libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def mount(source, target, kind, options=""):
    check(libc.mount(source.encode(), target.encode(), kind.encode(), 0x406, options.encode()),
          f"mount {kind}")


def umount(target):
    check(libc.umount2(target.encode(), 0), "umount")


def attach_loop(image):
    """A device that clears itself; the caller holds the descriptor until it is mounted."""
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(50):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            path = f"/dev/loop{number}"
            if not os.path.exists(path):
                os.mknod(path, 0o60600, os.makedev(7, number))
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            config = bytearray(304)
            struct.pack_into("=II", config, 0, backing, 4096)
            struct.pack_into("=I", config, 8 + 52, AUTOCLEAR | DIRECT_IO)
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, config)
                return device, path
            except OSError as e:
                os.close(device)
                if e.errno not in (errno.EBUSY, errno.ENXIO):
                    raise
    finally:
        os.close(backing)
        os.close(control)
    raise OSError(errno.EBUSY, "no free loop device")


def copy_sparse(source, target):
    with open(source, "rb") as a, open(target, "wb") as b:
        size = os.fstat(a.fileno()).st_size
        b.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(a.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(a.fileno(), at, os.SEEK_HOLE)
            os.pwrite(b.fileno(), os.pread(a.fileno(), end - at, at), at)
            at = end


class Ext4Image:
    """A sparse image per volume, copied from a template, on a loop device with direct I/O."""

    def __init__(self, folder, name, *features):
        self.name = name
        self.folder = os.path.join(folder, name.replace(" ", "-"))
        self.target = os.path.join(self.folder, "mnt")
        os.makedirs(self.target)
        self.template = os.path.join(self.folder, "template")
        with open(self.template, "wb") as f:
            f.truncate(SIZE + (6 << 20))
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-N", "8192", "-E",
                        "lazy_itable_init=1,lazy_journal_init=1,nodiscard", *features,
                        self.template], check=True)

    def make(self):
        image = os.path.join(self.folder, "image")
        copy_sparse(self.template, image)
        device, path = attach_loop(image)
        mount(path, self.target, "ext4", "noinit_itable,errors=remount-ro")
        os.close(device)
        return self.target

    def delete(self):
        umount(self.target)
        os.unlink(os.path.join(self.folder, "image"))

    def close(self):
        pass


class Tmpfs:
    """Charged to the memory limit of whoever writes."""

    name = "tmpfs"

    def __init__(self, folder):
        self.target = os.path.join(folder, "tmpfs")
        os.makedirs(self.target)

    def make(self):
        mount("none", self.target, "tmpfs", f"size={SIZE}")
        return self.target

    def delete(self):
        umount(self.target)

    def close(self):
        pass


class Btrfs:
    """One file system for all volumes in one image; a subvolume and its qgroup for each."""

    name = "btrfs subvolume with a qgroup"

    def __init__(self, folder):
        self.target = os.path.join(folder, "btrfs")
        os.makedirs(self.target)
        image = self.target + ".img"
        with open(image, "wb") as f:
            f.truncate(4 << 30)
        subprocess.run(["mkfs.btrfs", "-q", image], check=True, stdout=subprocess.DEVNULL)
        device, path = attach_loop(image)
        mount(path, self.target, "btrfs")
        os.close(device)
        self.root = os.open(self.target, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(self.root, BTRFS_QUOTA_CTL, bytearray(struct.pack("=QQ", 1, 0)))

    def make(self):
        fcntl.ioctl(self.root, BTRFS_SUBVOL_CREATE, self.named())
        path = os.path.join(self.target, "volume")
        volume = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        # qgroupid 0: the subvolume's own.
        fcntl.ioctl(volume, BTRFS_QGROUP_LIMIT,
                    bytearray(struct.pack("=QQQQQQ", 0, BTRFS_MAX_REFERENCED, SIZE, 0, 0, 0)))
        os.close(volume)
        return path

    def delete(self):
        fcntl.ioctl(self.root, BTRFS_SNAP_DESTROY, self.named())

    @staticmethod
    def named():
        return bytearray(struct.pack("=q4088s", 0, b"volume"))

    def close(self):
        os.close(self.root)
        umount(self.target)


def project_quota(folder):
    """Why project quotas cannot be had, or None."""
    quota = Ext4Image(folder, "project quota", "-O", "quota,project")
    try:
        copy_sparse(quota.template, quota.folder + "/image")
        device, path = attach_loop(quota.folder + "/image")
        try:
            mount(path, quota.target, "ext4", "prjquota")
        finally:
            os.close(device)
        umount(quota.target)
        return None
    except OSError as e:
        return e.strerror


def ways(folder):
    """Those that this machine has; says what it lacks."""
    made = [Ext4Image(folder, "ext4 image"),
            Ext4Image(folder, "ext4 image without a journal", "-O", "^has_journal"), Tmpfs(folder)]
    try:
        made.append(Btrfs(folder))
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"btrfs: not here ({e})")
    lacking = project_quota(folder)
    print(f"project quotas: {'not here (' + lacking + ')' if lacking else 'here, not measured'}")
    return made


def measure(folder, runs):
    figures, known = {}, ways(folder)
    try:
        take_turns(known, runs, figures)
    finally:
        for way in known:
            way.close()
    return [{"figure": name, "p50": round(statistics.median(values), 3),
             "p95": round(sorted(values)[int(0.95 * (len(values) - 1))], 3)}
            for name, values in figures.items()]


def take_turns(known, runs, figures):
    for run in range(runs + 1):
        for way in known:
            start = time.perf_counter()
            place = way.make()
            made = time.perf_counter()
            with open(os.path.join(place, "f"), "w", encoding="ascii") as f:
                f.write("x")
            wrote = time.perf_counter()
            way.delete()
            end = time.perf_counter()
            if run > 0:  # the first warms the caches
                figures.setdefault(f"{way.name}, make", []).append((made - start) * 1e3)
                figures.setdefault(f"{way.name}, delete", []).append((end - wrote) * 1e3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build", help="the folder with src/volume in it")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--json", help="where to store them (default: BUILD/bench-volumes.json)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as folder:
        rows = measure(folder, options.runs)
        bench = os.path.join(options.build, "src/volume/volume_bench")
        if os.path.exists(bench):
            said = subprocess.run([bench, os.path.join(folder, "daemon"), str(options.runs)],
                                  check=True, capture_output=True, text=True).stdout
            rows += [dict(json.loads(line), figure="the daemon, " + json.loads(line)["figure"])
                     for line in said.splitlines()]
    print(f"ms, {options.runs} runs each, volumes of 64 MiB, load {os.getloadavg()[0]:.1f}")
    for row in rows:
        print(f"{row['figure']:48} p50 {row['p50']:8.2f}" +
              (f"   p95 {row['p95']:8.2f}" if "p95" in row else ""))
    path = options.json or os.path.join(options.build, "bench-volumes.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"cores": os.cpu_count(), "kernel": os.uname().release,
                   "load": os.getloadavg(), "ms": rows}, f, indent=1)
    print(f"stored in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
