"""From problems and outcomes, which are values, to typed errors that say what will happen next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stoq_provider.core.error_text import sentences
from stoq_provider.core.events import JobEnd
from stoq_provider.core.http import MalformedAnswer, Problem, ProblemKind
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.records import RepeatSafety
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
    points_left: int | None = None,
    job_started: bool | None = None,
    reads_only: bool = False,
) -> StoqProviderError:
    """
    Make the typed error of a problem.

    :param doing: what was being done, such as ``"POST /api/... at STOQ"``.
    :param fate: what becomes of the remote job, and what a retry will do.
    """
    return _CLASSES[problem.kind](
        sentences(f"{doing}: {problem.text}", fate),
        system=system,
        http_status=problem.http_status,
        server_messages=problem.messages,
        job_id=job_id,
        points_left=points_left,
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
    except MalformedAnswer as caught:
        error = ProtocolError(sentences(str(caught), fate), system=system)
    raise error from None


_HEADLINES = {
    Outcome.FAILED: "{label} says that job {job} failed{cause}. The remote job has ended.",
    Outcome.CANCELLED: "Job {job} was cancelled at {label}{cause}. The remote job has ended.",
    Outcome.NOT_FOUND: "{label} does not know job {job}{cause}. What became of it is unknown.",
    Outcome.EXPIRED: (
        "{label} no longer knows job {job}: its record was kept for {life:.0f} h after the end, and the "
        "result can't be had any more{cause}. The remote job has ended."
    ),
    Outcome.UNHEALTHY: (
        "No good answer about job {job} from {label} for {unhealthy:.0f} s{cause}. Nothing is known against "
        "the job itself; it goes on."
    ),
    Outcome.DENIED: "{label} refused the key when asked about job {job}{cause}. The remote job goes on.",
    Outcome.TIMEOUT: "Job {job} at {label} did not end in time{cause}. The remote job goes on.",
}

_AGAIN = {
    Outcome.FAILED: "A retry submits it again.",
    Outcome.EXPIRED: "A retry submits it again.",
}
_NEVER_AGAIN = {
    Outcome.FAILED: (
        "It is not submitted again by itself, because repeating {kind} is not safe; look at what was "
        "done, then clear the task."
    ),
    Outcome.EXPIRED: (
        "It is not submitted again by itself, because {kind} most likely ran; look at what was done, then "
        "clear the task."
    ),
}
_NEXT = {
    Outcome.CANCELLED: "The task is not retried; clearing it submits the job again.",
    Outcome.NOT_FOUND: (
        "The task is not retried. Check that the connection's key belongs to the shop that ran the job; "
        "clearing the task submits it again."
    ),
    Outcome.DENIED: (
        "The task is not retried, since the key would be refused again. Once the connection's key is "
        "right, clear the task: it finds the same job again."
    ),
}
WAIT_AGAIN = "A retry waits for the same job and submits nothing."
NO_RECORD = "A retry submits a new job, because no record of this one could be kept (see [stoq] state_path)."

NOT_RETRIED = (
    "The task is not retried: no record of the jobs could be kept (see [stoq] state_path), and a retry would "
    "submit them again. Look what becomes of them; clearing the task submits them again."
)

_USUAL = re.compile(r"a retry [^.;:]*submits nothing")
_ANEW = "a retry submits a new job, because no record of this one could be kept (see [stoq] state_path)"

_CLEAR_WAITS = " So does clearing the task."
_CLEAR_ANEW = " Clearing the task starts anew, unless on_clear='reuse'."
_NO_RECORD_NEVER = (
    "The task is not retried: no record of the job could be kept (see [stoq] state_path), and a retry would "
    "send {kind} again. Look what becomes of the job; clearing the task sends it again."
)

_DENIED_NO_RECORD = (
    "The task is not retried, since the key would be refused again. No record of the job could be kept (see "
    "[stoq] state_path), so clearing the task sends {kind} again; look first what becomes of the job."
)

_END_CLASSES: dict[Outcome, type[StoqProviderError]] = {
    Outcome.FAILED: JobFailed,
    Outcome.CANCELLED: JobCancelled,
    Outcome.NOT_FOUND: JobNotFound,
    Outcome.EXPIRED: JobExpired,
    Outcome.UNHEALTHY: PollingUnhealthy,
    Outcome.DENIED: AuthenticationError,
    Outcome.TIMEOUT: JobTimeout,
}
_FINAL_CLASSES: dict[Outcome, type[StoqProviderError]] = {
    Outcome.FAILED: FinalJobFailed,
    Outcome.EXPIRED: FinalJobExpired,
    Outcome.TIMEOUT: FinalJobTimeout,
    Outcome.UNHEALTHY: FinalPollingUnhealthy,
}


def of_end(
    end: JobEnd,
    system: System,
    *,
    owner: bool,
    recorded: bool,
    unhealthy_after: float,
    points_left: int | None = None,
) -> StoqProviderError:
    """
    Make the typed error of a job that did not end well.

    :param owner: whether the task itself submitted the job; a sensor did not, and submits nothing ever.
    :param recorded: whether the next try can find the job.
    """
    kind = end.handle.kind
    never = system.repeat_safety(kind) is RepeatSafety.NEVER
    never = never or (end.outcome is Outcome.EXPIRED and not system.repeat_expired(kind))
    lost = end.outcome in (Outcome.TIMEOUT, Outcome.UNHEALTHY)
    final = owner and never and end.outcome in _FINAL_CLASSES and not (lost and recorded)
    cause = f" ({end.text})" if end.text else ""
    if end.outcome is Outcome.TIMEOUT and end.status is not None:
        cause += f", last seen as {end.status.describe()}"
    headline = _HEADLINES[end.outcome].format(
        label=system.label,
        job=end.handle.job_id,
        cause=cause,
        life=system.rules.record_life / 3600,
        unhealthy=unhealthy_after,
    )
    fate = _fate(end, final, owner, recorded, never).format(kind=kind)
    texts = end.status.error_texts if end.status is not None else ()
    cls = _FINAL_CLASSES[end.outcome] if final else _END_CLASSES[end.outcome]
    return cls(
        f"{headline} {fate}",
        system=end.handle.system,
        http_status=end.http_status,
        server_messages=texts or ((end.text,) if end.text else ()),
        job_id=end.handle.job_id,
        points_left=points_left,
    )


def forgotten(error: StoqProviderError) -> StoqProviderError:
    """
    Return the error of a download for a task whose next try will not find its jobs.

    A download does not know who wants it, so its errors say what is usual.
    """
    return type(error)(_USUAL.sub(_ANEW, error.message), **error.details())


def _fate(end: JobEnd, final: bool, owner: bool, recorded: bool, never: bool) -> str:
    if not owner:
        if end.outcome in _NEXT:
            return "The task is not retried; it submits nothing in any case."
        return (
            "A retry of this task looks again and submits nothing; only the task that submitted the job can."
        )
    if end.outcome in _AGAIN:
        return _NEVER_AGAIN[end.outcome] if final else _AGAIN[end.outcome]
    if end.outcome is Outcome.DENIED and not recorded:
        return _DENIED_NO_RECORD
    if end.outcome in _NEXT:
        return _NEXT[end.outcome]
    if final:
        return _NO_RECORD_NEVER
    if not recorded:
        return NO_RECORD
    return WAIT_AGAIN + (_CLEAR_WAITS if never else _CLEAR_ANEW)
