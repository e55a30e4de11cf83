"""Batch jobs of the sandbox's Medusa, beyond what the tests of both servers ask."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
import requests

from stoq_provider.testing import Sandbox, clock

from .conftest import PATIENCE, MedusaClient, connects, wait_until


def test_each_step_waits_for_the_next_tick(medusa):
    first = medusa.create()
    medusa.sandbox.advance(1.5)
    second = medusa.create()
    medusa.sandbox.advance(1.6)
    assert [medusa.job(job)["status"] for job in (first, second)] == ["confirmed", "confirmed"]


def test_five_at_once_run_side_by_side(medusa):
    jobs = [medusa.create() for _ in range(5)]
    query = "&".join(f"id[]={job['id']}" for job in jobs)
    seen = []
    for _ in range(30):
        found = medusa.get(f"/admin/batch-jobs?limit=50&{query}").json()["batch_jobs"]
        words = {job["status"] for job in found}
        assert len(found) == 5
        if not seen or seen[-1] != words:
            seen.append(words)
        medusa.sandbox.advance(0.25)
    assert seen[0] == {"created"}
    assert {"confirmed"} in seen
    assert seen[-1] == {"completed"}


def test_status_word_nobody_listed(medusa):
    medusa.do("next_job", status_word="pondering")
    assert medusa.finished()["status"] == "pondering"


def test_a_failed_step_names_its_reason(medusa):
    medusa.do("next_job", error="The disk is full")
    job = medusa.finished()
    assert (job["status"], job["result"]["errors"]) == ("failed", ["The disk is full"])
    assert job["completed_at"] is None


def test_settings_are_used_up_and_meant_for_a_type(medusa):
    medusa.do("next_job", kind="order-*", error="no")
    assert medusa.finished()["status"] == "completed"
    assert medusa.finished("order-export")["status"] == "failed"
    assert medusa.finished("order-export")["status"] == "completed"


def test_cancel_while_processing_waits_for_the_end_and_keeps_the_file(medusa):
    medusa.do("next_job", processing_seconds=9)
    job = medusa.create()
    medusa.sandbox.advance(6.1)
    assert medusa.job(job)["status"] == "confirmed"
    answers = []
    path = f"/admin/batch-jobs/{job['id']}/cancel"
    waiting = threading.Thread(target=lambda: answers.append(medusa.post(path)))
    waiting.start()
    wait_until(lambda: medusa.state["waiting_calls"] == 1)
    medusa.sandbox.advance(8)
    assert medusa.state["waiting_calls"] == 1
    assert answers == []
    medusa.sandbox.advance(1)
    waiting.join(PATIENCE)
    canceled = answers[0].json()["batch_job"]
    assert (answers[0].status_code, canceled["status"]) == (200, "canceled")
    assert canceled["completed_at"] is not None
    assert medusa.download(canceled).status_code == 200
    medusa.sandbox.advance(10)
    assert medusa.job(job)["status"] == "canceled"


def test_order_export_has_amounts_in_cents(medusa):
    lines = medusa.download(medusa.finished("order-export")).content.decode().split("\r\n")
    header, first = lines[0].split(";"), lines[1].split(";")
    assert len(header) == len(first)
    assert header[:4] == ["Order_ID", "Display_ID", "Order status", "Date"]
    assert first[header.index("Total")] == "1000"
    assert len(lines) == 5
    assert lines[-1] == ""


def test_a_correlation_id_survives_in_the_list(medusa):
    medusa.create(correlation_id="abc")
    medusa.sandbox.advance(10)
    (listed,) = medusa.get("/admin/batch-jobs?type[]=product-export").json()["batch_jobs"]
    assert listed["context"]["correlation_id"] == "abc"


def test_a_list_says_dry_run_false_always(medusa):
    job = medusa.create(dry_run=True)
    (listed,) = medusa.get("/admin/batch-jobs").json()["batch_jobs"]
    assert (job["dry_run"], medusa.job(job)["dry_run"], listed["dry_run"]) == (True, True, False)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("created_at[gte]={then}", 1),
        ("created_at[lt]={then}", 1),
        ("created_at[gt]=2020-01-01&created_at[lt]=2099-01-01T00:00:00%2B02:00", 2),
        ("completed_at=null", 1),
        ("completed_at[gte]=2020-01-01", 1),
        ("type[]=order-export", 0),
        ("type[]=order-export&type[]=product-export", 2),
    ],
)
def test_lists_are_filtered(medusa, query, count):
    medusa.finished()
    then = medusa.create()["created_at"]
    assert medusa.get(f"/admin/batch-jobs?{query.format(then=then)}").json()["count"] == count


def test_a_killed_server_refuses_connections_and_comes_back(medusa):
    medusa.do("kill", seconds=None)
    with pytest.raises(requests.ConnectionError):
        medusa.get("/admin/batch-jobs")
    medusa.sandbox.disarm()
    assert medusa.finished()["status"] == "completed"


def test_a_killed_server_comes_back_by_itself(medusa):
    started = time.monotonic()
    medusa.do("kill", seconds=0.1)
    wait_until(lambda: connects(medusa.origin))
    assert time.monotonic() - started >= 0.1
    assert medusa.finished()["status"] == "completed"


@pytest.mark.parametrize(
    ("forget", "fates"), [(False, ("completed", "completed")), (True, ("confirmed", "created"))]
)
def test_staged_steps_outlive_the_process_unless_the_queue_is_lost(medusa, forget, fates):
    waiting = medusa.create(dry_run=True)
    medusa.sandbox.advance(3.1)
    medusa.post(f"/admin/batch-jobs/{waiting['id']}/confirm")
    created = medusa.create()
    medusa.do("kill", seconds=None, forget_queue=forget)
    medusa.sandbox.disarm()
    medusa.sandbox.advance(3600)
    assert (medusa.job(waiting)["status"], medusa.job(created)["status"]) == fates


def test_a_step_that_was_being_done_is_lost_with_the_process(medusa):
    medusa.do("next_job", processing_seconds=60)
    job = medusa.create()
    medusa.sandbox.advance(10)
    medusa.do("kill", seconds=None)
    medusa.sandbox.disarm()
    medusa.sandbox.advance(3600)
    left = medusa.job(job)
    assert (left["status"], left["processing_at"]) == ("confirmed", None)
    canceled = medusa.post(f"/admin/batch-jobs/{job['id']}/cancel").json()["batch_job"]
    assert canceled["status"] == "canceled"
    medusa.sandbox.advance(60)
    assert medusa.job(job)["status"] == "canceled"


def test_a_server_killed_under_a_cancel_gives_no_answer(medusa):
    medusa.do("next_job", processing_seconds=100)
    job = medusa.create()
    medusa.sandbox.advance(6.1)
    failures = []

    def cancel():
        try:
            medusa.post(f"/admin/batch-jobs/{job['id']}/cancel")
        except requests.ConnectionError as error:
            failures.append(error)

    waiting = threading.Thread(target=cancel)
    waiting.start()
    wait_until(lambda: medusa.state["waiting_calls"] == 1)
    medusa.do("kill", seconds=None)
    waiting.join(PATIENCE)
    assert len(failures) == 1
    medusa.sandbox.disarm()
    assert medusa.job(job)["canceled_at"] is None


@pytest.mark.parametrize("context", [{}, {"fileKey": "nothing.csv"}])
def test_an_import_without_its_file_kills_the_server(medusa, context):
    medusa.do("down_seconds", seconds=None)
    other, job = medusa.create(), medusa.create("product-import", **context)
    medusa.sandbox.advance(3.1)
    assert medusa.state["deaths"] == 1
    with pytest.raises(requests.ConnectionError):
        medusa.get("/admin/batch-jobs")
    medusa.sandbox.disarm()
    medusa.sandbox.advance(3600)
    assert medusa.job(job)["status"] == "created"
    assert medusa.job(other)["status"] == "completed"


def test_the_server_dies_of_it_though_nobody_asks_and_comes_back():
    with Sandbox(time_scale=1000) as sandbox:
        medusa = MedusaClient(sandbox, "medusa")
        medusa.do("down_seconds", seconds=0.01)
        medusa.create("product-import", fileKey="nothing.csv")
        site = sandbox._world.site("medusa")  # its `state` would run the steps that are due
        wait_until(lambda: site.deaths == 1)
        wait_until(lambda: connects(medusa.origin))


def test_a_cancel_that_waits_is_woken_by_the_end_of_the_job_though_nobody_asks(monkeypatch):
    real = SimpleNamespace(now=0.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=time.time, monotonic=lambda: real.now))
    with Sandbox() as sandbox:
        medusa = MedusaClient(sandbox, "medusa")
        medusa.do("next_job", processing_seconds=0.1)
        job = medusa.create()
        sandbox.advance(3.05)  # a look every three seconds: at the second one the job is processed
        sandbox.advance(2.96)
        answers = []
        path = f"/admin/batch-jobs/{job['id']}/cancel"
        waiting = threading.Thread(target=lambda: answers.append(medusa.post(path)))
        waiting.start()
        wait_until(lambda: medusa.state["waiting_calls"] == 1)
        real.now = 1.0
        waiting.join(PATIENCE)
        assert answers[0].json()["batch_job"]["completed_at"] is not None


def test_tokens_expire_by_the_clock(medusa):
    login = {"email": medusa.sandbox.medusa_email, "password": medusa.sandbox.medusa_password}
    token = medusa.post("/admin/auth/token", login).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert medusa.get("/admin/batch-jobs", headers=bearer).status_code == 200
    medusa.sandbox.advance(24 * 3600 + 1)
    assert medusa.get("/admin/batch-jobs", headers=bearer).status_code == 401
    fresh = medusa.post("/admin/auth/token", login).json()["access_token"]
    assert medusa.get("/admin/batch-jobs", headers={"Authorization": f"Bearer {fresh}"}).status_code == 200


def test_tokens_can_be_expired(medusa):
    login = {"email": medusa.sandbox.medusa_email, "password": medusa.sandbox.medusa_password}
    token = medusa.post("/admin/auth/token", login).json()["access_token"]
    old = {"Authorization": f"Bearer {token}"}
    medusa.do("expire_tokens")
    assert medusa.get("/admin/batch-jobs", headers=old).status_code == 401
    assert medusa.get("/admin/batch-jobs").status_code == 200


def test_jobs_of_another_user_are_not_shown(medusa):
    job = medusa.create()
    login = {"email": medusa.sandbox.medusa_other_email, "password": medusa.sandbox.medusa_password}
    token = medusa.post("/admin/auth/token", login).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert medusa.get("/admin/batch-jobs", headers=headers).json()["count"] == 0
    refused = medusa.get(f"/admin/batch-jobs/{job['id']}", headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (400, "not_allowed")


def test_a_forgotten_job_is_not_found(medusa):
    job = medusa.create()
    medusa.do("job", job_id=job["id"], forget=True)
    assert medusa.get(f"/admin/batch-jobs/{job['id']}").status_code == 404
    assert medusa.get("/admin/batch-jobs").json()["count"] == 0


def test_submissions_are_logged(medusa):
    job = medusa.create("order-export", dry_run=True, mark=1)
    assert medusa.state["submissions"] == [
        {
            "kind": "order-export",
            "dry_run": True,
            "context": {"mark": 1},
            "user": medusa.sandbox.medusa_email,
            "job_id": job["id"],
        }
    ]


def test_what_happens_to_a_job_happens_in_order(medusa):
    """A request may come just after a tick whose step has not been done yet."""
    job = medusa.create()
    site = medusa.sandbox._world.site("medusa")

    def cancel_late():
        site.clock.advance(3.2)
        site.jobs[job["id"]].mark("canceled_at", site.clock.now())
        site.settle()

    medusa.sandbox._call(cancel_late)
    ended = medusa.job(job)
    assert ended["status"] == "failed"
    assert ended["canceled_at"] < ended["failed_at"]
