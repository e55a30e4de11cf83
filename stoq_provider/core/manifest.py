"""What a finished task returns: jobs, files, totals and cost, in a form that XCom can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from stoq_provider.core.events import JobEnd
from stoq_provider.core.forms import iso

SCHEMA_VERSION = 1
PARQUET = ".parquet"
_CSV = re.compile(r"(\.csv)?(\.gz)?\Z", re.IGNORECASE)


def manifest(
    *,
    system: str,
    kind: str,
    ends: Iterable[JobEnd],
    files: Iterable[Mapping[str, Any]] = (),
    unchanged_items: Iterable[Any] = (),
    request: Mapping[str, Any] | None = None,
    points_spent: int = 0,
    started_at: float,
    finished_at: float,
) -> dict[str, Any]:
    """
    Build the manifest.

    :param files: ``{"uri", "file_name", "bytes", "rows", "sha256"}`` of each stored file.
    :param request: ``{"report", "filters"}`` of an export, as it was sent; ``None``: it has none.
    :param points_spent: points of the shop that the task itself spent, polls included.
    :return: a JSON object; ``totals`` sums up ``jobs`` and ``files``. The rows of a result that is stored as
        CSV and as Parquet beside it count once, its bytes as those of two files. A job has ``details`` only
        where its system tells more than the others do.
    """
    jobs = [_job(end) for end in ends]
    stored = [dict(file) for file in files]
    return {
        "schema_version": SCHEMA_VERSION,
        "system": system,
        "kind": kind,
        **({} if request is None else {"request": dict(request)}),
        "jobs": jobs,
        "files": stored,
        "totals": {
            "jobs": len(jobs),
            "total": _sum(job["total"] for job in jobs),
            "processed": _sum(job["processed"] for job in jobs),
            "files": len(stored),
            "bytes": sum(file["bytes"] for file in stored),
            "rows": _rows(stored),
        },
        "unchanged_items": list(unchanged_items),
        "points_spent": points_spent,
        "started_at": iso(started_at),
        "finished_at": iso(finished_at),
    }


def parquet_name(name: str) -> str:
    """Return the name of the Parquet beside a CSV of that ``name``; paths and URIs will do as well."""
    return name if _is_parquet(name) else _CSV.sub("", name) + PARQUET


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(PARQUET)


def _job(end: JobEnd) -> dict[str, Any]:
    status = end.status
    job: dict[str, Any] = {
        "job_id": end.handle.job_id,
        "outcome": end.outcome.value,
        "total": status.total if status else None,
        "processed": status.processed if status else None,
        "error": (status.error if status else None) or (None if end.outcome.good else end.text or None),
    }
    return {**job, "details": dict(status.details)} if status and status.details else job


def _rows(files: Iterable[Mapping[str, Any]]) -> int:
    by_uri = [(str(file["uri"]), int(file["rows"])) for file in files]
    twins = {parquet_name(uri) for uri, _ in by_uri if not _is_parquet(uri)}
    return sum(rows for uri, rows in by_uri if uri not in twins)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
