"""The API origin: token, points, dispatch, help."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stoq_provider.testing import exports, offers, orders, variants
from stoq_provider.testing.actions import Action, ApiError, Call, Registry, below
from stoq_provider.testing.points import price, refusal
from stoq_provider.testing.schemas import Schema, problems, read_query
from stoq_provider.testing.world import BASE_PATH, Tenant, World

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
log = logging.getLogger(__name__)


def build_registry() -> Registry:
    """All actions of the sandbox."""
    registry = Registry()
    for module in (offers, orders, variants, exports):
        registry.add(*module.ACTIONS)
    return registry


def as_json(payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(json.dumps(payload), status, headers, "application/json")


class Api:
    """Serves everything below the base path."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._registry = build_registry()

    def routes(self) -> list[Route]:
        """Routes for the application."""
        return [Route(f"{BASE_PATH}/{{rest:path}}", self.serve, methods=METHODS)]

    async def serve(self, request: Request) -> Response:
        """Answer one request: 401, 429, or the action's own response, always with rate-limit headers."""
        path = str(request.scope["path"]).removeprefix(BASE_PATH)
        tenant = self._world.tenants.get(request.headers.get("x-auth-token", ""))
        if tenant is None:
            # Invented: body of the 401, and that it shows a full bucket.
            self._world.counters.unauthorized += 1
            first = next(iter(self._world.tenants.values()))
            return as_json({"errors": ["Unauthorized"]}, 401, first.bucket.look().headers())
        charge = tenant.bucket.charge(price(request.method))
        if not charge.allowed:
            return as_json(refusal(charge, tenant.bucket.window_seconds), 429, charge.headers())
        try:
            payload = await self._answer(request, path, tenant)
            return as_json(payload, 200 if request.method == "GET" else 202, charge.headers())
        except ApiError as error:
            return as_json({"errors": error.messages}, error.status, charge.headers())
        except Exception:
            log.exception("The sandbox failed on %s %s", request.method, path)
            return as_json({"errors": ["Internal server error"]}, 500, charge.headers())

    async def _answer(self, request: Request, path: str, tenant: Tenant) -> dict[str, Any]:
        if request.method == "GET" and path.endswith("/help"):
            self._count("GET /help")
            return self._help(request, path)
        action, path_params = self._find(request.method, path)
        self._count(action.pattern)
        params = await self._params(request, action.request_schema)
        self._world.jobs.settle_due()
        call = Call(
            world=self._world,
            tenant=tenant,
            path=path,
            host=request.url.hostname or "127.0.0.1",
            path_params=path_params,
            params=params,
        )
        return action.handler(call)

    def _find(self, method: str, path: str) -> tuple[Action, dict[str, str]]:
        try:
            return self._registry.find(method, path)
        except ApiError:
            self._count(f"{method} (unknown)")
            raise

    def _count(self, pattern: str) -> None:
        self._world.counters.requests[pattern] += 1

    def _help(self, request: Request, path: str) -> dict[str, Any]:
        scope = path.removesuffix("/help")
        if not any(below(action.path, scope) for action in self._registry):
            raise ApiError(404, f"No v2 action registered for GET {path}")
        return self._registry.manifest(scope or request.query_params.get("prefix", ""))

    async def _params(self, request: Request, schema: Schema) -> dict[str, Any]:
        """Invented: body and query are merged, the body wins."""
        merged = read_query(parse_qsl(request.url.query, keep_blank_values=True), schema)
        if request.method != "GET":
            merged |= await self._body(request)
        found = problems(merged, schema)
        if found:
            raise ApiError(422, *found)
        return merged

    async def _body(self, request: Request) -> dict[str, Any]:
        raw = await request.body()
        if not raw.strip():
            return {}
        try:
            body = json.loads(raw)
        except ValueError:
            raise ApiError(400, "Request body is not valid JSON") from None  # Invented:
        if not isinstance(body, dict):
            raise ApiError(422, "body must be an object")  # Invented:
        return body


def build_app(world: World, control: list[Route]) -> Starlette:
    """The application of the API origin."""
    return Starlette(routes=[*control, *Api(world).routes()])
