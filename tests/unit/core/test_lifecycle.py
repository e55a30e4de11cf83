"""The state machine of a job: the rows of the outcome table that concern polling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoq_provider.core.http import Decoded, Problem, ProblemKind, RateLimit
from stoq_provider.core.lifecycle import (
    JobProgress,
    Outcome,
    PollResult,
    PollResultKind,
    WatchRules,
    advance,
    give_up,
    outcome_of,
)
from stoq_provider.core.models import JobHandle, JobState, JobStatus

T0 = 1_000_000.0
DAY = 86_400.0
RULES = WatchRules()
HANDLE = JobHandle("stoq", "bulk_release", "job_1", "/jobs/job_1", 47, T0)
WORDS = {
    "running": JobState.RUNNING,
    "waiting": JobState.WAITING,
    "completed": JobState.SUCCEEDED,
    "partial": JobState.PARTIAL,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}


def seen(word, error=None):
    return PollResult.seen(JobStatus("job_1", word, WORDS.get(word, JobState.UNKNOWN), error=error))


def problem(kind, status=None, retry_after=None):
    answer = Decoded(
        problem=Problem(kind, ("as the server says",), status), rate_limit=RateLimit(retry_after=retry_after)
    )
    return PollResult.of_problem(answer)


RUNNING = seen("running")
MISSING = problem(ProblemKind.NOT_FOUND, 404)
DOWN = problem(ProblemKind.UNAVAILABLE, 503)
RESET = problem(ProblemKind.LOST_CONNECTION)
GARBAGE = PollResult.bad("the status of the job has no 'status'")
THROTTLED = problem(ProblemKind.RATE_LIMITED, 429, 24.0)
KEY_REFUSED = problem(ProblemKind.AUTHENTICATION, 401)


def watch_from(history, handle=HANDLE, started_at=T0, seen_at=None):
    progress = JobProgress(handle, started_at, seen_at)
    for after, result in history:
        assert not progress.ended, f"ended too early, at {after}"
        progress = advance(progress, result, T0 + after, RULES)
    return progress


ROWS = [
    # id, history of (seconds after submission, result), outcome
    ("completed", [(5, RUNNING), (10, seen("completed"))], Outcome.SUCCEEDED),
    ("completed at the first look", [(0, seen("completed"))], Outcome.SUCCEEDED),
    ("partial", [(5, seen("partial"))], Outcome.PARTIAL),
    ("waits for a decision", [(5, seen("waiting"))], Outcome.WAITING),
    ("failed", [(5, seen("failed", "no offer"))], Outcome.FAILED),
    ("cancelled", [(5, seen("cancelled"))], Outcome.CANCELLED),
    ("unknown status keeps running", [(5, seen("archived")), (90_000, seen("archived"))], None),
    ("404 within the grace", [(0, MISSING), (29.9, MISSING)], None),
    ("404 at the end of the grace", [(0, MISSING), (30, MISSING)], Outcome.NOT_FOUND),
    ("404 after the grace, at the first look", [(31, MISSING)], Outcome.NOT_FOUND),
    ("404 within the grace, then alive", [(5, MISSING), (10, RUNNING)], None),
    ("404 after 5xx only", [(5, DOWN), (40, MISSING)], Outcome.NOT_FOUND),
    ("404 of a job seen alive", [(5, RUNNING), (60, MISSING), (959.9, MISSING)], None),
    ("404 of a job seen alive, too long", [(5, RUNNING), (60, MISSING), (960, MISSING)], Outcome.NOT_FOUND),
    (
        "404 of a job seen alive, then alive",
        [(5, RUNNING), (60, MISSING), (950, RUNNING), (960, MISSING)],
        None,
    ),
    ("404 just before 24 h", [(5, RUNNING), (4 + DAY, MISSING)], None),
    ("404 at 24 h", [(5, RUNNING), (5 + DAY, MISSING)], Outcome.EXPIRED),
    ("404 24 h after submission, never seen", [(DAY, MISSING)], Outcome.EXPIRED),
    ("404 just before 24 h, never seen", [(DAY - 1, MISSING)], Outcome.NOT_FOUND),
    ("5xx for less than 15 min", [(5, RUNNING), (60, DOWN), (959.9, DOWN)], None),
    ("5xx for 15 min", [(5, RUNNING), (60, DOWN), (960, DOWN)], Outcome.UNHEALTHY),
    ("5xx from the start", [(0, DOWN), (900, DOWN)], Outcome.UNHEALTHY),
    ("resets and garbage count alike", [(0, RESET), (450, GARBAGE), (900, RESET)], Outcome.UNHEALTHY),
    ("5xx then 404 are one bad row", [(5, RUNNING), (60, DOWN), (960, MISSING)], Outcome.NOT_FOUND),
    ("a good answer ends the bad row", [(0, DOWN), (899, RUNNING), (900, DOWN), (1799, DOWN)], None),
    (
        "the row starts anew after it",
        [(0, DOWN), (899, RUNNING), (900, DOWN), (1800, DOWN)],
        Outcome.UNHEALTHY,
    ),
    ("an unknown status is a good answer", [(0, DOWN), (899, seen("archived")), (901, DOWN)], None),
    ("429 for a day", [(5, RUNNING), (10, THROTTLED), (90_000, THROTTLED)], None),
    ("429 neither ends nor starts a bad row", [(0, DOWN), (500, THROTTLED), (900, DOWN)], Outcome.UNHEALTHY),
    ("401 at once", [(5, RUNNING), (10, KEY_REFUSED)], Outcome.DENIED),
    ("403 at the first look", [(0, problem(ProblemKind.AUTHENTICATION, 403))], Outcome.DENIED),
]


@pytest.mark.parametrize(("history", "outcome"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_outcome(history, outcome):
    assert watch_from(history).outcome is outcome


def test_without_a_submission_time_the_grace_begins_with_the_wait():
    handle = replace(HANDLE, submitted_at=None)
    assert watch_from([(29.9, MISSING)], handle).outcome is None
    assert watch_from([(30, MISSING)], handle).outcome is Outcome.NOT_FOUND
    assert watch_from([(2 * DAY, MISSING)], handle).outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize(
    ("seen_ago", "outcome"),
    [(DAY, Outcome.EXPIRED), (DAY - 1, None), (0, None)],
    ids=["a day ago", "less than a day ago", "just now"],
)
def test_a_sign_of_life_of_an_earlier_wait_counts(seen_ago, outcome):
    now = 10 * DAY
    progress = watch_from([(now, MISSING)], started_at=T0 + now, seen_at=T0 + now - seen_ago)
    assert progress.outcome is outcome


def test_throttled_changes_nothing_but_the_status_code():
    for history in ([], [(5, RUNNING)], [(5, RUNNING), (9, DOWN), (10, MISSING)]):
        before = watch_from(history)
        after = advance(before, THROTTLED, T0 + 5000, RULES)
        assert after == replace(before, http_status=429)


def test_a_good_answer_wipes_the_bad_ones():
    progress = watch_from([(5, RUNNING), (60, DOWN), (90, MISSING), (120, RUNNING)])
    assert (progress.bad_since, progress.bad_count, progress.seen_at, progress.text) == (
        None,
        0,
        T0 + 120,
        "",
    )
    assert progress.http_status is None


def test_bad_answers_are_counted_from_the_first():
    progress = watch_from([(5, RUNNING), (60, DOWN), (90, RESET), (100, GARBAGE)])
    assert (progress.bad_since, progress.bad_count, progress.seen_at) == (T0 + 60, 3, T0 + 5)
    assert progress.status == RUNNING.status


@pytest.mark.parametrize(
    ("history", "text"),
    [
        pytest.param([(5, seen("failed", "no offer"))], "no offer", id="failed"),
        pytest.param([(5, seen("completed"))], "", id="completed"),
        pytest.param([(5, KEY_REFUSED)], "HTTP 401: as the server says", id="401"),
        pytest.param([(40, MISSING)], "HTTP 404: as the server says", id="404"),
        pytest.param([(0, RESET), (900, RESET)], "as the server says", id="reset"),
        pytest.param([(0, GARBAGE)], "the status of the job has no 'status'", id="garbage"),
    ],
)
def test_the_end_is_reported_in_the_servers_words(history, text):
    assert watch_from(history).text == text


def test_the_deadline_ends_a_wait_but_no_ended_one():
    assert give_up(watch_from([(5, RUNNING)])).outcome is Outcome.TIMEOUT
    assert give_up(watch_from([(5, seen("failed"))])).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (ProblemKind.NOT_FOUND, PollResultKind.MISSING),
        (ProblemKind.AUTHENTICATION, PollResultKind.DENIED),
        (ProblemKind.RATE_LIMITED, PollResultKind.THROTTLED),
        (ProblemKind.UNAVAILABLE, PollResultKind.BAD),
        (ProblemKind.LOST_CONNECTION, PollResultKind.BAD),
        (ProblemKind.NOT_SENT, PollResultKind.BAD),
        (ProblemKind.PROTOCOL, PollResultKind.BAD),
        (ProblemKind.CONFLICT, PollResultKind.BAD),
        (ProblemKind.VALIDATION, PollResultKind.BAD),
    ],
)
def test_what_a_problem_means_for_a_poll(kind, result):
    got = problem(kind, 418, 24.0)
    assert (got.kind, got.http_status, got.retry_after) == (result, 418, 24.0)
    assert got.status is None


@pytest.mark.parametrize("outcome", Outcome)
def test_which_outcomes_are_good(outcome):
    assert outcome.good is (outcome.value in {"succeeded", "partial", "waiting"})


@pytest.mark.parametrize("state", JobState)
def test_a_state_that_ends_a_job_is_an_outcome(state):
    outcome = outcome_of(state)
    assert (None if outcome is None else outcome.value) == (
        None if state in (JobState.RUNNING, JobState.UNKNOWN) else state.value
    )
