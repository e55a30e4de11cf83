"""The note of a submission, and what a new try makes of it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from stoq_provider.core.events import JobEnd
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.records import (
    RepeatSafety,
    RetryDecision,
    SubmissionRecord,
    decide,
    new_correlation,
)

HANDLE = JobHandle("stoq", "bulk_release", "job_1", "/jobs/job_1", 47, 1_780_000_001.0)
INTENT = SubmissionRecord(clears=1, intent_at=1_780_000_000.0)
SENT = INTENT.submitted(HANDLE)

STATUS = JobStatus("job_1", "completed", JobState.SUCCEEDED, 100.0, 47, 47)


def end_of(outcome, status=STATUS, seen_at=1_780_000_060.0):
    return JobEnd(HANDLE, outcome, status, seen_at=seen_at)


LEFT_BEHIND = {
    "nothing": None,
    "intent": INTENT,
    "handle": SENT,
    **{outcome.value: SENT.ended(end_of(outcome)) for outcome in Outcome},
    "held": replace(SENT, held=True),
}
SUBMIT = dict.fromkeys(RepeatSafety, RetryDecision.SUBMIT)
REATTACH = dict.fromkeys(RepeatSafety, RetryDecision.REATTACH)
STOP = dict.fromkeys(RepeatSafety, RetryDecision.STOP)
LOOK_UP = dict.fromkeys(RepeatSafety, RetryDecision.LOOK_UP)
AGAIN = {
    RepeatSafety.SAFE: RetryDecision.REPEAT,
    RepeatSafety.WARN: RetryDecision.REPEAT,
    RepeatSafety.NEVER: RetryDecision.STOP,
}
TRIES = {
    # clears of the task (1 is that of the records), and what on_clear may be
    "a retry": (1, ("resubmit", "reuse")),
    "after a clear": (2, ("resubmit",)),
    "after a clear to reuse": (2, ("reuse",)),
}
TABLE = [
    # what was left behind, and what each of these tries does
    ("nothing", SUBMIT, SUBMIT, SUBMIT),
    ("intent", LOOK_UP, SUBMIT, LOOK_UP),  # killed after the intent, or the answer was lost
    ("handle", REATTACH, SUBMIT, REATTACH),  # killed after the handle
    ("succeeded", REATTACH, SUBMIT, REATTACH),  # the download broke
    ("partial", REATTACH, SUBMIT, REATTACH),
    ("waiting", REATTACH, SUBMIT, REATTACH),
    ("failed", AGAIN, SUBMIT, AGAIN),
    ("cancelled", STOP, SUBMIT, AGAIN),
    ("not_found", REATTACH, SUBMIT, AGAIN),
    ("expired export", AGAIN, SUBMIT, AGAIN),
    ("expired bulk", STOP, SUBMIT, AGAIN),
    ("unhealthy", REATTACH, SUBMIT, REATTACH),
    ("denied", REATTACH, REATTACH, REATTACH),  # the key is right by then
    ("timeout", REATTACH, SUBMIT, REATTACH),
    ("held", REATTACH, REATTACH, REATTACH),
]


def test_the_table_has_a_row_for_all_that_can_be_left_behind():
    assert {left.partition(" ")[0] for left, *_ in TABLE} == set(LEFT_BEHIND)


@pytest.mark.parametrize(
    ("left", "after", "steps"),
    [
        pytest.param(left, after, steps, id=f"{left}, {after}")
        for left, *row in TABLE
        for after, steps in zip(TRIES, row, strict=True)
    ],
)
def test_what_a_try_does(left, after, steps):
    name, _, only = left.partition(" ")
    clears, ways = TRIES[after]
    kinds = {"export": (True,), "bulk": (False,)}.get(only, (True, False))
    for repeat, on_clear, export in itertools.product(RepeatSafety, ways, kinds):
        got = decide(
            LEFT_BEHIND[name], clears=clears, on_clear=on_clear, repeat=repeat, repeat_expired=export
        )
        assert got is steps[repeat], (repeat, on_clear, export)


def test_a_key_refused_before_there_was_a_job_is_no_reason_to_reattach():
    record = replace(INTENT.ended(end_of(Outcome.DENIED)), held=True)
    got = decide(record, clears=2, on_clear="resubmit", repeat=RepeatSafety.NEVER, repeat_expired=False)
    assert got is RetryDecision.SUBMIT


@pytest.mark.parametrize(
    "record", [r for r in LEFT_BEHIND.values() if r], ids=[n for n in LEFT_BEHIND if n != "nothing"]
)
def test_a_record_goes_there_and_back(record):
    assert SubmissionRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_an_end_without_a_sign_of_life_keeps_the_last_one():
    ended = SENT.ended(end_of(Outcome.TIMEOUT, seen_at=50.0))
    ended = ended.ended(end_of(Outcome.UNHEALTHY, status=None, seen_at=None))
    assert (ended.outcome, ended.seen_at, ended.handle) == (Outcome.UNHEALTHY, 50.0, HANDLE)
    assert ended.status == STATUS


@pytest.mark.parametrize("outcome", Outcome)
def test_only_a_good_end_is_not_asked_about_again(outcome):
    assert SENT.ended(end_of(outcome)).end() == (end_of(outcome) if outcome.good else None)


def test_without_an_end_or_a_job_there_is_none():
    assert SENT.end() is None
    assert replace(INTENT, outcome=Outcome.SUCCEEDED).end() is None


@pytest.mark.parametrize("unchanged", [(), (7, 8)])
def test_what_a_read_back_found_goes_there_and_back(unchanged):
    record = SENT.ended(end_of(Outcome.SUCCEEDED)).verified(iter(unchanged))
    assert record.unchanged == unchanged
    assert SubmissionRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"version": 2}, id="another version"),
        pytest.param({"version": ...}, id="no version"),
        pytest.param({"clears": ...}, id="no clears"),
        pytest.param({"clears": "many"}, id="clears as text"),
        pytest.param({"clears": None}, id="clears null"),
        pytest.param({"intent_at": "soon"}, id="no time"),
        pytest.param({"intent_at": None}, id="time null"),
        pytest.param({"handle": ...}, id="handle left out"),
        pytest.param({"handle": "job_1"}, id="handle as text"),
        pytest.param({"handle": ["job_1"]}, id="handle as list"),
        pytest.param({"handle": {"job_id": "job_1"}}, id="half a handle"),
        pytest.param({"outcome": "fine"}, id="unknown outcome"),
        pytest.param({"outcome": []}, id="outcome as list"),
        pytest.param({"seen_at": 7}, id="seen_at as number"),
        pytest.param({"status": "ready"}, id="status as text"),
        pytest.param({"status": ...}, id="status left out"),
        pytest.param({"unchanged": 7}, id="unchanged as number"),
        pytest.param({"unchanged": [["x"]]}, id="unchanged of lists"),
        pytest.param({"unchanged": [True]}, id="unchanged of truths"),
        pytest.param({"held": ...}, id="held left out"),
    ],
)
def test_a_record_that_cannot_be_read_is_not_no_record(change):
    value = {**SENT.to_dict(), **change}
    value = {key: entry for key, entry in value.items() if entry is not ...}
    with pytest.raises(MalformedResponse):
        SubmissionRecord.from_dict(value)


@pytest.mark.parametrize("value", [None, "x", [], 7, b"{}"])
def test_what_is_no_mapping_is_no_record(value):
    with pytest.raises(MalformedResponse):
        SubmissionRecord.from_dict(value)


def test_a_record_cannot_be_changed_by_its_steps():
    before = replace(INTENT)
    INTENT.submitted(HANDLE).ended(end_of(Outcome.FAILED)).verified([1])
    assert before == INTENT


# -- submissions that are answered with their result ------------------------------------------------------


def answered(state, error=None):
    status = JobStatus("call-1", "done", state, total=3, error=error)
    return JobHandle("printstudio", "create_orders", "call-1", "/api/x", submitted_at=100.0, result=status)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [(JobState.SUCCEEDED, Outcome.SUCCEEDED), (JobState.PARTIAL, Outcome.PARTIAL)],
)
def test_a_result_that_came_with_the_answer_is_noted_and_found_again(state, outcome):
    record = SubmissionRecord(0, 90.0).submitted(answered(state))
    again = SubmissionRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    for known in (record, again):
        assert known.end() is not None
        assert (known.end().outcome, known.end().status.total) == (outcome, 3)
    step = decide(again, clears=0, on_clear="resubmit", repeat=RepeatSafety.NEVER, repeat_expired=False)
    assert step is RetryDecision.REATTACH


@pytest.mark.parametrize(
    ("repeat", "step"), [(RepeatSafety.NEVER, RetryDecision.STOP), (RepeatSafety.SAFE, RetryDecision.REPEAT)]
)
def test_a_bad_result_is_an_end_in_its_own_try_only(repeat, step):
    record = SubmissionRecord(0, 90.0).submitted(answered(JobState.FAILED, "3 of 3 items failed"))
    assert (record.end().outcome, record.end().text) == (Outcome.FAILED, "3 of 3 items failed")
    again = SubmissionRecord.from_dict(record.to_dict())
    assert again.end() is None
    assert decide(again, clears=0, on_clear="resubmit", repeat=repeat, repeat_expired=False) is step


@pytest.mark.parametrize("items", [(), (7, 9), ("4f277bfe", "b47ca4c2")])
def test_unchanged_items_are_numbers_or_texts(items):
    record = SubmissionRecord(0, 90.0, answered(JobState.PARTIAL)).verified(items)
    assert SubmissionRecord.from_dict(json.loads(json.dumps(record.to_dict()))).unchanged == items


def test_a_mark_is_kept_from_the_intent_on_and_tells_records_and_tries_apart():
    marks = [new_correlation(key, token) for key in ("a" * 64, "b" * 64) for token in ("1", "2")]
    assert len(set(marks)) == 4
    record = SubmissionRecord(0, 1_780_000_000.0, correlation=marks[0])
    assert SubmissionRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    older = {key: value for key, value in record.to_dict().items() if key != "correlation"}
    assert SubmissionRecord.from_dict(older).correlation is None
