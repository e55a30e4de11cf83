"""
The one state machine of a job.

A :class:`JobWatch` is what is known of one job. :func:`advance` takes what one poll brought and returns
the next watch. Whether a job has ended, and how, is decided here and nowhere else, for the waiting worker
and for the trigger alike. The rules are the outcome table of the design.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from stoq_provider.core.http import Answer, ProblemKind
from stoq_provider.core.models import JobHandle, JobState, JobStatus


class Outcome(str, Enum):
    """How waiting for a job ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    WAITING = "waiting"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    UNHEALTHY = "unhealthy"
    DENIED = "denied"
    TIMEOUT = "timeout"

    @property
    def good(self) -> bool:
        """Whether the task may go on with the result."""
        return self in (Outcome.SUCCEEDED, Outcome.PARTIAL, Outcome.WAITING)

    @property
    def final(self) -> bool:
        """Whether the remote job is over; otherwise only our waiting is."""
        return self in (
            Outcome.SUCCEEDED,
            Outcome.PARTIAL,
            Outcome.FAILED,
            Outcome.CANCELLED,
            Outcome.EXPIRED,
        )


_ENDS = {
    JobState.WAITING: Outcome.WAITING,
    JobState.SUCCEEDED: Outcome.SUCCEEDED,
    JobState.PARTIAL: Outcome.PARTIAL,
    JobState.FAILED: Outcome.FAILED,
    JobState.CANCELLED: Outcome.CANCELLED,
}


def outcome_of(state: JobState) -> Outcome | None:
    """Return how a job in that state has ended; ``None``: it has not."""
    return _ENDS.get(state)


class SightKind(str, Enum):
    """What kind of thing one poll brought."""

    SEEN = "seen"
    MISSING = "missing"
    DENIED = "denied"
    THROTTLED = "throttled"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one poll of one job brought. ``retry_after`` in seconds, only when throttled."""

    kind: SightKind
    status: JobStatus | None = None
    text: str = ""
    http_status: int | None = None
    retry_after: float | None = None

    @classmethod
    def seen(cls, status: JobStatus) -> Sight:
        """Make the sight of a readable status."""
        return cls(SightKind.SEEN, status)

    @classmethod
    def bad(cls, text: str) -> Sight:
        """Make the sight of an answer that can't be read."""
        return cls(SightKind.BAD, None, text)

    @classmethod
    def of_problem(cls, answer: Answer) -> Sight:
        """Make the sight of an answer that is not a status."""
        problem = answer.problem
        assert problem is not None
        kind = {
            ProblemKind.NOT_FOUND: SightKind.MISSING,
            ProblemKind.AUTHENTICATION: SightKind.DENIED,
            ProblemKind.RATE_LIMITED: SightKind.THROTTLED,
        }.get(problem.kind, SightKind.BAD)
        return cls(kind, None, problem.text, problem.http_status, answer.rate_limit.retry_after)


@dataclass(frozen=True, slots=True)
class WatchRules:
    """
    Patience, in seconds.

    :param grace: how long a job just submitted may be unknown to the server (whether STOQ ever answers
        so is not documented).
    :param unhealthy_after: how long without any good answer.
    :param record_life: how long the server keeps a record after the end (24 h: documented, bulk page).
    """

    grace: float = 30.0
    unhealthy_after: float = 900.0
    record_life: float = 86_400.0


@dataclass(frozen=True, slots=True)
class JobWatch:
    """
    What is known of one job.

    :param started_at: when this wait began.
    :param seen_at: when the server last gave a readable status, also in an earlier wait.
    :param bad_since: when the present row of bad answers began.
    :param status: the last readable status of this wait.
    :param text: why the wait ended, in the server's words where it had any.
    """

    handle: JobHandle
    started_at: float
    seen_at: float | None = None
    bad_since: float | None = None
    bad_count: int = 0
    status: JobStatus | None = None
    outcome: Outcome | None = None
    text: str = ""
    http_status: int | None = None

    @property
    def ended(self) -> bool:
        """Whether there is nothing to poll for any more."""
        return self.outcome is not None


def advance(watch: JobWatch, sight: Sight, now: float, rules: WatchRules) -> JobWatch:
    """Return what is known after one more poll."""
    watch = replace(watch, http_status=sight.http_status)
    if sight.kind is SightKind.SEEN:
        assert sight.status is not None
        return _saw(watch, sight.status, now)
    if sight.kind is SightKind.DENIED:
        return replace(watch, outcome=Outcome.DENIED, text=sight.text)
    if sight.kind is SightKind.THROTTLED:
        return watch
    if sight.kind is SightKind.MISSING:
        return _missed(watch, sight, now, rules)
    return _got_nothing(watch, sight, now, rules, Outcome.UNHEALTHY)


def give_up(watch: JobWatch) -> JobWatch:
    """End the wait because the deadline has passed."""
    return watch if watch.ended else replace(watch, outcome=Outcome.TIMEOUT)


def _saw(watch: JobWatch, status: JobStatus, now: float) -> JobWatch:
    return replace(
        watch,
        status=status,
        seen_at=now,
        bad_since=None,
        bad_count=0,
        outcome=_ENDS.get(status.state),
        text=status.error or "",
    )


def _missed(watch: JobWatch, sight: Sight, now: float, rules: WatchRules) -> JobWatch:
    """A 404: too early, a passing fault, an unknown job, or a record that has expired."""
    submitted_at = watch.handle.submitted_at
    last_sign = watch.seen_at if watch.seen_at is not None else submitted_at
    if last_sign is not None and now - last_sign >= rules.record_life:
        return replace(watch, outcome=Outcome.EXPIRED, text=sight.text)
    if watch.seen_at is not None:
        return _got_nothing(watch, sight, now, rules, Outcome.NOT_FOUND)
    began = submitted_at if submitted_at is not None else watch.started_at
    if now - began < rules.grace:
        return replace(watch, text=sight.text)
    return replace(watch, outcome=Outcome.NOT_FOUND, text=sight.text)


def _got_nothing(watch: JobWatch, sight: Sight, now: float, rules: WatchRules, end: Outcome) -> JobWatch:
    since = now if watch.bad_since is None else watch.bad_since
    too_long = now - since >= rules.unhealthy_after
    return replace(
        watch,
        bad_since=since,
        bad_count=watch.bad_count + 1,
        outcome=end if too_long else None,
        text=sight.text,
    )
