"""
The trigger event: how waiting ended, for each job.

An event crosses processes and a database, and may come from another version of this package, so it is
validated when it is read. It holds no secret: the download URL is asked for again on the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.core.http import MalformedAnswer
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.core.models import JobHandle, JobStatus, from_iso, iso

VERSION = 1


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How waiting for one job ended; ``text`` in the server's words where it had any."""

    handle: JobHandle
    outcome: Outcome
    status: JobStatus | None = None
    text: str = ""
    http_status: int | None = None
    seen_at: float | None = None

    @classmethod
    def of(cls, progress: JobProgress) -> JobEnd:
        """Read it from a progress that has ended."""
        assert progress.outcome is not None
        return cls(
            progress.handle,
            progress.outcome,
            progress.status,
            progress.text,
            progress.http_status,
            progress.seen_at,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "handle": self.handle.to_dict(),
            "outcome": self.outcome.value,
            "status": None if self.status is None else self.status.to_dict(),
            "text": self.text,
            "http_status": self.http_status,
            "seen_at": None if self.seen_at is None else iso(self.seen_at),
        }

    @classmethod
    def from_dict(cls, value: Any) -> JobEnd:
        """
        Read the JSON form.

        :raises MalformedAnswer: where it is not that.
        """
        if not isinstance(value, Mapping):
            raise MalformedAnswer(f"the end of a job is a mapping, not {type(value).__name__}")
        status, seen_at = value.get("status"), value.get("seen_at")
        return cls(
            handle=JobHandle.from_dict(value["handle"]),
            outcome=Outcome(value["outcome"]),
            status=None if status is None else JobStatus.from_dict(status),
            text=str(value.get("text") or ""),
            http_status=value.get("http_status"),
            seen_at=None if seen_at is None else from_iso(seen_at),
        )


@dataclass(frozen=True, slots=True)
class WaitEvent:
    """How waiting for all jobs of a task ended, and what it cost; ``state`` is the task's own."""

    ends: tuple[JobEnd, ...]
    points_spent: int = 0
    points_left: int | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    version: int = field(default=VERSION)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, the payload of a ``TriggerEvent``."""
        return {
            "version": self.version,
            "jobs": [end.to_dict() for end in self.ends],
            "points_spent": self.points_spent,
            "points_left": self.points_left,
            "state": dict(self.state),
        }

    @classmethod
    def from_dict(cls, value: Any) -> WaitEvent:
        """
        Read the JSON form.

        :raises MalformedAnswer: where it is not that, or of another version.
        """
        if not isinstance(value, Mapping) or value.get("version") != VERSION:
            raise MalformedAnswer(f"not a trigger event of this package (version {VERSION}): {type(value)}")
        try:
            return cls(
                ends=tuple(JobEnd.from_dict(job) for job in value["jobs"]),
                points_spent=int(value["points_spent"]),
                points_left=value.get("points_left"),
                state=dict(value["state"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedAnswer(f"not a trigger event of this package: {error!r}") from error
