"""Messages about a submission that may have been sent before, and the errors that stop it."""

from __future__ import annotations

from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.records import SubmissionRecord
from stoq_provider.exceptions import (
    FinalJobExpired,
    FinalJobFailed,
    JobCancelled,
    StoqProviderError,
    SubmissionUncertain,
)
from stoq_provider.systems.base import System


def must_not_repeat(system: System, kind: str, record: SubmissionRecord, on_clear: str) -> StoqProviderError:
    """Return the error for what an earlier try submitted, or may have, and what is not repeated."""
    label = system.label
    job_id = record.handle.job_id if record.handle else None
    after = f"The task is not retried. Look in {label} what was done; clearing the task submits it."
    if on_clear == "reuse":
        after = (
            f"The task is not retried. Look in {label} what was done; to submit it again, set "
            "on_clear='resubmit' and clear the task."
        )
    if record.outcome is Outcome.FAILED:
        text = f"An earlier try's job {job_id} failed at {label}; repeating {kind} is not safe. {after}"
        return FinalJobFailed(text, system=system.name, job_id=job_id)
    if record.outcome is Outcome.EXPIRED:
        text = f"The record of job {job_id} is gone at {label}; {kind} most likely ran. {after}"
        return FinalJobExpired(text, system=system.name, job_id=job_id)
    if record.outcome is Outcome.CANCELLED:
        text = f"An earlier try's job {job_id} was cancelled at {label}. {after}"
        return JobCancelled(text, system=system.name, job_id=job_id)
    return SubmissionUncertain(
        f"An earlier try was about to send {kind} to {label} and was lost before it had an answer. The job "
        f"perhaps runs. Nothing was sent now, because repeating {kind} is not safe. {after}",
        system=system.name,
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


def why_again(kind: str, record: SubmissionRecord) -> str:
    """Tell why a submission is sent again."""
    if record.handle is None:
        return (
            f"An earlier try was lost while it sent {kind}. A job may run that nobody waits for; repeating "
            "it is safe, so it is submitted again."
        )
    outcome = record.outcome.value if record.outcome else "lost"
    return f"Job {record.handle.job_id} of an earlier try is {outcome}; {kind} is submitted again."


def was_never_sent(system: System, kind: str) -> str:
    """Tell why a submission that was in doubt is sent after all."""
    return (
        f"An earlier try was lost while it sent {kind}. {system.label} has no job of it in its list, so "
        "nothing came of that; it is submitted now."
    )
