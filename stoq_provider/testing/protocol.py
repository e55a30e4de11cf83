"""A protocol whose connections can be reset or cut in the middle of a response."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

CONTROL_PATH = "/_sandbox/"
_TRANSPORT = "transport"


class SandboxProtocol(H11Protocol):
    """Uvicorn's own protocol; each request can reach its transport through `scope["state"]`."""

    def connection_made(self, transport: Any) -> None:
        """Remember the transport for the requests of this connection."""
        self.app_state = {**self.app_state, _TRANSPORT: transport}
        super().connection_made(transport)


async def abort(scope: Scope, receive: Receive) -> None:
    """Reset the connection: the peer sees RST, not an orderly end."""
    transport = _transport(scope)
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():  # else the peer has hung up already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _gone(receive)


async def close(scope: Scope, receive: Receive) -> None:
    """End the connection in order, after what was written so far."""
    _transport(scope).close()
    await _gone(receive)


def _transport(scope: Scope) -> asyncio.Transport:
    return cast("asyncio.Transport", scope["state"][_TRANSPORT])


async def _gone(receive: Receive) -> None:
    # Once uvicorn knows that the peer is gone, it does not complain about the unfinished response.
    while (await receive())["type"] != "http.disconnect":
        pass
