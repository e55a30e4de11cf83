"""
What differs from one remote system to the next.

A system is one subclass of :class:`System`: how it authenticates, how it spells a submission and a
status, how often it wants to be asked, what may be repeated. Waiting, records, rate limit and download do
not know which system they serve.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urljoin

from stoq_provider.core.error_text import hide_queries
from stoq_provider.core.http import Decoded, MalformedResponse, Request
from stoq_provider.core.lifecycle import PollResult, PollResultKind, WatchRules
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, is_text
from stoq_provider.systems.given import JobReader
from stoq_provider.systems.payload import (
    FoundPage,
    origin_of,
    query_pairs,
    require,
)

MISSING = PollResultKind.MISSING


class Assumption(NamedTuple):
    """What we take for true where the documentation that can be read does not say, or not for certain."""

    value: Any
    mark: str
    reason: str


class System(JobReader, ABC):
    """One remote system. Instances hold no state."""

    default_origin: str | None = None
    admin_url: str | None = None
    """Where people look after the shop, unless a connection says otherwise; ``{origin}`` is the API's."""
    key_header: str | None = None
    """Carries the key as it is; ``None``: the key is a bearer token."""
    points: PointsRules
    route_limits: Mapping[str, PointsRules] = MappingProxyType({})
    """Further limits, by a name of our own, for routes that the vendor limits by themselves."""
    poll_size: int = 1
    """How many jobs one request can ask for; more than one needs :attr:`job_list`."""
    rules: WatchRules = WatchRules()
    usual_cadence: Cadence = Cadence(then=15.0, steps=((60.0, 5.0),))
    """How often a job is polled; the default is for a vendor that advises nothing."""
    repeats: Mapping[str, RepeatSafety] = MappingProxyType({})
    """What sending a submission again does, by kind or the part of a kind that is before a colon."""
    status_words: Mapping[str, JobState] = MappingProxyType({})

    def admin_page(self, origin: str) -> str | None:
        """Return where people look after the shop; ``None``: not known."""
        return self.admin_url and self.admin_url.replace("{origin}", origin)

    def auth_headers(self, key: str) -> dict[str, str]:
        """Return the headers that carry the key."""
        return self.token_headers(key) if self.key_header is None else {self.key_header: key}

    def login_request(self, origin: str, login: str, key: str) -> Request | None:
        """
        Return the call that trades user name and password for a token; ``None``: the key itself is sent.

        Asked for only where the connection has a user name.
        """
        return None

    def read_login(self, payload: Any) -> str:
        """Read the token from the response to a login; a :class:`MalformedResponse` where there is none."""
        raise MalformedResponse(f"{self.label} has no login")

    def token_headers(self, token: str) -> dict[str, str]:
        """Return the headers that carry a token, such as one that a login gave."""
        return {"Authorization": f"Bearer {token}"}

    def route_limit(self, request: Request) -> str | None:
        """Name the limit in :attr:`route_limits` that a call counts against beside the common one."""
        return None

    def cadence(self, kind: str) -> Cadence:
        """Return how often a job of that kind is to be polled."""
        return self.usual_cadence

    def repeat_safety(self, kind: str) -> RepeatSafety:
        """Return whether sending a submission of that kind again does harm; what is not listed does."""
        known = self.repeats.get(kind) or self.repeats.get(kind.partition(":")[0])
        return known or RepeatSafety.NEVER

    def repeat_expired(self, kind: str) -> bool:
        """Whether a job whose status record has expired is submitted again."""
        return False

    @abstractmethod
    def read_submission(self, payload: Any, submission: Submission, now: float) -> JobHandle:
        """
        Read the response to a submission.

        :raises MalformedResponse: where it holds no job.
        """

    @abstractmethod
    def read_status(self, payload: Any, handle: JobHandle) -> JobStatus:
        """
        Read the response to a poll.

        :raises MalformedResponse: where it holds no status.
        """

    def read_word(self, job: Any, handle: JobHandle, id_key: str = "id") -> tuple[str, JobState]:
        """
        Return the status of a job as the server spells it, and what :attr:`status_words` make of it.

        :raises MalformedResponse: where there is none, or it is that of another job.
        """
        word = require(job, "status", "the status of the job")
        named = job.get(id_key, handle.job_id)
        if named != handle.job_id:
            raise MalformedResponse(f"the server responded for another job: {str(named)[:80]}")
        return hide_queries(word)[:80], self.status_words.get(word, JobState.UNKNOWN)

    def url(self, origin: str, path: str) -> str:
        """Return the address of ``path``, which is relative to the API's base path."""
        if not is_text(path) or not path.startswith("/") or path.startswith("//"):
            raise InvalidInput(f"a path starts with one slash: {path!r:.80}")
        return f"{origin}{self.base_path}{path}"

    def submit_request(self, origin: str, submission: Submission) -> Request:
        """Return the call that starts the job."""
        url = self.url(origin, submission.path)
        return Request("POST", url, query_pairs(submission.query), dict(submission.body))

    def status_request(self, origin: str, handle: JobHandle) -> Request:
        """
        Return the call that asks for the job's status.

        The status URL is followed, not built: it is joined with the origin, since it already holds the
        base path.

        :raises InvalidInput: where it leads to another origin; the key must not go there.
        """
        try:
            url = urljoin(origin + "/", handle.status_url)
            # Some HTTP clients take a backslash for a slash, and would read another host.
            leads_home = origin_of(url) == origin_of(origin) and "\\" not in url
        except ValueError:
            raise InvalidInput(f"the status URL of job {handle.job_id} is no address") from None
        if not leads_home:
            raise InvalidInput(
                f"the status URL of job {handle.job_id} leads to another origin than the connection's; "
                "nothing was sent there"
            )
        return Request("GET", url)

    def poll_request(self, origin: str, handles: Sequence[JobHandle]) -> Request:
        """
        Return the call that asks for up to :attr:`poll_size` jobs: for one by its URL, for several by id.

        :raises InvalidInput: as :meth:`status_request`.
        """
        single = [self.status_request(origin, handle) for handle in handles]
        if len(handles) == 1:
            return single[0]
        query = self.job_list.query([handle.job_id for handle in handles])
        return Request("GET", self.url(origin, self.job_list.path), params=query)

    def poll_results(self, response: Decoded, handles: Sequence[JobHandle]) -> list[PollResult]:
        """Return what the response to :meth:`poll_request` tells of each job, in their order."""
        if len(handles) == 1:
            return [self.poll_result(response, handles[0])]
        if response.problem is not None:
            result = PollResult.of_problem(response)
            # That the list itself is not found says nothing about the jobs.
            return [PollResult.bad(result.text) if result.kind is MISSING else result] * len(handles)
        try:
            found = self.job_list.by_id(response.payload)
        except MalformedResponse as error:
            return [PollResult.bad(str(error))] * len(handles)
        absent = PollResult(MISSING, text=self.job_list.absent)
        return [
            self.poll_result(Decoded(found[h.job_id]), h) if h.job_id in found else absent for h in handles
        ]

    def poll_result(self, response: Decoded, handle: JobHandle) -> PollResult:
        """Return what one poll brought."""
        if response.problem is not None:
            return PollResult.of_problem(response)
        try:
            return PollResult.seen(self.read_status(response.payload, handle))
        except MalformedResponse as error:
            return PollResult.bad(str(error))

    # -- what only some systems can do: find a job, cancel it, give the URL of a file ---------------

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

        :raises MalformedResponse: where it is no such list: then nothing is known.
        """
        raise MalformedResponse("this system lists no jobs")

    def cancel_request(self, origin: str, handle: JobHandle) -> Request | None:
        """Return the call that cancels a job; ``None``: the system has none."""
        return None

    def was_stopped(self, payload: Any) -> bool:
        """Whether the response to :meth:`cancel_request` says that the job ended before it did anything."""
        return False

    def file_request(self, origin: str, status: JobStatus) -> Request | None:
        """Return the call that gives a download URL for the job's file; ``None``: the status itself does."""
        return None

    def read_file_url(self, payload: Any) -> str:
        """Read the response to :meth:`file_request`; a :class:`MalformedResponse` where it holds no URL."""
        raise MalformedResponse("this system gives no download URLs beside a job's status")
