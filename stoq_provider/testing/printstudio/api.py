"""PrintStudio's keys, roles and rate limits, in front of its routes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stoq_provider.testing.points import Charge
from stoq_provider.testing.printstudio.records import PrintStudioError, invalid
from stoq_provider.testing.printstudio.routes import ROUTES, Call, Route
from stoq_provider.testing.printstudio.studio import BULK_LIMITS, LIMITS, PrintStudioSite


def _find(request: Request) -> tuple[Route | None, dict[str, str]]:
    path = str(request.scope["path"]).rstrip("/") or "/"
    for route in ROUTES:
        params = route.match(request.method, path)
        if params is not None:
            return route, params
    return None, {}


def _charge(site: PrintStudioSite, route: Route | None, key: str, role: str | None) -> Charge:
    """Documented: limits of the bulk routes and of keys. Invented: a bulk call counts for its own only."""
    if route is not None and route.limit and role is not None:
        return site.bucket(route.limit, key, BULK_LIMITS[route.limit]).charge(1)
    return site.bucket("general", key if role else "nobody", LIMITS[role]).charge(1)


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise invalid("The body is not valid JSON") from None
    if not isinstance(body, dict):
        raise invalid("The body must be an object")
    return body


def _admit(site: PrintStudioSite, route: Route, role: str | None) -> None:
    """Documented: 401 without a key, 403 with too low a role."""
    if role is None:
        site.log.unauthorized += 1
        raise PrintStudioError(401, "Unauthorized", "UNAUTHORIZED")
    if role not in route.roles:
        raise PrintStudioError(403, "Forbidden", "FORBIDDEN", role=role)


async def _respond(site: PrintStudioSite, request: Request) -> Response:
    key = request.headers.get("x-api-key", "")
    role = site.keys.get(key)
    route, params = _find(request)
    charge = _charge(site, route, key, role)
    # Documented: these three on every response. Whether a 429 has a Retry-After is not; it has none here.
    headers = {name: value for name, value in charge.headers().items() if name != "Retry-After"}
    try:
        if not charge.allowed:
            site.log.rate_limited += 1
            raise PrintStudioError(429, "Too many requests", "RATE_LIMITED", limit=charge.limit)
        if route is None:
            raise PrintStudioError(404, "Not found", "NOT_FOUND", path=str(request.scope["path"]))
        _admit(site, route, role)
        site.log.requests[f"{route.method} {route.path}"] += 1
        status, payload = route.handler(Call(request, site, params, await _body(request)))
    except PrintStudioError as error:
        status, payload = error.status, error.body
    return Response(json.dumps(payload), status, headers, "application/json")


def build_app(current: Callable[[], PrintStudioSite]) -> ASGIApp:
    """
    The application.

    :param current: gives the site, which a reset replaces
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        site = current()
        site.settle()
        response = await _respond(site, Request(scope, receive))
        await response(scope, receive, send)

    return app
