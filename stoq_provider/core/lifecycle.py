"""
The one state machine of a job.

A :class:`JobProgress` is what is known of one job. :func:`advance` takes what one poll brought and returns
the next progress. Whether a job has ended, and how, is decided here and nowhere else, for the waiting worker
and for the trigger alike. The rules: docs/outcomes.md, "What happens when".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from stoq_provider.core.http import Decoded, ProblemKind
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


def outcome_of(state: JobState) -> Outcome | None:
    """Return how a job in that state has ended; ``None``: it has not."""
    return None if state in (JobState.RUNNING, JobState.UNKNOWN) else Outcome(state.value)


class PollResultKind(str, Enum):
    """What kind of thing one poll brought."""

    SEEN = "seen"
    MISSING = "missing"
    DENIED = "denied"
    THROTTLED = "throttled"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class PollResult:
    """What one poll of one job brought. ``retry_after`` in seconds, only when throttled."""

    kind: PollResultKind
    status: JobStatus | None = None
    text: str = ""
    http_status: int | None = None
    retry_after: float | None = None

    @classmethod
    def seen(cls, status: JobStatus) -> PollResult:
        """Make the result of a readable status."""
        return cls(PollResultKind.SEEN, status)

    @classmethod
    def bad(cls, text: str) -> PollResult:
        """Make the result of a response that can't be read."""
        return cls(PollResultKind.BAD, None, text)

    @classmethod
    def of_problem(cls, response: Decoded) -> PollResult:
        """Make the result of a response that is not a status."""
        problem = response.problem
        assert problem is not None
        kind = {
            ProblemKind.NOT_FOUND: PollResultKind.MISSING,
            ProblemKind.AUTHENTICATION: PollResultKind.DENIED,
            ProblemKind.RATE_LIMITED: PollResultKind.THROTTLED,
        }.get(problem.kind, PollResultKind.BAD)
        return cls(kind, None, problem.text, problem.http_status, response.rate_limit.retry_after)


@dataclass(frozen=True, slots=True)
class WatchRules:
    """
    Patience, in seconds.

    :param grace: how long a job just submitted may be unknown to the server (whether that ever
        happens at STOQ is not documented).
    :param unhealthy_after: how long without any good response.
    :param record_life: how long the server keeps a record after the end (24 h: documented, bulk page).
    """

    grace: float = 30.0
    unhealthy_after: float = 900.0
    record_life: float = 86_400.0


@dataclass(frozen=True, slots=True)
class JobProgress:
    """
    What is known of one job.

    :param started_at: when this wait began.
    :param seen_at: when the server last gave a readable status, also in an earlier wait.
    :param bad_since: when the present row of bad responses began.
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


def advance(progress: JobProgress, result: PollResult, now: float, rules: WatchRules) -> JobProgress:
    """Return what is known after one more poll."""
    progress = replace(progress, http_status=result.http_status)
    if result.kind is PollResultKind.SEEN:
        assert result.status is not None
        return _saw(progress, result.status, now)
    if result.kind is PollResultKind.DENIED:
        return replace(progress, outcome=Outcome.DENIED, text=result.text)
    if result.kind is PollResultKind.THROTTLED:
        return progress
    if result.kind is PollResultKind.MISSING:
        return _missed(progress, result, now, rules)
    return _got_nothing(progress, result, now, rules, Outcome.UNHEALTHY)


def give_up(progress: JobProgress) -> JobProgress:
    """End the wait because the deadline has passed."""
    return progress if progress.ended else replace(progress, outcome=Outcome.TIMEOUT)


def _saw(progress: JobProgress, status: JobStatus, now: float) -> JobProgress:
    return replace(
        progress,
        status=status,
        seen_at=now,
        bad_since=None,
        bad_count=0,
        outcome=outcome_of(status.state),
        text=status.error or "",
    )


def _missed(progress: JobProgress, result: PollResult, now: float, rules: WatchRules) -> JobProgress:
    """A 404: too early, a passing fault, an unknown job, or a record that has expired."""
    submitted_at = progress.handle.submitted_at
    last_sign = progress.seen_at if progress.seen_at is not None else submitted_at
    if last_sign is not None and now - last_sign >= rules.record_life:
        return replace(progress, outcome=Outcome.EXPIRED, text=result.text)
    if progress.seen_at is not None:
        return _got_nothing(progress, result, now, rules, Outcome.NOT_FOUND)
    began = submitted_at if submitted_at is not None else progress.started_at
    if now - began < rules.grace:
        return replace(progress, text=result.text)
    return replace(progress, outcome=Outcome.NOT_FOUND, text=result.text)


def _got_nothing(
    progress: JobProgress, result: PollResult, now: float, rules: WatchRules, end: Outcome
) -> JobProgress:
    since = now if progress.bad_since is None else progress.bad_since
    too_long = now - since >= rules.unhealthy_after
    return replace(
        progress,
        bad_since=since,
        bad_count=progress.bad_count + 1,
        outcome=end if too_long else None,
        text=result.text,
    )
