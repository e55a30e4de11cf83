"""Medusa v1 (1.20.11): how its admin API spells batch jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoq_provider.core.forms import iso
from stoq_provider.core.http import Decoded, MalformedResponse, ProblemKind, Request
from stoq_provider.core.lifecycle import PollResult, PollResultKind, WatchRules
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.base import System
from stoq_provider.systems.medusa.status import cancelled_late, details_of, is_before, job_of
from stoq_provider.systems.medusa.submission import CORRELATION, DRY_RUN, PATH, is_export, job_type_of
from stoq_provider.systems.payload import FoundPage, JobList, optional_int, percent, require, rows

CLOCKS_APART = 86_400.0
"""Seconds by which the server's clock may differ from ours when a job is looked for by its age."""

PAGE_SIZE = 100
"""Jobs asked for in one page of the list. The default is 10 (M), a maximum is not known (U)."""


class Medusa(System):
    """A shop on Medusa v1; a connection has an API token, or e-mail and password."""

    name = "medusa"
    label = "Medusa"
    admin_url = "{origin}/app"
    """Where its plugin serves it, unless configured otherwise (D [admin/configuration])."""
    key_header = "x-medusa-access-token"
    """As a bearer token the same key is refused (M)."""
    points = PointsRules(limit=600, window=60.0, read=1, write=1)
    """Our own courtesy: Medusa has no rate limit (S)."""
    rules = WatchRules(record_life=float("inf"))
    """A job is never deleted: there is no call for it (M)."""
    usual_cadence = Cadence(then=15.0, steps=((1.0, 3.0), (60.0, 5.0)))
    """No pace is documented (I). Each step of a job waits for up to 3 s (M), however small the job is."""
    poll_size = 20
    """More values under one name make an object of the list in newer versions of its query parser (I)."""
    job_list = JobList(
        PATH, "id[]", "batch_jobs", "batch_job", "not in the list of the jobs that this user created"
    )
    """A list holds the caller's own jobs only, so one that is missing there may be another user's (M)."""
    bare_id = re.compile(r"batch_[A-Za-z0-9_-]{1,74}")
    """The route of a job is documented (D)."""
    status_words = {
        "created": JobState.RUNNING,
        "pre_processed": JobState.RUNNING,
        "confirmed": JobState.RUNNING,
        "processing": JobState.RUNNING,
        "completed": JobState.SUCCEEDED,
        "canceled": JobState.CANCELLED,
        "failed": JobState.FAILED,
    }
    """S; ``pre_processed`` flashes by, except in a dry run, where the job waits for a decision (M)."""

    # -- who asks -----------------------------------------------------------------------------------

    def login_request(self, origin: str, login: str, key: str) -> Request | None:
        """``POST /admin/auth/token``; the token lives for 24 h (S)."""
        url = self.url(origin, "/admin/auth/token")
        return Request("POST", url, json={"email": login, "password": key}, safe=True)

    def read_login(self, payload: Any) -> str:
        """Read ``{"access_token"}`` (M)."""
        return require(payload, "access_token", "the response to the login")

    def repeat_safety(self, kind: str) -> RepeatSafety:
        """Exports may be repeated; imports never, nor what a plugin does that we do not know."""
        return RepeatSafety.SAFE if is_export(job_type_of(kind)) else RepeatSafety.NEVER

    # -- submissions and polls ----------------------------------------------------------------------

    def read_submission(self, payload: Any, submission: Submission, now: float) -> JobHandle:
        """Read ``{"batch_job": {"id", ...}}`` (M)."""
        job = job_of(payload)
        return self.handle(require(job, "id", f"the response to {submission.kind}"), submission.kind, now)

    def take_apart(self, job: Any) -> list[Any]:
        """
        Take the manifest of a finished task apart as well.

        So a dry run can be handed from the task that made it to the task that decides.
        """
        if not isinstance(job, Mapping) or "schema_version" not in job:
            return super().take_apart(job)
        if not isinstance(job.get("jobs"), list) or job.get("system") != self.name:
            raise InvalidInput(f"the manifest is of {job.get('system')!r}, not of {self.name!r}")
        try:
            ids = [require(entry, "job_id", "a job of the manifest") for entry in job["jobs"]]
            return [self.handle(job_id, str(job.get("kind"))).to_dict() for job_id in ids]
        except MalformedResponse as error:
            raise InvalidInput(str(error)) from None

    def poll_result(self, response: Decoded, handle: JobHandle) -> PollResult:
        """Take ``400 not_allowed`` for what it is: the job of another user (M)."""
        problem = response.problem
        if problem is not None and problem.kind is ProblemKind.VALIDATION and problem.code == "not_allowed":
            return PollResult(PollResultKind.DENIED, text=problem.text, http_status=problem.http_status)
        return super().poll_result(response, handle)

    def read_status(self, payload: Any, handle: JobHandle) -> JobStatus:
        """
        Read a job (M).

        ``status`` follows from the time stamps, the last one set wins: ``failed`` hides everything (S).
        Progress is decoration; exports count products, imports count products and variants (M).
        """
        job = job_of(payload)
        word, state = self.read_word(job, handle)
        result = job.get("result")
        result = result if isinstance(result, Mapping) else {}
        details = details_of(result)
        errors = [error["message"] for error in details.get("errors", ())]
        return JobStatus(
            job_id=handle.job_id,
            word=word,
            state=_dry_run_or_cancelled(word, job, handle) or state,
            progress=percent(result.get("progress"), 100.0),
            total=optional_int(result, "count"),
            processed=optional_int(result, "advancement_count"),
            error="; ".join(errors)[:1000] or cancelled_late(job),
            file_name=str(details["file_key"]).rpartition("/")[2] if "file_key" in details else None,
            details=details or None,
        )

    # -- finding a submission again -----------------------------------------------------------------

    def mark(self, submission: Submission, correlation: str) -> Submission:
        """Put the mark into ``context``, where it survives (M)."""
        context = {**submission.body.get("context", {}), CORRELATION: correlation}
        return replace(submission, body={**submission.body, "context": context})

    def find_request(self, origin: str, submission: Submission, since: float, offset: int) -> Request | None:
        """
        List the caller's own jobs of that type, newest first, a page at a time (M).

        A job that is created meanwhile moves others to a later page, so none is missed.
        """
        query = {
            "type[]": [job_type_of(submission.kind)],
            "created_at[gte]": iso(since - CLOCKS_APART).replace("+00:00", "Z"),
            "order": "-created_at",
            "limit": str(PAGE_SIZE),
            "offset": str(offset),
        }
        return Request("GET", self.url(origin, PATH), params=query)

    def read_found(
        self, payload: Any, submission: Submission, correlation: str, since: float, offset: int
    ) -> FoundPage:
        """Look for the mark; the oldest job that carries it counts."""
        jobs = rows(payload, "batch_jobs", "the response")
        for job in reversed(jobs):
            context = job.get("context")
            if isinstance(context, Mapping) and context.get(CORRELATION) == correlation:
                return FoundPage(self.handle(require(job, "id", "the batch job"), submission.kind, since))
        count = optional_int(payload, "count")
        if count is None:
            raise MalformedResponse("the list of batch jobs does not say how many there are")
        seen = offset + len(jobs)
        return FoundPage(next_offset=seen if jobs and seen < count else None)

    # -- decisions and files ------------------------------------------------------------------------

    def cancel_request(self, origin: str, handle: JobHandle) -> Request:
        """``POST .../cancel``; during processing it blocks until the transaction ends (M)."""
        return Request("POST", self.status_request(origin, handle).url + "/cancel")

    def was_stopped(self, payload: Any) -> bool:
        """Whether the job was cancelled before its work was done; one in processing is finished (M)."""
        job = job_of(payload)
        return job.get("status") == "canceled" and job.get("completed_at") is None

    def confirm_request(self, origin: str, handle: JobHandle) -> Request:
        """``POST .../confirm``; refused with 400 unless the job is ``pre_processed`` (M)."""
        return Request("POST", self.status_request(origin, handle).url + "/confirm")

    def confirmed(self, handle: JobHandle) -> JobHandle:
        """Forget that the job was a dry run: from here on ``pre_processed`` would be a passing state."""
        return replace(handle, kind=job_type_of(handle.kind))

    def file_request(self, origin: str, status: JobStatus) -> Request | None:
        """Ask for the URL of the file whose key the job's result holds."""
        file_key = (status.details or {}).get("file_key")
        return None if file_key is None else self.url_request(origin, file_key)

    def url_request(self, origin: str, file_key: str) -> Request:
        """``POST /admin/uploads/download-url``; some file services sign a URL that expires (D)."""
        url = self.url(origin, "/admin/uploads/download-url")
        return Request("POST", url, json={"file_key": file_key}, safe=True)

    def read_file_url(self, payload: Any) -> str:
        """Read ``{"download_url"}`` (M)."""
        return require(payload, "download_url", "the response about the file")


def _dry_run_or_cancelled(word: str, job: Mapping[str, Any], handle: JobHandle) -> JobState | None:
    """Return the state where the word alone does not tell it."""
    if word == "pre_processed" and (job.get("dry_run") is True or handle.kind.endswith(DRY_RUN)):
        return JobState.WAITING
    if word == "failed" and is_before(job.get("canceled_at"), job.get("failed_at")):
        # A job that is cancelled early fails 3 s later, because its next step trips over it (M).
        return JobState.CANCELLED
    return None
