"""The adapter of a worker's session, which knows how far a request got."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter

from stoq_provider.transport.flow import Stage

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class ShopAdapter(HTTPAdapter):
    """
    An adapter of requests that notes how far each request got.

    The exceptions do not tell: a TLS handshake that times out and a response that does are one to urllib3.

    ``stage``: of the last request; ``None`` where this adapter was not asked, as behind a mock.
    """

    stage: Stage | None = None

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request; parameters are those of requests."""
        self.stage = Stage.CONNECTING
        return super().send(request, *args, **kwargs)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool for a request, direct or through a proxy; it watches the connections it makes."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = partial(self._made, type(pool).ConnectionCls)
        return pool

    def _made(self, kind: Callable[..., Any], **given: Any) -> Any:
        connection = kind(**given)
        reach, write = connection._new_conn, connection.endheaders

        def _new_conn() -> Any:
            sock = reach()
            self.stage = Stage.HANDSHAKE
            return sock

        def endheaders(*args: Any, **kwargs: Any) -> None:
            if connection.sock is None:  # plain http connects in here
                connection.connect()
            self.stage = Stage.SENT
            write(*args, **kwargs)

        connection._new_conn, connection.endheaders = _new_conn, endheaders
        return connection
