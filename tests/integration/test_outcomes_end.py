"""Outcome table: the job ends, well or badly, or says something that nobody listed."""

from __future__ import annotations

from itertools import islice

import pytest

from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.exceptions import FinalJobFailed, JobCancelled, JobFailed, JobTimeout
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.records import TaskIdentity
from stoq_provider.jobs.state_store import TaskStateStore
from stoq_provider.jobs.submit import Submitter
from tests.harness import MemoryStateStore

from .conftest import MODES, POLL, SENSOR_MODES, fails, mail_submission


@pytest.mark.parametrize("mode", MODES)
def test_completed_or_ready_is_a_success_with_manifest(bench, mode):
    run = bench.export(mode)
    manifest = run.execute()
    job = bench.jobs[bench.job_id]
    assert manifest["schema_version"] == 1
    assert (manifest["system"], manifest["kind"]) == ("stoq", "export:revenue")
    assert manifest["jobs"] == [
        {"job_id": bench.job_id, "outcome": "succeeded", "total": None, "processed": None, "error": None}
    ]
    (stored,) = manifest["files"]
    assert [stored["file_name"]] == bench.files()
    assert stored["rows"] == job["row_count"]
    assert stored["bytes"] == (bench.folder / stored["file_name"]).stat().st_size
    assert manifest["unchanged_items"] == []
    assert manifest["points_spent"] == bench.sandbox.state["points_spent"]
    path = "/api/v2/external/preorders/reports/exports"
    urls = [f"{path}/{bench.job_id}"]
    assert run.ti.xcoms == {"job_id": bench.job_id, "job_ids": [bench.job_id], "status_urls": urls}
    assert bool(run.triggers) is (mode == "deferred")
    assert job["status"] == "ready"
    assert [record["outcome"] for record in run.store.records()] == ["succeeded"]


@pytest.mark.parametrize("mode", MODES)
def test_completed_or_ready_next_try_downloads_again_and_submits_nothing(bench, mode):
    run = bench.export(mode)
    first = run.execute()
    again = run.retry()
    assert again["files"] == first["files"]
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_completed_or_ready_ends_a_sensor_with_the_manifest(bench, mode):
    run = bench.sensor(mode, bench.submitted())
    manifest = run.execute()
    assert [stored["file_name"] for stored in manifest["files"]] == bench.files()
    assert len(bench.files()) == 1
    assert manifest["kind"] == "export:revenue"
    assert bench.submissions == 1
    if mode == "reschedule":
        assert run.pokes > 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_completed_bulk_job_ends_a_sensor_without_a_file(bench, sandbox, mode):
    ids = [order["shopify_order_id"] for order in islice(StoqHook().iter_orders(state="placed"), 3)]
    handle = StoqHook().submit_orders("set_tags", ids, tags=["x"])
    run = bench.sensor(mode, handle.to_dict(), destination=None)
    manifest = run.execute()
    assert manifest["jobs"][0]["outcome"] == "succeeded"
    assert (manifest["totals"]["total"], manifest["totals"]["processed"]) == (3, 3)
    assert manifest["files"] == []
    assert handle.item_count == 3


@pytest.mark.parametrize("mode", MODES)
def test_failed_fails_with_the_servers_error_and_the_next_try_resubmits(bench, sandbox, mode):
    sandbox.jobs("export", outcome="failed", error="Disk full at the vendor")
    run = bench.export(mode)
    error = fails(run.execute, JobFailed, "Disk full at the vendor", "has ended", "A retry submits it again")
    assert error.job_id == bench.job_id
    assert error.server_messages == ("Disk full at the vendor",)
    assert bench.jobs[bench.job_id]["status"] == "failed"
    assert bench.files() == []
    assert run.retry()["jobs"][0]["job_id"] != error.job_id
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_failed_fails_a_sensor_and_its_next_try_only_looks_again(bench, sandbox, mode):
    sandbox.jobs("export", outcome="failed", error="Disk full at the vendor")
    run = bench.sensor(mode, bench.submitted())
    parts = ("Disk full at the vendor", "has ended", "looks again and submits nothing")
    fails(run.execute, JobFailed, *parts)
    fails(run.retry, JobFailed, *parts)
    assert bench.submissions == 1


