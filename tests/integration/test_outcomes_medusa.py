"""Outcome table, Medusa's column: how a job ends, who decides about it, what a kill does."""

from __future__ import annotations

import csv
import threading

import pytest

from stoq_provider.exceptions import (
    AuthenticationError,
    Detached,
    DownloadError,
    FinalJobFailed,
    JobCancelled,
    JobFailed,
    JobTimeout,
    ServiceUnavailable,
    SubmissionUncertain,
    ValidationRejected,
    VerificationError,
)
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.jobs import cancel
from stoq_provider.testing.medusa.storage import Storage
from tests.harness import wait_until

from .conftest import MODES, SENSOR_MODES, fails, in_turn
from .medusa_bench import BAD, NEW, MedusaBench, connect

POLL = r"/admin/batch-jobs/batch_[^/]+$"


@pytest.fixture
def medusa(sandbox, tmp_path, monkeypatch):
    connect(monkeypatch, sandbox)
    return MedusaBench(sandbox, tmp_path / "lake")


def told_of(manifest):
    (job,) = manifest["jobs"]
    return job


# -- completed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_completed_export_is_stored_with_what_the_server_told(medusa, mode):
    run = medusa.export(mode)
    manifest = run.execute()
    assert (manifest["system"], manifest["kind"]) == ("medusa", "product-export")
    job, (stored,) = told_of(manifest), manifest["files"]
    assert (job["outcome"], job["total"], job["processed"]) == ("succeeded", 36, 36)
    assert job["details"]["stat_descriptors"][0]["message"].startswith("There will be 36 products")
    assert job["details"]["file_size"] == stored["bytes"]
    assert job["details"]["file_key"].endswith(stored["file_name"])
    with (medusa.folder / stored["file_name"]).open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file, delimiter=";"))) == stored["rows"] == 72
    urls = [f"/admin/batch-jobs/{job['job_id']}"]
    assert run.ti.xcoms == {"job_id": job["job_id"], "job_ids": [job["job_id"]], "status_urls": urls}
    assert bool(run.triggers) is (mode == "deferred")


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_completed_export_ends_a_sensor_that_stores_the_file(medusa, mode):
    run = medusa.sensor(mode, medusa.submitted("order-export"), destination=f"{medusa.folder}/")
    (stored,) = run.execute()["files"]
    assert [stored["file_name"]] == medusa.files()
    assert medusa.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_completed_import_changes_the_shop_once_and_a_retry_nothing(medusa, mode):
    run = medusa.imports(mode)
    job = told_of(run.execute())
    assert job["outcome"] == "succeeded"
    assert job["details"]["operations"] == {
        "PRODUCT_CREATE": 1,
        "PRODUCT_UPDATE": 0,
        "VARIANT_CREATE": 2,
        "VARIANT_UPDATE": 0,
    }
    assert medusa.state["variants"] == 74
    assert told_of(run.retry())["job_id"] == job["job_id"]
    assert (medusa.submissions, medusa.uploads) == (1, 1)


def test_completed_jobs_of_one_task_cost_one_request_a_poll(medusa):
    handles = [handle for _ in range(25) for handle in medusa.submitted()]
    medusa.sandbox.advance(60)
    assert {job["status"] for job in medusa.jobs.values()} == {"completed"}
    manifest = medusa.sensor("worker", handles).execute()
    assert [job["outcome"] for job in manifest["jobs"]] == ["succeeded"] * 25
    # 20 in the one, 5 in the other; the bench itself asks for none.
    assert medusa.sent("GET /admin/batch-jobs") == 2
    assert medusa.sent("GET /admin/batch-jobs/{id}") == 0


