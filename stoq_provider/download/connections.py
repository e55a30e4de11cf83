"""Connections that are checked before they are used; it loads requests, so who needs it imports it late."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import resolve_cert_reqs

from stoq_provider.download.tls import bulk_context


class GuardedAdapter(HTTPAdapter):
    """
    A requests adapter whose direct connections are checked once connected, before they are used.

    Overriding ``connect`` covers whatever resolved the name and keeps TLS names as they are. Over TLS the
    handshake is over by then; the request, which holds the secret, is not sent. Connections to a proxy are
    made by other classes and stay unchecked: their peer is the proxy.

    :param begun: given the socket of a new connection, before TLS.
    :param check_peer: given the address of the other end; what it raises ends the request.
    """

    def __init__(self, begun: Callable[[socket.socket], None], check_peer: Callable[[str], None]) -> None:
        # A pool makes its connections of a class, and passes on only what urllib3 knows.
        told = {"begun": staticmethod(begun), "check_peer": staticmethod(check_peer)}
        plain, tls = type("Plain", (_Plain,), told), type("Tls", (_Tls,), told)
        self._pools = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of these connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools


class _Watched:
    begun: Callable[[socket.socket], None]
    check_peer: Callable[[str], None]
    peer: socket.socket

    def _new_conn(self) -> socket.socket:
        self.peer = super()._new_conn()  # type: ignore[misc]
        self.begun(self.peer)
        return self.peer


class _Plain(_Watched, HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.check_peer(self.peer.getpeername()[0])


class _Tls(_Watched, HTTPSConnection):
    def connect(self) -> None:
        self.ssl_context = bulk_context(self.cert_reqs) or self.ssl_context
        if resolve_cert_reqs(self.cert_reqs) != ssl.CERT_NONE and not self._has_authorities():
            # Some versions of requests put them into a context instead, which is not used here.
            self.ca_certs = DEFAULT_CA_BUNDLE_PATH
        super().connect()
        # Python's own TLS takes the socket over; others have no name for the other end.
        sock = self.sock if hasattr(self.sock, "getpeername") else self.peer
        self.check_peer(sock.getpeername()[0])

    def _has_authorities(self) -> bool:
        return any(getattr(self, name, None) for name in ("ca_certs", "ca_cert_dir", "ca_cert_data"))
