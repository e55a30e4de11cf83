"""Outcome table: the job is done, but its file can't be fetched or is not what was announced."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError

from .conftest import MODES, POLL, SENSOR_MODES, fails, in_turn

FATE = (
    "Nothing was published",
    "The remote job itself is done",
    "only downloads its result again",
    "submits",
)
ROWS = 40_000
BROKEN = [
    pytest.param("truncated", {"after": 500_000}, id="cut"),
    pytest.param("truncated", {"after": 500_000, "reset": True}, id="reset"),
    pytest.param("stall", {"after": 500_000, "seconds": None}, id="stall"),
    pytest.param("status", {"status": 503}, id="503"),
    pytest.param("reset_before", {}, id="reset-at-once"),
]


@pytest.fixture
def large(sandbox, clock):
    """All exports are of about a megabyte and ready at once."""
    clock.ends_stalls = True
    sandbox.jobs("export", times=None, duration=0, rows=ROWS)


def whole(bench, manifest) -> None:
    """Check that the stored file is all of it."""
    (stored,) = manifest["files"]
    data = (bench.folder / stored["file_name"]).read_bytes()
    assert (stored["bytes"], stored["rows"]) == (len(data), ROWS)
    assert stored["sha256"] == hashlib.sha256(data).hexdigest()
    assert data.count(b"\n") == ROWS + 1
    assert bench.files() == [stored["file_name"]]


@pytest.mark.parametrize(("fault", "options", "mode"), in_turn(BROKEN, MODES))
def test_download_broken_is_resumed(bench, sandbox, large, mode, fault, options, logs):
    sandbox.arm(fault, origin="files", times=2, **options)
    whole(bench, bench.export(mode).execute())
    assert len(logs.warnings("going on")) == 2
    if options.get("after"):
        starts = [entry.get("start") for entry in sandbox.state["downloads"]]
        assert starts[0] == 0
        assert all(later > 0 for later in starts[1:])
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_download_broken_is_resumed_by_a_sensor(bench, sandbox, large, mode):
    handles = bench.submitted()
    sandbox.arm("truncated", origin="files", after=500_000, times=1)
    whole(bench, bench.sensor(mode, handles).execute())


def test_download_broken_by_another_version_of_the_file_starts_over(bench, sandbox, large):
    sandbox.arm("truncated", origin="files", after=500_000, times=1)
    sandbox.arm("changed_etag", times=2)
    whole(bench, bench.export().execute())


@pytest.mark.parametrize("mode", MODES)
def test_download_broken_by_a_refused_url_asks_for_a_fresh_one(bench, sandbox, large, mode):
    sandbox.arm("expired_url", times=1)
    whole(bench, bench.export(mode).execute())
    assert [entry["status"] for entry in sandbox.state["downloads"]] == [403, 200]


@pytest.mark.parametrize("mode", MODES)
def test_download_broken_by_a_url_that_expires_between_two_tries(bench, sandbox, large, mode):
    sandbox.jobs("export", times=1, url_expires=30)
    sandbox.arm("expired_url", times=2)
    run = bench.export(mode)
    fails(run.execute, DownloadError, "HTTP 403", "with a fresh URL as well", *FATE)
    assert bench.files() == []
    sandbox.advance(3600)
    whole(bench, run.retry())
    assert bench.submissions == 1


@pytest.mark.parametrize(("fault", "options", "mode"), in_turn(BROKEN, MODES))
def test_download_broken_for_good_fails_publishes_nothing_and_the_next_try_downloads_again(
    bench, sandbox, large, mode, fault, options
):
    options = {**options, "after": 1000} if "after" in options else options
    sandbox.arm(fault, origin="files", times=None, **options)
    run = bench.export(mode, download_options={"max_resumes": 1})
    error = fails(run.execute, DownloadError, "could not be downloaded", "gave up after 2 tries", *FATE)
    assert error.job_id == bench.job_id
    assert bench.files() == []
    assert bench.jobs[bench.job_id]["status"] == "ready"
    sandbox.disarm()
    whole(bench, run.retry())
    assert bench.submissions == 1


def test_download_broken_leaves_the_file_of_the_run_before_as_it_was(bench, sandbox, large):
    run = bench.export()
    whole(bench, run.execute())
    (name,) = bench.files()
    before = (bench.folder / name).read_bytes()
    sandbox.arm("truncated", origin="files", after=1000, times=None)
    fails(run.retry, DownloadError)
    assert (bench.folder / name).read_bytes() == before
    assert bench.files() == [name]


@pytest.mark.parametrize(("lie", "mode"), in_turn([7, ROWS + 2], MODES))
def test_size_or_rows_differ_fails_and_publishes_nothing(bench, sandbox, large, mode, lie):
    sandbox.jobs("export", times=1, row_count_lie=lie)
    run = bench.export(mode)
    parts = (f"announced {lie} rows", f"holds {ROWS}", *FATE)
    error = fails(run.execute, VerificationError, *parts)
    assert not isinstance(error, AirflowFailException)
    assert bench.files() == []
    # The next try downloads again: the job is the same, and so is its lie.
    fails(run.retry, VerificationError)
    assert bench.submissions == 1
    assert len(sandbox.state["downloads"]) == 2


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_size_or_rows_differ_fails_a_sensor(bench, sandbox, large, mode):
    sandbox.jobs("export", times=1, row_count_lie=7)
    run = bench.sensor(mode, bench.submitted())
    fails(run.execute, VerificationError, "announced 7 rows", *FATE)
    assert bench.files() == []


def test_size_or_rows_of_an_empty_report_are_explicit(bench, sandbox):
    sandbox.jobs("export", rows=0)
    manifest = bench.export().execute()
    assert manifest["files"][0]["rows"] == 0
    assert manifest["totals"]["rows"] == 0
    assert len(bench.files()) == 1


def test_key_is_never_sent_to_the_origin_of_the_files(bench, sandbox):
    bench.export().execute()
    assert sandbox.state["keyed_file_requests"] == 0


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", ".hidden", "a/b/../c.csv", ""]
)
def test_file_name_of_the_server_stays_within_the_destination(bench, sandbox, name):
    sandbox.jobs("export", duration=0, file_name=name)
    (stored,) = bench.export().execute()["files"]
    assert (bench.folder / stored["file_name"]).is_file()
    assert bench.files() == [stored["file_name"]]
    assert not stored["file_name"].startswith(".")


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "None",
        "ftp://host/x",
        "s3://",
        "s3:/bucket/x/",
        Path("s3://bucket/x"),
        "http://host/x",
        "lake/",
        "{tmp}/{{date}}/",
        "{tmp}/file/",
        "{tmp}/file/new/x.csv",
        "{tmp}",
    ],
    ids=repr,
)
def test_destination_that_cannot_be_written_to_is_refused_before_anything_is_sent(
    bench, sandbox, tmp_path, destination
):
    (tmp_path / "file").write_text("in the way")
    if isinstance(destination, str):
        destination = destination.format(tmp=tmp_path)
    run = bench.export(destination=destination)
    fails(run.execute, ValidationRejected, "not retried", final=True)
    assert sandbox.state["requests"] == {}


def test_overwrite_off_refuses_what_stands_there_before_anything_is_sent(bench, sandbox):
    bench.folder.mkdir(parents=True)
    (bench.folder / "there.csv").write_text("x")
    run = bench.export(destination=str(bench.folder / "there.csv"), overwrite=False)
    fails(run.execute, ValidationRejected, "overwrite is off", final=True)
    assert bench.submissions == 0
    assert (bench.folder / "there.csv").read_text() == "x"


@pytest.mark.parametrize("mode", MODES)
def test_destination_rendered_at_submission_counts_after_a_deferral(bench, mode):
    """Templates are rendered again on resumption, and may then give another path."""
    run = bench.export(mode, destination=str(bench.folder / "first.csv"))
    if mode == "worker":
        run.execute()
    else:
        deferred = run.start()
        run.changes = {"destination": str(bench.folder / "second.csv")}
        run.resume(deferred)
    assert bench.files() == ["first.csv"]


@pytest.mark.parametrize("mode", MODES)
def test_ready_job_without_a_file_says_so(bench, sandbox, mode):
    job = {"status": "ready", "row_count": 1, "file_name": "x.csv"}
    sandbox.arm("json", path=POLL, times=None, body=job)
    fails(bench.export(mode).execute, DownloadError, "has no file to download", "submits nothing")
