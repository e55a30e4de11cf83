"""
A file server where nginx is not installed: ``python sendfile.py FOLDER PORT TLS_PORT CERTIFICATE KEY``.

The kernel copies the bytes (``sendfile``); over TLS OpenSSL does, a mebibyte a call. Python sees a request
and its end.
"""

from __future__ import annotations

import mmap
import socketserver
import ssl
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

CALL_BYTES = 1024 * 1024


class Handler(socketserver.StreamRequestHandler):
    """Answers one request and ends the connection."""

    server: Server

    def handle(self) -> None:
        path = self.server.folder / Path(self.rfile.readline().decode().split(" ")[1]).name
        while self.rfile.readline().strip():
            pass
        if not path.is_file():
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        head = f'Content-Length: {path.stat().st_size}\r\nETag: "{path.name}"\r\nConnection: close'
        self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n{head}\r\n\r\n".encode())
        with path.open("rb") as file, suppress(ConnectionError):
            if not isinstance(self.connection, ssl.SSLSocket):
                self.connection.sendfile(file)
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
                for start in range(0, len(view), CALL_BYTES):
                    with view[start : start + CALL_BYTES] as piece:
                        self.connection.sendall(piece)


class Server(socketserver.ThreadingTCPServer):
    """:param tls: what to encrypt with; ``None``: plain HTTP."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, port: int, tls: ssl.SSLContext | None) -> None:
        self.folder = folder
        self._tls = tls
        super().__init__(("127.0.0.1", port), Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls is not None:
            request = self._tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: the look whether the port answers ends early."""


def main() -> None:
    folder, port, tls_port, certificate, key = sys.argv[1:]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    encrypted = Server(Path(folder), int(tls_port), tls)
    threading.Thread(target=encrypted.serve_forever, daemon=True).start()
    Server(Path(folder), int(port), None).serve_forever()


if __name__ == "__main__":
    main()
