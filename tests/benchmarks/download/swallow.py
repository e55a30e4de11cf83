"""
An S3 server that keeps nothing: ``python swallow.py PORT``.

It knows what an upload needs: put, multipart initiate, part, complete, abort, and head, which tells how many
bytes a finished object had. It answers at once and believes every signature. On Linux the kernel drops the
bytes without copying them, so that what is measured is the client.
"""

from __future__ import annotations

import itertools
import socket
import socketserver
import sys
import threading
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

_DROP = socket.MSG_TRUNC if sys.platform == "linux" else 0
_BUFFER_BYTES = 1024 * 1024
_HEAD_BYTES = 16 * 1024
_XML = '<?xml version="1.0" encoding="UTF-8"?>'


class Request(NamedTuple):
    method: str
    key: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Objects:
    """Sizes of objects, and of the parts of those that are not finished."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._parts: dict[str, dict[str, int]] = {}

    def answer(self, request: Request, size: int) -> tuple[int, list[str], str]:
        """Return status, headers and body for a request whose body had ``size`` bytes."""
        with self._lock:
            upload = request.query.get("uploadId", [""])[0]
            if request.method == "PUT":
                return self._put(request, upload, size)
            if request.method == "POST":
                return self._post(request, upload)
            if request.method == "DELETE":
                self._parts.pop(upload, None)
                self._sizes.pop(request.key if not upload else "", None)
                return 204, [], ""
            if request.method == "HEAD" and request.key.count("/") > 1:
                return self._head(request.key)
            return 200, [], f"{_XML}<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"

    def _put(self, request: Request, upload: str, size: int) -> tuple[int, list[str], str]:
        if upload:
            self._parts[upload][request.query["partNumber"][0]] = size
        else:
            self._sizes[request.key] = size
        return 200, ['ETag: "0123456789abcdef0123456789abcdef"'], ""

    def _post(self, request: Request, upload: str) -> tuple[int, list[str], str]:
        _, bucket, key = request.key.split("/", 2)
        name = f"<Bucket>{bucket}</Bucket><Key>{key}</Key>"
        if upload:
            self._sizes[request.key] = sum(self._parts.pop(upload).values())
            tag = "<ETag>&quot;0123456789abcdef0123456789abcdef-1&quot;</ETag>"
            done = f"<Location>http://127.0.0.1{request.key}</Location>{name}{tag}"
            return 200, [], f"{_XML}<CompleteMultipartUploadResult>{done}</CompleteMultipartUploadResult>"
        upload = f"upload-{next(self._numbers)}"
        self._parts[upload] = {}
        begun = f"{name}<UploadId>{upload}</UploadId>"
        return 200, [], f"{_XML}<InitiateMultipartUploadResult>{begun}</InitiateMultipartUploadResult>"

    def _head(self, key: str) -> tuple[int, list[str], str]:
        size = self._sizes.get(key)
        return (404, [], "") if size is None else (200, [f"Content-Length: {size}", 'ETag: "0"'], "")


class Wire:
    """Reads lines from a connection and drops bodies."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self._buffer = bytearray(_BUFFER_BYTES)

    def line(self) -> str:
        while b"\n" not in self._rest:
            got = self._connection.recv(_HEAD_BYTES)
            if not got:
                raise ConnectionError
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode().rstrip("\r")

    def drop(self, left: int) -> None:
        taken, self._rest = self._rest[:left], self._rest[left:]
        left -= len(taken)
        while left:
            got = self._connection.recv_into(self._buffer, min(left, _BUFFER_BYTES), _DROP)
            if not got:
                raise ConnectionError
            left -= got


class Handler(socketserver.BaseRequestHandler):
    """Answers the requests of one connection."""

    server: Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(self.request)
        with suppress(ConnectionError):
            while True:
                self._answer(wire, _read_head(wire))

    def _answer(self, wire: Wire, request: Request) -> None:
        if request.headers.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = _swallow(wire, request.headers)
        status, headers, text = self.server.objects.answer(request, size)
        if not any(header.startswith("Content-Length") for header in headers):
            headers.append(f"Content-Length: {len(text)}")
        self.request.sendall("\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", text]).encode())


def _read_head(wire: Wire) -> Request:
    method, target, _ = wire.line().split(" ")
    headers = {}
    while line := wire.line():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    parts = urlsplit(target)
    return Request(method, unquote(parts.path), parse_qs(parts.query, keep_blank_values=True), headers)


def _swallow(wire: Wire, headers: dict[str, str]) -> int:
    """Drop the body; return the length of the content, without what aws-chunked puts between its pieces."""
    length = int(headers.get("content-length", 0))
    if headers.get("transfer-encoding", "").lower() == "chunked":
        length = 0
        while size := int(wire.line().partition(";")[0], 16):
            wire.drop(size)
            wire.line()
            length += size
        while wire.line():
            pass
    else:
        wire.drop(length)
    return int(headers.get("x-amz-decoded-content-length", length))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        self.objects = Objects()
        super().__init__(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve_forever()
