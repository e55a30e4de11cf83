"""Messages about a submission that may have been sent before, and the errors that stop it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.records import SubmissionRecord
from stoq_provider.exceptions import (
    FinalJobExpired,
    FinalJobFailed,
    JobCancelled,
    StoqProviderError,
    SubmissionInterrupted,
    SubmissionUncertain,
)
from stoq_provider.systems.base import System

if TYPE_CHECKING:
    from stoq_provider.core.submission import Submission


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


@dataclass(frozen=True, slots=True)
class Piece:
    """
    One submission of a list, and which items it holds.

    :param name: such as ``orders 51 to 100 of 120``.
    """

    submission: Submission
    name: str

    @classmethod
    def of(cls, submissions: Sequence[Submission], noun: str) -> list[Piece]:
        """Name the submissions of a list."""
        total = sum(submission.item_count or 0 for submission in submissions)
        pieces, start = [], 0
        for submission in submissions:
            end = start + (submission.item_count or 0)
            pieces.append(cls(submission, f"{noun} {start + 1:,} to {end:,} of {total:,}"))
            start = end
        return pieces

    def named(self, error: StoqProviderError) -> StoqProviderError:
        """Return the same error, telling which items it is about."""
        return type(error)(f"{_begin(self.name)}: {error.message}", **error.details())


def stopped(
    error: StoqProviderError, doubtful: Sequence[Piece], pieces: Sequence[Piece]
) -> StoqProviderError:
    """Return the error of a try that got no answer and has more to send: a retry sends what is behind."""
    here = doubtful[-1]
    others = [piece.name for piece in doubtful[:-1]]
    before = f" Before, the same happened to {', '.join(others)}." if others else ""
    behind = len(pieces) - 1 - pieces.index(here)
    details = {**error.details(), "maybe_processed": True}
    return SubmissionInterrupted(
        f"{_begin(here.name)} were sent, and no clear answer came back "
        f"({'; '.join(error.server_messages) or 'no answer'}). They perhaps took effect and are not sent "
        f"again.{before} {behind} submissions behind them were surely not sent; a retry sends those, and "
        "then says again what is uncertain. Clearing the task sends the uncertain ones too: look first.",
        **details,
    )


def uncertain(system: System, doubtful: Sequence[Piece], on_clear: str) -> SubmissionUncertain:
    """Return the error of a try that has sent all that was surely not sent before."""
    names = ", ".join(piece.name for piece in doubtful)
    again = "with on_clear='resubmit' clearing the task" if on_clear == "reuse" else "clearing the task"
    return SubmissionUncertain(
        f"{_begin(names)} were sent, or about to be sent, to {system.label}, and no clear answer came back. "
        f"They perhaps took effect; they are not sent again, and the task is not retried. Look in "
        f"{system.label} what is there; if they are missing, {again} sends them.",
        system=system.name,
        maybe_processed=True,
    )


def _begin(name: str) -> str:
    return name[:1].upper() + name[1:]
