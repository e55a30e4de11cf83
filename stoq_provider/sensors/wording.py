"""What a sensor says where a retry, which the other errors speak of, will not come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stoq_provider.core.events import JobEnd
from stoq_provider.core.lifecycle import Outcome

CLEAR = (
    "Airflow does not retry a sensor whose time is up; clear the task to look again, which submits nothing."
)
NO_JOB = (
    "The remote jobs are not touched. Once the parameters are right, clear the task to look again, which "
    "submits nothing."
)

_NAMED = 5


def named(jobs: Sequence[str]) -> str:
    """Name the first jobs and count the others: a sensor of print jobs may wait for thousands."""
    others = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
    return ", ".join(jobs[:_NAMED]) + others


def timed_out(ends: Iterable[JobEnd], label: str) -> str | None:
    """Return the message of a wait that the deadline ended; ``None``: every job ended by itself."""
    ends = list(ends)
    late = [_described(end) for end in ends if end.outcome is Outcome.TIMEOUT]
    if not late:
        return None
    bad = [_described(end) for end in ends if not end.outcome.good and end.outcome is not Outcome.TIMEOUT]
    others = f" Of the others, these did not end well: {named(bad)}." if bad else ""
    return f"These jobs at {label} did not end in time: {named(late)}. They go on.{others} {CLEAR}"


def _described(end: JobEnd) -> str:
    notes = [end.text] if end.text else []
    if end.outcome is not Outcome.TIMEOUT:
        notes.insert(0, end.outcome.value)
    elif end.status is not None:
        notes.append(f"last seen as {end.status.describe()}")
    return f"{end.handle.job_id} ({', '.join(notes)})" if notes else end.handle.job_id
