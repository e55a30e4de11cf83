"""Answers as Express gives them: headers, cookies, entity tags, pages of HTML."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import time
from email.utils import formatdate
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

COMMON = {"X-Powered-By": "Express", "Vary": "Origin", "Access-Control-Allow-Credentials": "true"}
BODY_LIMIT = 100 * 1024  # M: 413 above
HEADER_LIMIT = 16 * 1024
"""Documented by Node: a request line and headers larger than this are refused with 431. Not measured here."""


def as_json(payload: Any, status: int = 200) -> Response:
    """JSON as Express writes it."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {**COMMON, "Content-Type": "application/json; charset=utf-8", "ETag": entity_tag(text)}
    return Response(text, status, headers)


def unauthorized(*, typed: bool = False) -> Response:
    """M: the plain word; without a content type, except from the login."""
    if typed:
        headers = {"Content-Type": "text/plain; charset=utf-8", "ETag": entity_tag(b"Unauthorized")}
        return Response("Unauthorized", 401, {**COMMON, **headers})
    return Response("Unauthorized", 401, COMMON)


def page(status: int, text: str) -> Response:
    """An error that Express itself reports (M)."""
    body = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Error</title>\n</head>\n'
        f"<body>\n<pre>{text}</pre>\n</body>\n</html>\n"
    )
    headers = {
        "X-Powered-By": "Express",
        "Content-Security-Policy": "default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Content-Type": "text/html; charset=utf-8",
    }
    return Response(body, status, headers)


def no_route(request: Request) -> Response:
    """M: 404 for a path nobody serves."""
    path = html.escape(str(request.scope["path"]))
    return page(404, f"Cannot {request.method} {path}")


def bad_json() -> Response:
    """M: 400 with a stack trace. Invented: the paths in it are left out."""
    trace = "SyntaxError: Unexpected token in JSON<br> &nbsp; &nbsp;at JSON.parse (&lt;anonymous&gt;)"
    return page(400, trace)


def too_large() -> Response:
    """M: 413."""
    return page(413, "PayloadTooLargeError: request entity too large<br> &nbsp; &nbsp;at readStream")


def entity_tag(data: bytes) -> str:
    """Weak tag of length and SHA-1."""
    digest = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()[:27]
    return f'W/"{len(data):x}-{digest}"'


def unchanged(request: Request, response: Response) -> bool:
    """Whether a GET's `If-None-Match` names what would be sent."""
    tag = response.headers.get("etag")
    return bool(
        request.method == "GET"
        and response.status_code == 200
        and tag
        and tag in request.headers.get("if-none-match", "")
    )


def not_modified(response: Response) -> Response:
    """304 without a body (M)."""
    return Response(None, 304, {**COMMON, "ETag": response.headers["etag"]})


def set_cookie(response: Response, value: str, lifetime: float) -> None:
    """The session cookie that every answer carries, even a 401 (M)."""
    expires = formatdate(time.time() + lifetime, usegmt=True)
    response.headers["Set-Cookie"] = f"connect.sid={value}; Path=/; Expires={expires}; HttpOnly"
