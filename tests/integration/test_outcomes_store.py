"""Where records live: the task state store, a folder, or nowhere; and what an unreadable one means."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import Stats

from stoq_provider.exceptions import DownloadError, JobTimeout, ProtocolError, StateError
from stoq_provider.jobs.state_store import KEY_PREFIX
from tests.harness import Killed, MemoryStateStore

from .conftest import MODES, POLL, fails, in_turn
from .test_outcomes_lost import kill_at_xcom

NO_RECORD = "No record of the submission can be kept"


@pytest.fixture
def state_folder(monkeypatch, tmp_path):
    folder = tmp_path / "records"
    monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", f"file://{folder}")
    return folder


def test_state_store_that_cannot_be_read_nothing_is_sent(bench):
    store = MemoryStateStore()
    store.broken = True
    run = bench.export(store=store)
    fails(run.execute, StateError, "could not be read", "nothing more was sent", "A retry looks again")
    assert bench.submissions == 0
    store.broken = False
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize(
    ("row", "mode"),
    in_turn(
        ['{"version": 99}', '{"version": 1}', "[]", '"x"', '{"version": 1, "handle": {"job_id": 5}}'], MODES
    ),
)
def test_state_store_that_holds_what_nobody_understands_nothing_is_sent(bench, mode, row):
    run = bench.export(mode)
    run.execute()
    (key,) = run.store.rows
    assert key.startswith(KEY_PREFIX)
    run.store.rows[key] = row
    with pytest.raises((ProtocolError, StateError), match="sent"):
        run.retry()
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_state_store_that_breaks_after_the_post_does_not_lose_the_job(bench, mode, logs):
    class Breaks(MemoryStateStore):
        def set(self, key, value, *, retention=None):
            if value["handle"] is not None:
                raise RuntimeError("the disk is full")
            super().set(key, value)

    run = bench.export(mode, store=Breaks())
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1
    assert logs.warnings(f"Job {bench.job_id} was submitted, but that could not be written down")


def test_state_store_that_breaks_before_the_post_sends_nothing(bench):
    class Full(MemoryStateStore):
        def set(self, key, value, *, retention=None):
            raise RuntimeError("the disk is full")

    fails(bench.export(store=Full()).execute, StateError, "could not be written", "nothing more was sent")
    assert bench.submissions == 0


@pytest.mark.parametrize("mode", MODES)
def test_state_path_keeps_the_record_where_airflow_has_no_store(bench, state_folder, mode, logs):
    run = bench.export(mode, store=False)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_xcom(patch)
        with pytest.raises(Killed):
            run.execute()
    (row,) = state_folder.iterdir()
    record = json.loads(row.read_text())
    assert record["handle"]["job_id"] == bench.job_id
    assert run.retry()["jobs"][0]["job_id"] == bench.job_id
    assert bench.submissions == 1
    assert json.loads(row.read_text())["outcome"] == "succeeded"
    assert NO_RECORD not in logs.text


def test_state_path_that_is_cut_short_nothing_is_sent(bench, state_folder):
    run = bench.export(store=False)
    run.execute()
    (row,) = state_folder.iterdir()
    row.write_text(row.read_text()[:40])
    fails(run.retry, StateError, "could not be read", "nothing more was sent")
    assert bench.submissions == 1


def test_state_path_gives_way_to_the_store_of_airflow(bench, state_folder):
    run = bench.export()
    run.execute()
    assert len(run.store.rows) == 1
    assert not state_folder.exists()


@pytest.mark.parametrize("mode", MODES)
def test_state_path_record_says_that_a_timeout_is_waited_for_again(bench, sandbox, state_folder, mode):
    sandbox.jobs("export", outcome="forever")
    run = bench.export(mode, store=False, timeout=0.1)
    fails(run.execute, JobTimeout, "A retry waits for the same job and submits nothing")


@pytest.mark.parametrize("mode", MODES)
def test_no_store_at_all_warns_once_and_works(bench, mode, logs):
    assert bench.export(mode, store=False).execute()["jobs"][0]["outcome"] == "succeeded"
    (warning,) = logs.warnings(NO_RECORD)
    assert "the next try does not know of the job and submits another one" in warning
    assert "[stoq] state_path" in warning


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("status", {"status": 404, "origin": "files"}),
        ("json", {"body": {"status": "ready", "row_count": 1, "file_name": "x.csv"}, "path": POLL}),
    ],
    ids=["refused", "no-file"],
)
def test_no_store_at_all_a_download_says_that_a_retry_submits_anew(bench, sandbox, mode, fault, options):
    sandbox.jobs("export", times=None, duration=0)
    sandbox.arm(fault, times=None, **options)
    run = bench.export(mode, store=False)
    error = fails(run.execute, DownloadError, "a retry submits a new job, because no record")
    assert "submits nothing" not in str(error)
    assert error.job_id == bench.job_id
    sandbox.disarm()
    run.retry()
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", MODES)
def test_no_store_at_all_a_timeout_says_that_a_retry_submits_anew(bench, sandbox, mode):
    sandbox.jobs("export", outcome="forever", times=None)
    run = bench.export(mode, store=False, timeout=0.1)
    error = fails(run.execute, JobTimeout, "goes on", "A retry submits a new job", "[stoq] state_path")
    assert "submits nothing" not in str(error)
    fails(run.retry, JobTimeout)
    assert bench.submissions == 2


def test_no_store_at_all_a_failed_trigger_says_that_a_retry_submits_anew(bench):
    run = bench.export("deferred", store=False)
    run.start()
    with pytest.raises(Exception, match="A retry submits a new job"):
        run.fail_trigger("Trigger timeout")


@pytest.mark.parametrize("mode", MODES)
def test_not_durable_by_choice_keeps_and_finds_nothing(bench, mode, logs):
    run = bench.export(mode, durable=False)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_xcom(patch)
        with pytest.raises(Killed):
            run.execute()
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 2
    assert run.store.rows == {}
    assert NO_RECORD not in logs.text


def test_not_durable_by_choice_a_timeout_says_what_a_retry_does(bench, sandbox):
    sandbox.jobs("export", outcome="forever", times=None)
    run = bench.export(durable=False, timeout=0.1)
    fails(run.execute, JobTimeout, "A retry submits a new job", "(see durable and [stoq] state_path)")


@pytest.mark.parametrize(
    ("durable", "words"),
    [(True, ["fresh_submit", "reconnect_attempt", "reconnect_success", "already_succeeded"]), (False, [])],
)
def test_counters_are_those_of_airflows_durable_jobs(bench, monkeypatch, durable, words):
    counted = []
    monkeypatch.setattr(Stats, "incr", lambda name, *_, tags=None, **__: counted.append((name, tags)))
    run = bench.export(durable=durable)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_xcom(patch)
        with pytest.raises(Killed):
            run.execute()
    run.retry()
    run.retry()
    ours = [(name, tags) for name, tags in counted if name.startswith("resumable_job.")]
    # A retry after a good end does not happen in Airflow; its attempt counts once more.
    assert [*dict.fromkeys(name.removeprefix("resumable_job.") for name, _ in ours)] == words
    assert all(tags == {"operator": "StoqReportExportOperator"} for _, tags in ours)
