"""Content sent whole or by a range, with the refusals of an object store."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from stoq_provider.testing.content import Content, chunks


@dataclass(frozen=True)
class Span:
    """The bytes to be sent."""

    start: int
    stop: int
    partial: bool


class Refused(Exception):
    """A response in S3's way: status, code and message in XML."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(code)
        self.response = Response(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>{message}</Message></Error>",
            status,
            headers,
            "application/xml",
        )


def send(request: Request, content: Content, span: Span, kind: str, modified: float = 0.0) -> Response:
    """The bytes of a span, or only what a HEAD wants to know of them."""
    headers = {
        "ETag": content.etag,
        "Accept-Ranges": "bytes",
        "Content-Length": str(span.stop - span.start),
        "Content-Type": kind,
        "Last-Modified": formatdate(modified, usegmt=True),
    }
    if span.partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{content.size}"
    status = 206 if span.partial else 200
    if request.method == "HEAD":
        return Response(None, status, headers)
    return StreamingResponse(_stream(content, span), status, headers)


async def _stream(content: Content, span: Span) -> AsyncIterator[bytes]:
    for piece in chunks(content, span.start, span.stop):
        yield piece


def choose(request: Request, content: Content, *, ignore: bool = False) -> Span:
    """The span a request asks for; one range only, others are ignored as HTTP allows."""
    whole = Span(0, content.size, partial=False)
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if ignore or asked is None or asked.groups() == ("", ""):
        return whole
    if request.headers.get("if-range", content.etag) != content.etag:
        return whole
    first, last = asked.groups()
    if first:
        start, stop = int(first), min(int(last) + 1 if last else content.size, content.size)
    else:
        start, stop = max(0, content.size - int(last)), content.size
    if start >= stop:
        unsatisfiable = {"Content-Range": f"bytes */{content.size}"}
        raise Refused(416, "InvalidRange", "The requested range is not satisfiable", **unsatisfiable)
    return Span(start, stop, partial=True)
