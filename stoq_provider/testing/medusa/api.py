"""The Admin API: routes, who may use them, and the answers around them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stoq_provider.testing.medusa import express, uploads
from stoq_provider.testing.medusa.auth import User
from stoq_provider.testing.medusa.basics import MedusaError, Unauthorized, invalid, unknown_error
from stoq_provider.testing.medusa.jobs import ServerDied
from stoq_provider.testing.medusa.queries import ListQuery, check_create
from stoq_provider.testing.medusa.store import MedusaSite
from stoq_provider.testing.protocol import abort

log = logging.getLogger(__name__)


@dataclass
class Call:
    """A request that found its route."""

    request: Request
    site: MedusaSite
    params: dict[str, str]
    body: Any
    user: User | None = None

    @property
    def admin(self) -> User:
        """Who asks, on routes that nobody else reaches."""
        assert self.user is not None
        return self.user


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """A method and a path. `free` ones need no user."""

    method: str
    path: str
    handler: Handler
    free: bool = False

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Parameters of the path, if it is this one."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path).replace("*", "(?P<key>.+)")
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found and method == self.method else None


async def login(call: Call) -> Response:
    """M: user and cookie."""
    user = call.site.auth.login(*_credentials(call.body))
    response = express.as_json({"user": user.view()})
    express.set_cookie(response, *call.site.auth.cookie(user))
    return response


async def token(call: Call) -> Response:
    """M: a JWT."""
    user = call.site.auth.login(*_credentials(call.body))
    return express.as_json({"access_token": call.site.auth.token(user)})


def _credentials(body: Any) -> tuple[str, str]:
    found = []
    email, password = (body.get(name) for name in ("email", "password"))
    if not isinstance(email, str) or "@" not in email:
        found.append("email must be an email")
    if not isinstance(password, str):
        found.append("password should not be empty, password must be a string")
    if found:
        raise invalid(", ".join(found))
    return email, password


async def who(call: Call) -> Response:
    """M: the user, API token in clear."""
    return express.as_json({"user": call.admin.view()})


async def change_user(call: Call) -> Response:
    """M: how a user gets an API token."""
    user = call.site.auth.users.get(call.params["id"])
    if user is None:
        raise MedusaError(404, "not_found", f"User with id: {call.params['id']} was not found")
    user.api_token = call.body.get("api_token", user.api_token)
    return express.as_json({"user": user.view()})


async def create(call: Call) -> Response:
    """M: 201. An Idempotency-Key changes nothing."""
    check_create(call.body)
    made = call.site.create(
        call.body["type"], call.body["context"], bool(call.body.get("dry_run", False)), call.admin
    )
    return express.as_json({"batch_job": made.view()}, 201)


async def index(call: Call) -> Response:
    """M: only the caller's own jobs."""
    query = ListQuery.parse(call.request.url.query)
    own = [job for job in call.site.jobs.values() if job.created_by == call.admin.id and not job.forgotten]
    return express.as_json(query.answer(own, call.admin))


async def retrieve(call: Call) -> Response:
    """M: `fields` and `expand` are ignored."""
    return express.as_json({"batch_job": call.site.find(call.params["id"], call.admin).view()})


async def confirm(call: Call) -> Response:
    """M: 200 with the job."""
    job = call.site.find(call.params["id"], call.admin)
    call.site.confirm(job)
    return express.as_json({"batch_job": job.view()})


async def cancel(call: Call) -> Response:
    """M: 200 with the job, perhaps after a while."""
    job = call.site.find(call.params["id"], call.admin)
    await call.site.cancel(job)
    return express.as_json({"batch_job": job.view()})


async def upload(call: Call) -> Response:
    """M: both routes answer alike."""
    return express.as_json({"uploads": await uploads.store(call.site, call.request)})


async def download_url(call: Call) -> Response:
    """M: not held against what there is."""
    return express.as_json({"download_url": uploads.url(call.site, call.request, uploads.key_of(call.body))})


async def delete_upload(call: Call) -> Response:
    """M: 200 also the second time."""
    key = uploads.key_of(call.body)
    call.site.storage.files.pop(key, None)
    return express.as_json({"id": key, "object": "file", "deleted": True})


