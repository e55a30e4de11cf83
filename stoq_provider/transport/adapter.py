"""The adapter of a worker's session, which knows how far a request got."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stoq_provider.transport.connections import ClosableAdapter
from stoq_provider.transport.flow import Stage

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class ShopAdapter(ClosableAdapter):
    """
    An adapter of requests that notes how far each request got.

    The exceptions do not tell: a TLS handshake that times out and a response that does are one to urllib3.
    A request counts as sent except while a step goes on that comes before it. So one whose library takes a
    step that is not known here perhaps was sent.

    ``stage``: of the last request; ``None`` where this adapter was not asked, as behind a mock.
    """

    stage: Stage | None = None

    def __init__(self) -> None:
        super().__init__(self._watch, self._reached)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request; parameters are those of requests."""
        self.stage = Stage.SENT
        return super().send(request, *args, **kwargs)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Look for the bundle of authorities."""
        self._before_sending(super().cert_verify, *args, **kwargs)

    def _before_sending(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.stage = Stage.CONNECTING
        result = step(*args, **kwargs)
        self.stage = Stage.SENT
        return result

    def _reached(self, sock: socket.socket) -> None:
        self.stage = Stage.HANDSHAKE

    def _watch(self, connection: Any) -> None:
        connect = connection.connect  # plain http connects as late as it writes, and by this as well
        adapter = weakref.proxy(self)  # as in the base class
        connection.connect = lambda: adapter._before_sending(connect)
