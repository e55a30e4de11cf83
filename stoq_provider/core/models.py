"""
The two forms in which a job is known: the handle we keep, the status the server tells.

Both have a JSON form, because handles go through XCom and both through trigger events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from stoq_provider.core.forms import JsonForm, Time


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
class JobHandle(JsonForm):
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
    submitted_at: Time | None = None
    result: JobStatus | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, value: JobHandle | Mapping[str, Any]) -> JobHandle:
        """Return a handle that is given as one, or in its JSON form as :meth:`from_dict` reads it."""
        return value if isinstance(value, JobHandle) else cls.from_dict(value)


@dataclass(frozen=True, slots=True)
class JobStatus(JsonForm):
    """
    One response about a job.

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
        plain = JsonForm.to_dict(self)
        return plain if self.details else {name: plain[name] for name in plain if name != "details"}

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
