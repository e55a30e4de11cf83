"""
The durable record of a submission, and what a new try does with it.

The server has no idempotency key, so the record is written in two steps: the intent before the POST, the
handle after it. A try that finds an intent without a handle knows that the call *may* have gone out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from stoq_provider.core.events import JobEnd
from stoq_provider.core.forms import Time, VersionedForm
from stoq_provider.core.lifecycle import Outcome, outcome_of
from stoq_provider.core.models import JobHandle, JobStatus

GONE = (Outcome.FAILED, Outcome.CANCELLED, Outcome.EXPIRED, Outcome.NOT_FOUND)
"""How jobs ended that nobody can wait for any more."""


class RepeatSafety(str, Enum):
    """Whether sending the same submission again does harm."""

    SAFE = "safe"
    WARN = "warn"
    """Repeated, with a warning in the log."""
    NEVER = "never"
    """Never repeated silently: customers get mail, orders get doubled."""


@dataclass(frozen=True, slots=True)
class SubmissionRecord(VersionedForm):
    """
    The record of one submission.

    :param clears: a number that changes when a person clears the task; see :func:`counts`.
    :param intent_at: Unix seconds, just before the POST.
    :param handle: the job, once the server gave it.
    :param outcome: how the last wait for the job ended.
    :param seen_at: when the job was last seen alive.
    :param status: the last status, once waiting has ended.
    :param unchanged: items that a read-back found unchanged; ``None`` where none was made.
    :param held: whether the record counts even after the next clear, because its job is not the trouble.
    :param correlation: what the call carries, so that its job can be found in a list of jobs, where the
        system has one.
    """

    # Without an annotation, which would make it a field.
    added = ("correlation",)

    clears: int
    intent_at: Time
    handle: JobHandle | None = None
    outcome: Outcome | None = None
    seen_at: Time | None = None
    status: JobStatus | None = None
    unchanged: tuple[int | str, ...] | None = None
    held: bool = False
    correlation: str | None = None

    def submitted(self, handle: JobHandle) -> SubmissionRecord:
        """Note the handle, and how its job ended where the response had that already."""
        if handle.result is None:
            return replace(self, handle=handle)
        return replace(
            self,
            handle=handle,
            outcome=outcome_of(handle.result.state),
            seen_at=handle.submitted_at,
            status=handle.result,
        )

    def adopted(self, clears: int) -> SubmissionRecord:
        """Let it count from this clear on like any other, and no longer after the next one."""
        return replace(self, clears=clears, held=False)

    def ended(self, end: JobEnd) -> SubmissionRecord:
        """Note how waiting ended; a job that ended badly is held no longer: a clear submits it."""
        return replace(
            self,
            held=self.held and end.outcome not in GONE,
            outcome=end.outcome,
            seen_at=end.seen_at or self.seen_at,
            status=end.status or self.status,
        )

    def verified(self, unchanged: Iterable[int | str]) -> SubmissionRecord:
        """Note which items a read-back found unchanged."""
        return replace(self, unchanged=tuple(unchanged))

    def end(self) -> JobEnd | None:
        """
        Return the end that was recorded, if such a job need not be asked about again.

        That is a good end, or any where the response to the submission was the result.
        """
        if self.handle is None or self.outcome is None:
            return None
        if not self.outcome.good and self.handle.result is None:
            return None
        text = (self.status.error if self.status else None) or ""
        return JobEnd(self.handle, self.outcome, self.status, text, seen_at=self.seen_at)


def new_correlation(key: str, token: str) -> str:
    """
    Make what a call carries so that its job can be found again.

    :param key: the record's name: its beginning is the same for all jobs of one record.
    :param token: random; tells what a record submitted after a clear, or after a job that failed.
    """
    return f"airflow-{key[:24]}-{token}"


class RetryDecision(str, Enum):
    """What a try does about one submission."""

    SUBMIT = "submit"
    """Nothing is known to have been sent."""
    REATTACH = "reattach"
    """The job is known: wait for it, send nothing."""
    LOOK_UP = "look_up"
    """It may have been sent: look for its job, then decide by :func:`after_no_response`."""
    REPEAT = "repeat"
    """It may have been sent, or its job ended badly; sending it again does no harm."""
    STOP = "stop"
    """It may have been sent, or its job ended badly, and sending it again might do harm."""


class Lookup(str, Enum):
    """What looking for the job of a submission without a response brought."""

    FOUND = "found"
    ABSENT = "absent"
    """There surely is none."""
    UNKNOWN = "unknown"
    """The system lists no jobs, or its list could not be read."""


def after_no_response(lookup: Lookup, repeat: RepeatSafety) -> RetryDecision:
    """Decide about a submission that was sent, or may have been, and has no clear response."""
    if lookup is Lookup.UNKNOWN:
        return _again(repeat)
    return RetryDecision.REATTACH if lookup is Lookup.FOUND else RetryDecision.SUBMIT


def _again(repeat: RepeatSafety) -> RetryDecision:
    return RetryDecision.STOP if repeat is RepeatSafety.NEVER else RetryDecision.REPEAT


def counts(record: SubmissionRecord, *, clears: int, on_clear: str) -> bool:
    """
    Whether a record of an earlier try counts for this one.

    :param clears: a number that changes when a person clears the task. Tries between two clears belong
        together.
    :param on_clear: ``"resubmit"``: what a person cleared starts anew; ``"reuse"``: it finds its job, and
        what must not be repeated is not.
    """
    return record.clears == clears or on_clear == "reuse" or _waits_for_a_key(record)


def decide(
    record: SubmissionRecord | None,
    *,
    clears: int,
    on_clear: str,
    repeat: RepeatSafety,
    repeat_expired: bool,
) -> RetryDecision:
    """
    Decide what a try does, given the record of the tries before it.

    ``clears`` and ``on_clear`` are those of :func:`counts`.

    :param repeat_expired: whether a job whose record has expired is submitted again: an export is, since
        its file is what is wanted; a bulk action is not, since it most likely ran.
    """
    if record is None or not counts(record, clears=clears, on_clear=on_clear):
        return RetryDecision.SUBMIT
    if record.handle is None:
        return RetryDecision.LOOK_UP
    if can_be_reused(record):
        return RetryDecision.REATTACH
    if record.outcome is Outcome.FAILED or record.clears != clears:
        return _again(repeat)
    if record.outcome is Outcome.EXPIRED:
        return _again(repeat) if repeat_expired else RetryDecision.STOP
    # Cancelled: somebody at the vendor wanted it to end, and only a person may want it again.
    return RetryDecision.STOP if record.outcome is Outcome.CANCELLED else RetryDecision.REATTACH


def _waits_for_a_key(record: SubmissionRecord) -> bool:
    """
    Whether the job goes on and only our key was refused.

    Such a task is not retried, so a person who has mended the key can only clear it, and clears it in
    order to go on.
    """
    return record.handle is not None and (record.held or record.outcome is Outcome.DENIED)


def can_be_reused(record: SubmissionRecord) -> bool:
    """Whether there is a job that may still run, or ended well."""
    return record.handle is not None and record.outcome not in GONE
