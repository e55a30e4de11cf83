"""The adapter of a worker's session, which knows how far a request got."""

from __future__ import annotations

import socket
import weakref
from typing import TYPE_CHECKING, Any

from stoq_provider.transport.connections import ClosableAdapter
from stoq_provider.transport.flow import Stage

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class ShopAdapter(ClosableAdapter):
    """
    An adapter of requests that notes how far each request got.

    The exceptions do not tell: a TLS handshake that times out and a response that does are one to urllib3.

    ``stage``: of the last request; ``None`` where this adapter was not asked, as behind a mock.
    """

    stage: Stage | None = None

    def __init__(self) -> None:
        super().__init__(self._watch, self._reached)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request; parameters are those of requests."""
        self.stage = Stage.CONNECTING
        return super().send(request, *args, **kwargs)

    def _reached(self, sock: socket.socket) -> None:
        self.stage = Stage.HANDSHAKE

    def _watch(self, connection: Any) -> None:
        write = connection.endheaders
        adapter = weakref.proxy(self)  # as in the base class

        def endheaders(*args: Any, **kwargs: Any) -> None:
            if connection.sock is None:  # plain http connects in here
                connection.connect()
            adapter.stage = Stage.SENT
            write(*args, **kwargs)

        connection.endheaders = endheaders
