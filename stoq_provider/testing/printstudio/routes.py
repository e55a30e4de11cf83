"""PrintStudio's routes: what each takes, answers, and who may use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from stoq_provider.testing.printstudio.records import STATES, PrintJob, PrintStudioError, invalid
from stoq_provider.testing.printstudio.studio import MODES, PrintStudioSite

ORDERS_CAP, JOBS_CAP, SKUS_CAP = 50, 100, 500  # documented
ROLES = ("customer", "operator", "admin")
Response = tuple[int, Any]


@dataclass
class Call:
    """A request that found its route."""

    request: Request
    site: PrintStudioSite
    params: dict[str, str]
    body: dict[str, Any]

    def items(self, name: str, cap: int) -> list[Any]:
        """
        A list of the body, held to its cap.

        Documented: the caps. Invented: 400 above them, and for an empty list.
        """
        found = self.body.get(name)
        if not isinstance(found, list) or not found:
            raise invalid(f"{name} must be a list and not empty")
        if len(found) > cap:
            raise invalid(f"At most {cap} {name} per request", max=cap, received=len(found))
        return found

    def note(self, kind: str, items: list[Any], **more: Any) -> None:
        """Remember a submission."""
        self.site.log.submissions.append({"kind": kind, "items": items, "count": len(items), **more})


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class Route:
    """A method, a path, who may use it, and the limit it counts against."""

    method: str
    path: str
    handler: Handler
    roles: tuple[str, ...] = ROLES
    limit: str | None = None

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Parameters of the path, if it is this one."""
        found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path), path)
        return found.groupdict() if found and method == self.method else None


def create_orders(call: Call) -> Response:
    """Documented: all or none, and the response. Invented: 201 as for one order; the index of the bad one."""
    given = call.items("orders", ORDERS_CAP)
    planned = []
    for index, order in enumerate(given):
        try:
            planned.append(call.site.plan_order(order))
        except PrintStudioError as error:
            raise invalid(str(error), index=index, **error.details) from None
    call.site.orders |= {order.id: order for order in planned}
    call.note("create_orders", given, ids=[order.id for order in planned])
    orders = [{"id": order.id, "status": order.status} for order in planned]
    return 201, {"created": len(planned), "failed": 0, "orders": orders}


def create_order(call: Call) -> Response:
    """Documented: 201 with the order."""
    order = call.site.plan_order(call.body)
    call.site.orders[order.id] = order
    call.note("create_order", [call.body], ids=[order.id])
    return 201, order.view()


def list_orders(call: Call) -> Response:
    """Documented: the query. Invented: the shape."""
    query = call.request.query_params
    wanted = (("status", "status"), ("customerId", "customer_id"))
    found = [
        order
        for order in call.site.orders.values()
        if all(query.get(name) in {None, getattr(order, attribute)} for name, attribute in wanted)
    ]
    page, limit = _number(query.get("page"), 1), _number(query.get("limit"), 20)
    shown = [order.view() for order in found[(page - 1) * limit : page * limit]]
    return 200, {"orders": shown, "total": len(found), "page": page, "limit": limit}


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdigit() or int(text) < 1:
        raise invalid("page and limit must be whole numbers of at least 1")
    return int(text)


def get_order(call: Call) -> Response:
    """Documented."""
    return 200, call.site.order(call.params["id"]).view()


def cancel_order(call: Call) -> Response:
    """Documented: the route. Invented: it answers with the order."""
    order = call.site.order(call.params["id"])
    call.site.cancel_order(order, call.body.get("reason"))
    call.note("cancel_order", [order.id])
    return 200, order.view()


def list_jobs(call: Call) -> Response:
    """Documented: `status`, a comma list in lower case. Invented: the shape, and that all jobs come."""
    wanted = [word for word in call.request.query_params.get("status", "").upper().split(",") if word]
    found = [job for job in call.site.jobs.values() if not wanted or job.state in wanted]
    return 200, {"jobs": [job.view() for job in found], "total": len(found)}