def test_failed_stops_where_repeating_is_not_safe(bench, sandbox, logs):
    store = MemoryStateStore()
    hook = StoqHook()
    ids = [order["shopify_order_id"] for order in islice(hook.iter_orders(state="placed"), 2)]
    sandbox.jobs("bulk_orders_send_payment_collection_url", outcome="failed")
    submission = mail_submission(ids)
    task = TaskIdentity("d", "t", "r", -1)
    submitter = Submitter(hook, TaskStateStore(store), task, on_clear="resubmit")
    done = submitter.submit(submission)
    poller_end = _end_of(hook, done.handle)
    submitter.note_ends([done.key], [poller_end])
    error = fails(
        lambda: submitter.submit(submission),
        FinalJobFailed,
        f"job {done.handle.job_id} failed",
        "not retried",
        "clearing the task submits it",
        final=True,
    )
    assert error.job_id == done.handle.job_id
    assert bench.submissions == 1
    cleared = Submitter(
        hook, TaskStateStore(store), TaskIdentity("d", "t", "r", -1, clears=1), on_clear="resubmit"
    )
    assert cleared.submit(submission).handle.job_id != done.handle.job_id
    assert bench.submissions == 2


def _end_of(hook, handle):
    from stoq_provider.jobs.wait import event_of, make_poller, wait_sync

    at = handle.submitted_at
    jobs = [JobProgress(handle, at)]
    poller = make_poller(jobs, hook.system, deadline=at + 60, now=at, poll_interval=0.02, eager=True)
    wait_sync(poller, hook)
    (end,) = event_of(poller, 0).ends
    return end


@pytest.mark.parametrize("mode", MODES)
def test_cancelled_is_not_retried_and_a_clear_resubmits(bench, sandbox, mode):
    sandbox.jobs("export", outcome="cancelled")
    run = bench.export(mode)
    error = fails(run.execute, JobCancelled, "was cancelled at STOQ", "has ended", "clearing it", final=True)
    assert error.job_id == bench.job_id
    assert bench.jobs[bench.job_id]["status"] == "cancelled"
    assert bench.submissions == 1
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_cancelled_fails_a_sensor_for_good(bench, sandbox, mode):
    sandbox.jobs("export", outcome="cancelled")
    run = bench.sensor(mode, bench.submitted())
    fails(run.execute, JobCancelled, "was cancelled at STOQ", "submits nothing", final=True)
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_status_text_nobody_listed_polls_on_warns_once_and_the_deadline_decides(bench, sandbox, logs, mode):
    sandbox.jobs("export", outcome="forever", status_word="pausing")
    run = bench.export(mode, timeout=1.2)
    error = fails(run.execute, JobTimeout, "did not end in time", "goes on", "waits for the same job")
    assert error.job_id == bench.job_id
    assert sandbox.state["requests"]["GET /preorders/reports/exports/:job_id"] > 3
    assert len(logs.warnings("a status this package does not know")) == 1
    assert bench.jobs[bench.job_id]["ended_at"] is None
    sandbox.end_job(error.job_id)
    assert run.retry()["jobs"] == [
        {"job_id": error.job_id, "outcome": "succeeded", "total": None, "processed": None, "error": None}
    ]
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_status_text_nobody_listed_that_ends_well_after_all(bench, sandbox, mode):
    handles = bench.submitted()
    sandbox.arm("json", path=POLL, body={"status": "paused", "job_id": handles[0]["job_id"]}, times=3)
    assert bench.sensor(mode, handles).execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
def test_status_of_another_job_is_a_bad_answer_not_this_jobs_end(bench, sandbox, mode, logs):
    sandbox.arm("json", path=POLL, body={"status": "failed", "job_id": "exp_other"}, times=2)
    assert bench.export(mode).execute()["jobs"][0]["outcome"] == "succeeded"
    assert logs.warnings("responded for another job")
