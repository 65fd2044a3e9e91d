"""What runs in sandboxes is made by the target `aegis` alone: quickstart.sh builds nothing else.
And the binary brings its C++ libraries, where it is built to (src/program/CMakeLists.txt)."""

import os
import re
import subprocess
import sys


def outside(build):
    """C++ libraries that the binary loads although their archives are there."""
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as f:
        cache = dict(re.findall(r"^(AEGIS_\w+):\w+=(.*)$", f.read(), re.MULTILINE))
    archives = [cache.get(f"AEGIS_{name}_ARCHIVE", "") for name in ("JSON", "RE2")]
    if cache.get("AEGIS_SANITIZE") or not all(os.path.isfile(path) for path in archives):
        return []
    dynamic = subprocess.run(["readelf", "-d", os.path.join(build, "aegis")], capture_output=True,
                             text=True, check=True).stdout
    return re.findall(r"\[(lib(?:stdc\+\+|gcc_s|fmt|boost_json|re2)\.[^]]*)\]", dynamic)


def main(build):
    guest = os.path.join(build, "share", "aegis", "guest")
    made = subprocess.run(["ninja", "-C", build, "-t", "inputs", "aegis"], capture_output=True,
                          text=True, check=True).stdout.splitlines()
    programs = []
    for name in os.listdir(guest):
        path = os.path.join(guest, name)
        if os.path.isfile(path):
            with open(path, "rb") as f:
                if f.read(4) == b"\x7fELF":
                    programs.append(os.path.relpath(path, build))
    missing = sorted(set(programs) - set(made))
    if not programs or missing:
        sys.exit(f"not made by the target aegis: {missing or 'anything'}")
    if loaded := outside(build):
        sys.exit(f"loaded, not inside the binary: {' '.join(loaded)}")


if __name__ == "__main__":
    main(sys.argv[1])
