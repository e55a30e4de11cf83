"""Outcome table: polling goes badly, is refused, or takes too long; the job itself goes on."""

from __future__ import annotations

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from stoq_provider.exceptions import AuthenticationError, JobTimeout, PollingUnhealthy
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.testing import Sandbox

from .conftest import MODES, POLL, SENSOR_MODES, SUBMIT, Bench, connect, fails

PASSING = [
    pytest.param({"fault": "status", "status": 500}, id="500"),
    pytest.param({"fault": "status", "status": 503}, id="503-html"),
    pytest.param({"fault": "reset_before"}, id="reset"),
    pytest.param({"fault": "reset_after"}, id="reset-after"),
    pytest.param({"fault": "delay", "seconds": None}, id="timeout"),
    pytest.param({"fault": "garbage"}, id="cut-json"),
    pytest.param({"fault": "html"}, id="html"),
    pytest.param({"fault": "empty"}, id="empty"),
    pytest.param({"fault": "truncated", "after": 10}, id="truncated"),
    pytest.param({"fault": "json", "body": ["nothing"]}, id="json-of-another-shape"),
]


# -- 429 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("place", "match"), [("submit", SUBMIT), ("poll", POLL)])
def test_429_anywhere_waits_as_told(bench, sandbox, clock, mode, place, match):
    sandbox.arm("status", status=429, path=match, headers={"Retry-After": "1"}, times=1)
    assert bench.export(mode).execute()["jobs"][0]["outcome"] == "succeeded"
    assert clock.passed >= 1.0
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_429_anywhere_also_at_the_last_look_before_the_download(bench, sandbox, clock, mode):
    sandbox.jobs("export", duration=0)
    sandbox.arm("status", status=429, path=POLL, headers={"Retry-After": "1"}, skip=1, times=1)
    assert len(bench.export(mode).execute()["files"]) == 1
    assert clock.passed >= 1.0


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_429_anywhere_does_not_end_a_sensor(bench, sandbox, mode):
    handles = bench.submitted()
    sandbox.arm("status", status=429, path=POLL, headers={"Retry-After": "0"}, times=3)
    assert bench.sensor(mode, handles).execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
def test_429_anywhere_is_no_bad_answer_however_long(bench, sandbox, mode):
    sandbox.arm("status", status=429, path=POLL, headers={"Retry-After": "0"}, times=40)
    run = bench.export(mode, unhealthy_after=0.1)
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert sandbox.state["faults"][0]["fired"] == 40


@pytest.mark.parametrize("mode", MODES)
def test_429_anywhere_because_others_spend_the_points_of_the_shop(monkeypatch, clock, tmp_path, mode):
    with Sandbox(time_scale=0, points_limit=8) as small:
        clock.drives(small)
        connect(monkeypatch, small)
        address = f"{small.origin}/api/v2/external/preorders/offers"
        for _ in range(8):
            assert requests.get(address, headers={"X-Auth-Token": small.key}, timeout=60).status_code == 200
        bench = Bench(small, tmp_path / "lake")
        assert bench.export(mode).execute()["jobs"][0]["outcome"] == "succeeded"
        state = small.state
    assert state["rate_limited"] >= 1
    assert state["highest_points_in_window"] <= 8
    assert len(state["submissions"]) == 1


# -- 5xx, reset, timeout --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", PASSING)
def test_5xx_reset_or_timeout_while_polling_is_passed_over(bench, sandbox, mode, fault, logs):
    sandbox.arm(fault["fault"], path=POLL, times=2, **{k: v for k, v in fault.items() if k != "fault"})
    run = bench.export(mode)
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert logs.warnings("no good response")
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_5xx_reset_or_timeout_while_polling_is_passed_over_by_a_sensor(bench, sandbox, mode):
    handles = bench.submitted()
    sandbox.arm("status", status=502, path=POLL, times=3)
    assert bench.sensor(mode, handles).execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
def test_5xx_reset_or_timeout_while_polling_connection_refused(bench, sandbox, clock, mode):
    run = bench.export(mode)
    sandbox.jobs("export", duration=100)
    submit = StoqHook.submit

    def then_refuse(hook, submission, **options):
        handle = submit(hook, submission, **options)
        sandbox.arm("refuse", seconds=None)
        clock.at(0.3, sandbox.disarm)
        return handle

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoqHook, "submit", then_refuse)
        assert run.execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["status", "reset_before", "garbage"])
def test_5xx_for_unhealthy_after_fails_without_blaming_the_job_and_reattaches(bench, sandbox, mode, fault):
    sandbox.jobs("export", outcome="forever")
    sandbox.arm(fault, path=POLL, times=None)
    run = bench.export(mode, unhealthy_after=0.2)
    error = fails(
        run.execute,
        PollingUnhealthy,
        "No good response about job",
        "Nothing is known against the job itself; it goes on",
        "A retry waits for the same job and submits nothing",
    )
    assert "failed" not in str(error).lower()
    assert error.job_id == bench.job_id
    assert bench.jobs[bench.job_id]["status"] == "running"
    sandbox.disarm()
    sandbox.end_job(error.job_id)
    assert run.retry()["jobs"][0]["job_id"] == error.job_id
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_5xx_for_unhealthy_after_begins_anew_with_each_good_answer(bench, sandbox, mode):
    sandbox.jobs("export", duration=100)
    for skip in range(5):
        sandbox.arm("status", status=500, path=POLL, times=1, skip=skip)
    assert bench.export(mode, unhealthy_after=0.15).execute()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", ["worker", "deferred"])
