"""A wait that ends without a result: the time is up, or the trigger failed."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from stoq_provider.exceptions import PollingUnhealthy, ProtocolError
from stoq_provider.sensors.jobs import StoqJobSensor
from tests.unit.sensors.conftest import HANDLE, HOW, OTHER, PATH, answers, ending, run

CLEARS = (
    "Airflow does not retry a sensor whose time is up; clear the task to look again, which submits nothing."
)


def time_is_up(run) -> str:
    with pytest.raises(AirflowSensorTimeout) as caught:
        run()
    text = str(caught.value)
    # Airflow does not retry this, so no part of the text may say what a retry does.
    assert text.endswith(CLEARS)
    assert "retry" not in text.replace(CLEARS, "")
    return text


@pytest.mark.parametrize("how", ["poke", "deferred"])
def test_time_out_says_once_which_job_goes_on_and_to_clear_the_task(api, how):
    answers(api, "exp_1", "running")
    text = time_is_up(lambda: ending(run(timeout=0, **HOW[how]), "timeout"))
    assert text.startswith("These jobs at STOQ did not end in time: exp_1")
    assert "timeout has passed; they go on." in text
    assert "that have not ended" not in text


def test_time_out_that_airflow_finds_names_the_jobs_as_well(api, monkeypatch):
    monkeypatch.setattr(StoqJobSensor, "poke", lambda sensor, context: False)
    text = time_is_up(run([HANDLE, OTHER], timeout=30).execute)
    assert text.startswith("Sensor has timed out")
    assert "Jobs that have not ended: exp_1, exp_2. They go on." in text


def test_time_out_after_silent_fail_names_no_jobs_that_have_ended(api):
    answers(api, "exp_1", "failed")
    assert "that have not ended" not in time_is_up(run(silent_fail=True, timeout=30).execute)


def test_time_out_tells_of_jobs_that_ended_badly_before(api):
    answers(api, "exp_1", "running")
    answers(api, "exp_2", "failed")
    text = time_is_up(run([HANDLE, OTHER], timeout=0).execute)
    assert "did not end in time: exp_1 (last seen as running). timeout has passed; they go on." in text
    assert "Of the others, these did not end well: exp_2 (failed" in text


def test_time_out_of_many_jobs_names_the_first_and_counts_the_others(api):
    jobs = [{**HANDLE, "job_id": f"exp_{n}", "status_url": f"{PATH}exp_{n}"} for n in range(1, 9)]
    for job in jobs:
        answers(api, job["job_id"], "running")
    text = time_is_up(run(jobs, timeout=0).execute)
    assert "exp_5 (last seen as running) and 3 more. timeout has passed; they go on." in text
    assert "exp_6" not in text


# -- a trigger that failed ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["Trigger/execution timeout", "Trigger failure"])
def test_failed_trigger_is_explained(api, error):
    answers(api, "exp_1", "running")
    task_run = run(deferrable=True)
    task_run.start()
    with pytest.raises(AirflowException) as caught:
        task_run.fail_trigger(error)
    for part in (error, "they go on", "submits nothing"):
        assert part in str(caught.value)


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger/execution timeout"])
def test_airflows_own_time_out_of_the_deferral_is_a_sensor_timeout(api, error):
    """The words of Airflow 3 and of Airflow 2."""
    answers(api, "exp_1", "running")
    task_run = run(deferrable=True)
    task_run.start()
    assert error in time_is_up(lambda: task_run.fail_trigger(error))


@pytest.mark.parametrize("error", ["Trigger failure", "Task instance's trigger could not be created", ""])
def test_trigger_that_broke_is_retried_as_that_of_airflows_own_sensors_is(api, error):
    answers(api, "exp_1", "running")
    task_run = run(deferrable=True)
    task_run.start()
    with pytest.raises(PollingUnhealthy, match="A retry waits for the same job") as caught:
        task_run.fail_trigger(error)
    assert not isinstance(caught.value, (AirflowSensorTimeout, AirflowFailException))
    assert caught.value.system == "stoq"


@pytest.mark.parametrize("how", ["soft_fail", "never_fail"])
def test_failed_trigger_skips_with_soft_fail_and_never_fail(api, how):
    answers(api, "exp_1", "running")
    task_run = run(deferrable=True, **{how: True})
    task_run.start()
    with pytest.raises(AirflowSkipException, match="Trigger failure"):
        task_run.fail_trigger("Trigger failure")


def test_event_of_another_shape_is_retried(api):
    task_run = run(deferrable=True)
    deferred = task_run.start()
    with pytest.raises(ProtocolError, match=r"go on\. A retry waits for them\.$") as caught:
        task_run.resume_with(deferred, {"odd": 1})
    assert caught.value.system == "stoq"


def test_failed_trigger_without_details_is_retried(api):
    task_run = run(deferrable=True)
    task_run.start()
    with pytest.raises(PollingUnhealthy, match=r"\(unknown\)"):
        task_run.task.resume_execution("__fail__", None, task_run.context())
