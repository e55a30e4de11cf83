"""Uploaded and exported files: storing, links, and the static folder."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stoq_provider.testing.content import Altered, Content
from stoq_provider.testing.medusa.basics import invalid, unknown_error
from stoq_provider.testing.medusa.store import MedusaSite
from stoq_provider.testing.ranges import Refused, choose, send


async def store(site: MedusaSite, request: Request) -> list[dict[str, str]]:
    """
    Store the files of the form field `files`.

    :return: `url` and `key` of each
    :raises MedusaError: 500 for another field, or no form at all (M)
    """
    stored = []
    async with request.form() as form:
        for field, value in form.multi_items():
            if field != "files" or not isinstance(value, UploadFile):
                raise unknown_error()
            name = (value.filename or "").rpartition("/")[2]
            key = site.storage.put("", name, await value.read(), site.clock.now())
            stored.append({"url": url(site, request, key), "key": key})
    if not stored:
        raise unknown_error()
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
    """A file of the static folder, with ranges and entity tags (M); anybody may read."""
    fault = request.scope.get("state", {}).get("fault")
    blob = site.storage.files.get(key)
    if fault == "expired_url":
        # What an S3 file service's link does once it has expired.
        return Refused(403, "AccessDenied", "Request has expired").response
    if blob is None:
        return no_route(request)
    content: Content = Altered(blob) if fault == "changed_etag" else blob
    try:
        span = choose(request, content, ignore=fault == "ignore_range")
    except Refused as refused:
        return refused.response
    kind = "text/csv; charset=UTF-8" if key.endswith(".csv") else "application/octet-stream"
    response = send(request, content, span, kind, blob.modified)
    site.log.downloads.append(
        {
            "method": request.method,
            "path": f"/uploads/{key}",
            "status": response.status_code,
            "bytes": span.stop - span.start,
            "start": span.start,
            "keyed": "x-medusa-access-token" in request.headers or "authorization" in request.headers,
        }
    )
    return response


def no_route(request: Request) -> Response:
    """M: a page, for a path that nobody serves."""
    return HTMLResponse(f"<pre>Cannot {request.method} {request.url.path}</pre>", 404)
