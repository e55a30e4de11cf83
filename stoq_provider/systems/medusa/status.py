"""How Medusa v1 writes down a batch job: the parts of it that are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoq_provider.core.error_text import hide_queries, message_of, one_line
from stoq_provider.core.forms import from_iso
from stoq_provider.core.http import MalformedResponse
from stoq_provider.systems.payload import is_count, optional_int, optional_text

LONGEST_LIST, LONGEST_TEXT = 20, 500
"""What is kept of the lists and texts in a job's result."""


def job_of(payload: Any) -> Mapping[str, Any]:
    """
    Return the job of a response.

    :raises MalformedResponse: where there is none.
    """
    job = payload.get("batch_job") if isinstance(payload, Mapping) else None
    if not isinstance(job, Mapping):
        raise MalformedResponse("the response has no 'batch_job'")
    return job


def details_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a person or a policy wants to know of a result, bounded; other fields are left out."""
    operations = result.get("operations")
    counts = operations.items() if isinstance(operations, Mapping) else ()
    details: dict[str, Any] = {
        "stat_descriptors": [
            {name: _short(entry[name]) for name in ("key", "name", "message") if name in entry}
            for entry in _beginning(result.get("stat_descriptors"))
            if isinstance(entry, Mapping)
        ],
        "operations": dict(_beginning([(str(k)[:80], v) for k, v in counts if is_count(v)])),
        "errors": [_error(error) for error in _beginning(result.get("errors"))],
        "file_key": optional_text(result, "file_key"),
        "file_size": optional_int(result, "file_size"),
    }
    return {name: value for name, value in details.items() if value not in (None, [], {})}


def _beginning(value: Any) -> list[Any]:
    return value[:LONGEST_LIST] if isinstance(value, list) else []


def _error(error: Any) -> dict[str, str]:
    """Read an error: a text (M), or ``{"message", "code", "err"}`` (S)."""
    code = error.get("code") if isinstance(error, Mapping) else None
    read = {"message": _short(message_of(error))}
    return {**read, "code": _short(code)} if code else read


def _short(value: Any) -> str:
    return one_line(hide_queries(str(value)), LONGEST_TEXT)


def is_before(first: Any, second: Any) -> bool:
    """Whether both times are set, and the first is not the later one."""
    try:
        return bool(first and second) and from_iso(first) <= from_iso(second)
    except MalformedResponse:
        return False


def cancelled_late(job: Mapping[str, Any]) -> str | None:
    """Tell of a job that was cancelled while it worked: it went on to its end, as nothing else says (M)."""
    if job.get("status") == "canceled" and job.get("completed_at"):
        return f"its work was done all the same, at {str(job['completed_at'])[:40]}"
    return None
