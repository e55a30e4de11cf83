"""The trigger event and the manifest: JSON there and back, nothing secret, nothing unread."""

from __future__ import annotations

import copy
import json

import pytest

from stoq_provider.core.events import VERSION, JobEnd, WaitEvent
from stoq_provider.core.handles import JobHandle, JobState, JobStatus
from stoq_provider.core.http import MalformedAnswer
from stoq_provider.core.jobs import JobWatch, Outcome, Sight, WatchRules, advance
from stoq_provider.core.manifest import manifest

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
EVENT = WaitEvent((ENDED, LOST), points_spent=7, points_left=300)


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
    event = WaitEvent((JobEnd(HANDLE, outcome, text="why", seen_at=1.5),))
    assert WaitEvent.from_dict(json.loads(json.dumps(event.to_dict()))) == event


def test_an_event_of_no_job_is_one():
    assert WaitEvent.from_dict(WaitEvent(()).to_dict()) == WaitEvent(())


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param("event", id="text"),
        pytest.param([EVENT.to_dict()], id="a list"),
        pytest.param({}, id="an empty mapping"),
        pytest.param(broken(["version"], VERSION + 1), id="a later version"),
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
    ],
)
def test_what_is_no_event(value):
    with pytest.raises(MalformedAnswer):
        WaitEvent.from_dict(value)


def test_an_end_is_read_from_a_watch():
    watch = advance(JobWatch(HANDLE, 5.0), Sight.seen(READY), 9.0, WatchRules())
    assert JobEnd.of(watch) == JobEnd(HANDLE, Outcome.SUCCEEDED, READY, "", None, 9.0)
    with pytest.raises(AssertionError):
        JobEnd.of(JobWatch(HANDLE, 5.0))


def bulk_end(job_id, outcome, total=None, processed=None, error=None, text=""):
    handle = JobHandle("stoq", "bulk_release", job_id, f"/jobs/{job_id}")
    status = JobStatus(job_id, "w", JobState.RUNNING, total=total, processed=processed, error=error)
    return JobEnd(handle, outcome, status, text)


class TestManifest:
    def test_of_an_export(self):
        file = {"uri": "s3://lake/a.csv", "file_name": "a.csv", "bytes": 512, "rows": 22, "sha256": "ab"}
        got = manifest(
            system="stoq",
            kind="export:revenue",
            ends=[ENDED],
            files=[file, file],
            points_spent=7,
            started_at=1_780_000_000.0,
            finished_at=1_780_000_060.5,
        )
        assert got == {
            "schema_version": 1,
            "system": "stoq",
            "kind": "export:revenue",
            "jobs": [
                {"job_id": "exp_1", "outcome": "succeeded", "total": None, "processed": None, "error": None}
            ],
            "files": [file, file],
            "totals": {"jobs": 1, "total": None, "processed": None, "files": 2, "bytes": 1024, "rows": 44},
            "unchanged_items": [],
            "points_spent": 7,
            "started_at": "2026-05-28T20:26:40.000+00:00",
            "finished_at": "2026-05-28T20:27:40.500+00:00",
        }
        assert "5ecre7" not in json.dumps(got)

    def test_of_several_jobs(self):
        ends = [
            bulk_end("a", Outcome.SUCCEEDED, 1000, 1000),
            bulk_end("b", Outcome.PARTIAL, 47, 40, error="7 skipped"),
            bulk_end("c", Outcome.SUCCEEDED, text="not an error"),
            bulk_end("d", Outcome.UNHEALTHY, text="HTTP 503: unavailable"),
            JobEnd(HANDLE, Outcome.TIMEOUT),
        ]
        got = manifest(
            system="stoq", kind="bulk_release", ends=ends, unchanged_items=(5, 6), started_at=0, finished_at=1
        )
        assert (got["totals"]["jobs"], got["totals"]["total"], got["totals"]["processed"]) == (5, 1047, 1040)
        assert [job["error"] for job in got["jobs"]] == [
            None,
            "7 skipped",
            None,
            "HTTP 503: unavailable",
            None,
        ]
        assert got["unchanged_items"] == [5, 6]
