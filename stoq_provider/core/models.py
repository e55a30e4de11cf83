"""
The two forms in which a job is known: the handle we keep, the status the server tells.

Both have a JSON form, because handles go through XCom and both through trigger events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from stoq_provider.core.http import MalformedAnswer


class JobState(str, Enum):
    """What a status word means, in any system."""

    RUNNING = "running"
    WAITING = "waiting"
    """The job waits for a decision of the client (Medusa's dry run)."""
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    """Ended well with leftovers (SureCart's ``completed``)."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """A status that is not listed: polling goes on, the deadline decides."""


@dataclass(frozen=True, slots=True)
class JobHandle:
    """
    What we keep of a job; goes through XCom as :meth:`to_dict`, since Airflow reads no other classes from it.

    :param kind: what was asked for, such as ``"export:revenue"`` or ``"bulk_release"``.
    :param job_id: opaque.
    :param status_url: where to poll, as the server gave it; followed, never built.
    :param item_count: items the server says it accepted; ``None`` for exports.
    :param submitted_at: Unix seconds; ``None`` where only a status URL is known.
    :param result: how it ended, where the response to the submission has that already. Not in the JSON
        form: the record of the submission keeps it.
    """

    system: str
    kind: str
    job_id: str
    status_url: str
    item_count: int | None = None
    submitted_at: float | None = None
    result: JobStatus | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, value: JobHandle | Mapping[str, Any]) -> JobHandle:
        """Return a handle that is given as one, or in its JSON form as :meth:`from_dict` reads it."""
        return value if isinstance(value, JobHandle) else cls.from_dict(value)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, ``submitted_at`` as ISO 8601 in UTC."""
        at = self.submitted_at
        return {
            "system": self.system,
            "kind": self.kind,
            "job_id": self.job_id,
            "status_url": self.status_url,
            "item_count": self.item_count,
            "submitted_at": None if at is None else iso(at),
        }

    @classmethod
    def from_dict(cls, value: Any) -> JobHandle:
        """
        Read the JSON form.

        :raises MalformedAnswer: where a field is missing or of the wrong kind.
        """
        if not isinstance(value, Mapping):
            raise MalformedAnswer(f"a job handle is a mapping, not {type(value).__name__}")
        for key in ("system", "kind", "job_id", "status_url"):
            if not isinstance(value.get(key), str) or not value[key]:
                raise MalformedAnswer(f"a job handle needs {key!r} as text; it has {sorted(map(str, value))}")
        count, at = value.get("item_count"), value.get("submitted_at")
        if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
            raise MalformedAnswer("item_count of a job handle must be a whole number or null")
        return cls(
            system=value["system"],
            kind=value["kind"],
            job_id=value["job_id"],
            status_url=value["status_url"],
            item_count=count,
            submitted_at=None if at is None else from_iso(at),
        )


@dataclass(frozen=True, slots=True)
class JobStatus:
    """
    One answer about a job.

    ``word`` is the server's own status, ``state`` what it means. ``progress`` in percent, ``total`` and
    ``processed`` in items (attempted, not succeeded: STOQ swallows the errors of single items).
    ``download_url`` is a bearer secret: it is in no repr and not in :meth:`to_dict`. ``details`` holds what
    only this system tells, as a small JSON object that can go through a trigger event and XCom; a list
    ``errors`` in it holds objects with a ``message``.
    """

    job_id: str
    word: str
    state: JobState
    progress: float | None = None
    total: int | None = None
    processed: int | None = None
    error: str | None = None
    file_name: str | None = None
    row_count: int | None = None
    download_url: str | None = field(default=None, repr=False)
    details: Mapping[str, Any] | None = field(default=None, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the download URL; ``details`` only where there are any."""
        plain: dict[str, Any] = {
            "job_id": self.job_id,
            "word": self.word,
            "state": self.state.value,
            "progress": self.progress,
            "total": self.total,
            "processed": self.processed,
            "error": self.error,
            "file_name": self.file_name,
            "row_count": self.row_count,
        }
        return {**plain, "details": dict(self.details)} if self.details else plain

    @classmethod
    def from_dict(cls, value: Any) -> JobStatus:
        """
        Read the JSON form.

        :raises MalformedAnswer: where a field is missing or of the wrong kind.
        """
        if not isinstance(value, Mapping):
            raise MalformedAnswer(f"a job status is a mapping, not {type(value).__name__}")
        for name, types in _STATUS_FIELDS.items():
            if value.get(name) is not None and not isinstance(value[name], types):
                raise MalformedAnswer(f"{name!r} of a job status can't be a {type(value[name]).__name__}")
        try:
            known = {name: value.get(name) for name in _STATUS_FIELDS}
            return cls(job_id=value["job_id"], word=value["word"], state=JobState(value["state"]), **known)
        except (KeyError, ValueError) as error:
            raise MalformedAnswer(f"not the form of a job status: {error}") from error

    @property
    def error_texts(self) -> tuple[str, ...]:
        """Every error of the job, in the words of the server."""
        listed = (self.details or {}).get("errors") or ()
        texts = tuple(str(e["message"]) for e in listed if isinstance(e, Mapping) and e.get("message"))
        return texts or ((self.error,) if self.error else ())

    def describe(self) -> str:
        """Say state and progress in one phrase, such as ``running, 12 of 47 items``."""
        if self.total is not None and self.processed is not None:
            return f"{self.word}, {self.processed} of {self.total} items"
        if self.row_count is not None:
            return f"{self.word}, {self.row_count} rows"
        if self.progress is not None:
            return f"{self.word}, {self.progress:g} %"
        return self.word


_STATUS_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "progress": (int, float),
    "total": int,
    "processed": int,
    "error": str,
    "file_name": str,
    "row_count": int,
    "details": Mapping,
}


def iso(at: float) -> str:
    """Write Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


def from_iso(text: Any) -> float:
    """
    Read ISO 8601 with an offset.

    :raises MalformedAnswer: where it is not that.
    """
    try:
        at = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError as error:
        raise MalformedAnswer(f"not an ISO 8601 time: {text!r}") from error
    if at.tzinfo is None:
        raise MalformedAnswer(f"a time without an offset: {text!r}")
    return at.timestamp()
