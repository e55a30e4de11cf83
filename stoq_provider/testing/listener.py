"""A listening socket that serves an application and can be closed for a while."""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate
from math import inf

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from stoq_provider.testing.protocol import SandboxProtocol

_BACKLOG = 512


class Listener:
    """One origin. Must be used from the event loop it was opened in."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._config = Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            http=SandboxProtocol,
            timeout_keep_alive=75,
        )
        self._config.load()
        self._state = ServerState()
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._listening: socket.socket | None = None
        self._reserved: socket.socket | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port, once open."""
        return self._port

    async def open(self) -> None:
        """Bind and listen."""
        self._reserved = self._bind()
        self._port = self._reserved.getsockname()[1]
        self._ticking = asyncio.create_task(self._tick())
        await self._listen()

    async def close(self) -> None:
        """Stop listening, drop all connections and end their requests."""
        for task in (self._reopening, self._ticking):
            if task is not None:
                task.cancel()
        self._close_listening()
        if self._reserved is not None:
            self._reserved.close()
        tasks = list(self._state.tasks)
        for protocol in list(self._state.connections):
            protocol.transport.abort()
        for request in tasks:
            request.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def refuse(self, seconds: float | None) -> None:
        """Refuse new connections, and end idle ones, for a while; `None`: until it is reopened."""
        if self._reopening is not None:
            self._reopening.cancel()
        self._close_listening()
        for protocol in list(self._state.connections):
            protocol.shutdown()
        # A bound socket that does not listen keeps the port and lets connections be refused.
        if self._reserved is None:
            self._reserved = self._bind()
        self._reopening = asyncio.create_task(self._reopen(seconds))

    async def reopen(self) -> None:
        """Accept connections again now, if they are being refused."""
        if self._reopening is not None and not self._reopening.done():
            self._reopening.cancel()
            await self._listen()

    async def _reopen(self, seconds: float | None) -> None:
        await asyncio.sleep(inf if seconds is None else seconds)
        await self._listen()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        sock = self._take()
        self._listening = sock
        self._server = await loop.create_server(
            lambda: SandboxProtocol(self._config, self._state, {}), sock=sock, backlog=_BACKLOG
        )

    def _take(self) -> socket.socket:
        """
        Return a socket to listen on.

        Where two sockets may have a port that neither listens on, the reserved one keeps it all the time. In
        a moment without it, a client could get the port for its own end, or another server get it for good.
        """
        try:
            return self._bind()
        except OSError:
            if self._reserved is None:
                raise
        sock, self._reserved = self._reserved, None
        return sock

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # Name the protocol: asyncio sets TCP_NODELAY only where it stands, else responses take 40 ms.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self._host, self._port))
        except OSError:
            sock.close()
            raise
        return sock

    def _close_listening(self) -> None:
        """
        Stop listening at once.

        Not by closing the server: a connection that asyncio has just accepted would then never be served,
        and never be closed either, so that its client waits for ever.
        """
        # There is no server yet where an opening was cancelled half-way; its socket may listen already.
        if self._listening is None:
            return
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        self._server = self._listening = None

    async def _tick(self) -> None:
        while True:
            self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
            await asyncio.sleep(0.5)
