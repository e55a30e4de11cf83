"""
The typed error tree.

Every error of this package is a :class:`StoqProviderError`, which is an ``AirflowException``, so that
``soft_fail`` and retries treat it as Airflow's own. What cannot succeed on a retry is an
``AirflowFailException`` as well: Airflow then fails the task without using up its retries.

The text of an error says what happened, what becomes of the remote job, and what a retry will do.
No error carries a key or a pre-signed URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from typing_extensions import Self


_FIELDS = (
    "system",
    "http_status",
    "server_messages",
    "job_id",
    "points_left",
    "retry_after",
    "job_started",
    "maybe_processed",
)


class StoqProviderError(AirflowException):
    """
    Base of all errors of this package.

    :param message: what happened, what becomes of the remote job, what a retry will do.
    :param system: the remote system, such as ``"stoq"``.
    :param http_status: status code of the response, where there was one.
    :param server_messages: the server's own words, without markup, shortened.
    :param job_id: the remote job that is concerned.
    :param points_left: points left in the shop's window by the last response.
    :param retry_after: seconds that the server asks to wait, where it does (429).
    :param job_started: ``False`` where surely no remote job came of the call; ``None``: not known.
    :param maybe_processed: whether a write without a clear response may have taken effect.
    """

    def __init__(
        self,
        message: str,
        *,
        system: str | None = None,
        http_status: int | None = None,
        server_messages: Sequence[str] = (),
        job_id: str | None = None,
        points_left: int | None = None,
        retry_after: float | None = None,
        job_started: bool | None = None,
        maybe_processed: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.system = system
        self.http_status = http_status
        self.server_messages = tuple(server_messages)
        self.job_id = job_id
        self.points_left = points_left
        self.retry_after = retry_after
        self.job_started = job_started
        self.maybe_processed = maybe_processed

    def details(self) -> dict[str, Any]:
        """Return the fields beside the message, as keyword arguments of the constructor."""
        return {name: getattr(self, name) for name in _FIELDS}

    def after(self: Self, done: int, planned: int, *, recorded: bool) -> Self:
        """Return the same error, telling that ``done`` of ``planned`` submissions went out before it."""
        if not done:
            return self
        again = "clearing the task" if isinstance(self, AirflowFailException) else "a retry"
        does = "finds them and sends only the others" if recorded else "sends all of them again"
        text = (
            f"{self.message} Before that, {done} of {planned} submissions had their jobs; those go on, and "
            f"{again} {does}."
        )
        return type(self)(text, **self.details())

    def among(self: Self, bad: int, jobs: int, *, recorded: bool) -> Self:
        """Return the same error, telling that ``bad`` of ``jobs`` jobs did not end well."""
        if jobs == 1:
            return self
        others = "jobs that did are not submitted again by a retry. " if recorded else ""
        text = f"{bad} of {jobs} jobs did not end well; {others}The first: {self.message}"
        return type(self)(text, **self.details())

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the fields when the error is pickled on its way between processes."""
        return partial(type(self), **self.details()), (self.message,)


class AuthenticationError(StoqProviderError, AirflowFailException):
    """The key is missing, wrong, or not allowed to do this (401, 403)."""


class ActionRejected(StoqProviderError):
    """The record or the system is in a state that does not allow the action now (409)."""


class ValidationRejected(StoqProviderError, AirflowFailException):
    """The input is wrong: refused by the server (400, 422, an unknown action), or by us before sending."""


class RateLimited(StoqProviderError):
    """The points are spent and the wait the server asks for is longer than we may wait (429)."""


class ServiceUnavailable(StoqProviderError):
    """The server could not be reached, or responded with 5xx, as often as we tried."""


class ProtocolError(StoqProviderError):
    """A response that makes no sense: not JSON, cut short, a redirect, a field of the wrong kind."""


class SubmissionUncertain(StoqProviderError, AirflowFailException):
    """The submission may or may not have reached the server, and repeating it is not safe."""

    def __init__(self, message: str, **details: Any) -> None:
        # Whatever is known of an error that it takes the place of.
        super().__init__(message, **{**details, "job_started": None, "maybe_processed": True})


class SubmissionInterrupted(StoqProviderError):
    """One of several submissions is uncertain and not repeated; a retry sends those behind it."""


class Detached(StoqProviderError):
    """The task was stopped while it waited; the remote job goes on."""


class JobFailed(StoqProviderError):
    """The remote job ended as failed; a retry submits it again."""


class FinalJobFailed(JobFailed, AirflowFailException):
    """The remote job ended as failed, and submitting it again is not safe."""


class ItemsUnchanged(StoqProviderError):
    """The job completed, and a read-back found items that it did not change; a retry submits only those."""


class JobCancelled(StoqProviderError, AirflowFailException):
    """The remote job was cancelled at the vendor."""


class JobNotFound(StoqProviderError, AirflowFailException):
    """The server does not know the job, and it is too young to have expired."""


class JobExpired(StoqProviderError):
    """The status record of the job is gone by age; a retry submits it again."""


class FinalJobExpired(JobExpired, AirflowFailException):
    """The status record of the job is gone by age, and submitting it again is not safe."""


class JobTimeout(StoqProviderError):
    """The job did not end within ``timeout`` or ``execution_timeout``; it goes on, a retry waits for it."""


class FinalJobTimeout(JobTimeout, AirflowFailException):
    """As :class:`JobTimeout`, where a retry could not find the job and must not submit it again."""


class PollingUnhealthy(StoqProviderError):
    """No good response about the job for too long. Nothing is known against the job itself."""


class FinalPollingUnhealthy(PollingUnhealthy, AirflowFailException):
    """As :class:`PollingUnhealthy`, where a retry could not find the job and must not submit it again."""


class StateError(StoqProviderError):
    """The store of records can't be read or written, or another worker of the task is submitting."""


class DownloadError(StoqProviderError):
    """The result could not be fetched or stored; nothing was published."""


class VerificationError(DownloadError):
    """The bytes arrived but are not what was announced (size, hash, rows); nothing was published."""