def get_job(call: Call) -> Response:
    """Documented. Invented: it is the bare job."""
    return 200, call.site.job(call.params["id"]).view()


def release_job(call: Call) -> Response:
    """Documented: the route. Invented: it lets a job that stands still, or failed, go on from QUEUED."""
    job = call.site.job(call.params["id"])
    if job.state in {"SHIPPED", "CANCELLED"}:
        raise PrintStudioError(409, f"Job is {job.state}", "INVALID_TRANSITION", jobId=job.id)
    job.held = False
    job.enter("QUEUED" if job.state == "FAILED" else job.state, call.site.clock.now())
    return 200, job.view()


def advance_jobs(call: Call) -> Response:
    """Documented: the body. Invented: each job for itself, and the response."""
    target = call.body.get("targetStatus")
    if target not in STATES:
        raise invalid(f"targetStatus must be one of: {', '.join(STATES)}")
    now = call.site.clock.now()
    return _each_job(call, "advance_jobs", "advanced", lambda job: job.advance(str(target), now), target)


def cancel_jobs(call: Call) -> Response:
    """Documented: the body. Invented: each job for itself, and the response."""
    reason, now = call.body.get("reason"), call.site.clock.now()
    return _each_job(call, "cancel_jobs", "cancelled", lambda job: job.cancel(reason, now), reason)


def _each_job(call: Call, kind: str, word: str, act: Callable[[PrintJob], None], how: Any) -> Response:
    job_ids = call.items("jobIds", JOBS_CAP)
    done, errors = [], []
    for job_id in job_ids:
        try:
            job = call.site.job(str(job_id))
            act(job)
            done.append({"id": job.id, "status": job.state})
        except PrintStudioError as error:
            errors.append({"jobId": job_id, "error": str(error), "code": error.code})
    call.note(kind, job_ids, how=how)
    return 200, {word: len(done), "failed": len(errors), "jobs": done, "errors": errors}


def list_skus(call: Call) -> Response:
    """Documented: the query. Invented: the shape."""
    query = call.request.query_params
    machine, every = query.get("machineType"), query.get("includeInactive") == "true"
    found = [
        sku
        for sku in call.site.skus.values()
        if (every or sku["active"]) and machine in {None, sku.get("machineType")}
    ]
    return 200, {"skus": found, "total": len(found)}


def import_skus(call: Call) -> Response:
    """Documented: the body and the modes."""
    skus, mode = call.items("skus", SKUS_CAP), call.body.get("mode", "upsert")
    if mode not in MODES:
        raise invalid(f"mode must be one of: {', '.join(MODES)}")
    done = call.site.import_skus(skus, mode)
    call.note("import_skus", [sku["id"] for sku in skus], mode=mode)
    return 200, done


_STAFF, _ADMIN = ("operator", "admin"), ("admin",)
# Invented: which role may do what, but for SKUs, where the documentation's example has an admin key.
ROUTES = (
    Route("POST", "/api/orders/bulk", create_orders, limit="orders"),
    Route("POST", "/api/orders", create_order),
    Route("GET", "/api/orders", list_orders),
    Route("GET", "/api/orders/{id}", get_order),
    Route("POST", "/api/orders/{id}/cancel", cancel_order),
    Route("POST", "/api/jobs/bulk/advance", advance_jobs, _STAFF, "jobs"),
    Route("POST", "/api/jobs/bulk/cancel", cancel_jobs, _STAFF, "jobs"),
    Route("GET", "/api/jobs", list_jobs, _STAFF),
    Route("GET", "/api/jobs/{id}", get_job, _STAFF),
    Route("POST", "/api/jobs/{id}/release", release_job, _STAFF),
    Route("POST", "/api/skus/bulk", import_skus, _ADMIN, "skus"),
    Route("GET", "/api/skus", list_skus),
)
