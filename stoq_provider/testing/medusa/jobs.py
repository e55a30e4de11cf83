"""Batch jobs and what each type of them does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from stoq_provider.testing.medusa.basics import iso_ms

# S: the status is not stored; the last of these that is set gives it.
STAMPS = ("pre_processed_at", "confirmed_at", "processing_at", "completed_at", "canceled_at", "failed_at")
DATES = ("created_at", "updated_at", *STAMPS)


@dataclass
class BatchJob:
    """One batch job. Moments are seconds of job time."""

    id: str
    type: str
    dry_run: bool
    context: dict[str, Any]
    created_by: str
    created_at: float
    updated_at: float
    settings: dict[str, Any]
    result: dict[str, Any] | None = None
    stamps: dict[str, float] = field(default_factory=dict)
    plan: Any = None
    busy_until: float | None = None
    forgotten: bool = False

    @property
    def status(self) -> str:
        """As the server computes it, unless a test put another word there."""
        word = self.settings.get("status_word")
        if word is not None:
            return str(word)
        return next((name[:-3] for name in reversed(STAMPS) if name in self.stamps), "created")

    def mark(self, stamp: str, now: float) -> None:
        """
        Set a time stamp, never before an earlier change.

        A step is due at a tick, which may lie a moment before the request that came between.
        """
        self.stamps[stamp] = self.updated_at = max(now, self.updated_at + 0.001)

    def put(self, **values: Any) -> None:
        """Merge into the result, which is null at first."""
        self.result = {**(self.result or {}), **values}

    def moment(self, name: str) -> float | None:
        """Any of `DATES`."""
        return {"created_at": self.created_at, "updated_at": self.updated_at}.get(name, self.stamps.get(name))

    def view(self, *, listed: bool = False) -> dict[str, Any]:
        """
        As the API shows it.

        :param listed: a list does not select `dry_run`, which then reads false (M)
        """
        return {
            "dry_run": self.dry_run and not listed,
            "id": self.id,
            "created_at": iso_ms(self.created_at),
            "updated_at": iso_ms(self.updated_at),
            "deleted_at": None,
            "type": self.type,
            "created_by": self.created_by,
            "context": self.context,
            "result": self.result,
            **{name: iso_ms(self.stamps.get(name)) for name in STAMPS},
            "status": self.status,
        }


class ServerDied(Exception):
    """A step took the server's process with it."""


class Strategy(Protocol):
    """What a type of job does."""

    def pre_process(self, job: BatchJob) -> None:
        """Find out what there is to do. Raises `StepFailed` or `ServerDied`."""

    def process(self, job: BatchJob, now: float) -> None:
        """Do it. Raises `StepFailed`."""
