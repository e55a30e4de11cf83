"""SureCart's routes, errors and rate limit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stoq_provider.testing import SURECART_KEY
from stoq_provider.testing.surecart.account import ACTIONS, MOST, PAGE, SureCartSite

_WORDS = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    422: "unprocessable_entity",
    429: "too_many_requests",
}


class SureCartError(Exception):
    """An error in the documented shape. Invented: most of its words."""

    def __init__(self, status: int, code: str, message: str, invalid: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "http_status": _WORDS[status],
            "type": code.rpartition(".")[2],
            "code": code,
            "message": message,
            "validation_errors": list(invalid),
        }


async def _create(site: SureCartSite, request: Request) -> dict[str, Any]:
    given = (await _body(request)).get("bulk_action")
    if not isinstance(given, dict):
        raise SureCartError(400, "bulk_action.parameter_missing", "The bulk_action parameter is missing.")
    action_type, record_ids = given.get("action_type"), given.get("record_ids")
    found = []
    if action_type not in ACTIONS:
        found.append(_problem("action_type", "inclusion", "Action type is not included in the list"))
    if not isinstance(record_ids, list) or not record_ids:
        found.append(_problem("record_ids", "blank", "Record ids can't be blank"))
    if found:
        raise SureCartError(422, "bulk_action.invalid", "Failed to save bulk action", found)
    assert isinstance(action_type, str)
    assert isinstance(record_ids, list)
    return site.create(action_type, [str(new) for new in record_ids]).view()


def _problem(attribute: str, kind: str, message: str) -> dict[str, Any]:
    code = f"bulk_action.{attribute}.{kind}"
    return {"attribute": attribute, "type": kind, "code": code, "options": {}, "message": message}


async def _body(request: Request) -> dict[str, Any]:
    """JSON. Documented: a form may be sent as well; here it may not."""
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise SureCartError(400, "bad_request", "The body is not valid JSON.") from None
    return body if isinstance(body, dict) else {}


def _listed(request: Request, objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """
    One page, newest first. Documented: the shape, `ids[]`, `limit` up to 100, `page`.

    Invented: a greater limit counts as 100.
    """
    query = request.query_params
    ids = query.getlist("ids[]")
    try:
        limit, page = min(int(query.get("limit", PAGE)), MOST), int(query.get("page", 1))
    except ValueError:
        raise SureCartError(400, "bad_request", "limit and page must be numbers.") from None
    found = [found for new, found in objects.items() if not ids or new in ids][::-1]
    return {
        "object": "list",
        "pagination": {"count": len(found), "limit": limit, "page": page, "url": request.url.path},
        "data": found[(page - 1) * limit : page * limit],
    }


async def _answer(site: SureCartSite, request: Request) -> dict[str, Any]:
    method, parts = request.method, str(request.scope["path"]).strip("/").split("/")
    if len(parts) not in {2, 3} or parts[0] != "v1":
        raise SureCartError(404, "not_found", "There is no such path.")
    names = {"customers": "customer", "products": "product"}
    site.log.requests[f"{method} /v1/{parts[1]}{'/{id}' if len(parts) == 3 else ''}"] += 1
    if parts[1] == "bulk_actions":
        if method == "POST" and len(parts) == 2:
            return await _create(site, request)
        objects = {new: action.view() for new, action in site.actions.items()}
    elif parts[1] in names:
        objects = site.records[names[parts[1]]]
    else:
        raise SureCartError(404, "not_found", "There is no such path.")
    if method != "GET":
        raise SureCartError(404, "not_found", "There is no such path.")
    if len(parts) == 2:
        return _listed(request, objects)
    found = objects.get(parts[2])
    if found is None:
        noun = parts[1][:-1]
        raise SureCartError(404, f"{noun}.not_found", f"{noun.replace('_', ' ').capitalize()} not found.")
    return found


async def _respond(site: SureCartSite, request: Request) -> Response:
    """Key, rate limit, response. Invented: a response of 401 costs nothing."""
    try:
        if request.headers.get("authorization", "") != f"Bearer {SURECART_KEY}":
            site.log.unauthorized += 1
            raise SureCartError(401, "unauthorized", "The API token is not valid.")
        charge = site.bucket.charge(1)
        if not charge.allowed:
            site.log.rate_limited += 1
            # Documented: the status. Whether a header says how long to wait is not.
            waits = {"Retry-After": str(charge.retry_after)} if site.retry_after else {}
            error = SureCartError(429, "rate_limited", "Too many requests.")
            return _as_json(error.body, 429, waits)
        return _as_json(await _answer(site, request))
    except SureCartError as error:
        return _as_json(error.body, error.status)


def _as_json(payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(payload), status, headers, "application/json")


def build_app(current: Callable[[], SureCartSite]) -> ASGIApp:
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
