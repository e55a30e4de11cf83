"""Every error says three things: what happened, what becomes of the remote job, what a retry will do."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider import exceptions
from stoq_provider.core.events import JobEnd
from stoq_provider.core.http import Problem, ProblemKind
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.models import JobHandle
from stoq_provider.core.records import RepeatSafety, SubmissionRecord
from stoq_provider.exceptions import ServiceUnavailable, StoqProviderError, SubmissionUncertain
from stoq_provider.jobs import errors

HANDLE = JobHandle("stoq", "bulk_release", "bulk_1", "/x")
BAD = [outcome for outcome in Outcome if not outcome.good]
WHAT = {
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "was cancelled",
    Outcome.NOT_FOUND: "does not know job",
    Outcome.EXPIRED: "no longer knows job",
    Outcome.UNHEALTHY: "No good response",
    Outcome.DENIED: "refused the key",
    Outcome.TIMEOUT: "did not end in time",
}
FATE = {
    Outcome.FAILED: "has ended",
    Outcome.CANCELLED: "has ended",
    Outcome.NOT_FOUND: "is unknown",
    Outcome.EXPIRED: "has ended",
    Outcome.UNHEALTHY: "it goes on",
    Outcome.DENIED: "goes on",
    Outcome.TIMEOUT: "goes on",
}
NEVER, WARN = {"repeat": RepeatSafety.NEVER}, {"repeat": RepeatSafety.WARN}
UNRECORDED, BULK = {"recorded": False}, {"export": False}
WAITS = "A retry waits for the same job and submits nothing."
LOOKS = "A retry of this task looks again and submits nothing"
NEXT = [
    # how it ended, what is unusual, what a retry does, and whether Airflow retries
    (Outcome.FAILED, {}, "A retry submits it again.", True),
    (Outcome.FAILED, WARN | UNRECORDED | BULK, "A retry submits it again.", True),
    (Outcome.FAILED, NEVER, "not submitted again by itself, because repeating bulk_release is not", False),
    (Outcome.FAILED, NEVER | UNRECORDED, "not submitted again by itself", False),
    (Outcome.CANCELLED, {}, "The task is not retried; clearing it submits the job again.", False),
    (Outcome.CANCELLED, NEVER | UNRECORDED, "The task is not retried", False),
    (Outcome.NOT_FOUND, {}, "The task is not retried. Check that the connection's key", False),
    (Outcome.NOT_FOUND, NEVER | UNRECORDED, "The task is not retried", False),
    (Outcome.EXPIRED, {}, "A retry submits it again.", True),
    (Outcome.EXPIRED, WARN | UNRECORDED, "A retry submits it again.", True),
    (Outcome.EXPIRED, BULK, "not submitted again by itself, because bulk_release most likely ran", False),
    (Outcome.EXPIRED, NEVER, "not submitted again by itself", False),
    (Outcome.UNHEALTHY, {}, WAITS, True),
    (Outcome.UNHEALTHY, NEVER | BULK, WAITS, True),
    (Outcome.UNHEALTHY, UNRECORDED, "A retry submits a new job", True),
    (Outcome.UNHEALTHY, UNRECORDED | NEVER, "The task is not retried: no record of the job", False),
    (Outcome.DENIED, {}, "clear the task: it finds the same job again.", False),
    (Outcome.DENIED, UNRECORDED | NEVER, "The task is not retried, since the key", False),
    (Outcome.TIMEOUT, {}, WAITS, True),
    (Outcome.TIMEOUT, NEVER | BULK, WAITS, True),
    (Outcome.TIMEOUT, WARN | UNRECORDED | BULK, "A retry submits a new job", True),
    (Outcome.TIMEOUT, UNRECORDED | NEVER, "The task is not retried: no record of the job", False),
]
OF_A_SENSOR = [
    # the same of a task that did not submit the job, as far as anything might tempt it to do so
    (Outcome.FAILED, NEVER, LOOKS, True),
    (Outcome.CANCELLED, {}, "not retried; it submits nothing in any case.", False),
    (Outcome.NOT_FOUND, {}, "not retried; it submits nothing in any case.", False),
    (Outcome.EXPIRED, BULK, LOOKS, True),
    (Outcome.UNHEALTHY, UNRECORDED | NEVER, LOOKS, True),
    (Outcome.DENIED, UNRECORDED, "not retried; it submits nothing in any case.", False),
    (Outcome.TIMEOUT, UNRECORDED, LOOKS, True),
]


def of_end(
    outcome, *, own_jobs=True, recorded=True, repeat=RepeatSafety.SAFE, export=True, text="HTTP 500: oops"
):
    system = SimpleNamespace(
        label="STOQ",
        rules=SimpleNamespace(record_life=86400),
        repeat_safety=lambda kind: repeat,
        repeat_expired=lambda kind: export,
    )
    return errors.of_end(
        JobEnd(HANDLE, outcome, text=text, http_status=500),
        system,
        own_jobs=own_jobs,
        recorded=recorded,
        unhealthy_after=900,
        points_left=7,
    )


def test_every_bad_outcome_is_in_the_tables():
    assert set(WHAT) == set(FATE) == set(BAD)
    for rows in (NEXT, OF_A_SENSOR):
        assert {outcome for outcome, *_ in rows} == set(BAD)


@pytest.mark.parametrize(
    ("outcome", "unusual", "again", "retried", "own_jobs"),
    [(*row, True) for row in NEXT] + [(*row, False) for row in OF_A_SENSOR],
)
def test_message_has_three_parts(outcome, unusual, again, retried, own_jobs):
    error = of_end(outcome, own_jobs=own_jobs, **unusual)
    text = str(error)
    assert WHAT[outcome] in text
    assert "bulk_1" in text
    assert "(HTTP 500: oops)" in text
    assert FATE[outcome] in text
    assert again in text
    assert isinstance(error, AirflowFailException) is not retried
    assert (error.job_id, error.http_status, error.points_left) == ("bulk_1", 500, 7)
    assert error.server_messages == ("HTTP 500: oops",)
    assert "{" not in text
    assert "  " not in text


@pytest.mark.parametrize("outcome", BAD)
def test_braces_in_the_servers_words_are_kept(outcome):
    assert "{x} {kind} %s" in str(of_end(outcome, text="{x} {kind} %s"))


@pytest.mark.parametrize("outcome", BAD)
def test_no_words_of_the_server_leave_no_empty_brackets(outcome):
    error = of_end(outcome, text="")
    assert "()" not in str(error)
    assert error.server_messages == ()


@pytest.mark.parametrize("outcome", [Outcome.UNHEALTHY, Outcome.TIMEOUT])
def test_never_claims_reattaching_without_a_record(outcome):
    assert "submits nothing" not in str(of_end(outcome, recorded=False))


@pytest.mark.parametrize("outcome", [Outcome.UNHEALTHY, Outcome.DENIED, Outcome.TIMEOUT, Outcome.NOT_FOUND])
def test_never_says_that_the_job_failed_where_only_the_wait_did(outcome):
    assert "failed" not in str(of_end(outcome))
    assert type(of_end(outcome)) is not exceptions.JobFailed


@pytest.mark.parametrize("kind", ProblemKind)
def test_every_kind_of_problem_has_its_error(kind):
    error = errors.of_problem(
        Problem(kind, ("the words",), 418),
        system="stoq",
        doing="GET /x at STOQ",
        fate="The fate.",
        job_id="j",
    )
    assert str(error) == "GET /x at STOQ: HTTP 418: the words. The fate."
    assert (error.system, error.http_status, error.job_id) == ("stoq", 418, "j")
    final = kind in (ProblemKind.AUTHENTICATION, ProblemKind.NOT_FOUND, ProblemKind.VALIDATION)
    assert isinstance(error, AirflowFailException) is final


def test_every_error_class_is_one_of_ours_and_final_where_a_retry_cannot_help():
    classes = [
        value
        for value in vars(exceptions).values()
        if isinstance(value, type) and issubclass(value, StoqProviderError) and value is not StoqProviderError
    ]
    final = {cls.__name__ for cls in classes if issubclass(cls, AirflowFailException)}
    assert final == {
        "AuthenticationError",
        "ValidationRejected",
        "SubmissionUncertain",
        "FinalJobFailed",
        "JobCancelled",
        "JobNotFound",
        "FinalJobExpired",
        "FinalJobTimeout",
        "FinalPollingUnhealthy",
    }


def test_a_job_that_an_earlier_try_found_unknown_is_not_called_one_without_an_answer():
    record = SubmissionRecord(0, 1.0, HANDLE, outcome=Outcome.NOT_FOUND)
    system = SimpleNamespace(label="STOQ", name="stoq")
    error = errors.must_not_repeat(system, "bulk_release", record, "reuse")
    assert type(error) is exceptions.JobNotFound
    assert "STOQ does not know job bulk_1" in str(error)
    assert "set on_clear='resubmit'" in str(error)


def test_an_uncertain_submission_is_one_whatever_it_takes_the_place_of():
    before = ServiceUnavailable("refused", system="stoq", job_started=False, points_left=7)
    error = SubmissionUncertain("perhaps", **before.details())
    for one in (
        SubmissionUncertain("perhaps"),
        error,
        pickle.loads(pickle.dumps(error)),
        error.after(1, 2, recorded=True),
    ):
        assert (one.maybe_processed, one.job_started) == (True, None)
    assert (error.system, error.points_left) == ("stoq", 7)