async def serve_file(call: Call) -> Response:
    """M: anybody may read."""
    return uploads.serve(call.site, call.request, call.params["key"])


async def health(call: Call) -> Response:
    """S: the health check of a Medusa server."""
    return Response("OK", 200, {"X-Powered-By": "Express", "Content-Type": "text/html; charset=utf-8"})


ROUTES = (
    Route("GET", "/health", health, free=True),
    Route("POST", "/admin/auth", login, free=True),
    Route("POST", "/admin/auth/token", token, free=True),
    Route("GET", "/admin/auth", who),
    Route("POST", "/admin/users/{id}", change_user),
    Route("POST", "/admin/batch-jobs", create),
    Route("GET", "/admin/batch-jobs", index),
    Route("GET", "/admin/batch-jobs/{id}", retrieve),
    Route("POST", "/admin/batch-jobs/{id}/confirm", confirm),
    Route("POST", "/admin/batch-jobs/{id}/cancel", cancel),
    Route("POST", "/admin/uploads/protected", upload),
    Route("POST", "/admin/uploads", upload),
    Route("POST", "/admin/uploads/download-url", download_url),
    Route("DELETE", "/admin/uploads", delete_upload),
    Route("GET", "/uploads/*", serve_file, free=True),
    Route("HEAD", "/uploads/*", serve_file, free=True),
)


async def _answer(request: Request, site: MedusaSite) -> Response:
    path = str(request.scope["path"]).rstrip("/") or "/"
    if _header_bytes(request) > express.HEADER_LIMIT:
        return Response(None, 431, {"Connection": "close"})
    try:
        body = await _json_body(request)
    except ValueError:
        return express.bad_json()
    if body is None:
        return express.too_large()
    found = _route(request.method, path)
    user = None if _open(path, found) else site.auth.user_of(request)
    if found is None:
        return express.no_route(request)
    route, params = found
    site.log.requests[f"{route.method} {route.path}"] += 1
    return await route.handler(Call(request, site, params, body, user))


def _route(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    for route in ROUTES:
        params = route.match(method, path)
        if params is not None:
            return route, params
    return None


def _open(path: str, found: tuple[Route, dict[str, str]] | None) -> bool:
    """Whether no user is needed. S: on unknown paths below `/admin` the guard comes before the 404."""
    return found[0].free if found else not path.startswith("/admin")


def _header_bytes(request: Request) -> int:
    target = len(request.scope.get("raw_path", b"")) + len(request.scope["query_string"])
    return target + sum(len(name) + len(value) + 4 for name, value in request.scope["headers"])


async def _json_body(request: Request) -> Any:
    """
    The body of a JSON request, `{}` for any other, None for one that is too large.

    Raises `ValueError` for what is no JSON object or list; that comes before the question who asks.
    """
    if "application/json" not in request.headers.get("content-type", ""):
        return {}
    if int(request.headers.get("content-length") or 0) > express.BODY_LIMIT:
        return None
    raw = await request.body()
    if len(raw) > express.BODY_LIMIT:
        return None
    body = json.loads(raw) if raw.strip() else {}
    if not isinstance(body, (dict, list)):
        raise ValueError("neither object nor list")
    return body if isinstance(body, dict) else {}


async def _guarded(request: Request, site: MedusaSite) -> Response:
    """The answer, errors turned into theirs."""
    try:
        return await _answer(request, site)
    except Unauthorized:
        site.log.unauthorized += 1
        return express.unauthorized(typed=str(request.scope["path"]).startswith("/admin/auth"))
    except MedusaError as error:
        return express.as_json(error.body, error.status)
    except ServerDied:
        raise
    except Exception:
        log.exception("The sandbox failed on %s %s", request.method, request.scope["path"])
        return express.as_json(unknown_error().body, 500)


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
        if express.unchanged(request, response):
            response = express.not_modified(response)
        if "set-cookie" not in response.headers and not site.auth.has_session(request):
            express.set_cookie(response, *site.auth.cookie())
        await response(scope, receive, send)

    return app
