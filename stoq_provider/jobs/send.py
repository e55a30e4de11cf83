"""
One submission: sent, and sent again where that does no harm.

Where it is unclear whether a call was processed (time-out, reset, 5xx, a response that can't be read), the
job is looked for, if the system lists its jobs; what follows stands in ``core.records.after_no_response``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from stoq_provider.core.http import Decoded, MalformedResponse, Problem, ProblemKind
from stoq_provider.core.records import Lookup, RetryDecision, after_no_response, new_correlation
from stoq_provider.core.validation import InvalidInput
from stoq_provider.exceptions import Detached, StoqProviderError, SubmissionUncertain
from stoq_provider.jobs.errors import of_problem
from stoq_provider.jobs.lookup import Found, look_up

if TYPE_CHECKING:
    from stoq_provider.core.http import Request
    from stoq_provider.core.models import JobHandle
    from stoq_provider.core.submission import Submission
    from stoq_provider.jobs.client import JobClient

ATTEMPTS = 3
"""How often a submission is sent in one try while its fate is unclear."""

BUSY_INTERVAL = 30.0
"""Seconds between two attempts while the server is busy with another job."""

NO_JOB = "No remote job was started."
PERHAPS_A_JOB = "An attempt before this one perhaps started a job that nobody waits for, which does no harm."


def send(
    client: JobClient, submission: Submission, *, busy_patience: float = 0.0, correlation: str | None = None
) -> JobHandle:
    """
    Start a job.

    :param busy_patience: seconds to wait while the server responds with 409 because of another job.
    :param correlation: a text of which no other submission has the same, carried along where the system has a
        place for it; default: one made here.
    :raises SubmissionUncertain: it may run, and repeating it is not safe.
    :raises StoqProviderError: it was refused, or stayed unclear; the message says which.
    """
    correlation = correlation or new_correlation(uuid4().hex, uuid4().hex[:8])
    return _Sending(client, submission, correlation, busy_patience).run()


class _Sending:
    """
    The attempts of one submission.

    ``doubtful``: whether an attempt so far perhaps started a job.
    """

    def __init__(
        self, client: JobClient, submission: Submission, correlation: str, busy_patience: float
    ) -> None:
        self._client = client
        self._system = client.system
        self._submission = submission
        self._correlation = correlation
        self._busy_patience = busy_patience
        self._request = client.submit_request(self._system.mark(submission, correlation))
        self._doubtful = False

    def run(self) -> JobHandle:
        since = time.time()
        repeat = self._system.repeat_safety(self._submission.kind)
        for attempt in range(1, ATTEMPTS + 1):
            decoded = self._send_when_free()
            handle, problem = self._read(decoded)
            if handle is not None:
                return handle
            assert problem is not None
            if not problem.maybe_processed:
                raise self._refused(problem, decoded)
            found = look_up(self._client, self._submission, self._correlation, since)
            decision = after_no_response(found.lookup, repeat)
            if decision is RetryDecision.REATTACH:
                return self._adopt(found, problem)
            if decision is RetryDecision.STOP:
                raise self._uncertain(problem, found)
            self._doubtful = self._doubtful or found.lookup is Lookup.UNKNOWN
            if attempt == ATTEMPTS:
                raise self._unclear(problem, decoded)
            self._pause(attempt, problem, found)
        raise AssertionError("unreachable")

    def _send_when_free(self) -> Decoded:
        give_up_at = time.time() + self._busy_patience
        while True:
            # What is waited for in here, before a call or after a refusal: points, or a connection.
            with naming_what_was_sent(self._client, self._doubtful):
                decoded = self._client.transport.send(self._request)
                if not _is_busy(decoded) or time.time() + BUSY_INTERVAL > give_up_at:
                    return decoded
                self._client.log.info(
                    "%s is busy with another job; trying again in %g s.", self._system.label, BUSY_INTERVAL
                )
                self._client.sleep(BUSY_INTERVAL)

    def _read(self, decoded: Decoded) -> tuple[JobHandle | None, Problem | None]:
        if decoded.problem is not None:
            return None, decoded.problem
        try:
            handle = self._system.read_submission(decoded.payload, self._submission, time.time())
            self._system.status_request(self._client.settings.origin, handle)
        except (MalformedResponse, InvalidInput) as error:
            return None, Problem(ProblemKind.PROTOCOL, (str(error),))
        sent, accepted = self._submission.item_count, handle.item_count
        if None not in (sent, accepted) and sent != accepted:
            self._client.log.warning(
                "%s items were sent as %s, and %s says that job %s has %s.",
                sent,
                self._submission.kind,
                self._system.label,
                handle.job_id,
                accepted,
            )
        return handle, None

    def _adopt(self, found: Found, problem: Problem) -> JobHandle:
        assert found.handle is not None
        self._client.log.info(
            "%s: %s; its job %s was found in the list.",
            self._request.target,
            problem.text,
            found.handle.job_id,
        )
        return found.handle

    def _pause(self, attempt: int, problem: Problem, found: Found) -> None:
        why = f"It may have been processed; {self._submission.kind} is safe to repeat"
        if found.lookup is Lookup.ABSENT:
            why = f"{self._system.label} has no job of it"
        self._client.log.warning("%s: %s. %s, so it is sent again.", self._request.target, problem.text, why)
        with naming_what_was_sent(self._client, self._doubtful):
            self._client.sleep(random.uniform(0.5, 1.5) * attempt)  # noqa: S311 - jitter

    # -- errors -------------------------------------------------------------------------------------

    def _refused(self, problem: Problem, decoded: Decoded) -> StoqProviderError:
        if problem.kind is ProblemKind.AUTHENTICATION:
            then = f"The task is not retried; set the key of connection {self._client.conn_id!r} right."
        elif problem.kind in (ProblemKind.VALIDATION, ProblemKind.NOT_FOUND):
            then = "The task is not retried, since it would be refused again."
        else:
            then = "A retry submits it."
        # An attempt before this one got no clear response: its job may be what the server is busy with.
        job = PERHAPS_A_JOB if self._doubtful else NO_JOB
        doing = f"{self._system.label} did not accept the submission"
        if problem.kind is ProblemKind.NOT_SENT:
            doing = f"the submission was not sent to {self._system.label}"
        return self._error(problem, decoded, f"{self._request.target}: {doing}", f"{job} {then}")

    def _unclear(self, problem: Problem, decoded: Decoded) -> StoqProviderError:
        fate = "No remote job was started: none is in the list of jobs. A retry submits it."
        if self._doubtful:
            fate = "A job may run that nobody waits for, which does no harm. A retry submits again."
        doing = f"{self._request.target}: no clear response in {ATTEMPTS} attempts"
        return self._error(problem, decoded, doing, fate)

    def _error(self, problem: Problem, decoded: Decoded, doing: str, fate: str) -> StoqProviderError:
        return of_problem(
            problem,
            system=self._system.name,
            doing=doing,
            fate=fate,
            limit=decoded.rate_limit,
            job_started=None if self._doubtful else False,
        )

    def _uncertain(self, problem: Problem, found: Found) -> SubmissionUncertain:
        kind, label = self._submission.kind, self._system.label
        list_too = f", and its list of jobs could not be read ({found.text})" if found.text else ""
        return SubmissionUncertain(
            f"{kind} was sent to {label}, and no clear response came back ({problem.text}){list_too}. The "
            f"job perhaps runs. It is not sent again, because repeating {kind} is not safe, and the task is "
            f"not retried. Look in {label} whether it took effect; if it did not, clear the task to submit "
            "it.",
            system=self._system.name,
            http_status=problem.http_status,
            server_messages=problem.messages,
        )


@contextmanager
def naming_what_was_sent(client: JobClient, doubtful: bool) -> Iterator[None]:
    """Say of a stop between two calls of a submission whether one of them perhaps started a job."""
    try:
        yield
        return
    except Detached as error:
        job = PERHAPS_A_JOB if doubtful else NO_JOB
        stopped = Detached(
            f"The task was stopped before {client.system.label} had taken the submission. {job} A retry "
            "submits it.",
            **{**error.details(), "job_started": None if doubtful else False},
        )
    raise stopped


def await_limit(client: JobClient, request: Request) -> None:
    """
    Wait until the points are there for a submission; nothing is sent.

    :raises Detached: where the task was stopped meanwhile.
    """
    with naming_what_was_sent(client, doubtful=False):
        client.transport.wait_for_points(request)


def _is_busy(decoded: Decoded) -> bool:
    """Only the message tells a 409 for a busy system from one for a wrong state (seen in v1 clients)."""
    problem = decoded.problem
    if problem is None or problem.kind is not ProblemKind.CONFLICT:
        return False
    return any("in progress" in message or "another job" in message for message in problem.messages)
