"""
Programs that are packages of Debian: installed by root where they are missing, else named.

``python -m tests.services.debian PROGRAM ...`` has them, each a package of the same name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.services.processes import ServiceError, run


def program(name: str, log: Path) -> str:
    """Return the path of a program whose package has its name."""
    if shutil.which(name) is None:
        install(name, log)
    if (found := shutil.which(name)) is None:
        raise ServiceError(f"apt-get installed no {name}")
    return found


def install(package: str, log: Path) -> None:
    """Install a package, one at a time; :class:`ServiceError` says what to do where this may not be done."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServiceError(f"{package} is needed: install it (Debian and Ubuntu: apt-get install {package})")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with (Path(tempfile.gettempdir()) / "tests-services-debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update"], ["install", "--yes", "--no-install-recommends", package]):
            run(f"apt-get {command[0]}", ["apt-get", *command], log, cwd=log.parent, environment=quiet)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        try:
            for wanted in sys.argv[1:]:
                program(wanted, Path(folder) / "apt.log")
        except ServiceError as error:
            sys.exit(str(error))
