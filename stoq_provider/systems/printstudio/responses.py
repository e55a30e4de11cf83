"""
What the response to a bulk call of PrintStudio tells.

The response to every bulk call is its result; there is no job to wait for (I: the page [bulk] of
printstudio-docs.pages.dev shows none). Only the response to new orders is documented. The others are read
leniently (U): counts or lists of what was done and of what ``failed``, rows with an ``error``, and an
``error`` or ``success: false`` of the whole are looked for; a response of another shape counts as success.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.models import JobState, JobStatus
from stoq_provider.core.submission import Submission
from stoq_provider.systems.payload import is_count

ERRORS_KEPT = 20
"""Errors of single items that a manifest names for each call."""

_DONE = (
    "created",
    "updated",
    "upserted",
    "imported",
    "appended",
    "advanced",
    "cancelled",
    "canceled",
    "skipped",
)
_COUNTED = ("advance_jobs", "cancel_jobs")
"""Kinds whose counts can't leave out what had to be done: SKUs that are known already may well be."""

_ROWS = ("orders", "jobs", "skus", "results")


def read_result(payload: Any, submission: Submission, job_id: str) -> JobStatus:
    """
    Read the response as the end of a job.

    New orders: ``{"created", "failed", "orders": [{"id", "status"}]}`` (D [bulk]). ``details`` holds
    ``counts``, ``orders`` and ``errors``, each where there are any.

    :param job_id: our name of the call.
    :raises MalformedResponse: where a response to new orders does not say how many there are.
    """
    response = payload if isinstance(payload, Mapping) else {}
    counts = _counts(response)
    rows = _rows(response)
    bad = _bad_items(response, rows)
    errors = [_error(item) for item in bad[:ERRORS_KEPT]]
    total = submission.item_count or 0
    done = [value for key, value in counts.items() if key != "failed"]
    failed = max(counts.get("failed", 0), len(bad))
    if response.get("success") is False or (response.get("error") and not any(done) and not rows):
        failed = total
        errors = errors or [_error(response)]
    elif done and submission.kind.partition(":")[0] in _COUNTED:
        failed = max(failed, total - sum(done))
    details: dict[str, Any] = {"counts": counts, "errors": errors}
    if submission.kind == "create_orders":
        if "created" not in counts:
            raise MalformedResponse("the response does not say how many orders were created")
        failed = max(failed, total - counts["created"])
        details["orders"] = [{"id": row.get("id"), "status": row.get("status")} for row in rows]
    state = _state(failed, total, done)
    first = f"; the first: {errors[0]['message']}" if errors else ""
    return JobStatus(
        job_id=job_id,
        word=_WORDS[state],
        state=state,
        total=total,
        processed=max(0, total - failed),
        error=f"{failed} of {total} items failed{first}" if failed else None,
        details={key: value for key, value in details.items() if value} or None,
    )


_WORDS = {
    JobState.SUCCEEDED: "done",
    JobState.PARTIAL: "done in part",
    JobState.FAILED: "nothing done",
}


def _state(failed: int, total: int, done: Sequence[int]) -> JobState:
    if not failed:
        return JobState.SUCCEEDED
    none_done = failed >= total or (bool(done) and not any(done))
    return JobState.FAILED if none_done else JobState.PARTIAL


def _counts(response: Mapping[str, Any]) -> dict[str, int]:
    given = {key: response.get(key) for key in (*_DONE, "failed")}
    sizes = {key: len(value) if isinstance(value, list) else value for key, value in given.items()}
    return {key: size for key, size in sizes.items() if is_count(size)}


def _rows(response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = next((response[key] for key in _ROWS if isinstance(response.get(key), list)), ())
    return [row for row in rows if isinstance(row, Mapping)]


def _bad_items(response: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Return what the response says of each item that failed, wherever it says so."""
    listed = [
        response[key] for key in ("errors", "failures", "failed") if isinstance(response.get(key), list)
    ]
    found = [entry for entries in listed for entry in entries]
    return found or [row for row in rows if _is_bad(row)]


def _is_bad(row: Mapping[str, Any]) -> bool:
    return bool(row.get("error")) or row.get("success") is False or row.get("status") in ("failed", "error")


def _error(entry: Any) -> dict[str, Any]:
    """Return ``{"id", "message"}`` of an item that failed."""
    if not isinstance(entry, Mapping):
        return {"id": None, "message": str(entry)[:300]}
    text = next((entry[key] for key in ("message", "error", "code", "status") if entry.get(key)), "failed")
    item = next((entry[key] for key in ("id", "jobId", "skuId", "orderId", "index") if key in entry), None)
    return {"id": item, "message": str(text)[:300]}
