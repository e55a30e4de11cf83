"""
How large a response may be, and how long a call may take.

Workers and triggerers serve many tasks: none of them may lose its memory or its time to one server.
"""

from __future__ import annotations

from collections.abc import Mapping

from stoq_provider.core.gunzip import Gunzip
from stoq_provider.core.http import Response

MAX_BODY_BYTES = 32 * 1024 * 1024
"""
Most bytes of a response's body, decoded. What is asked for is smaller by far: a page of 250 orders is some
megabytes, the manifest of actions some hundred kilobytes, and files are downloaded elsewhere.
"""

ACCEPT_ENCODING = "gzip"
"""The one coding that is decoded in bounded steps."""

WHOLE_CALL = 3
"""Time-outs that a call may take from connecting to the end of its response, not counting an upload."""

SLOWEST_UPLOAD = 64 * 1024
"""Bytes a second for which an upload is given time."""


def whole_call(timeout: float, upload: int = 0) -> float:
    """
    Return the seconds that a call may take in all.

    :param timeout: of the connection, which is for each step of a call.
    :param upload: bytes of a body that is a file.
    """
    return WHOLE_CALL * timeout + upload / SLOWEST_UPLOAD


class Body:
    """
    Collects the body of a response, up to :data:`MAX_BODY_BYTES`.

    ``flaw``: why it can't be used, or nothing. Nothing more needs to be read then.
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.flaw = ""
        self._status = status
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._gunzip = Gunzip() if "gzip" in self._headers.get("content-encoding", "").lower() else None
        self._bytes = bytearray()
        self._raw = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes from the wire."""
        self._raw += len(chunk)
        for piece in (chunk,) if self._gunzip is None else self._gunzip.feed(chunk):
            self._bytes += piece
            if len(self._bytes) > MAX_BODY_BYTES:
                break
        if max(len(self._bytes), self._raw) > MAX_BODY_BYTES:
            self.flaw = f"the body is larger than {MAX_BODY_BYTES // 2**20} MiB"
        elif self._gunzip is not None and self._gunzip.damage:
            self.flaw = f"the body is no whole gzip ({self._gunzip.damage})"

    def response(self) -> Response:
        """Return the response, whose body is over, or has a flaw."""
        if not self.flaw and self._gunzip is not None and self._raw and not self._gunzip.ended:
            self.flaw = "the body is no whole gzip (cut short)"
        body = b"" if self.flaw else bytes(self._bytes)
        return Response(self._status, self._headers, body, self.flaw)
