"""Outcome table: the server does not know the job (404), too early, in between, or too late."""

from __future__ import annotations

import pytest

from stoq_provider.core.lifecycle import WatchRules
from stoq_provider.exceptions import JobExpired, JobNotFound, PollingUnhealthy
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.systems.stoq.system import Stoq

from .conftest import MODES, POLL, SENSOR_MODES, fails

DAY = 24 * 3600
UNKNOWN = ("does not know job", "How it ended is unknown", "not retried", "key belongs to the shop")


@pytest.fixture
def short_grace(monkeypatch):
    monkeypatch.setattr(Stoq, "rules", WatchRules(grace=0.3))


@pytest.mark.parametrize("mode", MODES)
def test_404_right_after_submission_is_waited_out(bench, sandbox, mode, logs):
    sandbox.arm("status", status=404, path=POLL, times=3)
    run = bench.export(mode)
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert logs.warnings("not known to the server")
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_404_right_after_submission_is_waited_out_by_a_sensor(bench, sandbox, mode):
    handles = bench.submitted()
    sandbox.arm("status", status=404, path=POLL, times=3)
    assert bench.sensor(mode, handles).execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
def test_404_right_after_submission_is_not_found_once_the_grace_is_over(bench, sandbox, mode, short_grace):
    sandbox.arm("status", status=404, path=POLL, times=None)
    run = bench.export(mode)
    error = fails(run.execute, JobNotFound, *UNKNOWN, "clearing the task submits it again", final=True)
    assert error.job_id == bench.job_id
    assert error.http_status == 404
    # A person who retries by hand gets the same answer, and nothing is sent.
    assert fails(run.retry, JobNotFound, final=True).job_id == error.job_id
    assert bench.submissions == 1
    sandbox.disarm()
    run.clear()
    assert run.execute()["jobs"][0]["job_id"] != error.job_id
    assert bench.submissions == 2


def test_404_right_after_submission_has_a_grace_of_30_seconds():
    assert StoqHook.system.rules.grace == 30.0
    assert StoqHook.system.rules.record_life == DAY


@pytest.mark.parametrize("mode", MODES)
def test_404_of_a_job_seen_alive_is_a_bad_answer_that_may_pass(bench, sandbox, mode, short_grace):
    sandbox.jobs("export", duration=120)
    sandbox.arm("status", status=404, path=POLL, skip=1, times=3)
    assert bench.export(mode).execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
def test_404_of_a_job_seen_alive_is_not_found_after_unhealthy_after(bench, sandbox, mode):
    sandbox.jobs("export", outcome="forever")
    sandbox.arm("status", status=404, path=POLL, skip=2, times=None)
    run = bench.export(mode, unhealthy_after=0.3)
    error = fails(run.execute, JobNotFound, *UNKNOWN, final=True)
    (record,) = run.store.records()
    assert record["outcome"] == "not_found"
    assert record["seen_at"] is not None
    fails(run.retry, JobNotFound, final=True)
    assert bench.submissions == 1
    assert error.job_id == bench.job_id


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_404_of_a_job_seen_alive_that_passes_does_not_disturb_a_sensor(bench, sandbox, mode, short_grace):
    sandbox.jobs("export", duration=120)
    handles = bench.submitted()
    sandbox.arm("status", status=404, path=POLL, skip=1, times=3)
    assert bench.sensor(mode, handles).execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_404_of_a_job_seen_alive_fails_a_sensor_after_unhealthy_after(bench, sandbox, mode):
    sandbox.jobs("export", outcome="forever")
    handles = bench.submitted()
    sandbox.arm("status", status=404, path=POLL, skip=2, times=None)
    run = bench.sensor(mode, handles, unhealthy_after=0.3)
    fails(run.execute, JobNotFound, "does not know job", "submits nothing", final=True)
    assert bench.submissions == 1


def test_404_after_24_h_is_expired_for_a_trigger_and_the_next_try_resubmits(bench, clock):
    run = bench.export("deferred")
    deferred = run.start()
    clock.forward(DAY + 3600)
    clock.forward(DAY)
    error = fails(
        lambda: run.resume(deferred),
        JobExpired,
        "kept for 24 h",
        "can't be had",
        "has ended",
        "A retry submits it again",
    )
    assert error.job_id == bench.job_id
    assert run.retry()["jobs"][0]["job_id"] != error.job_id
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", MODES)
def test_404_after_24_h_is_expired_for_a_late_try(bench, sandbox, clock, mode):
    run = bench.export(mode)
    sandbox.arm("status", status=503, path=POLL, times=None)
    run.changes = {"unhealthy_after": 0.1}
    fails(run.execute, PollingUnhealthy)
    sandbox.disarm()
    sandbox.advance(60)
    assert bench.jobs[bench.job_id]["status"] == "ready"
    clock.forward(DAY + 1)
    error = fails(run.retry, JobExpired, "kept for 24 h", "A retry submits it again")
    assert error.http_status == 404
    assert bench.submissions == 1
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_404_after_24_h_is_expired_for_a_sensor_that_never_submits(bench, sandbox, clock, mode):
    handles = bench.submitted()
    sandbox.advance(60)
    assert bench.jobs[bench.job_id]["status"] == "ready"
    clock.forward(DAY + 1)
    run = bench.sensor(mode, handles)
    fails(run.execute, JobExpired, "kept for 24 h", "only the task that submitted the job can")
    fails(run.retry, JobExpired)
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_404_is_not_expired_where_the_job_was_seen_alive_within_24_h(bench, sandbox, clock, mode):
    """A job that runs for longer than a day is not taken for expired by its age alone."""
    sandbox.jobs("export", outcome="forever")
    run = bench.export("deferred")
    run.start()
    clock.forward(DAY + 1)
    sandbox.arm("status", status=404, path=POLL, skip=1, times=None)
    run.changes = {"deferrable": mode == "deferred", "unhealthy_after": 0.2}
    fails(run.retry, JobNotFound, final=True)
    assert bench.submissions == 1
