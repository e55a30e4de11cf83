"""``StoqJobSensor``: what it takes as job, how it waits, and what the common parameters of sensors mean."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.sensors.jobs import StoqJobSensor
from tests.harness import TaskRun
from tests.unit.hooks.conftest import API, KEY

PATH = "/api/v2/external/preorders/reports/exports/"
HANDLE = {
    "system": "stoq",
    "kind": "export:revenue",
    "job_id": "exp_1",
    "status_url": f"{PATH}exp_1",
    "item_count": None,
    "submitted_at": "2026-05-28T10:00:00.000+00:00",
}
OTHER = {**HANDLE, "job_id": "exp_2", "status_url": f"{PATH}exp_2"}


def run(job=HANDLE, **options) -> TaskRun:
    given = {"poke_interval": 0.01, "timeout": 5, **options}
    return TaskRun(lambda: StoqJobSensor(task_id="wait", job=job, **given))


def answers(api, job_id: str, *words: str) -> None:
    api.get(f"{API}/preorders/reports/exports/{job_id}", [{"json": {"status": word}} for word in words])


# -- what a job may be ----------------------------------------------------------------------------------


ONE = {
    "handle": HANDLE,
    "list": [HANDLE],
    "tuple": (HANDLE,),
    "lists of mapped tasks": [[HANDLE], []],
    "twice": [HANDLE, [HANDLE]],
    "json": json.dumps(HANDLE),
    "json list": json.dumps([HANDLE]),
    "rendered python": repr([HANDLE]),
    "status url": f"{PATH}exp_1",
    "absolute status url": f"https://app.stoqapp.com{PATH}exp_1",
    "list of urls": [f"{PATH}exp_1"],
}


@pytest.mark.parametrize("form", ONE)
def test_every_form_of_one_job(api, form):
    answers(api, "exp_1", "ready")
    manifest = run(ONE[form]).execute()
    assert [job["job_id"] for job in manifest["jobs"]] == ["exp_1"]
    assert api.call_count == 1


@pytest.mark.parametrize("form", ONE)
def test_every_form_of_one_job_reaches_the_trigger(api, form):
    deferred = run(ONE[form], deferrable=True).start()
    assert [job["job_id"] for job in deferred.trigger.jobs] == ["exp_1"]


@pytest.mark.parametrize(
    "job", [[HANDLE, OTHER], [[HANDLE], [OTHER]], json.dumps([[HANDLE], [OTHER]]), [HANDLE, f"{PATH}exp_2"]]
)
def test_several_jobs_are_waited_for_together(api, job):
    answers(api, "exp_1", "ready")
    answers(api, "exp_2", "running", "running", "ready")
    manifest = run(job).execute()
    assert [job["job_id"] for job in manifest["jobs"]] == ["exp_1", "exp_2"]
    # A job that has ended is not asked for again.
    assert api.call_count == 4


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ([], "list of handles is empty"),
        ([[], []], "list of handles is empty"),
        ("exp_1", "no status URL"),
        ("", "no status URL"),
        (None, "not NoneType"),
        (5, "not int"),
        ([5], "not int"),
        ({"job_id": "exp_1"}, "needs 'system'"),
        ({**HANDLE, "system": "medusa"}, "belongs to 'medusa'"),
        ("{'broken", "neither JSON nor a handle"),
        ({**HANDLE, "submitted_at": "yesterday"}, "ISO 8601"),
    ],
)
@pytest.mark.parametrize("deferrable", [False, True])
def test_what_is_no_job_is_refused(api, job, words, deferrable):
    with pytest.raises(ValidationRejected, match=words) as caught:
        run(job, deferrable=deferrable).execute()
    assert "submits nothing" in str(caught.value)
    assert api.call_count == 0


@pytest.mark.parametrize("url", ["https://evil.example/x/exp_1", "http://app.stoqapp.com/x/exp_1"])
def test_key_goes_to_no_other_origin(api, url):
    with pytest.raises(AirflowException, match="another origin") as caught:
        run({**HANDLE, "status_url": url}).execute()
    assert KEY not in str(caught.value)
    assert api.call_count == 0


# -- waiting --------------------------------------------------------------------------------------------


def test_templates():
    assert set(StoqJobSensor.template_fields) == {"job", "destination", "stoq_conn_id"}
    assert StoqJobSensor.template_fields_renderers["job"] == "json"
    task = StoqJobSensor(task_id="x", job="{{ params.job }}", destination="{{ params.to }}/")
    task.render_template_fields({"params": {"job": json.dumps(HANDLE), "to": "s3://lake"}})
    assert task.destination == "s3://lake/"
    assert json.loads(task.job) == HANDLE


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"poke_interval": 7}, 7.0),
        ({"poll_interval": 3}, 3.0),
        ({"poke_interval": 7, "poll_interval": 3}, 3.0),
    ],
)
def test_poke_interval_counts_while_deferred_unless_poll_interval_is_given(api, options, expected):
    answers(api, "exp_1", "running")
    task_run = TaskRun(lambda: StoqJobSensor(task_id="wait", job=HANDLE, deferrable=True, **options))
    deferred = task_run.start()
    assert isinstance(deferred, TaskDeferred)
    assert deferred.trigger.poll_interval == expected
    assert task_run.make().poke_interval == options.get("poke_interval", 60)


def test_a_thousand_sensors_that_start_at_once_spend_nothing_on_their_workers(api):
    """Each is a process of its own there and knows nothing of the others; the triggerer paces them all."""
    deferred = run(deferrable=True).start()
    assert isinstance(deferred, TaskDeferred)
    assert api.call_count == 0


def test_deferrable_follows_the_configuration():
    assert StoqJobSensor(task_id="x", job=HANDLE).deferrable is False


def test_sensor_submits_and_cancels_nothing(api):
    answers(api, "exp_1", "running", "ready")
    task_run = run()
    task_run.execute()
    task_run.task.on_kill()
    assert {request.method for request in api.request_history} == {"GET"}
    assert task_run.store.rows == {}


# -- soft_fail, never_fail ------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_soft_fail_skips_after_the_time_out(api, deferrable):
    api.get(f"{API}/preorders/reports/exports/exp_1", json={"status": "running"})
    task_run = run(deferrable=deferrable, timeout=0.05, soft_fail=True)
    if not deferrable:
        with pytest.raises(AirflowSkipException):
            task_run.execute()
        return
    deferred = task_run.start()
    ended = end_of(deferred, "timeout")
    with pytest.raises(AirflowSkipException):
        task_run.resume_with(deferred, ended)


def end_of(deferred, outcome: str) -> dict:
    """The event of a trigger that saw this outcome."""
    from stoq_provider.core.jobs import JobHandle, JobWatch, Outcome
    from stoq_provider.hooks.stoq import StoqHook
    from stoq_provider.hooks.waiting import WaitPlan, event_of

    watch = JobWatch(JobHandle.from_dict(HANDLE), 0.0, outcome=Outcome(outcome))
    poller = WaitPlan((watch,), deadline=1.0, started_at=0.0).poller(StoqHook.system)
    state = getattr(deferred.trigger, "state", None)
    event = event_of(poller, 0) if state is None else event_of(poller, 0, state)
    return event.to_dict()


@pytest.mark.parametrize("how", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("word", ["failed", "cancelled"])
def test_soft_fail_and_never_fail_skip_a_job_that_ended_badly_while_deferred(api, how, word):
    api.get(f"{API}/preorders/reports/exports/exp_1", json={"status": "running"})
    if how == "never_fail":
        pytest.importorskip("airflow.sdk", reason="never_fail does not reach deferred sensors on Airflow 2")
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


def test_airflows_own_time_out_of_the_deferral_is_a_sensor_timeout(api):
    answers(api, "exp_1", "running")
    task_run = run(deferrable=True)
    task_run.start()
    with pytest.raises(AirflowSensorTimeout):
        task_run.fail_trigger("Trigger/execution timeout")


@pytest.mark.parametrize("how", ["soft_fail", "never_fail"])
def test_failed_trigger_skips_with_soft_fail_and_never_fail(api, how):
    answers(api, "exp_1", "running")
    task_run = run(deferrable=True, **{how: True})
    task_run.start()
    with pytest.raises(AirflowSkipException, match="Trigger failure"):
        task_run.fail_trigger("Trigger failure")
