"""Time that passes only when somebody sleeps, and a server that breaks off on demand."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

import pytest

from stoq_provider.core.http import Request
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.settings import ConnectionSettings

from .silence import HANG_SECONDS, declare, silence

__all__ = ["silence"]

ORIGIN = "https://app.stoqapp.com"
KEY = "stoq_api_key_0123456789abcdef"
STOQ = Stoq()
GET = Request("GET", f"{ORIGIN}/api/v2/external/preorders/reports")
POST = Request("POST", f"{ORIGIN}/api/v2/external/preorders/orders/bulk_release", json={"order_ids": [1]})


def settings(origin=ORIGIN, **more):
    return ConnectionSettings(origin, KEY, user_agent="tests/1", **more)


class Clock:
    """Stands for ``time.time`` and ``time.sleep``."""

    def __init__(self) -> None:
        self.now = 1_780_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        assert self.waited < 100_000, "this would never end"
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    @property
    def waited(self) -> float:
        return sum(self.slept)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in (
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def no_random_backoff(monkeypatch):
    """Make the random backoff as long as it can be."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class RawServer:
    """Answers connection number n in the way ``plan[n]``, all later ones in the last way."""

    def __init__(self, *plan: str) -> None:
        self.plan = plan
        self.heads: list[bytes] = []
        self._kept: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(HANG_SECONDS)
            with suppress(OSError):  # the client has left
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        head = connection.recv(65_536)
        if head:
            self.heads.append(head)
            way = self.plan[min(len(self.heads), len(self.plan)) - 1]
            if way == "silent":
                self._kept.append(connection)
                declare(connection)
                return
            self._answer(connection, way)
        connection.close()

    def _answer(self, connection: socket.socket, way: str) -> None:
        if way == "closed when used again":
            connection.sendall(OK)
            connection.recv(65_536)
        elif way == "ok":
            connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        elif way == "truncated":
            connection.sendall(OK.replace(b"Length: 2", b"Length: 2000"))
        elif way == "reset in the head":
            connection.sendall(OK[:20])
        elif way == "not http":
            connection.sendall(b"gibberish\r\n\r\n")
        if way.startswith("reset"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(HANG_SECONDS)
        for connection in self._kept:
            connection.close()


@pytest.fixture
def raw_server(silence):
    servers: list[RawServer] = []

    def start(*plan: str) -> RawServer:
        servers.append(RawServer(*plan))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def free_port():
    """Return a port that nobody listens on. It is taken, though, so that no server of others gets it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
