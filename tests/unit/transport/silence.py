"""
Silence that a server declares.

A client's time-out is no matter of milliseconds here: it comes when the server says that it will say nothing
more, and never before, however slow the machine is. So clients have a time-out of minutes, which is never
waited out, also for the requests that are to succeed.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
import ssl
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

HANG_SECONDS = 60.0
"""What only a broken program waits for."""

PROCESS_SECONDS = 5 * HANG_SECONDS
"""The same for a process of its own, which has to load Airflow first."""

PATIENCE = 2 * HANG_SECONDS
"""A client's time-out: longer than a server stays silent without having declared it."""

_GLANCE = 0.01
_declared: set[Any] = set()


def declare(connection: socket.socket) -> None:
    """Say, as the server's end of a connection, that the client will hear nothing more on it."""
    _declared.add((connection.getpeername(), connection.getsockname()))


def _is_silent(client: socket.socket) -> bool:
    try:
        return (client.getsockname(), client.getpeername()) in _declared
    except OSError:  # not connected any more: then there is something to read
        return False


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let blocking reads time out where silence was declared; for those of an event loop see :func:`run`."""
    receive, read = socket.socket.recv_into, ssl.SSLSocket.read

    def recv_into(sock: socket.socket, *args: Any) -> int:
        timeout = sock.gettimeout()
        if timeout != 0:
            _await_bytes(sock, timeout)
        return receive(sock, *args)

    def read_record(sock: ssl.SSLSocket, *args: Any) -> Any:
        timeout = sock.gettimeout()
        if timeout != 0 and not sock.pending():
            _await_bytes(sock, timeout)
        return read(sock, *args)

    monkeypatch.setattr(socket.socket, "recv_into", recv_into)
    monkeypatch.setattr(ssl.SSLSocket, "read", read_record)
    yield
    _declared.clear()


def _await_bytes(sock: socket.socket, timeout: float | None) -> None:
    until = None if timeout is None else time.monotonic() + timeout
    while sock.fileno() >= 0:
        # In this order: what was sent before the silence was declared has come by then.
        silent = _is_silent(sock)
        if select.select([sock], [], [], 0 if silent else _GLANCE)[0]:
            return
        assert not silent or timeout is not None, "this would wait for ever"
        if silent or (until is not None and time.monotonic() > until):
            raise TimeoutError("timed out")


class _Selector(selectors.DefaultSelector):
    loop: _Loop

    def select(self, timeout: float | None = None) -> Any:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            silent = any(map(self._is_silent, tuple(self.get_map() or ())))
            wait = _GLANCE if timeout is None else min(_GLANCE, timeout)
            ready = super().select(0 if silent else wait)
            if ready or (until is not None and time.monotonic() >= until):
                return ready
            if silent:
                assert timeout is not None, "this would wait for ever"
                self.loop.jumped += timeout
                return ready

    @staticmethod
    def _is_silent(number: int) -> bool:
        sock = socket.socket(fileno=number)  # an event loop of a test holds nothing but sockets
        try:
            return _is_silent(sock)
        finally:
            sock.detach()


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer while a server is silent."""

    def __init__(self) -> None:
        self.jumped = 0.0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return super().time() + self.jumped


def run(work: Coroutine[Any, Any, T]) -> T:
    """Stand for ``asyncio.run``."""
    loop = _Loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
