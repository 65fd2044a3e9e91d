"""An image that brings set-uid programs, file capabilities and device nodes."""

import os
import struct
import subprocess
import tarfile
import unittest

from escape import Attempts, attempts
from node import ISOLATION
from test_hostile import build_image

DEVICES = {"memory": (tarfile.CHRTYPE, 1, 1), "kmsg": (tarfile.CHRTYPE, 1, 11),
           "loop": (tarfile.BLKTYPE, 7, 0), "disk": (tarfile.BLKTYPE, 8, 0)}


def member(name, mode, **more):
    info = tarfile.TarInfo(name)
    info.mode = mode
    for key, value in more.items():
        setattr(info, key, value)
    return info


@attempts("image")
class Image(Attempts):
    @classmethod
    def setUpClass(cls):
        tag = f"aegis-test/escape:{os.getpid()}"
        cls.addClassCleanup(subprocess.run, ["docker", "rmi", "-f", tag], capture_output=True,
                            check=False)
        # The header is text: 21, CAP_SYS_ADMIN, is among the bits that it can have.
        every = struct.pack("<5I", 0x02000001, 0x7F7F7F7F, 0, 0x7F, 0).decode("ascii")
        capable = member("agent/capable", 0o755, pax_headers={
            "SCHILY.xattr.security.capability": every})
        build_image(tag, copies=[("usr/bin/id", member("agent/root-id", 0o6755)),
                                 ("usr/bin/python3.11", capable)],
                    nodes=[member(f"agent/{n}", 0o666, type=t, devmajor=major, devminor=minor)
                           for n, (t, major, minor) in DEVICES.items()])
        cls.image = tag
        super().setUpClass()

    @classmethod
    def prepare_node(cls):
        image = cls.image
        if ISOLATION == "process":
            image = os.path.join(cls.node.dir, "image.tar")
            subprocess.run(["docker", "save", "-o", image, cls.image], check=True)
            # Not into the directory of images that the other tests share.
            os.unlink(os.path.join(cls.node.data_dir, "images"))
        cls.node.configure(cls.model.config(runtime={"images": {"python": {"3.11": image}}}))


if __name__ == "__main__":
    unittest.main()
