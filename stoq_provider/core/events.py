"""
The trigger event: how waiting ended, for each job.

An event crosses processes and a database, and may come from another version of this package, so it is
validated when it is read. It holds no secret: the download URL is asked for again on the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.core.forms import JsonForm, Time, VersionedForm
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.core.models import JobHandle, JobStatus

STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class JobEnd(JsonForm):
    """How waiting for one job ended; ``text`` in the server's words where it had any."""

    handle: JobHandle
    outcome: Outcome
    status: JobStatus | None = None
    text: str = ""
    http_status: int | None = None
    seen_at: Time | None = None

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


@dataclass(frozen=True, slots=True)
class WaitState(JsonForm):
    """
    What a task wants to find again when its jobs have ended; it travels through trigger and event.

    Only ``started_at`` is required. A key that is missing has its default, since a sensor, or an older
    release, had nothing to put there; a key that is unknown is ignored, so that a worker can go on with what
    a newer release deferred. What changes the meaning of a key raises :data:`STATE_VERSION`, which the worker
    that deferred writes: the triggerer in between may run another release.

    :param started_at: when the try began, in Unix seconds, for the manifest.
    :param destination: where files go, as it was rendered when the try began.
    :param request: what an export was asked for, with its dates, for the manifest.
    :param deadline: Unix seconds; for a task that may wait once more.
    :param limit: the parameter that set the deadline, for messages.
    :param kind: of the jobs, for the manifest; empty: that of the first job.
    :param ended: jobs that had ended before the task deferred.
    :param records: keys of the records of the jobs.
    :param notes: keys of what else was kept for the next try.
    :param points_spent: on the worker, before the task deferred.
    :param decided: whether jobs that waited for a decision have been given it.
    :param from_trigger: whether no worker has seen the task yet: it started in the triggerer.
    :param version: of what the keys mean; the first release wrote none, and 1 is meant.
    """

    started_at: float
    destination: str | None = None
    deadline: float = 0.0
    kind: str = ""
    ended: tuple[JobEnd, ...] = ()
    records: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    points_spent: int = 0
    decided: bool = False
    limit: str = "timeout"
    request: Mapping[str, Any] | None = field(default=None, hash=False)
    from_trigger: bool = False
    version: int = STATE_VERSION

    @classmethod
    def from_dict(cls, value: Any) -> WaitState:
        """
        Read the JSON form.

        :raises MalformedResponse: where it is not that, or of another version.
        """
        form = {"version": 1, **value} if isinstance(value, Mapping) else value
        state = super(WaitState, cls).from_dict(form)
        if state.version != STATE_VERSION:
            raise MalformedResponse(f"the state of a task is of version {state.version}, not {STATE_VERSION}")
        return state


NO_STATE = WaitState(started_at=0.0)
"""Of an event whose state is put into it as the trigger got it."""


@dataclass(frozen=True, slots=True)
class WaitEvent(VersionedForm):
    """How waiting for all jobs of a task ended, and what it cost; ``state`` is the task's own."""

    ends: tuple[JobEnd, ...]
    points_spent: int
    state: WaitState
    points_left: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, the payload of a ``TriggerEvent``; it calls the ends ``jobs``."""
        form = super(WaitEvent, self).to_dict()
        return {"jobs": form.pop("ends"), **form}

    @classmethod
    def from_dict(cls, value: Any) -> WaitEvent:
        """
        Read the JSON form.

        :raises MalformedResponse: where it is not that, or of another version.
        """
        form = {**value, "ends": value["jobs"]} if isinstance(value, Mapping) and "jobs" in value else value
        try:
            return super(WaitEvent, cls).from_dict(form)
        except MalformedResponse as error:
            raise MalformedResponse(f"not a trigger event of this package: {error}") from error
