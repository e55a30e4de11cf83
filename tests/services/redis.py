"""Redis: a server with nothing in it, which keeps nothing."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from pathlib import Path

from tests.services import debian
from tests.services.processes import Guarded, free_port

PROGRAM = "redis-server"


class Redis:
    """
    A server of its own; what it holds is gone with a restart.

    :param folder: its working directory.
    :param logs: folder that takes ``redis.log``.
    """

    def __init__(self, folder: Path, logs: Path) -> None:
        program = debian.program(PROGRAM, logs / "apt.log")
        self._port = free_port()
        settings = {"port": self._port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        options = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
        self._server = Guarded(
            "Redis", [program, *options], logs / "redis.log", cwd=folder, stop=signal.SIGKILL
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self._server.start(self._answers)

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """Kill it, with all that it holds; to be started again at the same address."""
        self._server.kill()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(7) == b"+PONG\r\n"
        return False