# -- waiting for a decision -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_dry_run_ends_waiting_and_tells_what_it_would_do(medusa, mode):
    manifest = medusa.imports(mode, dry_run=True).execute()
    job = told_of(manifest)
    assert (manifest["kind"], job["outcome"], manifest["files"]) == ("product-import:dry_run", "waiting", [])
    assert job["details"]["operations"]["VARIANT_CREATE"] == 2
    assert "1 products created" in job["details"]["stat_descriptors"][0]["message"]
    assert (medusa.job["status"], medusa.state["products"]) == ("pre_processed", 36)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("confirm", [True, "always", "max_changes: 3"])
def test_dry_run_that_is_confirmed_goes_on_to_its_end(medusa, mode, confirm):
    run = medusa.imports(mode, dry_run=True, confirm=confirm)
    manifest = run.execute()
    assert (manifest["kind"], told_of(manifest)["outcome"]) == ("product-import", "succeeded")
    assert medusa.state["products"] == 37
    assert told_of(run.retry())["job_id"] == told_of(manifest)["job_id"]
    assert (medusa.submissions, medusa.state["products"]) == (1, 37)


@pytest.mark.parametrize("mode", MODES)
def test_dry_run_that_is_not_to_be_confirmed_is_cancelled_and_a_success(medusa, mode):
    manifest = medusa.imports(mode, dry_run=True, confirm="never").execute()
    assert told_of(manifest)["outcome"] == "cancelled"
    assert told_of(manifest)["details"]["operations"]["PRODUCT_CREATE"] == 1
    assert (medusa.job["status"], medusa.state["products"]) == ("canceled", 36)


@pytest.mark.parametrize("mode", MODES)
def test_dry_run_of_too_many_changes_is_cancelled_and_fails_and_a_clear_makes_another(medusa, mode):
    run = medusa.imports(mode, dry_run=True, confirm="max_changes: 2")
    says = ("3 changes, more than max_changes: 2", "Nothing was changed", "not retried")
    fails(run.execute, JobCancelled, *says, final=True)
    assert (medusa.job["status"], medusa.state["products"]) == ("canceled", 36)
    run.clear()
    fails(run.execute, JobCancelled, *says, final=True)
    assert medusa.submissions == 2
    assert [record["outcome"] for record in run.store.records() if "outcome" in record] == ["cancelled"]


def test_dry_run_without_counts_is_left_waiting(medusa, monkeypatch):
    monkeypatch.setattr("stoq_provider.operators.medusa.changes_of", lambda details: None)
    run = medusa.imports(dry_run=True, confirm="max_changes: 100")
    fails(run.execute, ValidationRejected, "neither confirmed nor cancelled", "MedusaConfirm", final=True)
    assert medusa.job["status"] == "pre_processed"


@pytest.mark.parametrize(("form", "mode"), in_turn(["manifest", "text", "id", "handle"], MODES))
def test_dry_run_is_confirmed_by_another_task(medusa, mode, form):
    manifest = medusa.imports(dry_run=True).execute()
    job_id = told_of(manifest)["job_id"]
    forms = {
        "manifest": manifest,
        "text": str(manifest),
        "id": job_id,
        "handle": MedusaHook.system.handle(job_id, manifest["kind"]).to_dict(),
    }
    run = medusa.confirm(forms[form], mode)
    assert told_of(run.execute())["outcome"] == "succeeded"
    assert medusa.state["products"] == 37
    assert told_of(run.retry())["outcome"] == "succeeded"
    assert medusa.state["products"] == 37


@pytest.mark.parametrize("mode", MODES)
def test_dry_run_is_refused_by_another_task_and_a_retry_finds_it_so(medusa, mode):
    run = medusa.confirm(medusa.imports(dry_run=True).execute(), mode, confirm=False)
    assert told_of(run.execute())["outcome"] == "cancelled"
    assert told_of(run.retry())["outcome"] == "cancelled"
    assert medusa.state["products"] == 36


