"""What runs in sandboxes is made by the target `aegis` alone: quickstart.sh builds nothing else."""

import os
import subprocess
import sys


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


if __name__ == "__main__":
    main(sys.argv[1])
