"""
A small file server that fails on demand, at an exact byte.

It serves bodies from memory with ``Range``, ``If-Range``, ``If-Match`` and strong ETags, as object stores do,
and its URLs carry a signature that can be made to expire.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import re
import socket
import socketserver
import struct
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from tests.unit.transport.silence import declare

PIECE = 256 * 1024
_RANGE = re.compile(r"bytes=(\d+)-")
_DRAIN_SECONDS = 60.0


@dataclass
class Break:
    """
    What goes wrong in the answer that reaches a byte.

    :param at: bytes of the file that are delivered for sure before it.
    :param how: ``reset`` the connection, ``close`` it in order, or send nothing more although it stays:
        ``stall``, at which a client times out, in tests with the fixture ``silence``; or ``hold``, at which
        it goes on waiting.
    :param times: in how many answers; ``None``: in all.
    :param then: called when it happens, before the connection ends.
    """

    at: int
    how: Literal["reset", "close", "stall", "hold"] = "reset"
    times: int | None = 1
    then: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Asked:
    """One answered request: the first byte asked for, and the status of the answer."""

    first: int
    status: int


@dataclass
class Served:
    """
    A file on the server.

    :param framing: ``length``, or ``close``: no length, so that only the end of the connection ends it.
    :param resumable: whether ranges are answered.
    :param rate: bytes a second; ``None``: as fast as it goes.
    """

    origin: str
    body: bytes
    framing: Literal["length", "close"] = "length"
    resumable: bool = True
    rate: float | None = None
    breaks: list[Break] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    _valid_from: int = 0
    _signatures: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def etag(self) -> str:
        return _etag(self.body)

    def url(self) -> str:
        """Return a freshly signed URL."""
        return f"{self.origin}/export.csv?signature={next(self._signatures)}"

    def expire(self) -> None:
        """Refuse all URLs handed out so far."""
        self._valid_from = next(self._signatures) + 1

    def accepts(self, signature: int) -> bool:
        return signature >= self._valid_from

    def next_break(self, first: int, end: int) -> Break | None:
        """Return what will go wrong in an answer with the bytes from ``first`` to ``end``."""
        fits = (each for each in self.breaks if each.times != 0 and first <= each.at < end)
        return next(fits, None)


class Origin:
    """The server; serves one file at a time."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, body: bytes) -> Served:
        """Serve ``body`` from now on, without faults; answers that still stall are let go."""
        self._server.let_go.set()
        self._server.let_go = threading.Event()
        self._server.file = Served(self.address, body)
        return self._server.file

    def __enter__(self) -> Origin:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.let_go.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *args: object) -> None:
        self.file = Served("", b"")
        self.let_go = threading.Event()
        super().__init__(*args)  # type: ignore[arg-type]

    def handle_error(self, request: object, address: object) -> None:
        """Keep quiet: clients that go away are what this is about."""


class _Answer(socketserver.StreamRequestHandler):
    """Answers one request and ends the connection."""

    server: _Server

    def handle(self) -> None:
        file, let_go = self.server.file, self.server.let_go
        target = self.rfile.readline().decode().split(" ")[1]
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if not file.accepts(int(parse_qs(urlsplit(target).query)["signature"][0])):
            self._refuse(file, 403, "<Error><Code>AccessDenied</Code></Error>")
        elif headers.get("if-match", file.etag) != file.etag:
            self._refuse(file, 412, "<Error><Code>PreconditionFailed</Code></Error>")
        else:
            self._send_file(file, headers, let_go)

    def _refuse(self, file: Served, status: int, text: str) -> None:
        file.asked.append(Asked(0, status))
        self._send_head(status, [f"Content-Length: {len(text)}"])
        self.wfile.write(text.encode())

    def _send_head(self, status: int, headers: list[str]) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", "Connection: close", *headers, "", ""]
        self.wfile.write("\r\n".join(lines).encode())

    def _send_file(self, file: Served, headers: dict[str, str], let_go: threading.Event) -> None:
        body, etag = file.body, file.etag
        wanted = _RANGE.fullmatch(headers.get("range", ""))
        partial = bool(wanted and file.resumable and headers.get("if-range", etag) == etag)
        first = int(wanted[1]) if wanted and partial else 0
        fields = [f"ETag: {etag}"]
        if file.framing == "length":
            fields.append(f"Content-Length: {len(body) - first}")
        if partial:
            fields.append(f"Content-Range: bytes {first}-{len(body) - 1}/{len(body)}")
        fault = file.next_break(first, len(body))
        file.asked.append(Asked(first, 206 if partial else 200))
        self._send_head(206 if partial else 200, fields)
        self._send_body(memoryview(body)[first : fault.at if fault else len(body)], file.rate)
        if fault is not None:
            self._go_wrong(fault, let_go)

    def _send_body(self, body: memoryview, rate: float | None) -> None:
        began = time.monotonic()
        for start in range(0, len(body), PIECE):
            self.connection.sendall(body[start : start + PIECE])
            if rate is not None:
                time.sleep(max(0.0, began + (start + PIECE) / rate - time.monotonic()))

    def _go_wrong(self, fault: Break, let_go: threading.Event) -> None:
        # A reset throws away what is not yet delivered, so that is waited for: the byte is exact.
        until = time.monotonic() + _DRAIN_SECONDS
        while _unsent(self.connection) and time.monotonic() < until:
            time.sleep(0.001)
        # Counted only now: a client that gave up before this byte has not met the fault.
        fault.times = None if fault.times is None else fault.times - 1
        fault.then()
        if fault.how == "stall":
            declare(self.connection)
        if fault.how in ("stall", "hold"):
            let_go.wait()
        elif fault.how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@cache
def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _unsent(connection: socket.socket) -> int:
    """Return how many bytes the other side has not acknowledged."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
