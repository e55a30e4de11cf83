"""
Medusa v1 (1.20.11): how its admin API spells batch jobs.

Each fact is marked: D documented, M measured on a real server, S read in its source, I inferred, U unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stoq_provider.core.http import Decoded, MalformedAnswer, ProblemKind, Request
from stoq_provider.core.lifecycle import PollResult, PollResultKind, WatchRules
from stoq_provider.core.models import JobHandle, JobState, JobStatus, iso
from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.base import FoundPage, System, loads_text
from stoq_provider.systems.medusa.status import (
    cancelled_late,
    details_of,
    is_before,
    job_of,
    jobs_of,
    percent,
)
from stoq_provider.systems.medusa.submission import CORRELATION, DRY_RUN, PATH, is_export, job_type_of
from stoq_provider.systems.payload import optional_int, require

CLOCKS_APART = 86_400.0
"""Seconds by which the server's clock may differ from ours when a job is looked for by its age."""

PAGE_SIZE = 100
"""Jobs asked for in one page of the list. The default is 10 (M), a maximum is not known (U)."""

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_CADENCE = Cadence(then=15.0, steps=((1.0, 3.0), (60.0, 5.0)))


class Medusa(System):
    """A shop on Medusa v1; a connection has an API token, or e-mail and password."""

    name = "medusa"
    label = "Medusa"
    points = PointsRules(limit=600, window=60.0, read=1, write=1)
    """Our own courtesy: Medusa has no rate limit (S)."""
    rules = WatchRules(record_life=float("inf"))
    """A job is never deleted: there is no call for it (M)."""
    poll_size = 20
    """More values under one name make an object of the list in newer versions of its query parser (I)."""
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

    def auth_headers(self, key: str) -> dict[str, str]:
        """``x-medusa-access-token``; as a bearer token the same key is refused (M)."""
        return {"x-medusa-access-token": key}

    def login_request(self, origin: str, login: str, key: str) -> Request | None:
        """``POST /admin/auth/token``; the token lives for 24 h (S)."""
        url = self.url(origin, "/admin/auth/token")
        return Request("POST", url, json={"email": login, "password": key}, safe=True)

    def read_login(self, payload: Any) -> str:
        """Read ``{"access_token"}`` (M)."""
        return require(payload, "access_token", "the answer to the login")

    # -- pace and repeats ---------------------------------------------------------------------------

    def cadence(self, kind: str) -> Cadence:
        """
        After 3 s, then every 5 s, after a minute every 15 s (I).

        No pace is documented. Each step of a job waits for up to 3 s (M), however small the job is.
        """
        return _CADENCE

    def repeat_safety(self, kind: str) -> RepeatSafety:
        """Exports may be repeated; imports never, nor what a plugin does that we do not know."""
        return RepeatSafety.SAFE if is_export(job_type_of(kind)) else RepeatSafety.NEVER

    # -- submissions and polls ----------------------------------------------------------------------

    def read_submission(self, payload: Any, submission: Submission, now: float) -> JobHandle:
        """Read ``{"batch_job": {"id", ...}}`` (M); the status URL is the documented route (D)."""
        job = job_of(payload)
        return self.handle(require(job, "id", f"the answer to {submission.kind}"), submission.kind, now)

    def handle(self, job_id: str, kind: str = "job", submitted_at: float | None = None) -> JobHandle:
        """
        Make a handle of a job's id.

        :raises MalformedAnswer: where it can't be one.
        """
        if not _JOB_ID.fullmatch(job_id):
            raise MalformedAnswer(f"not the id of a batch job: {job_id[:80]!r}")
        return JobHandle(self.name, kind, job_id, f"{PATH}/{job_id}", submitted_at=submitted_at)

    def read_handles(self, job: Any) -> list[JobHandle]:
        """
        Read jobs as :meth:`System.read_handles` does, and the manifest of a finished task as well.

        So a dry run can be handed from the task that made it to the task that decides.
        """
        if isinstance(job, str) and job.strip()[:1] in ("{", "["):
            job = loads_text(job)
        return super().read_handles(_taken_from_manifests(job))

    def handle_of_url(self, url: str) -> JobHandle:
        """Take the bare id of a job as well: its route is documented (D)."""
        text = url.strip()
        if text.startswith("batch_") and _JOB_ID.fullmatch(text):
            return self.handle(text)
        return super().handle_of_url(url)

    def poll_request(self, origin: str, handles: Sequence[JobHandle]) -> Request:
        """Ask for one job by its URL, for several by ``id[]`` (M)."""
        if len(handles) == 1:
            return self.status_request(origin, handles[0])
        for handle in handles:
            self.status_request(origin, handle)
        ids = [handle.job_id for handle in handles]
        return Request("GET", self.url(origin, PATH), params={"id[]": ids, "limit": str(len(ids))})

    def poll_results(self, answer: Decoded, handles: Sequence[JobHandle]) -> list[PollResult]:
        """
        Read a list of jobs.

        A list holds the caller's own jobs only (M), so one that is missing there may be another user's.
        """
        if len(handles) == 1:
            return [self.poll_result(answer, handles[0])]
        if answer.problem is not None:
            result = PollResult.of_problem(answer)
            # That the list itself is not found says nothing about the jobs.
            passing = result if result.kind is not PollResultKind.MISSING else PollResult.bad(result.text)
            return [passing for _ in handles]
        try:
            listed = {job.get("id"): job for job in jobs_of(answer.payload)}
        except MalformedAnswer as error:
            return [PollResult.bad(str(error)) for _ in handles]
        return [self._result_in(listed, handle) for handle in handles]

    def _result_in(self, listed: Mapping[Any, Mapping[str, Any]], handle: JobHandle) -> PollResult:
        if handle.job_id not in listed:
            return PollResult(
                PollResultKind.MISSING, text="not in the list of the jobs that this user created"
            )
        return self.poll_result(Decoded({"batch_job": listed[handle.job_id]}), handle)

    def poll_result(self, answer: Decoded, handle: JobHandle) -> PollResult:
        """Take ``400 not_allowed`` for what it is: the job of another user (M)."""
        problem = answer.problem
        if problem is not None and problem.kind is ProblemKind.VALIDATION and problem.code == "not_allowed":
            return PollResult(PollResultKind.DENIED, text=problem.text, http_status=problem.http_status)
        return super().poll_result(answer, handle)

    def read_status(self, payload: Any, handle: JobHandle) -> JobStatus:
        """
        Read a job (M).

        ``status`` follows from the time stamps, the last one set wins: ``failed`` hides everything (S).
        Progress is decoration; exports count products, imports count products and variants (M).
        """
        job = job_of(payload)
        word = require(job, "status", "the batch job")
        if job.get("id") != handle.job_id:
            raise MalformedAnswer(f"the server answered for another job: {str(job.get('id'))[:80]}")
        result = job.get("result")
        result = result if isinstance(result, Mapping) else {}
        details = details_of(result)
        errors = [error["message"] for error in details.get("errors", ())]
        return JobStatus(
            job_id=handle.job_id,
            word=word[:80],
            state=self._state(word, job, handle),
            progress=percent(result.get("progress")),
            total=optional_int(result, "count"),
            processed=optional_int(result, "advancement_count"),
            error="; ".join(errors)[:1000] or cancelled_late(job),
            file_name=str(details["file_key"]).rpartition("/")[2] if "file_key" in details else None,
            details=details or None,
        )

    def _state(self, word: str, job: Mapping[str, Any], handle: JobHandle) -> JobState:
        if word == "pre_processed" and (job.get("dry_run") is True or handle.kind.endswith(DRY_RUN)):
            return JobState.WAITING
        if word == "failed" and is_before(job.get("canceled_at"), job.get("failed_at")):
            # A job that is cancelled early fails 3 s later, because its next step trips over it (M).
            return JobState.CANCELLED
        return self.status_words.get(word, JobState.UNKNOWN)

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
        jobs = jobs_of(payload)
        for job in reversed(jobs):
            context = job.get("context")
            if isinstance(context, Mapping) and context.get(CORRELATION) == correlation:
                return FoundPage(self.handle(require(job, "id", "the batch job"), submission.kind, since))
        count = optional_int(payload, "count")
        if count is None:
            raise MalformedAnswer("the list of batch jobs does not say how many there are")
        seen = offset + len(jobs)
        return FoundPage(next_offset=seen if jobs and seen < count else None)

    # -- decisions and files ------------------------------------------------------------------------

    def cancel_request(self, origin: str, handle: JobHandle) -> Request | None:
        """``POST .../cancel``; during processing it blocks until the transaction ends (M)."""
        return Request("POST", self.status_request(origin, handle).url + "/cancel")

    def was_stopped(self, payload: Any) -> bool:
        """Whether the job was cancelled before its work was done; one in processing is finished (M)."""
        job = job_of(payload)
        return job.get("status") == "canceled" and job.get("completed_at") is None

    def confirm_request(self, origin: str, handle: JobHandle) -> Request | None:
        """``POST .../confirm``; refused with 400 unless the job is ``pre_processed`` (M)."""
        return Request("POST", self.status_request(origin, handle).url + "/confirm")

    def confirmed(self, handle: JobHandle) -> JobHandle:
        """Forget that the job was a dry run: from here on ``pre_processed`` would be a passing state."""
        return replace(handle, kind=job_type_of(handle.kind))

    def file_request(self, origin: str, status: JobStatus) -> Request | None:
        """``POST /admin/uploads/download-url``; some file services sign a URL that expires (D)."""
        file_key = (status.details or {}).get("file_key")
        if file_key is None:
            return None
        url = self.url(origin, "/admin/uploads/download-url")
        return Request("POST", url, json={"file_key": file_key}, safe=True)

    def read_file_url(self, payload: Any) -> str:
        """Read ``{"download_url"}`` (M)."""
        return require(payload, "download_url", "the answer about the file")


def _taken_from_manifests(job: Any) -> Any:
    """Put handles in the place of manifests."""
    if isinstance(job, Mapping) and "schema_version" in job:
        listed = job.get("jobs")
        if not isinstance(listed, list) or job.get("system") != Medusa.name:
            raise InvalidInput(f"the manifest is of {job.get('system')!r}, not of {Medusa.name!r}")
        medusa, kind = Medusa(), str(job.get("kind"))
        return [medusa.handle(str(entry.get("job_id")), kind).to_dict() for entry in listed]
    if isinstance(job, (list, tuple)):
        return [_taken_from_manifests(item) for item in job]
    return job
