"""The file origin: signed links to exports, in the manner of S3."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stoq_provider.testing.content import Altered, Content
from stoq_provider.testing.ranges import Refused, Span, choose, send
from stoq_provider.testing.world import World


class Files:
    """Serves the contents of ready exports."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def serve(self, request: Request) -> Response:
        """Answer GET and HEAD; any other header of authentication than the link's own is an error."""
        try:
            return self._answer(request)
        except Refused as refused:
            self._note(request, refused.response.status_code, 0)
            return refused.response

    def _answer(self, request: Request) -> Response:
        self._refuse_keys(request)
        self._check_link(request)
        self._world.jobs.settle()
        content = self._world.files.get(_path(request))
        if content is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        fault = _fault(request)
        if fault == "changed_etag":
            content = Altered(content)
        if request.headers.get("if-match", content.etag) not in {content.etag, "*"}:
            raise Refused(412, "PreconditionFailed", "A precondition did not hold.")
        return self._send(request, content, choose(request, content, ignore=fault == "ignore_range"))

    def _refuse_keys(self, request: Request) -> None:
        if "x-auth-token" in request.headers or "authorization" in request.headers:
            self._world.counters.keyed_file_requests += 1
            raise Refused(400, "InvalidArgument", "Only one authentication mechanism is allowed.")

    def _check_link(self, request: Request) -> None:
        query = request.query_params
        names = ("X-Amz-Date", "X-Amz-Expires", "X-Sandbox-Serial", "X-Amz-Signature")
        date, expires, serial, signature = (query.get(name, "") for name in names)
        if signature != self._world.signature(_path(request), date, expires, serial):
            raise Refused(403, "SignatureDoesNotMatch", "The signature does not match the link.")
        expired = self._world.clock.now() >= int(date) + int(expires)
        if expired or _fault(request) == "expired_url":
            raise Refused(403, "AccessDenied", "Request has expired")

    def _send(self, request: Request, content: Content, span: Span) -> Response:
        response = send(request, content, span, "text/csv")
        self._note(request, response.status_code, span.stop - span.start, start=span.start)
        return response

    def _note(self, request: Request, status: int, size: int, **more: Any) -> None:
        entry = {"method": request.method, "path": _path(request), "status": status, "bytes": size}
        self._world.counters.downloads.append(entry | more)


def _path(request: Request) -> str:
    return str(request.scope["path"])


def _fault(request: Request) -> str | None:
    fault: str | None = request.scope.get("state", {}).get("fault")
    return fault


def build_app(world: World) -> Starlette:
    """The application of the file origin."""
    return Starlette(routes=[Route("/{path:path}", Files(world).serve, methods=["GET", "HEAD"])])
