"""
What the engine needs of a hook.

The engine knows no hook: so hooks can stand on it, and a test or another front end can put something else in
their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing_extensions import Self

    from stoq_provider.core.http import Request
    from stoq_provider.core.models import JobHandle, JobStatus
    from stoq_provider.core.submission import Submission
    from stoq_provider.systems.base import System
    from stoq_provider.transport.settings import ConnectionSettings
    from stoq_provider.transport.sync import SyncTransport


class JobClient(Protocol):
    """One shop whose bulk work runs as jobs, over one connection."""

    conn_id: str

    patience: float
    """Seconds for which reads are repeated while responses are bad."""

    @property
    def system(self) -> System:
        """How the remote system spells the contract."""

    @property
    def settings(self) -> ConnectionSettings:
        """What the connection says."""

    @property
    def transport(self) -> SyncTransport:
        """Sends requests at the pace that the limits allow."""

    @property
    def log(self) -> Any:
        """A task's logger."""

    @property
    def stopped(self) -> bool:
        """Whether the task was stopped."""

    @property
    def allows_private(self) -> bool:
        """Whether a file may lie at a private address."""

    @property
    def points_spent(self) -> int:
        """Points spent so far over this connection."""

    def sleep(self, seconds: float) -> None:
        """Wait; raises :class:`~stoq_provider.exceptions.Detached` where the task was stopped."""

    def submit_request(self, submission: Submission) -> Request:
        """Return the call that a submission makes, checked; sends nothing."""

    def submit(
        self, submission: Submission, *, busy_patience: float = 0.0, correlation: str | None = None
    ) -> JobHandle:
        """Start a job."""

    def get_job(self, handle: JobHandle | Mapping[str, Any]) -> JobStatus:
        """Ask for the status of a job, once."""

    def file_url(self, status: JobStatus) -> str | None:
        """Return a fresh download URL for the file of a finished job; ``None`` where it has no file."""

    def clone(self) -> Self:
        """Return a client of the same connection with connections of its own, for another thread."""

    def close(self) -> None:
        """Close the connections."""


class ListClient(Protocol):
    """A shop whose items can be read: page by page, or one by one."""

    def pages(self, path: str, key: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the rows of a list."""

    def page(
        self, path: str, key: str, filters: Mapping[str, Any], page: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return the rows of one page of a list, and how many pages there are."""

    def request(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> Any:
        """Call the API and return the decoded payload."""
