"""A server that lets a byte through every now and then, so that no time-out of a socket ever passes."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

OK = b"HTTP/1.1 200 OK\r\n"
# What the server sends at once, and what again and again, without an end.
DRIPS = {
    "before the first byte": (b"", b""),
    "in the status": (b"HTTP/1.1 200 ", b"x"),
    "in a header": (OK + b"X: ", b"x"),
    "100 Continue for ever": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "in a body": (OK + b"Content-Length: 9999999\r\n\r\n", b"x"),
    "in a body without a length": (OK + b"Connection: close\r\n\r\n", b"x"),
    "in the length of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "in a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n9999999\r\n", b"x"),
    "in a handshake": (b"\x16\x03\x03\x3f\x00", b"\x02"),
    "in the answer of a proxy": (b"HTTP/1.1 200 ", b"x"),
}


class HostileServer:
    """Sends ``first`` on each connection, then ``more`` every now and then, without an end."""

    def __init__(self, first: bytes, more: bytes) -> None:
        self.first, self.more = first, more
        self.drips = threading.Event()
        self.ended = threading.Event()
        self.received: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.origin = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._drip, args=(client,), daemon=True).start()

    def _drip(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self.received.append(client.recv(65536))
            client.sendall(self.first)
            client.settimeout(0.02)
            self.drips.set()
            while True:
                with suppress(TimeoutError):
                    if not client.recv(65536):
                        break
                client.sendall(self.more)
        self.ended.set()

    def close(self) -> None:
        self._socket.close()