def test_dry_run_of_an_export_is_confirmed_and_stored_by_another_task(medusa):
    dry = medusa.export(dry_run=True, destination=None).execute()
    assert told_of(dry)["outcome"] == "waiting"
    (stored,) = medusa.confirm(dry, destination=f"{medusa.folder}/").execute()["files"]
    assert stored["rows"] == 72


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_dry_run_whose_confirmation_gets_no_answer_is_confirmed_once(medusa, sandbox, mode, fault):
    sandbox.arm(fault, origin="medusa", method="POST", path="/confirm$")
    run = medusa.imports(mode, dry_run=True, confirm=True)
    assert told_of(run.execute())["outcome"] == "succeeded"
    assert (medusa.submissions, medusa.state["products"]) == (1, 37)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("store", [None, False], ids=["recorded", "no store"])
def test_confirmation_that_fails_is_not_retried_where_the_import_would_not_be_found(
    medusa, sandbox, mode, store
):
    sandbox.arm("status", status=503, origin="medusa", method="POST", path="/confirm$", times=None)
    run = medusa.imports(mode, dry_run=True, confirm=True, store=store)
    if store is None:
        fails(run.execute, ServiceUnavailable, final=False)
        sandbox.disarm()
        assert told_of(run.retry())["outcome"] == "succeeded"
    else:
        fails(run.execute, SubmissionUncertain, "The task is not retried: no record of the jobs", final=True)
    assert medusa.submissions == 1


# -- ended badly ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_failed_import_tells_every_error_is_not_repeated_and_a_clear_uploads_anew(medusa, mode):
    medusa.source.write_text(BAD)
    run = medusa.imports(mode)
    error = fails(run.execute, FinalJobFailed, "LAB-02-BLACK", "not submitted again by itself", final=True)
    assert len(error.server_messages) == 1
    assert "variant sku: LAB-02-BLACK" in error.server_messages[0]
    assert (medusa.state["products"], medusa.submissions) == (36, 1)
    fails(run.retry, FinalJobFailed, "repeating product-import is not safe", final=True)
    assert medusa.submissions == 1
    medusa.source.write_text(NEW)
    run.clear()
    assert told_of(run.execute())["outcome"] == "succeeded"
    assert (medusa.submissions, medusa.uploads, medusa.state["products"]) == (2, 2, 37)


@pytest.mark.parametrize("mode", MODES)
def test_failed_export_is_submitted_again_by_a_retry(medusa, mode):
    run = medusa.export(mode, context={"filterable_fields": {"nope": "x"}})
    error = fails(run.execute, JobFailed, 'Property "nope" was not found', "A retry submits it again")
    assert error.server_messages
    fails(run.retry, JobFailed)
    assert medusa.submissions == 2


def waiting_and_cancelled(medusa):
    """Cancel a job that waits for a decision."""
    (handle,) = medusa.submitted(dry_run=True)
    medusa.sandbox.advance(20)
    assert medusa.job["status"] == "pre_processed"
    MedusaHook().cancel(handle)
    return handle


def running_and_cancelled(medusa):
    """Cancel a job that still has a step before it, which then fails."""
    (handle,) = medusa.submitted()
    assert medusa.job["status"] == "created"
    MedusaHook().cancel(handle)
    medusa.sandbox.advance(20)
    return handle


@pytest.mark.parametrize("mode", SENSOR_MODES)
@pytest.mark.parametrize("later", ["canceled", "failed"])
def test_cancelled_by_a_person_is_a_cancellation_also_once_it_reads_failed(medusa, mode, later):
    handle = waiting_and_cancelled(medusa) if later == "canceled" else running_and_cancelled(medusa)
    assert medusa.job["status"] == later
    fails(medusa.sensor(mode, [handle]).execute, JobCancelled, "was cancelled at Medusa", final=True)


@pytest.mark.parametrize("mode", MODES)
def test_cancelled_fails_a_task_that_only_decides_and_says_that_it_submits_nothing(medusa, mode):
    run = medusa.confirm([waiting_and_cancelled(medusa)], mode)
    fails(run.execute, JobCancelled, "was cancelled at Medusa", "submits nothing in any case", final=True)


