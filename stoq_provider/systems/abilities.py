"""
What only some systems can do: find a submission again, cancel or confirm a job, hand out a file by key.

Each default says "cannot"; the hooks and operators ask, and behave accordingly. No other part of the
package knows which system can do what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoq_provider.core.http import MalformedAnswer, Request

if TYPE_CHECKING:
    from stoq_provider.core.models import JobHandle, JobStatus
    from stoq_provider.core.submission import Submission


@dataclass(frozen=True, slots=True)
class FoundPage:
    """
    What one page of a list of jobs tells of a submission.

    :param handle: the job, if it is on the page.
    :param next_offset: where the next page begins; ``None``: this was the last.
    """

    handle: JobHandle | None = None
    next_offset: int | None = None


class Abilities:
    """The optional part of the contract of a system."""

    # -- finding a submission whose answer was lost -------------------------------------------------

    def mark(self, submission: Submission, correlation: str) -> Submission:
        """Return the submission with something in it by which its job can be found in a list."""
        return submission

    def find_request(self, origin: str, submission: Submission, since: float, offset: int) -> Request | None:
        """
        Return the call that lists jobs like the one submitted; ``None``: the system can't find any.

        :param since: Unix seconds of our clock at which it was first sent; the server's may differ.
        :param offset: where the page begins.
        """
        return None

    def read_found(
        self, payload: Any, submission: Submission, correlation: str, since: float, offset: int
    ) -> FoundPage:
        """
        Look for the job that carries ``correlation`` on one page of the list.

        :raises MalformedAnswer: where it is no such list: then nothing is known.
        """
        raise MalformedAnswer("this system lists no jobs")

    # -- deciding about a job -----------------------------------------------------------------------

    def cancel_request(self, origin: str, handle: JobHandle) -> Request | None:
        """Return the call that cancels a job; ``None``: the system has none."""
        return None

    def was_stopped(self, payload: Any) -> bool:
        """Whether the answer to :meth:`cancel_request` says that the job ended before it did anything."""
        return False

    def confirm_request(self, origin: str, handle: JobHandle) -> Request | None:
        """Return the call that lets a job go on which waits for a decision; ``None``: none ever waits."""
        return None

    def confirmed(self, handle: JobHandle) -> JobHandle:
        """Return the handle of a job that waits for no decision any more."""
        return handle

    # -- files --------------------------------------------------------------------------------------

    def file_request(self, origin: str, status: JobStatus) -> Request | None:
        """Return the call that gives a download URL for the job's file; ``None``: the status itself does."""
        return None

    def read_file_url(self, payload: Any) -> str:
        """
        Read the answer to :meth:`file_request`.

        :raises MalformedAnswer: where it holds no URL.
        """
        raise MalformedAnswer("this system gives no download URLs beside a job's status")