def test_5xx_for_unhealthy_after_fails_a_sensor(bench, sandbox, mode):
    handles = bench.submitted()
    sandbox.arm("status", status=500, path=POLL, times=None)
    run = bench.sensor(mode, handles, unhealthy_after=0.2)
    fails(run.execute, PollingUnhealthy, "it goes on", "looks again and submits nothing")
    sandbox.disarm()
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1


def test_5xx_for_unhealthy_after_15_minutes_where_nothing_else_is_said(bench):
    assert bench.export("deferred").start().trigger.unhealthy_after == 900.0


# -- 401 / 403 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", [401, 403])
def test_401_or_403_at_poll_fails_at_once_and_a_clear_finds_the_job(bench, sandbox, clock, mode, status):
    sandbox.jobs("export", outcome="forever")
    sandbox.arm("status", status=status, path=POLL, times=None)
    run = bench.export(mode)
    error = fails(
        run.execute,
        AuthenticationError,
        "refused the key",
        "goes on",
        "not retried",
        "it finds the same job again",
        final=True,
    )
    assert clock.passed < 1
    assert (error.http_status, error.job_id) == (status, bench.job_id)
    assert bench.jobs[bench.job_id]["status"] == "running"
    sandbox.disarm()
    sandbox.end_job(error.job_id)
    run.clear()
    assert run.execute()["jobs"][0]["job_id"] == error.job_id
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_401_or_403_at_poll_of_a_key_that_was_replaced_meanwhile(bench, sandbox, monkeypatch, mode):
    """The key changes between the submission and the first poll."""
    wrong = "stoq_api_key_" + "wrong".ljust(32, "1")
    sandbox.jobs("export", duration=200)
    run = bench.export("deferred")
    deferred = run.start()
    connect(monkeypatch, sandbox, key=wrong)
    run.changes = {"deferrable": mode == "deferred"}
    if mode == "deferred":
        error = fails(lambda: run.resume(deferred), AuthenticationError, final=True)
    else:
        error = fails(run.retry, AuthenticationError, final=True)
    assert wrong not in str(error)
    assert sandbox.state["unauthorized"] == 1
    connect(monkeypatch, sandbox)
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_401_or_403_at_poll_fails_a_sensor_at_once(bench, sandbox, mode):
    handles = bench.submitted()
    sandbox.arm("status", status=401, path=POLL, times=1)
    run = bench.sensor(mode, handles)
    fails(run.execute, AuthenticationError, "refused the key", "submits nothing", final=True)
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("status", [401, 403])
def test_401_or_403_at_submit_fails_at_once_and_starts_no_job(bench, sandbox, status):
    sandbox.arm("status", status=status, path=SUBMIT, times=1)
    run = bench.export()
    error = fails(
        run.execute,
        AuthenticationError,
        "did not accept the submission",
        "No remote job was started",
        "not retried",
        "'stoq_default'",
        final=True,
    )
    assert error.job_started is False
    assert bench.submissions == 0
    assert run.store.records() == []
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1


# -- the time is up -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_timeout_passes_fails_with_job_id_and_reattaches_with_one_fresh_budget(bench, sandbox, clock, mode):
    sandbox.jobs("export", outcome="forever")
    run = bench.export(mode, timeout=0.3)
    error = fails(
        run.execute,
        JobTimeout,
        "did not end in time",
        "The remote job goes on",
        "A retry waits for the same job and submits nothing",
    )
    assert error.job_id == bench.job_id
    assert error.job_id in str(error)
    assert bench.jobs[bench.job_id]["status"] == "running"
    before = clock.passed
    assert fails(run.retry, JobTimeout).job_id == error.job_id
    assert 0.29 < clock.passed - before < 3
    if mode == "deferred":
        first, second = (kwargs["deadline"] for _, kwargs in run.triggers)
        assert second > first
    sandbox.end_job(error.job_id)
    assert run.retry()["jobs"][0]["job_id"] == error.job_id
    assert bench.submissions == 1


def test_timeout_passes_while_no_triggerer_runs_but_the_last_look_finds_the_end(bench, clock):
    run = bench.export("deferred", timeout=600)
    deferred = run.start()
    clock.forward(3600)
    assert run.resume(deferred)["jobs"][0]["outcome"] == "succeeded"


def test_timeout_passes_the_trigger_itself_holds_the_absolute_deadline(bench, sandbox, clock):
    sandbox.jobs("export", outcome="forever")
    run = bench.export("deferred", timeout=600)
    deferred = run.start()
    assert deferred.timeout.total_seconds() > 600
    clock.forward(601)
    fails(lambda: run.resume(deferred), JobTimeout)


@pytest.mark.parametrize("mode", ["worker", "deferred"])
def test_timeout_passes_is_a_sensor_timeout_for_a_sensor(bench, sandbox, mode):
    sandbox.jobs("export", outcome="forever")
    handles = bench.submitted()
    run = bench.sensor(mode, handles, timeout=0.2)
    with pytest.raises(AirflowSensorTimeout) as caught:
        run.execute()
    text = str(caught.value)
    assert handles[0]["job_id"] in text
    assert "submits nothing" in text
    assert not isinstance(caught.value, AirflowFailException)
    sandbox.end_job(handles[0]["job_id"])
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1


def test_timeout_passes_over_the_pokes_of_a_rescheduled_sensor(bench, sandbox):
    pytest.importorskip("airflow.sdk", reason="Airflow 2 reads the first poke from its database")
    sandbox.jobs("export", outcome="forever")
    handles = bench.submitted()
    run = bench.sensor("reschedule", handles, timeout=0.3)
    with pytest.raises(AirflowSensorTimeout, match=handles[0]["job_id"]):
        run.execute()
    assert run.pokes > 2
