"""What is done about one of several submissions that may have taken effect and must not be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoq_provider.exceptions import StoqProviderError, SubmissionInterrupted, SubmissionUncertain
from stoq_provider.systems.base import System

if TYPE_CHECKING:
    from stoq_provider.core.submission import Submission
    from stoq_provider.jobs.submit import Submitter


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


def lost_before(submitter: Submitter, submission: Submission) -> bool:
    """Whether an earlier try was about to send it, had no answer, and it must not be repeated."""
    if not submitter.never_repeats(submission.kind):
        return False
    record = submitter.current(submission)
    return record is not None and record.handle is None


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
