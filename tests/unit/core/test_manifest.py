"""The manifest: jobs, files and totals, nothing secret."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.events import JobEnd
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.manifest import manifest
from stoq_provider.core.models import JobHandle, JobState, JobStatus

from .test_events import ENDED, HANDLE


def bulk_end(job_id, outcome, total=None, processed=None, error=None, text=""):
    handle = JobHandle("stoq", "bulk_release", job_id, f"/jobs/{job_id}")
    status = JobStatus(job_id, "w", JobState.RUNNING, total=total, processed=processed, error=error)
    return JobEnd(handle, outcome, status, text)


def test_of_an_export():
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


def test_of_several_jobs():
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


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["a.csv", "a.parquet"], 10),
        (["a.csv.gz", "a.parquet"], 10),
        (["a", "a.parquet"], 10),
        (["a.gz", "a.parquet"], 10),
        (["a.CSV", "a.parquet"], 10),
        (["a.CSV.GZ", "a.parquet"], 10),
        (["a.parquet"], 10),
        (["a.PARQUET"], 10),
        (["a.csv", "a.parquet", "b.csv", "b.parquet"], 20),
        (["a.csv", "b.parquet"], 20),
        (["a.parquet", "b.parquet"], 20),
        (["a.csv", "a.csv.parquet"], 20),
    ],
)
def test_two_forms_of_one_result_count_once(names, rows):
    files = [
        {"uri": f"s3://lake/{name}", "file_name": name, "bytes": 5, "rows": 10, "sha256": "ab"}
        for name in names
    ]
    got = manifest(system="stoq", kind="export:x", ends=[], files=files, started_at=0, finished_at=1)
    totals = got["totals"]
    assert (totals["files"], totals["bytes"], totals["rows"]) == (len(names), 5 * len(names), rows)
