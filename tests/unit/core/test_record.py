"""The note of a submission: what a new try makes of it, and how it is named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stoq_provider.core.events import JobEnd
from stoq_provider.core.handles import JobHandle, JobState, JobStatus
from stoq_provider.core.http import MalformedAnswer
from stoq_provider.core.jobs import Outcome
from stoq_provider.core.record import RepeatSafety, Step, SubmissionRecord, decide, identity, new_correlation

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
NO_JOB_TO_REUSE = ("intent", "failed", "expired", "cancelled", "not_found")
HELD_AFTER_A_CLEAR = ("denied", "held")


def expected(left, same_clear, on_clear, repeat, export):
    """Say what the outcome table says of the next try."""
    if left == "nothing":
        return Step.SUBMIT
    if not same_clear and on_clear == "resubmit" and left not in HELD_AFTER_A_CLEAR:
        return Step.SUBMIT
    if not same_clear and left in NO_JOB_TO_REUSE:
        return Step.STOP if repeat is RepeatSafety.NEVER else Step.REPEAT
    if left == "cancelled" or (left == "expired" and not export):
        return Step.STOP
    if left in ("intent", "failed", "expired"):
        return Step.STOP if repeat is RepeatSafety.NEVER else Step.REPEAT
    return Step.REATTACH


@pytest.mark.parametrize("repeat", RepeatSafety)
@pytest.mark.parametrize("on_clear", ["resubmit", "reuse"])
@pytest.mark.parametrize("clears", [1, 2], ids=["a retry", "after a clear"])
@pytest.mark.parametrize("left", LEFT_BEHIND)
@pytest.mark.parametrize("export", [True, False], ids=["export", "bulk"])
def test_what_a_try_does(export, left, clears, on_clear, repeat):
    got = decide(LEFT_BEHIND[left], clears=clears, on_clear=on_clear, repeat=repeat, repeat_expired=export)
    assert got is expected(left, clears == 1, on_clear, repeat, export)


ROWS = [
    # the outcome table's own rows, written out: (id, what was left, clears, on_clear, repeat, step);
    # "bulk" in the id tells that it is no export
    ("first try", "nothing", 1, "resubmit", "never", Step.SUBMIT),
    ("failed, repeat-safe", "failed", 1, "resubmit", "safe", Step.REPEAT),
    ("failed, not repeat-safe", "failed", 1, "resubmit", "never", Step.STOP),
    ("cancelled, repeat-safe", "cancelled", 1, "resubmit", "safe", Step.STOP),
    ("cancelled, cleared", "cancelled", 2, "resubmit", "never", Step.SUBMIT),
    ("not found", "not_found", 1, "resubmit", "safe", Step.REATTACH),
    ("expired export", "expired", 1, "resubmit", "safe", Step.REPEAT),
    ("expired bulk", "expired", 1, "resubmit", "safe", Step.STOP),
    ("expired bulk, cleared", "expired", 2, "resubmit", "safe", Step.SUBMIT),
    ("unhealthy", "unhealthy", 1, "resubmit", "safe", Step.REATTACH),
    ("401, key mended, cleared", "denied", 2, "resubmit", "safe", Step.REATTACH),
    ("killed after the intent, repeat-safe", "intent", 1, "resubmit", "safe", Step.REPEAT),
    ("killed after the intent, with a warning", "intent", 1, "resubmit", "warn", Step.REPEAT),
    ("killed after the intent, not repeat-safe", "intent", 1, "resubmit", "never", Step.STOP),
    ("killed after the intent, cleared", "intent", 2, "resubmit", "never", Step.SUBMIT),
    ("killed after the intent, cleared to reuse", "intent", 2, "reuse", "never", Step.STOP),
    ("cancelled, cleared to reuse", "cancelled", 2, "reuse", "safe", Step.REPEAT),
    ("killed after the handle", "handle", 1, "resubmit", "never", Step.REATTACH),
    ("timeout", "timeout", 1, "resubmit", "never", Step.REATTACH),
    ("succeeded, download broken", "succeeded", 1, "resubmit", "never", Step.REATTACH),
    ("succeeded, cleared", "succeeded", 2, "resubmit", "never", Step.SUBMIT),
    ("succeeded, cleared to reuse", "succeeded", 2, "reuse", "never", Step.REATTACH),
]


@pytest.mark.parametrize(
    ("left", "clears", "on_clear", "repeat", "step", "export"),
    [pytest.param(*row[1:], "bulk" not in row[0], id=row[0]) for row in ROWS],
)
def test_outcome_table(left, clears, on_clear, repeat, step, export):
    got = decide(
        LEFT_BEHIND[left],
        clears=clears,
        on_clear=on_clear,
        repeat=RepeatSafety(repeat),
        repeat_expired=export,
    )
    assert got is step


def test_a_key_refused_before_there_was_a_job_is_no_reason_to_reattach():
    record = replace(INTENT.ended(end_of(Outcome.DENIED)), held=True)
    got = decide(record, clears=2, on_clear="resubmit", repeat=RepeatSafety.NEVER, repeat_expired=False)
    assert got is Step.SUBMIT


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
    with pytest.raises(MalformedAnswer):
        SubmissionRecord.from_dict(value)


@pytest.mark.parametrize("value", [None, "x", [], 7, b"{}"])
def test_what_is_no_mapping_is_no_record(value):
    with pytest.raises(MalformedAnswer):
        SubmissionRecord.from_dict(value)


PARTS = {
    "dag_id": "reports",
    "task_id": "export",
    "run_id": "scheduled__2026-05-28",
    "map_index": -1,
    "conn_id": "stoq_default",
    "submission_digest": "ab12",
}


def test_an_identity_is_stable_across_versions_of_this_package():
    digest = "b547b0b195c4f33398e1ae450bd5cfd6536a3a7a9b079e921422110a40803104"
    assert identity(**PARTS) == digest


@pytest.mark.parametrize("part", PARTS)
def test_every_part_makes_another_identity(part):
    other = 0 if part == "map_index" else PARTS[part] + "x"
    assert identity(**{**PARTS, part: other}) != identity(**PARTS)


def test_parts_do_not_run_into_each_other():
    shifted = {**PARTS, "dag_id": "reportse", "task_id": "xport"}
    assert identity(**shifted) != identity(**PARTS)
    swapped = {**PARTS, "dag_id": PARTS["task_id"], "task_id": PARTS["dag_id"]}
    assert identity(**swapped) != identity(**PARTS)


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
    assert step is Step.REATTACH


@pytest.mark.parametrize(
    ("repeat", "step"), [(RepeatSafety.NEVER, Step.STOP), (RepeatSafety.SAFE, Step.REPEAT)]
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