def test_cancelled_while_it_worked_tells_that_the_work_was_done(medusa):
    medusa.bend("next_job", processing_seconds=200)
    (handle,) = medusa.submitted()
    medusa.sandbox.advance(100)
    cancellation = threading.Thread(target=MedusaHook().cancel, args=(handle,))
    cancellation.start()
    wait_until(lambda: medusa.state["waiting_calls"])
    medusa.sandbox.advance(200)
    cancellation.join()
    assert medusa.job["completed_at"]
    fails(
        medusa.sensor("worker", [handle]).execute, JobCancelled, "its work was done all the same", final=True
    )


@pytest.mark.parametrize("mode", MODES)
def test_created_for_ever_after_a_crash_ends_by_the_deadline_and_is_found_again(medusa, mode):
    medusa.bend("next_job", stuck=True)
    run = medusa.imports(mode, timeout=0.6)
    fails(run.execute, JobTimeout, "did not end in time", "goes on", "waits for the same job")
    assert medusa.job["status"] == "created"
    fails(run.retry, JobTimeout)
    assert (medusa.submissions, medusa.uploads) == (1, 1)


def test_404_of_a_job_that_was_seen_alive_is_a_bad_answer_not_an_end(medusa, sandbox):
    page = "<!DOCTYPE html><html><body><pre>Cannot GET /admin/batch-jobs/x</pre></body></html>"
    sandbox.arm("html", origin="medusa", path=POLL, status=404, body=page, skip=1, times=2)
    medusa.bend("next_job", processing_seconds=60)
    assert told_of(medusa.export().execute())["outcome"] == "succeeded"
    assert sandbox.state["faults"][0]["fired"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_401_fails_at_once_and_once_the_token_is_right_the_job_is_found(medusa, sandbox, mode, monkeypatch):
    sandbox.arm("html", origin="medusa", path=POLL, status=401, body="Unauthorized", times=None)
    run = medusa.imports(mode)
    fails(run.execute, AuthenticationError, "Unauthorized", "goes on", "not retried", final=True)
    sandbox.disarm()
    run.clear()
    assert told_of(run.execute())["outcome"] == "succeeded"
    assert medusa.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_401_of_a_token_that_has_expired_renews_it(medusa, sandbox, clock, mode, monkeypatch):
    connect(monkeypatch, sandbox, login=sandbox.medusa_email)
    medusa.bend("next_job", processing_seconds=100)
    logins = []

    def expire():
        assert medusa.job["status"] == "confirmed"
        logins.append(medusa.sent("POST /admin/auth/token"))
        medusa.bend("expire_tokens")

    clock.at(0.3, expire)
    assert told_of(medusa.imports(mode).execute())["outcome"] == "succeeded"
    assert medusa.sent("POST /admin/auth/token") > logins[0]
    assert medusa.submissions == 1


def test_401_of_a_wrong_password_starts_no_job(medusa, sandbox, monkeypatch):
    connect(monkeypatch, sandbox, login=sandbox.medusa_email, password="nope-nope")
    fails(medusa.export().execute, AuthenticationError, "No remote job was started", final=True)
    assert medusa.submissions == 0


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_a_job_of_another_user_is_said_to_be_one(medusa, sandbox, mode, monkeypatch):
    handles = medusa.submitted()
    connect(monkeypatch, sandbox, login=sandbox.medusa_other_email)
    says = ("does not belong to the logged in user", "not retried")
    fails(medusa.sensor(mode, handles).execute, AuthenticationError, *says, final=True)


# -- killed ---------------------------------------------------------------------------------------------


def test_task_killed_cancels_its_job_and_a_retry_submits_it_again(medusa, clock, logs):
    medusa.bend("next_job", stuck=True)
    run = medusa.imports()
    clock.at(0.1, lambda: run.task.on_kill())
    fails(run.execute, Detached, "cancelled before it did anything")
    assert "cancelled before it did anything; a retry or a clear submits it again" in logs.text
    assert medusa.job["status"] == "canceled"
    assert told_of(run.retry())["outcome"] == "succeeded"
    assert (medusa.submissions, medusa.uploads, medusa.state["products"]) == (2, 1, 37)


def test_task_killed_while_its_job_is_processed_waits_only_so_long(medusa, clock, monkeypatch):
    """The call to cancel is answered when the processing is over, and till then the clock stands."""
    monkeypatch.setattr(cancel, "STOP_SECONDS", 0.5)
    medusa.bend("next_job", processing_seconds=400)
    run = medusa.imports()

    def kill():
        assert medusa.job["status"] == "confirmed"
        run.task.on_kill()

    clock.at(1, kill)
    fails(run.execute, Detached, "no response to the cancellation")
    wait_until(lambda: medusa.state["waiting_calls"])
    medusa.sandbox.advance(400)
    wait_until(lambda: medusa.job["canceled_at"])
    fails(run.retry, JobCancelled, "its work was done all the same", final=True)
    assert (medusa.submissions, medusa.state["products"]) == (1, 37)


@pytest.mark.parametrize("fault", [{"status": 400}, {"status": 404}, {"status": 409}])
def test_task_killed_with_nothing_left_to_cancel_says_so(medusa, sandbox, clock, fault, logs):
    medusa.bend("next_job", stuck=True)
    sandbox.arm(
        "status", origin="medusa", path="/cancel$", body={"type": "not_allowed", "message": "no"}, **fault
    )
    run = medusa.export()
    clock.at(0.1, lambda: run.task.on_kill())
    fails(run.execute, Detached)
    assert "there is nothing to cancel" in logs.text


@pytest.mark.parametrize("kind", ["sensor", "confirm"])
def test_task_killed_that_did_not_submit_cancels_nothing(medusa, clock, kind):
    medusa.bend("next_job", stuck=True)
    handles = medusa.submitted(dry_run=True)
    run = medusa.sensor("worker", handles) if kind == "sensor" else medusa.confirm(handles)
    clock.at(0.1, lambda: run.task.on_kill())
    fails(run.execute, Detached)
    assert medusa.sent("GET /admin/batch-jobs/{id}")
    assert (medusa.job["status"], medusa.sent("POST /admin/batch-jobs/{id}/cancel")) == ("created", 0)


# -- files ----------------------------------------------------------------------------------------------


def test_download_from_a_private_address_needs_leave(medusa, sandbox, monkeypatch):
    medusa.bend("backend_url", url="https://10.255.255.1:9")
    run = medusa.export()
    fails(run.execute, DownloadError, "private")
    assert medusa.files() == []
    connect(monkeypatch, sandbox, allow_private=True)
    assert MedusaHook().allows_private is True


@pytest.mark.parametrize("mode", MODES)
def test_download_of_another_size_than_the_job_announced_publishes_nothing(medusa, mode, monkeypatch):
    put = Storage.put
    monkeypatch.setattr(
        Storage, "put", lambda self, folder, name, data, now: put(self, folder, name, data + b"x", now)
    )
    fails(medusa.export(mode).execute, VerificationError, "The job announced a file of", "submits nothing")
    assert medusa.files() == []


def test_download_gets_a_fresh_url_after_a_refusal(medusa, sandbox):
    sandbox.arm("status", origin="medusa", path="/uploads/exports/", status=403)
    (stored,) = medusa.export().execute()["files"]
    assert stored["rows"] == 72
    assert medusa.sent("POST /admin/uploads/download-url") == 2


@pytest.mark.parametrize("mode", MODES)
def test_no_secret_is_kept_or_logged(medusa, sandbox, mode, logs, monkeypatch):
    connect(monkeypatch, sandbox, login=sandbox.medusa_email)
    run = medusa.imports(mode, dry_run=True, confirm=True)
    run.execute()
    kept = f"{run.store.rows} {run.triggers} {run.events} {run.ti.xcoms} {logs.text}"
    for secret in (sandbox.medusa_password, sandbox.medusa_token, "eyJ"):
        assert secret not in kept
