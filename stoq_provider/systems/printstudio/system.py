"""
PrintStudio: orders and production of a print shop, self-hosted.

Pages in brackets are those of printstudio-docs.pages.dev. What is inferred or unknown stands in
:data:`ASSUMPTIONS`; ``extra_body`` of the operators overrides what is sent. Bulk calls are in :mod:`.bulk`,
states in :mod:`.states`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from stoq_provider.core.http import MalformedResponse, Request
from stoq_provider.core.ids import TEXTS, check_ids
from stoq_provider.core.lifecycle import WatchRules
from stoq_provider.core.models import JobHandle, JobStatus
from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.core.submission import Submission
from stoq_provider.systems.base import Assumption, System
from stoq_provider.systems.payload import optional_text
from stoq_provider.systems.printstudio.bulk import REPEAT_SAFETY, ROUTE_LIMITS, ROUTES
from stoq_provider.systems.printstudio.responses import read_result
from stoq_provider.systems.printstudio.states import COURSES, Goal

ASSUMPTIONS: Mapping[str, Assumption] = {
    "bulk.synchronous": Assumption(
        "yes", "I", "no page shows a handle, every example ends with the response"
    ),
    "bulk.responses": Assumption("lenient", "U", "only the response to new orders is shown"),
    "advance.repeat": Assumption("safe", "I", "a state is set, not counted up"),
    "cancel.repeat": Assumption("safe", "I", "a cancelled job stays cancelled"),
    "skus.repeat": Assumption("safe", "I", "upsert and append go by id"),
    "orders.more_keys": Assumption(
        "kept", "I", "options, shippingAddress and notes, as in the single create"
    ),
    "job.shape": Assumption("{id, status}", "I", "the shape of one print job is not shown; an order's is"),
    "list.by_ids": Assumption(
        "none", "D", "lists filter by state and customer; each thing is read by itself"
    ),
    "poll.seconds": Assumption(15.0, "I", "for ten minutes, then four times that: printing takes hours"),
    "admin.url": Assumption(
        "{origin}/",
        "I",
        "[authentication] the dashboard signs in at the API's origin; its path is not documented. The "
        "connection's admin_url names another",
    ),
    "rate.standard": Assumption(300, "D", "[overview] a minute, configurable; the headers tell the truth"),
}
_SECONDS = ASSUMPTIONS["poll.seconds"].value


class PrintStudio(System):
    """PrintStudio: bulk calls without jobs, print jobs and orders that can be waited for."""

    name = "printstudio"
    label = "PrintStudio"
    admin_url = ASSUMPTIONS["admin.url"].value
    base_path = "/api"
    key_header = "X-API-Key"
    """The key has a role, and too low a role is refused with 403 (D [authentication])."""
    points = PointsRules(limit=ASSUMPTIONS["rate.standard"].value, window=60.0)
    route_limits = ROUTE_LIMITS
    rules = WatchRules(record_life=math.inf)
    usual_cadence = Cadence(then=4 * _SECONDS, steps=((600.0, _SECONDS),))
    repeats = REPEAT_SAFETY

    def route_limit(self, request: Request) -> str | None:
        """Bulk routes have limits of their own (D [bulk])."""
        path = urlsplit(request.url).path.removeprefix(self.base_path)
        found = (route.limit for route in ROUTES.values() if route.path == path)
        return next(found, None) if request.method == "POST" else None

    def read_submission(self, payload: Any, submission: Submission, now: float) -> JobHandle:
        """Read the result of a bulk call; the name of the call is ours, since the server gives none."""
        name = self.call_name(submission)
        return JobHandle(
            system=self.name,
            kind=submission.kind,
            job_id=name,
            status_url=f"{self.base_path}{submission.path}",
            item_count=submission.item_count,
            submitted_at=now,
            result=read_result(payload, submission, name),
        )

    def call_name(self, submission: Submission) -> str:
        """Name a bulk call by what it sends."""
        return f"{submission.kind.partition(':')[0]}-{submission.digest()[:12]}"

    def read_status(self, payload: Any, handle: JobHandle) -> JobStatus:
        """
        Read a print job or an order (D [orders]; of print jobs the shape is inferred).

        ``details`` holds the state as the server spells it.
        """
        goal = Goal.of_kind(handle.kind)
        if goal is None:
            raise MalformedResponse(
                f"the response to {handle.kind} at PrintStudio is its result; there is no job to ask for"
            )
        found = unwrapped(payload)
        named = str(found.get("id", handle.job_id))
        word, _ = self.read_word({"id": named, "status": optional_text(found, "status", "state")}, handle)
        state, error = goal.judge(word)
        return JobStatus(handle.job_id, word, state, error=error, details={"status": word})

    def handles(self, goal: Goal, ids: Any) -> list[JobHandle]:
        """
        Make handles of ids of print jobs or orders, to be waited for.

        :raises InvalidInput: where they are no ids.
        """
        what = f"{goal.course.name}s"
        checked = check_ids(ids, what=what, most=100_000, kind=TEXTS)
        base = f"{self.base_path}{goal.course.path}"
        return [
            JobHandle(self.name, goal.kind, item, f"{base}/{quote(item, safe='')}") for item in checked.ids
        ]

    def handle_of_url(self, url: str) -> JobHandle:
        """Make a handle of the URL of a print job or an order, to be waited for until it is shipped."""
        handle = super().handle_of_url(url)
        kind = "order" if "/orders/" in handle.status_url else "print_job"
        return replace(handle, kind=Goal(COURSES[kind], (COURSES[kind].course[-1],)).kind)


def unwrapped(payload: Any) -> Mapping[str, Any]:
    """Return a print job or an order, bare or under a key of its own (bare: D for orders)."""
    if not isinstance(payload, Mapping):
        return {}
    inner = next((payload[key] for key in ("job", "order") if isinstance(payload.get(key), Mapping)), None)
    return payload if inner is None else inner
