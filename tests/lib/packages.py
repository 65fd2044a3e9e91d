"""Makes the packages of scripts/test-venv.sh importable."""

import glob
import os
import sys

from node import REPO


def use():
    venv = os.environ.get("AEGIS_TEST_VENV", os.path.join(REPO, "build", "test-venv"))
    found = glob.glob(os.path.join(venv, "lib", "python3*", "site-packages"))
    if not found:
        raise AssertionError(f"{venv} is not there: run scripts/test-venv.sh")
    if found[0] not in sys.path:
        sys.path.append(found[0])
