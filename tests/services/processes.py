"""Servers of the tests: each behind a guard, in a process group of its own, writing to a log of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
PORTS = range(10240, 65536)
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
PATIENCE = 90.0
"""Seconds until a program counts as unable to start; much longer than any takes on a quiet machine."""

INTERVAL = 0.1
LOG_SHOWN = 3000


class ServiceError(RuntimeError):
    """A server could not be set up; says which program failed, and the end of its log."""


class Guarded:
    """
    A program that ends on request, and when the process that started it is gone.

    :param stop: the signal that ends it in good order.
    :param user: who runs it; ``None`` for the same user.
    :param folder: removed once the program has ended; not after `kill`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        stop: signal.Signals = signal.SIGTERM,
        user: str | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._cwd = cwd
        self._environment = {**os.environ, **(environment or {})}
        guard = [sys.executable, "-I", "-S", GUARD, str(int(stop)), folder or "-", user or "-"]
        self._command = [str(part) for part in (*guard, *command)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool]) -> None:
        """Start and return once it is ready; raise `ServiceError` if it ends or is not ready in time."""
        assert self._process is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await(ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it in good order; one that does not run is no error."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        process.wait()

    def kill(self) -> None:
        """Kill it, without a chance to do anything more."""
        process, self._process = self._process, None
        assert process is not None, f"{self.name} does not run"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the program and all its processes for a while; whoever asks it something waits."""
        assert self._process is not None, f"{self.name} does not run"
        stopped = tree(self._process.pid)[1:]  # not the guard
        send(signal.SIGSTOP, stopped)
        try:
            yield
        finally:
            send(signal.SIGCONT, stopped)

    def _await(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if not self.running:
                raise ServiceError(f"{self.name} ended while it started:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} was not ready after {PATIENCE:g} s:\n{tail(self.log)}")
            time.sleep(INTERVAL)


def run(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
) -> None:
    """Run a program to its end; what it writes goes to its log."""
    other = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    with log.open("ab") as output:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            **other,
        )
    if done.returncode:
        raise ServiceError(f"{name} failed with code {done.returncode}:\n{tail(log)}")


def tail(log: Path, size: int = LOG_SHOWN) -> str:
    """Return the end of a log."""
    try:
        return log.read_text("utf-8", "replace")[-size:]
    except FileNotFoundError:
        return ""


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it, as far as their parents live, parents first."""
    found = [pid]
    known = children()
    for each in found:
        found += known.get(each, [])
    return found


def children() -> dict[int, list[int]]:
    """Return the children of each process."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                found.setdefault(parent, []).append(int(entry.name))
    return found


def send(sign: signal.Signals, pids: Sequence[int]) -> None:
    """Send a signal to processes; those that have ended meanwhile are passed over."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sign)


def free_port() -> int:
    """
    Return a port of the loopback interface that nobody listens on.

    The program that is to listen there takes seconds to start. So it is none of those that the system gives
    to outgoing connections, of which the tests make many meanwhile.
    """
    first, last = map(int, OUTGOING.read_text("ascii").split()) if OUTGOING.exists() else (32768, 65535)
    ports = [port for port in PORTS if not first <= port <= last]
    for port in [*random.sample(ports, min(100, len(ports))), 0]:
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return int(sock.getsockname()[1])
    raise ServiceError("no port is free")
