"""An image that brings set-uid programs, file capabilities and device nodes."""

import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import unittest

from escape import Attempts, attempts
from node import ISOLATION, base_image

DEVICES = {"memory": (tarfile.CHRTYPE, 1, 1), "kmsg": (tarfile.CHRTYPE, 1, 11),
           "loop": (tarfile.BLKTYPE, 7, 0), "disk": (tarfile.BLKTYPE, 8, 0)}


def member(name, mode, **more):
    info = tarfile.TarInfo(name)
    info.mode = mode
    for key, value in more.items():
        setattr(info, key, value)
    return info


def layer(files, copies, nodes):
    """The bytes of a layer above `files`, the base's only one: other members with the content of
    some of its files, and members without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=files) as old, tarfile.open(fileobj=out, mode="w") as new:
        for original, copy in copies:
            data = old.extractfile(original).read()
            copy.size = len(data)
            new.addfile(copy, io.BytesIO(data))
        for node in nodes:
            new.addfile(node)
    return out.getvalue()


def build_image(path, tag, copies, nodes):
    """An archive of the base image with one more layer; no engine is asked."""
    with tarfile.open(base_image()) as old, tarfile.open(path, "w") as new:
        def add(name, data):
            new.addfile(member(name, 0o644, size=len(data)), io.BytesIO(data))

        [image] = json.load(old.extractfile("manifest.json"))
        config = json.load(old.extractfile(image["Config"]))
        [base] = image["Layers"]
        more = layer(old.extractfile(base), copies, nodes)
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(more).hexdigest())
        config["history"] = []
        text = json.dumps(config).encode()
        name = hashlib.sha256(text).hexdigest() + ".json"
        new.addfile(old.getmember(base), old.extractfile(base))
        add("more/layer.tar", more)
        add(name, text)
        add("manifest.json", json.dumps([{"Config": name, "RepoTags": [tag],
                                          "Layers": [base, "more/layer.tar"]}]).encode())


@attempts("image")
class Image(Attempts):
    @classmethod
    def prepare_node(cls):
        # The header is text: 21, CAP_SYS_ADMIN, is among the bits that it can have.
        every = struct.pack("<5I", 0x02000001, 0x7F7F7F7F, 0, 0x7F, 0).decode("ascii")
        capable = member("agent/capable", 0o755, pax_headers={
            "SCHILY.xattr.security.capability": every})
        image, tag = os.path.join(cls.node.dir, "image.tar"), f"aegis-test/escape:{os.getpid()}"
        build_image(image, tag, [("./usr/bin/id", member("agent/root-id", 0o6755)),
                                 ("./usr/bin/python3.11", capable)],
                    [member(f"agent/{n}", 0o666, type=t, devmajor=major, devminor=minor)
                     for n, (t, major, minor) in DEVICES.items()])
        if ISOLATION == "process":
            # Not into the directory of images that the other tests share.
            os.unlink(os.path.join(cls.node.data_dir, "images"))
        else:
            cls.addClassCleanup(subprocess.run, ["docker", "rmi", "-f", tag],
                                capture_output=True, check=False)
            subprocess.run(["docker", "load", "-i", image], capture_output=True, check=True)
            image = tag
        cls.node.configure(cls.model.config(runtime={"images": {"python": {"3.11": image}}}))


if __name__ == "__main__":
    unittest.main()
