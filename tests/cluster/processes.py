"""The processes of a cluster, each in a group of its own, so that none outlives the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.cluster.waiting import PATIENCE, until
from tests.services.processes import send, tree


def missing() -> str | None:
    """Say what this system lacks to stop a cluster for sure, or ``None``."""
    if not hasattr(os, "killpg") or not hasattr(os, "fork"):
        return "a cluster is stopped by process groups, which this system does not have"
    if not Path("/proc/self/cwd").exists():
        return "tasks that outlive their group are found through /proc, which is not there"
    return None


class Component:
    """
    One of the programs of a cluster.

    :param home: its working directory, which is also how its descendants are known.
    :param log: takes what it writes; kept over a restart.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], home: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-m", "airflow", *arguments]
        self._home = home
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it as the leader of a group."""
        assert self._process is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended by :meth:`kill`."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id of the leader."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, once it has ended by itself."""
        return None if self._process is None else self._process.poll()

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """Send the leader a signal, wait for its end, and kill what is left of its descendants."""
        process, self._process = self._process, None
        if process is None:
            return
        descendants = tree(process.pid)[1:]
        try:
            if sign is not signal.SIGKILL:
                process.send_signal(sign)
                process.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            send(signal.SIGKILL, [pid for pid in descendants if is_in(pid, self._home)])
            process.wait(PATIENCE)


def descendants(home: Path) -> list[int]:
    """
    Return the processes that work in a folder.

    Airflow gives each task a group of its own and rewrites process titles and environments in memory; the
    working directory is what all of them inherit and none changes.
    """
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and is_in(int(entry.name), home)
    ]


def kill_process(pid: int, home: Path) -> None:
    """Kill one process of a cluster and wait until it is gone; another's process is never touched."""
    assert is_in(pid, home), f"process {pid} does not belong to {home}"
    os.kill(pid, signal.SIGKILL)
    until(f"the end of process {pid}", lambda: not is_in(pid, home))


def kill_all(home: Path) -> None:
    """Kill whatever still works in a folder: tasks and workers whose parents are gone."""

    def none_left() -> bool:
        for pid in (found := descendants(home)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    until(f"the end of all processes in {home}", none_left)


def is_in(pid: int, home: Path) -> bool:
    """Whether a process works in a folder; one that has ended, or is not ours, does not."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == home
    except OSError:
        return False
