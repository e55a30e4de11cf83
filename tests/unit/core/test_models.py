"""Handles and statuses: there and back, and what is not one of them."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.forms import from_iso, iso
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.models import JobHandle, JobState, JobStatus

HANDLE = JobHandle(
    "stoq", "export:revenue", "exp_a8c3", "/api/v2/external/exports/exp_a8c3", None, 1_780_000_000.125
)
SECRET = "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=5ecre7"
STATUS = JobStatus(
    "exp_a8c3", "ready", JobState.SUCCEEDED, 100.0, None, None, None, "preorders.csv", 22, SECRET
)


def test_a_handle_is_what_the_design_promises():
    assert HANDLE.to_dict() == {
        "system": "stoq",
        "kind": "export:revenue",
        "job_id": "exp_a8c3",
        "status_url": "/api/v2/external/exports/exp_a8c3",
        "item_count": None,
        "submitted_at": "2026-05-28T20:26:40.125+00:00",
    }


@pytest.mark.parametrize(
    "handle",
    [
        pytest.param(HANDLE, id="all but a count"),
        pytest.param(dataclasses.replace(HANDLE, item_count=47), id="with a count"),
        pytest.param(dataclasses.replace(HANDLE, item_count=0), id="with no item"),
        pytest.param(JobHandle("stoq", "bulk", "x", "/x"), id="of a status URL"),
    ],
)
def test_a_handle_goes_there_and_back(handle):
    assert JobHandle.from_dict(json.loads(json.dumps(handle.to_dict()))) == handle


@pytest.mark.parametrize("missing", ["item_count", "submitted_at"])
def test_what_a_handle_may_lack(missing):
    value = dataclasses.replace(HANDLE, item_count=3).to_dict()
    del value[missing]
    assert getattr(JobHandle.from_dict(value), missing) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"system": None}, id="no system"),
        pytest.param({"kind": ""}, id="empty kind"),
        pytest.param({"job_id": 47}, id="job id is a number"),
        pytest.param({"status_url": ["/x"]}, id="status URL is a list"),
        pytest.param({"item_count": "47"}, id="count is text"),
        pytest.param({"item_count": 4.5}, id="count is broken"),
        pytest.param({"item_count": True}, id="count is a truth value"),
        pytest.param({"submitted_at": "yesterday"}, id="time is no time"),
        pytest.param({"submitted_at": "2026-05-28T20:26:40"}, id="time without offset"),
        pytest.param({"submitted_at": 1_780_000_000}, id="time is a number"),
    ],
)
def test_what_is_no_handle(change):
    with pytest.raises(MalformedResponse):
        JobHandle.from_dict({**HANDLE.to_dict(), **change})


NO_MAPPINGS = [None, "exp_a8c3", 47, ["job_id"], [["job_id", "x"]]]


@pytest.mark.parametrize("value", NO_MAPPINGS)
@pytest.mark.parametrize("read", [JobHandle.from_dict, JobStatus.from_dict])
def test_what_is_no_mapping(read, value):
    with pytest.raises(MalformedResponse):
        read(value)


def test_a_status_goes_there_and_back_without_the_download_url():
    assert JobStatus.from_dict(json.loads(json.dumps(STATUS.to_dict()))) == dataclasses.replace(
        STATUS, download_url=None
    )


@pytest.mark.parametrize(
    "form", [repr, str, lambda s: json.dumps(s.to_dict()), JobStatus.describe, "{}".format]
)
def test_the_download_url_is_not_shown(form):
    assert "5ecre7" not in form(STATUS)
    assert "amazonaws" not in form(STATUS)


def test_the_download_url_of_a_dict_is_not_taken_over():
    assert JobStatus.from_dict({**STATUS.to_dict(), "download_url": SECRET}).download_url is None


@pytest.mark.parametrize(
    "change",
    [{"state": "ready"}, {"state": None}, {"state": []}, {"job_id": ...}, {"word": ...}, {"state": ...}],
    ids=str,
)
def test_what_is_no_status(change):
    value = {**STATUS.to_dict(), **change}
    value = {key: entry for key, entry in value.items() if entry is not ...}
    with pytest.raises(MalformedResponse):
        JobStatus.from_dict(value)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"total": 47, "processed": 12, "progress": 25.0}, "running, 12 of 47 items"),
        ({"total": 0, "processed": 0}, "running, 0 of 0 items"),
        ({"total": 47, "progress": 25.0}, "running, 25 %"),
        ({"progress": 33.3}, "running, 33.3 %"),
        ({"row_count": 0, "progress": 100.0}, "running, 0 rows"),
        ({}, "running"),
    ],
)
def test_a_status_in_words(fields, text):
    assert JobStatus("x", "running", JobState.RUNNING, **fields).describe() == text


@pytest.mark.parametrize("progress", [10**400, 1e300, float("nan"), float("-inf"), "9", True])
def test_a_progress_that_nobody_could_show_is_refused(progress):
    with pytest.raises(MalformedResponse, match="'progress' of a JobStatus"):
        JobStatus.from_dict({**STATUS.to_dict(), "progress": progress})


def test_handles_and_statuses_cannot_be_changed_and_can_be_pickled():
    for value in (HANDLE, STATUS):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.job_id = "other"
        assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-05-28T20:26:40Z", 1_780_000_000.0),
        ("2026-05-28T22:26:40+02:00", 1_780_000_000.0),
        ("2026-05-28 20:26:40.125+00:00", 1_780_000_000.125),
    ],
)
def test_times_are_read(text, at):
    assert from_iso(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-05-28",
        "2026-05-28T20:26:40",
        "20:26",
        None,
        7,
        [],
        "Z",
        "+00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-23:59",
        "1969-12-31T23:59:59Z",
    ],
)
def test_what_is_no_time(text):
    with pytest.raises(MalformedResponse):
        from_iso(text)


@given(st.floats(min_value=0, max_value=4e9))
def test_times_go_there_and_back_to_the_millisecond(at):
    assert abs(from_iso(iso(at)) - at) < 0.001


def test_details_go_there_and_back_and_are_left_out_where_there_are_none():
    plain = JobStatus("x", "failed", JobState.FAILED, error="a; b")
    assert "details" not in plain.to_dict()
    assert plain.error_texts == ("a; b",)
    failed = JobStatus(
        "x", "failed", JobState.FAILED, error="a; b", details={"errors": [{"message": "a"}, {}]}
    )
    assert JobStatus.from_dict(json.loads(json.dumps(failed.to_dict()))) == failed
    assert failed.error_texts == ("a",)
    assert len({plain, failed}) == 2
