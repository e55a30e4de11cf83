"""
TLS for large bodies: take from the socket whatever is there, decrypt it right into the reader's buffer.

Python's own TLS socket hands out one record a call, 16 KiB at most, and asks the system twice for each. For a
gigabyte that is 60,000 trips through the interpreter and twice as many to the system, a tenth of what
a verified download costs. Certificates, names and versions are urllib3's business as ever: only the
transport of the bytes is different.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, cast

from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs
from urllib3.util.ssltransport import SSLTransport

_RECEIVE_BYTES = 1024 * 1024


class BulkTls(SSLTransport):
    """
    A client's end of a TLS connection, with as much of a socket's interface as urllib3 asks for.

    :param sock: connected; its timeout holds for the handshake as a whole, and then for every wait.
    :raises ssl.SSLError: no handshake, or a certificate that was not accepted.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None) -> None:
        timeout = sock.gettimeout()
        super().__init__(cast(socket.socket, _Hurried(sock, timeout)), context, server_hostname)
        sock.settimeout(timeout)
        self.socket = sock
        self._received = memoryview(bytearray(_RECEIVE_BYTES))

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int | None = None, flags: int = 0) -> int:
        """
        Fill ``buffer`` with what has come, and wait only while that is nothing; 0 is the end.

        :raises TimeoutError: nothing came in time.
        """
        if flags:
            raise ValueError("TLS knows no flags")
        room = memoryview(buffer).cast("B")[: nbytes or None]
        while True:
            count, ended = self._decrypt(room)
            if count or ended:
                return count
            self._receive()

    def shutdown(self, how: int) -> None:
        """Shut the socket below, which ends a read that waits in another thread."""
        self.socket.shutdown(how)

    def _decrypt(self, room: memoryview) -> tuple[int, bool]:
        """Return how many bytes of ``room`` could be filled, and whether more will never come."""
        read, size, filled = self.sslobj.read, len(room), 0
        try:
            while filled < size:
                count = cast(int, read(size - filled, room[filled:]))
                if not count:
                    return filled, True
                filled += count
        except ssl.SSLWantReadError:
            return filled, False
        except ssl.SSLEOFError:
            # The connection ended without a farewell, as many servers do. Whether the body is whole is
            # for those to tell who know its length.
            return filled, True
        return filled, False

    def _receive(self) -> None:
        """Wait for bytes of the socket, and hand them to TLS."""
        if self.outgoing.pending:
            # TLS itself may have something to say, such as to renew its keys.
            self.socket.sendall(self.outgoing.read())
        count = self.socket.recv_into(self._received)
        if count:
            self.incoming.write(self._received[:count])
        else:
            self.incoming.write_eof()


class _Hurried:
    """A socket whose timeout holds for all that is received together."""

    def __init__(self, sock: socket.socket, timeout: float | None) -> None:
        self._sock = sock
        self._until = None if timeout is None else time.monotonic() + timeout
        self.sendall = sock.sendall

    def recv(self, size: int) -> bytes:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._sock.recv(size)


def bulk_context(cert_reqs: int | str | None) -> ssl.SSLContext | None:
    """
    Return the context that urllib3 would make, except that it wraps sockets in :class:`BulkTls`.

    ``None``: another library has given urllib3 a TLS of its own (pyOpenSSL), which can't be used this way.

    :param cert_reqs: as urllib3's connections know it: whether certificates are checked.
    """
    context = create_urllib3_context(cert_reqs=resolve_cert_reqs(cert_reqs))
    if not hasattr(context, "wrap_bio"):
        return None

    def wrap(sock: socket.socket, server_hostname: str | None = None, **_: Any) -> BulkTls:
        return BulkTls(sock, context, server_hostname)

    context.wrap_socket = wrap  # type: ignore[method-assign, assignment]
    return context
