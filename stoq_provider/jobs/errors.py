"""From problems and outcomes, which are values, to typed errors that say what will happen next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.core.error_text import sentences
from stoq_provider.core.events import JobEnd
from stoq_provider.core.http import MalformedResponse, Problem, ProblemKind, RateLimit
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.records import RepeatSafety, SubmissionRecord
from stoq_provider.core.validation import InvalidInput
from stoq_provider.exceptions import (
    ActionRejected,
    AuthenticationError,
    FinalJobExpired,
    FinalJobFailed,
    FinalJobTimeout,
    FinalPollingUnhealthy,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobTimeout,
    PollingUnhealthy,
    ProtocolError,
    RateLimited,
    ServiceUnavailable,
    StoqProviderError,
    SubmissionUncertain,
    ValidationRejected,
)

if TYPE_CHECKING:
    from stoq_provider.systems.base import System

NOTHING_SENT = "Nothing was sent"

_CLASSES: dict[ProblemKind, type[StoqProviderError]] = {
    ProblemKind.AUTHENTICATION: AuthenticationError,
    ProblemKind.NOT_FOUND: ValidationRejected,
    ProblemKind.CONFLICT: ActionRejected,
    ProblemKind.VALIDATION: ValidationRejected,
    ProblemKind.RATE_LIMITED: RateLimited,
    ProblemKind.UNAVAILABLE: ServiceUnavailable,
    ProblemKind.PROTOCOL: ProtocolError,
    ProblemKind.NOT_SENT: ServiceUnavailable,
    ProblemKind.LOST_CONNECTION: ServiceUnavailable,
}


def of_problem(
    problem: Problem,
    *,
    system: str,
    doing: str,
    fate: str,
    job_id: str | None = None,
    limit: RateLimit | None = None,
    job_started: bool | None = None,
    reads_only: bool = False,
) -> StoqProviderError:
    """
    Make the typed error of a problem.

    :param doing: what was being done, such as ``"POST /api/... at STOQ"``.
    :param fate: what becomes of the remote job, and what a retry will do.
    :param limit: what the response said of the shop's points.
    """
    return _CLASSES[problem.kind](
        sentences(f"{doing}: {problem.text}", fate),
        system=system,
        http_status=problem.http_status,
        server_messages=problem.messages,
        job_id=job_id,
        points_left=limit.remaining if limit else None,
        retry_after=limit.retry_after if limit else None,
        job_started=job_started,
        maybe_processed=problem.maybe_processed and not reads_only,
    )


@contextmanager
def typed(system: str, fate: str) -> Iterator[None]:
    """Turn the errors of the pure parts into typed ones; ``fate`` as in :func:`of_problem`."""
    error: StoqProviderError
    try:
        yield
        return
    except InvalidInput as caught:
        error = ValidationRejected(sentences(str(caught), fate), system=system, job_started=False)
    except MalformedResponse as caught:
        error = ProtocolError(sentences(str(caught), fate), system=system)
    raise error from None


WAIT_AGAIN = "A retry waits for the same job and submits nothing."
UNRECORDED = "is kept (see durable and [stoq] state_path)"
SUBMITS_ANEW = f"retry submits a new job, because no record of this one {UNRECORDED}"
NO_RECORD = f"A {SUBMITS_ANEW}."

NOT_RETRIED = (
    "The task is not retried: no record of the jobs could be kept (see [stoq] state_path), and a retry would "
    "submit them again. Look what becomes of them; clearing the task submits them again."
)

_SUBMIT_AGAIN = "A retry submits it again."
_NO_RECORD_NEVER = (
    "The task is not retried: no record of the job could be kept (see [stoq] state_path), and a retry would "
    "send {kind} again. Look what becomes of the job; clearing the task sends it again."
)

_CLEAR_WAITS = "So does clearing the task."
_CLEAR_ANEW = "Clearing the task starts anew, unless on_clear='reuse'."

_NOT_OURS = "A retry of this task looks again and submits nothing; only the task that submitted the job can."
_NOT_OURS_FINAL = "The task is not retried; it submits nothing in any case."


@dataclass(frozen=True, slots=True)
class _BadEnd:
    """
    What the message about a job that ended badly consists of.

    :param headline: what happened, and what becomes of the remote job.
    :param again: what a retry does, or a clear where Airflow does not retry.
    :param unrecorded: the same where the next try can't find a job that goes on; empty: it does not matter.
    :param final: the error of a task that is not retried, since submitting the job again would do harm.
    :param never: what the message says then.
    """

    error: type[StoqProviderError]
    headline: str
    again: str
    unrecorded: str = ""
    final: type[StoqProviderError] | None = None
    never: str = ""


_BAD_ENDS = {
    Outcome.FAILED: _BadEnd(
        JobFailed,
        "{label} says that job {job} failed{cause}. The remote job has ended.",
        _SUBMIT_AGAIN,
        final=FinalJobFailed,
        never=(
            "It is not submitted again by itself, because repeating {kind} is not safe; look at what was "
            "done, then clear the task."
        ),
    ),
    Outcome.CANCELLED: _BadEnd(
        JobCancelled,
        "Job {job} was cancelled at {label}{cause}. The remote job has ended.",
        "The task is not retried; clearing it submits the job again.",
    ),
    Outcome.NOT_FOUND: _BadEnd(
        JobNotFound,
        "{label} does not know job {job}{cause}. How it ended is unknown.",
        "The task is not retried. Check that the connection's key belongs to the shop that ran the job; "
        "clearing the task submits it again.",
    ),
    Outcome.EXPIRED: _BadEnd(
        JobExpired,
        "{label} no longer knows job {job}: its record was kept for {life:.0f} h after the end, and the "
        "result can't be had any more{cause}. The remote job has ended.",
        _SUBMIT_AGAIN,
        final=FinalJobExpired,
        never=(
            "It is not submitted again by itself, because {kind} most likely ran; look at what was done, "
            "then clear the task."
        ),
    ),
    Outcome.UNHEALTHY: _BadEnd(
        PollingUnhealthy,
        "No good response about job {job} from {label} for {unhealthy:.0f} s{cause}. Nothing is known "
        "against the job itself; it goes on.",
        f"{WAIT_AGAIN} {{clear}}",
        unrecorded=NO_RECORD,
        final=FinalPollingUnhealthy,
        never=_NO_RECORD_NEVER,
    ),
    Outcome.DENIED: _BadEnd(
        AuthenticationError,
        "{label} refused the key when asked about job {job}{cause}. The remote job goes on.",
        "The task is not retried, since the key would be refused again. Once the connection's key is "
        "right, clear the task: it finds the same job again.",
        unrecorded=(
            "The task is not retried, since the key would be refused again. No record of the job "
            f"{UNRECORDED}, "
            "so clearing the task sends {kind} again; look first what becomes of the job."
        ),
    ),
    Outcome.TIMEOUT: _BadEnd(
        JobTimeout,
        "Job {job} at {label} did not end in time: {limit} has passed{cause}. The remote job goes on.",
        f"{WAIT_AGAIN} {{clear}}",
        unrecorded=NO_RECORD,
        final=FinalJobTimeout,
        never=_NO_RECORD_NEVER,
    ),
}


def of_end(
    end: JobEnd,
    system: System,
    *,
    own_jobs: bool,
    recorded: bool,
    unhealthy_after: float,
    limit: str = "timeout",
    points_left: int | None = None,
) -> StoqProviderError:
    """
    Make the typed error of a job that did not end well.

    :param own_jobs: whether the task itself submitted the job; a sensor did not, and submits nothing ever.
    :param recorded: whether the next try can find the job.
    :param limit: the parameter that set the deadline.
    """
    kind, bad = end.handle.kind, _BAD_ENDS[end.outcome]
    never = system.repeat_safety(kind) is RepeatSafety.NEVER
    never = never or (end.outcome is Outcome.EXPIRED and not system.repeat_expired(kind))
    # Of a job that goes on, a record is enough: the next try waits for it and submits nothing.
    harmful = own_jobs and never and not (recorded and bad.unrecorded)
    cls, again = bad.error, bad.again
    if not own_jobs:
        again = _NOT_OURS_FINAL if issubclass(cls, AirflowFailException) else _NOT_OURS
    elif bad.final is not None and harmful:
        cls, again = bad.final, bad.never
    elif bad.unrecorded and not recorded:
        again = bad.unrecorded
    cause = f" ({end.text})" if end.text else ""
    if end.outcome is Outcome.TIMEOUT and end.status is not None:
        cause += f", last seen as {end.status.describe()}"
    text = f"{bad.headline} {again}".format(
        label=system.label,
        job=end.handle.job_id,
        kind=kind,
        cause=cause,
        limit=limit,
        life=system.rules.record_life / 3600,
        unhealthy=unhealthy_after,
        clear=_CLEAR_WAITS if never else _CLEAR_ANEW,
    )
    texts = end.status.error_texts if end.status is not None else ()
    return cls(
        text,
        system=end.handle.system,
        http_status=end.http_status,
        server_messages=texts or ((end.text,) if end.text else ()),
        job_id=end.handle.job_id,
        points_left=points_left,
    )


def must_not_repeat(system: System, kind: str, record: SubmissionRecord, on_clear: str) -> StoqProviderError:
    """Return the error for what an earlier try submitted, or may have, and what is not repeated."""
    label = system.label
    job_id = record.handle.job_id if record.handle else None
    unsafe = f"repeating {kind} is not safe"
    lost = (
        f"An earlier try was about to send {kind} to {label} and was lost before it had a response. The job "
        f"perhaps runs. Nothing was sent now, because {unsafe}."
    )
    known: dict[Outcome | None, tuple[type[StoqProviderError], str]] = {
        Outcome.FAILED: (FinalJobFailed, f"An earlier try's job {job_id} failed at {label}; {unsafe}."),
        Outcome.EXPIRED: (
            FinalJobExpired,
            f"The record of job {job_id} is gone at {label}; {kind} most likely ran.",
        ),
        Outcome.CANCELLED: (JobCancelled, f"An earlier try's job {job_id} was cancelled at {label}."),
        Outcome.NOT_FOUND: (
            JobNotFound,
            f"{label} does not know job {job_id} of an earlier try. How it ended is unknown; {unsafe}.",
        ),
    }
    cls, text = known.get(record.outcome, (SubmissionUncertain, lost))
    again = "clearing the task submits it."
    if on_clear == "reuse":
        again = "to submit it again, set on_clear='resubmit' and clear the task."
    return cls(
        f"{text} The task is not retried. Look in {label} what was done; {again}",
        system=system.name,
        job_id=job_id,
    )


def sends_something_else(system: System, kind: str, sent: int, on_clear: str) -> StoqProviderError:
    """Return the error for a try whose input is not that of the try before it."""
    again = "clearing the task submits what it is given now."
    if on_clear == "reuse":
        again = "to submit what it is given now, set on_clear='resubmit' and clear the task."
    return SubmissionUncertain(
        f"An earlier try began {sent} submission(s) of {kind} at {system.label} that this one would not "
        "send: the task is given other input now, perhaps by a template. Nothing was sent now, because "
        f"repeating {kind} is not safe; what was submitted goes on. The task is not retried. Look in "
        f"{system.label} what was done; {again}",
        system=system.name,
    )
