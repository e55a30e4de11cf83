"""
What the hooks of all systems share: starting jobs and asking for them.

A subclass names its :class:`~stoq_provider.systems.base.System` and adds the calls that only its own
system has. HTTP is done by ``transport``, decisions by ``core``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from stoq_provider.core.http import Decoded, MalformedAnswer, Problem, ProblemKind, Request
from stoq_provider.core.models import JobHandle, JobStatus
from stoq_provider.core.records import RepeatSafety, new_correlation
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, check_json
from stoq_provider.exceptions import StoqProviderError, SubmissionUncertain
from stoq_provider.hooks.shop import NOTHING_SENT, Detached, ShopHook, user_agent
from stoq_provider.jobs.errors import of_problem, typed
from stoq_provider.jobs.lookup import Found, find

__all__ = ["NOTHING_SENT", "Detached", "JobHook", "user_agent"]

SUBMIT_ATTEMPTS = 3
"""How often a repeat-safe submission is sent in one try while its fate is unclear."""

BUSY_INTERVAL = 30.0
"""Seconds between two attempts while the server is busy with another job."""

NO_JOB = "No remote job was started"
PERHAPS_A_JOB = "An attempt before this one perhaps started a job that nobody waits for, which does no harm"


class JobHook(ShopHook):
    """Base of the hooks: a shop whose bulk work runs as jobs."""

    def submit(
        self, submission: Submission, *, busy_patience: float = 0.0, correlation: str | None = None
    ) -> JobHandle:
        """
        Start a job.

        :param busy_patience: seconds to wait while the server answers 409 because of another job.
        :param correlation: a text of which no other submission has the same, carried along where the
            system has a place for it; default: one made here.

        Where it is unclear whether a call was processed (time-out, reset, 5xx, an answer that can't be
        read), the job is looked for, if the system lists its jobs. Found, it is the one; absent, the
        submission is sent again. Where nothing can be found out, a repeat-safe submission is sent again,
        any other is not.

        :raises SubmissionUncertain: it may run, and repeating it is not safe.
        :raises StoqProviderError: it was refused, or stayed unclear; the message tells which.
        """
        correlation = correlation or new_correlation(uuid4().hex, uuid4().hex[:8])
        request = self.submit_request(self.system.mark(submission, correlation))
        since, doubtful = time.time(), False
        for attempt in range(1, SUBMIT_ATTEMPTS + 1):
            answer = self._send_when_free(request, busy_patience, doubtful=doubtful)
            handle, answer = self._handle(answer, submission)
            if handle is not None:
                self._tell_items(handle, submission)
                return handle
            problem = answer.problem
            assert problem is not None
            if not problem.maybe_processed:
                raise self._refused(answer, request, repeated=doubtful)
            found = self.find(submission, correlation, since)
            if found.handle is not None:
                self.log.info(
                    "%s: %s; its job %s was found in the list.",
                    request.target,
                    problem.text,
                    found.handle.job_id,
                )
                return found.handle
            doubtful = doubtful or not found.absent
            if not found.absent and self.system.repeat_safety(submission.kind) is RepeatSafety.NEVER:
                raise self._uncertain(problem, submission, found)
            if attempt < SUBMIT_ATTEMPTS:
                self._tell_again(request, problem, submission, found)
                with self._telling_what_was_sent(doubtful):
                    self.sleep(random.uniform(0.5, 1.5) * attempt)  # noqa: S311 - jitter
        raise self._unclear(answer, request, doubtful=doubtful)

    def _tell_items(self, handle: JobHandle, submission: Submission) -> None:
        sent, taken = submission.item_count, handle.item_count
        if None not in (sent, taken) and sent != taken:
            self.log.warning(
                "%s items were sent as %s, and %s says that job %s has %s.",
                sent,
                submission.kind,
                self.system.label,
                handle.job_id,
                taken,
            )

    def find(self, submission: Submission, correlation: str | None, since: float) -> Found:
        """Look for the job of a submission that got no clear answer; see ``jobs.lookup``."""
        return find(self, submission, correlation, since)

    def _tell_again(self, request: Request, problem: Problem, submission: Submission, found: Found) -> None:
        self.log.warning(
            "%s: %s. %s, so it is sent again.",
            request.target,
            problem.text,
            f"{self.system.label} has no job of it"
            if found.absent
            else f"It may have been processed; {submission.kind} is safe to repeat",
        )

    def await_turn(self, submission: Submission) -> None:
        """
        Wait until the points are there for a submission; nothing is sent.

        :raises Detached: where the task was told to stop meanwhile.
        """
        with self._telling_what_was_sent(doubtful=False):
            self.transport.await_turn(self.submit_request(submission))

    def _send_when_free(self, request: Request, patience: float, *, doubtful: bool) -> Decoded:
        give_up_at = time.time() + patience
        while True:
            # What is waited for in here, before a call or after a refusal: points, or a connection.
            with self._telling_what_was_sent(doubtful):
                answer = self.transport.send(request)
                if not _is_busy(answer) or time.time() + BUSY_INTERVAL > give_up_at:
                    return answer
                self.log.info(
                    "%s is busy with another job; trying again in %g s.", self.system.label, BUSY_INTERVAL
                )
                self.sleep(BUSY_INTERVAL)

    @contextmanager
    def _telling_what_was_sent(self, doubtful: bool) -> Iterator[None]:
        """Say of a stop between two calls of a submission whether one of them perhaps started a job."""
        try:
            yield
            return
        except Detached as error:
            job = PERHAPS_A_JOB if doubtful else NO_JOB
            stopped = Detached(
                f"The task was told to stop before {self.system.label} had taken the submission. {job}. A "
                "retry submits it.",
                **{**error.details(), "job_started": None if doubtful else False},
            )
        raise stopped

    def submit_request(self, submission: Submission) -> Request:
        """
        Return the call that a submission makes; sends nothing.

        :raises ValidationRejected: where the body can't be sent as JSON.
        """
        with typed(self.system.name, f"{NOTHING_SENT}; a retry would fail alike"):
            request = self.system.submit_request(self.settings.origin, submission)
            check_json(request.json, submission.kind)
        return request

    def _handle(self, answer: Decoded, submission: Submission) -> tuple[JobHandle | None, Decoded]:
        if answer.problem is not None:
            return None, answer
        try:
            handle = self.system.read_submission(answer.payload, submission, time.time())
            self.system.status_request(self.settings.origin, handle)
        except (MalformedAnswer, InvalidInput) as error:
            return None, Decoded(
                problem=Problem(ProblemKind.PROTOCOL, (str(error),)), rate_limit=answer.rate_limit
            )
        return handle, answer

    def _refused(self, answer: Decoded, request: Request, *, repeated: bool) -> StoqProviderError:
        assert answer.problem is not None
        kind = answer.problem.kind
        # An attempt before this one got no clear answer: its job may be what the server is busy with.
        job = PERHAPS_A_JOB if repeated else NO_JOB
        if kind is ProblemKind.AUTHENTICATION:
            fate = f"{job}. The task is not retried; set the key of connection {self.conn_id!r} right."
        elif kind in (ProblemKind.VALIDATION, ProblemKind.NOT_FOUND):
            fate = f"{job}. The task is not retried, since it would be refused again."
        else:
            fate = f"{job}. A retry submits it."
        return of_problem(
            answer.problem,
            system=self.system.name,
            doing=f"{request.target}: {self.system.label} did not accept the submission",
            fate=fate,
            points_left=answer.rate_limit.remaining,
            job_started=None if repeated else False,
        )

    def _unclear(self, answer: Decoded, request: Request, *, doubtful: bool) -> StoqProviderError:
        assert answer.problem is not None
        fate = f"{NO_JOB}: none is in the list of jobs. A retry submits it."
        if doubtful:
            fate = "A job may run that nobody waits for, which does no harm. A retry submits again."
        return of_problem(
            answer.problem,
            system=self.system.name,
            doing=f"{request.target}: no clear answer in {SUBMIT_ATTEMPTS} attempts",
            fate=fate,
            points_left=answer.rate_limit.remaining,
            job_started=None if doubtful else False,
        )

    def _uncertain(self, problem: Problem, submission: Submission, found: Found) -> SubmissionUncertain:
        list_too = f", and its list of jobs could not be read ({found.text})" if found.text else ""
        return SubmissionUncertain(
            f"{submission.kind} was sent to {self.system.label}, and no clear answer came back "
            f"({problem.text}){list_too}. The job perhaps runs. It is not sent again, because repeating "
            f"{submission.kind} is not safe, and the task is not retried. Look in {self.system.label} "
            "whether it took effect; if it did not, clear the task to submit it.",
            system=self.system.name,
            http_status=problem.http_status,
            server_messages=problem.messages,
        )

    def get_job(self, handle: JobHandle | Mapping[str, Any]) -> JobStatus:
        """
        Ask for the status of a job, once.

        :param handle: a handle, or its form in XCom.
        :raises StoqProviderError: the typed error of what came back.
        """
        with typed(self.system.name, "The remote job goes on; nothing was sent."):
            known = handle if isinstance(handle, JobHandle) else JobHandle.from_dict(handle)
            request = self.system.status_request(self.settings.origin, known)
        payload = self._payload(request, known.job_id)
        with typed(self.system.name, f"Job {known.job_id} goes on; a retry asks again."):
            return self.system.read_status(payload, known)

    def file_url(self, status: JobStatus) -> str | None:
        """
        Return a fresh download URL for the file of a finished job; ``None`` where it has no file.

        It is a secret, and may expire within minutes: ask right before the download, keep it nowhere.

        :raises StoqProviderError: the typed error of what came back.
        """
        request = self.system.file_request(self.settings.origin, status)
        if request is None:
            return status.download_url
        payload = self._payload(request, status.job_id)
        with typed(
            self.system.name, f"Job {status.job_id} is done; a retry asks again, and submits nothing."
        ):
            return self.system.read_file_url(payload)

    @property
    def allows_private(self) -> bool:
        """Whether a file may lie at a private address; a vendor on the internet has no business there."""
        return self.settings.allow_http

    def confirm(self, handle: JobHandle | Mapping[str, Any]) -> JobHandle:
        """
        Let a job go on that waits for a decision; return the handle to wait for it by.

        :raises StoqProviderError: it does not wait, or the answer was lost: ask for its status.
        """
        known = self._decide(handle, self.system.confirm_request, "confirm")
        return self.system.confirmed(known)

    def cancel(self, handle: JobHandle | Mapping[str, Any]) -> None:
        """
        Cancel a job.

        :raises StoqProviderError: it has ended, or the answer was lost: ask for its status.
        """
        self._decide(handle, self.system.cancel_request, "cancel")

    def _decide(
        self,
        handle: JobHandle | Mapping[str, Any],
        make: Callable[[str, JobHandle], Request | None],
        verb: str,
    ) -> JobHandle:
        with typed(self.system.name, "The remote job goes on; nothing was sent."):
            known = handle if isinstance(handle, JobHandle) else JobHandle.from_dict(handle)
            request = make(self.settings.origin, known)
            if request is None:
                raise InvalidInput(f"{self.system.label} has no call to {verb} a job")
        self._payload(request, known.job_id)
        return known


def _is_busy(answer: Decoded) -> bool:
    """Only the message tells a 409 for a busy system from one for a wrong state (seen in v1 clients)."""
    problem = answer.problem
    if problem is None or problem.kind is not ProblemKind.CONFLICT:
        return False
    return any("in progress" in message or "another job" in message for message in problem.messages)
