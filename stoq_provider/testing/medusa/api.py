"""The Admin API: routes, who may use them, and the responses around them."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stoq_provider.testing.medusa import uploads
from stoq_provider.testing.medusa.auth import User
from stoq_provider.testing.medusa.basics import MedusaError, Unauthorized, invalid
from stoq_provider.testing.medusa.jobs import BatchJob, ServerDied
from stoq_provider.testing.medusa.queries import ListQuery, check_create
from stoq_provider.testing.medusa.store import MedusaSite
from stoq_provider.testing.protocol import abort


@dataclass
class Call:
    """A request of a user that found its route."""

    site: MedusaSite
    request: Request
    user: User
    body: dict[str, Any]
    id: str

    @property
    def job(self) -> BatchJob:
        """The job that the path names. Raises `MedusaError`."""
        return self.site.find(self.id, self.user)


def token(site: MedusaSite, body: dict[str, Any]) -> dict[str, Any]:
    """M: a JWT."""
    email, password = body.get("email"), body.get("password")
    if not isinstance(email, str) or "@" not in email:
        raise invalid("email must be an email")
    if not isinstance(password, str):
        raise invalid("password should not be empty, password must be a string")
    return {"access_token": site.auth.token(email, password)}


async def create(call: Call) -> dict[str, Any]:
    """M: an Idempotency-Key changes nothing."""
    check_create(call.body)
    dry_run = bool(call.body.get("dry_run", False))
    made = call.site.create(call.body["type"], call.body["context"], dry_run, call.user)
    return {"batch_job": made.view()}


async def index(call: Call) -> dict[str, Any]:
    """M: only the caller's own jobs."""
    jobs = call.site.jobs.values()
    own = [job for job in jobs if job.created_by == call.user.id and not job.forgotten]
    return ListQuery.parse(call.request.url.query).answer(own)


async def retrieve(call: Call) -> dict[str, Any]:
    """One job."""
    return {"batch_job": call.job.view()}


async def confirm(call: Call) -> dict[str, Any]:
    """M: the job."""
    call.site.confirm(job := call.job)
    return {"batch_job": job.view()}


async def cancel(call: Call) -> dict[str, Any]:
    """M: the job, perhaps after a while."""
    await call.site.cancel(job := call.job)
    return {"batch_job": job.view()}


async def upload(call: Call) -> dict[str, Any]:
    """M: both routes answer alike."""
    return {"uploads": await uploads.store(call.site, call.request)}


async def download_url(call: Call) -> dict[str, Any]:
    """M: not held against what there is."""
    return {"download_url": uploads.url(call.site, call.request, uploads.key_of(call.body))}


LOGIN = "POST /admin/auth/token"
ROUTES: dict[str, Callable[[Call], Awaitable[dict[str, Any]]]] = {
    "POST /admin/batch-jobs": create,
    "GET /admin/batch-jobs": index,
    "GET /admin/batch-jobs/{id}": retrieve,
    "POST /admin/batch-jobs/{id}/confirm": confirm,
    "POST /admin/batch-jobs/{id}/cancel": cancel,
    "POST /admin/uploads": upload,
    "POST /admin/uploads/protected": upload,
    "POST /admin/uploads/download-url": download_url,
}
_ID = re.compile(r"(?<=/batch-jobs/)[^/]+")


async def _answer(request: Request, site: MedusaSite) -> Response:
    path = str(request.scope["path"]).rstrip("/")
    if request.method in {"GET", "HEAD"} and path.startswith("/uploads/"):
        return uploads.serve(site, request, path.removeprefix("/uploads/"))
    route, found = f"{request.method} {_ID.sub('{id}', path)}", _ID.search(path)
    if route == LOGIN:
        site.log.requests[route] += 1
        return JSONResponse(token(site, await _json_body(request)))
    if not path.startswith("/admin/"):
        return uploads.no_route(request)
    # S: the guard comes before the 404.
    user = site.auth.user_of(request.headers)
    if route not in ROUTES:
        return uploads.no_route(request)
    site.log.requests[route] += 1
    call = Call(site, request, user, await _json_body(request), found[0] if found else "")
    return JSONResponse(await ROUTES[route](call), 201 if ROUTES[route] is create else 200)


async def _json_body(request: Request) -> dict[str, Any]:
    """The body of a JSON request, `{}` for any other."""
    if "application/json" not in request.headers.get("content-type", ""):
        return {}
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise invalid("The body is not valid JSON") from None  # Invented: the real one sends a page
    return body if isinstance(body, dict) else {}


async def _guarded(request: Request, site: MedusaSite) -> Response:
    """The response, errors turned into theirs."""
    try:
        return await _answer(request, site)
    except Unauthorized:
        site.log.unauthorized += 1
        # A client that is still sending a file would lose the response with the connection.
        async for _ in request.stream():
            pass
        return Response("Unauthorized", 401)  # M: the plain word, without a content type
    except MedusaError as error:
        return JSONResponse(error.body, error.status)


def build_app(current: Callable[[], MedusaSite]) -> ASGIApp:
    """
    The application.

    :param current: gives the site, which a reset replaces
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        site, request = current(), Request(scope, receive)
        deaths = site.deaths
        site.settle()
        try:
            if site.deaths != deaths:
                raise ServerDied
            response = await _guarded(request, site)
        except ServerDied:
            await abort(scope, receive)
            return
        await response(scope, receive, send)

    return app
