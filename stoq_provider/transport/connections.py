"""
Connections over requests that another thread can end, whatever they wait for.

A time-out of requests is that of one read of a socket. A server that lets a byte through every now and then
never meets it: in a handshake, in headers, in one ``100 Continue`` after the other, in the length of a chunk.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from requests import Response

_TICK_SECONDS = 0.5


class ClosableAdapter(HTTPAdapter):
    """
    A requests adapter whose ``close`` also ends the connection in use; for sessions that one thread uses.

    :param made: given each new connection of urllib3, before it is used.
    :param connected: given each new socket, before anything is sent on it; what it raises ends the request.
    """

    def __init__(
        self,
        made: Callable[[Any], None] = lambda connection: None,
        connected: Callable[[socket.socket], None] = lambda sock: None,
    ) -> None:
        self._made = made
        self._connected = connected
        self._latest: socket.socket | None = None
        super().__init__()

    def close(self) -> None:
        """Drop all connections, from any thread: what waits on the latest of them returns at once."""
        super().close()
        latest, self._latest = self._latest, None
        if latest is not None:
            with suppress(OSError):  # it is not connected any more
                latest.shutdown(socket.SHUT_RDWR)
            latest.close()

    __del__ = close

    def send(self, *args: Any, **kwargs: Any) -> Response:
        """Send a request; parameters are those of requests."""
        try:
            return super().send(*args, **kwargs)
        except BaseException:
            self.close()  # urllib3 closes its own handle of the connection only
            raise

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool for a request, direct or through a proxy, that makes connections of ours."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = partial(self._make, type(pool).ConnectionCls)
        return pool

    def _make(self, kind: Callable[..., Any], **given: Any) -> Any:
        connection = kind(**given)
        connect = connection._new_conn
        # Else nobody would free a session that was not closed: urllib3 holds the connections of a pool until
        # that is freed.
        adapter = weakref.proxy(self)

        def connect_and_keep() -> socket.socket:
            sock: socket.socket = connect()
            try:
                adapter._keep(sock)
            except BaseException:
                sock.close()
                raise
            return sock

        connection._new_conn = connect_and_keep
        self._made(connection)
        return connection

    def _keep(self, sock: socket.socket) -> None:
        self._connected(sock)
        # A second handle of the same connection: TLS takes the socket itself over.
        latest, self._latest = self._latest, socket.fromfd(sock.fileno(), sock.family, sock.type)
        if latest is not None:
            latest.close()


class TimeLimit:
    """
    A limit on all that a ``with`` block waits for on its connections, however the server lets it wait.

    A look-up of a name, and a connection that does not come about, are waited out: only they have no
    connection that could be ended.

    :param seconds: from the start of the block.
    :param end: ends what the block waits for, from another thread: ``close`` of a session with a
        :class:`ClosableAdapter`.
    :raises TimeoutError: as the block is left after the limit, in place of whatever came about: a body
        without a length that was ended looks whole.
    """

    def __init__(self, seconds: float, end: Callable[[], None]) -> None:
        self._seconds = seconds
        self._end = end
        self._until = 0.0
        self._passed = False
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Begin to count."""
        self._until = monotonic() + self._seconds
        _running.add(self)
        _watch()

    def restart(self, seconds: float) -> None:
        """Let so many seconds count from now on instead."""
        with self._lock:
            self._seconds, self._until = seconds, monotonic() + seconds

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Say whether the limit has passed; after this, nothing is ended any more."""
        with self._lock:
            _running.discard(self)
        if self._passed and (kind is None or issubclass(kind, Exception)):
            raise TimeoutError(f"not done within {self._seconds:g} s") from error

    def enforce(self) -> None:
        """End what has gone on for too long; again each time, since connections may come about later."""
        with self._lock:
            if self in _running and monotonic() > self._until:
                self._passed = True
                with suppress(Exception):  # the pools are in use just now; the next tick ends them
                    self._end()


_running: set[TimeLimit] = set()
# The calls of other threads go on in the parent alone: their connections and locks are not the child's.
os.register_at_fork(after_in_child=_running.clear)
_watcher = threading.Thread()


def _watch() -> None:
    """Have a thread that enforces the limits of this process; after a fork the parent's is gone."""
    global _watcher
    if not _watcher.is_alive():
        _watcher = threading.Thread(target=_enforce_all, name="stoq-time-limits", daemon=True)
        _watcher.start()


def _enforce_all() -> None:
    while True:
        sleep(_TICK_SECONDS)
        for limit in list(_running):
            limit.enforce()
