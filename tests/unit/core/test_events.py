"""The trigger event: JSON there and back, nothing secret, nothing unread."""

from __future__ import annotations

import copy
import json

import pytest

from stoq_provider.core.events import NO_STATE, STATE_VERSION, JobEnd, WaitEvent, WaitState
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.lifecycle import JobProgress, Outcome, PollResult, WatchRules, advance
from stoq_provider.core.models import JobHandle, JobState, JobStatus

HANDLE = JobHandle("stoq", "export:revenue", "exp_1", "/exports/exp_1", None, 1_780_000_000.0)
READY = JobStatus(
    "exp_1",
    "ready",
    JobState.SUCCEEDED,
    100.0,
    file_name="a.csv",
    row_count=22,
    download_url="https://s3/?5ecre7",
)
ENDED = JobEnd(HANDLE, Outcome.SUCCEEDED, READY, "", None, 1_780_000_060.0)
LOST = JobEnd(HANDLE, Outcome.DENIED, None, "HTTP 401: no", 401, None)
EVENT = WaitEvent((ENDED, LOST), points_spent=7, state=NO_STATE, points_left=300)


def broken(path, value):
    data = copy.deepcopy(EVENT.to_dict())
    place = data
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


def test_an_event_goes_there_and_back_without_the_secret():
    text = json.dumps(EVENT.to_dict())
    assert "5ecre7" not in text
    assert json.dumps(WaitEvent.from_dict(json.loads(text)).to_dict()) == text


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_travels(outcome):
    event = WaitEvent((JobEnd(HANDLE, outcome, text="why", seen_at=1.5),), 0, NO_STATE)
    assert WaitEvent.from_dict(json.loads(json.dumps(event.to_dict()))) == event


def test_an_event_of_no_job_is_one():
    event = WaitEvent((), 0, NO_STATE)
    assert WaitEvent.from_dict(event.to_dict()) == event


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param("event", id="text"),
        pytest.param([EVENT.to_dict()], id="a list"),
        pytest.param({}, id="an empty mapping"),
        pytest.param(broken(["version"], WaitEvent.VERSION + 1), id="a later version"),
        pytest.param(broken(["version"], ...), id="no version"),
        pytest.param(broken(["jobs"], ...), id="no jobs"),
        pytest.param(broken(["jobs"], None), id="jobs null"),
        pytest.param(broken(["jobs"], 7), id="jobs a number"),
        pytest.param(broken(["jobs", 0], "exp_1"), id="a job as text"),
        pytest.param(broken(["jobs", 0], None), id="a job null"),
        pytest.param(broken(["jobs", 0, "handle"], ...), id="no handle"),
        pytest.param(broken(["jobs", 0, "handle"], "exp_1"), id="a handle as text"),
        pytest.param(broken(["jobs", 0, "handle", "job_id"], ""), id="an empty job id"),
        pytest.param(broken(["jobs", 0, "outcome"], "fine"), id="an unknown outcome"),
        pytest.param(broken(["jobs", 0, "outcome"], ...), id="no outcome"),
        pytest.param(broken(["jobs", 0, "status"], "ready"), id="a status as text"),
        pytest.param(broken(["jobs", 0, "status"], []), id="a status as list"),
        pytest.param(broken(["jobs", 0, "status", "state"], "ready"), id="an unknown state"),
        pytest.param(broken(["jobs", 0, "seen_at"], "today"), id="a time that is none"),
        pytest.param(broken(["points_spent"], ...), id="no points"),
        pytest.param(broken(["points_spent"], "many"), id="points as text"),
        pytest.param(broken(["points_spent"], None), id="points null"),
        pytest.param(broken(["state"], ...), id="no state"),
        pytest.param(broken(["state"], None), id="a state that is null"),
        pytest.param(broken(["state", "version"], STATE_VERSION + 1), id="a state of a later version"),
    ],
)
def test_what_is_no_event(value):
    with pytest.raises(MalformedResponse):
        WaitEvent.from_dict(value)


def test_a_state_keeps_the_version_of_the_worker_that_wrote_it():
    state = WaitState(1.0)
    assert state.to_dict()["version"] == STATE_VERSION
    older = {key: value for key, value in state.to_dict().items() if key != "version"}
    assert WaitState.from_dict(older) == state


def test_an_end_is_read_from_a_watch():
    progress = advance(JobProgress(HANDLE, 5.0), PollResult.seen(READY), 9.0, WatchRules())
    assert JobEnd.of(progress) == JobEnd(HANDLE, Outcome.SUCCEEDED, READY, "", None, 9.0)
    with pytest.raises(AssertionError):
        JobEnd.of(JobProgress(HANDLE, 5.0))
