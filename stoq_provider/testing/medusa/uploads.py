"""Uploaded and exported files: storing, links, and the static folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from stoq_provider.testing.content import Altered, Content, chunks
from stoq_provider.testing.files import Refused, choose
from stoq_provider.testing.medusa import express
from stoq_provider.testing.medusa.basics import invalid, unknown_error
from stoq_provider.testing.medusa.store import MedusaSite


async def store(site: MedusaSite, request: Request) -> list[dict[str, str]]:
    """
    Store the files of the form field `files`.

    :return: `url` and `key` of each
    :raises MedusaError: 500 for another field, or no form at all (M)
    """
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise unknown_error()
    form = await request.form()
    try:
        fields = form.multi_items()
        if not fields or any(name != "files" or not isinstance(value, UploadFile) for name, value in fields):
            raise unknown_error()
        stored = []
        for _, value in fields:
            assert isinstance(value, UploadFile)
            name = (value.filename or "").replace("\\", "/").rpartition("/")[2]
            key = site.storage.put("", name, await value.read(), site.clock.now())
            stored.append({"url": url(site, request, key), "key": key})
    finally:
        await form.close()
    return stored


def key_of(body: dict[str, Any]) -> str:
    """`file_key` of a body (M)."""
    key = body.get("file_key")
    if not isinstance(key, str):
        raise invalid("file_key must be a string")
    return key


def url(site: MedusaSite, request: Request, key: str) -> str:
    """M: below the configured address, which need not be the one that the client uses."""
    base = site.backend_url or f"http://{request.url.netloc}"
    return f"{base}/uploads/{key}"


def serve(site: MedusaSite, request: Request, key: str) -> Response:
    """A file of the static folder, with ranges and entity tags (M)."""
    fault = request.scope.get("state", {}).get("fault")
    blob = site.storage.files.get(key)
    if fault == "expired_url":
        # What an S3 file service's link does once it has expired.
        return Refused(403, "AccessDenied", "Request has expired").response
    if blob is None:
        return express.no_route(request)
    content: Content = Altered(blob) if fault == "changed_etag" else blob
    try:
        span = choose(request, content, ignore=fault == "ignore_range")
    except Refused as refused:
        # Invented: the page. The status and the header are HTTP's.
        gone = express.page(416, "RangeNotSatisfiableError: Range Not Satisfiable")
        gone.headers["Content-Range"] = refused.response.headers["content-range"]
        return gone
    site.log.downloads.append(
        {
            "method": request.method,
            "path": f"/uploads/{key}",
            "status": 206 if span.partial else 200,
            "bytes": span.stop - span.start,
            "start": span.start,
            "keyed": "x-medusa-access-token" in request.headers or "authorization" in request.headers,
        }
    )
    headers = {
        "X-Powered-By": "Express",
        "Accept-Ranges": "bytes",
        "Cache-Control": "public, max-age=0",
        "Last-Modified": formatdate(blob.modified, usegmt=True),
        "ETag": content.etag,
        "Content-Type": "text/csv; charset=UTF-8" if key.endswith(".csv") else "application/octet-stream",
        "Content-Length": str(span.stop - span.start),
    }
    if span.partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{content.size}"
    status = 206 if span.partial else 200
    if request.method == "HEAD":
        return Response(None, status, headers)

    async def stream() -> AsyncIterator[bytes]:
        for piece in chunks(content, span.start, span.stop):
            yield piece

    return StreamingResponse(stream(), status, headers)
