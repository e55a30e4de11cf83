"""``soft_fail`` and ``never_fail``: one meaning in every mode, as far as Airflow's own sensors let it."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.exceptions import JobFailed, ValidationRejected
from tests.unit.hooks.conftest import API, KEY
from tests.unit.sensors.conftest import HOW, answers, end_of, ending, run


@pytest.mark.parametrize("deferrable", [False, True])
def test_soft_fail_skips_after_the_time_out(api, deferrable):
    api.get(f"{API}/preorders/reports/exports/exp_1", json={"status": "running"})
    task_run = run(deferrable=deferrable, timeout=30, soft_fail=True)
    if not deferrable:
        with pytest.raises(AirflowSkipException):
            task_run.execute()
        return
    deferred = task_run.start()
    ended = end_of(deferred, "timeout")
    with pytest.raises(AirflowSkipException):
        task_run.resume_with(deferred, ended)


@pytest.mark.parametrize("how", HOW)
def test_soft_fail_skips_a_failed_job_in_every_mode(api, how, logs):
    answers(api, "exp_1", "failed")
    with pytest.raises(AirflowSkipException) as caught:
        ending(run(soft_fail=True, **HOW[how]), "failed")
    if how != "deferred":  # there, Airflow 3 puts its own words
        assert "says that job exp_1 failed" in str(caught.value)
    assert logs.warnings("says that job exp_1 failed")
    assert KEY not in f"{caught.value} {logs.text}"


@pytest.mark.parametrize("how", HOW)
def test_soft_fail_skips_after_too_many_bad_answers_in_every_mode(api, how):
    api.get(f"{API}/preorders/reports/exports/exp_1", status_code=503)
    with pytest.raises(AirflowSkipException):
        ending(run(soft_fail=True, unhealthy_after=30, **HOW[how]), "unhealthy")


@pytest.mark.parametrize("how", HOW)
def test_without_soft_fail_a_failed_job_fails_in_every_mode(api, how):
    answers(api, "exp_1", "failed")
    with pytest.raises(JobFailed, match="exp_1"):
        ending(run(**HOW[how]), "failed")


def test_silent_fail_goes_before_soft_fail_as_it_does_before_never_fail(api, logs):
    answers(api, "exp_1", "failed")
    with pytest.raises(AirflowSkipException, match="timed out"):
        run(soft_fail=True, silent_fail=True, timeout=30).execute()
    assert "Sensor poke failed" in logs.text


@pytest.mark.parametrize(("how", "word"), [("soft_fail", "cancelled"), ("never_fail", "failed")])
def test_soft_fail_and_never_fail_skip_a_job_that_ended_badly_while_deferred(api, how, word):
    api.get(f"{API}/preorders/reports/exports/exp_1", json={"status": "running"})
    task_run = run(deferrable=True, **{how: True})
    deferred = task_run.start()
    with pytest.raises(AirflowSkipException):
        task_run.resume_with(deferred, end_of(deferred, word))


@pytest.mark.parametrize("how", ["soft_fail", "never_fail"])
def test_soft_fail_and_never_fail_skip_what_is_no_job_as_well(api, how):
    with pytest.raises(AirflowSkipException):
        run([], deferrable=True, **{how: True}).execute()


def test_without_soft_fail_the_typed_error_stays(api):
    with pytest.raises(ValidationRejected):
        run([], deferrable=True).execute()


def test_poking_never_fail_skips_a_failed_job(api):
    answers(api, "exp_1", "failed")
    with pytest.raises(AirflowSkipException):
        run(never_fail=True).execute()
