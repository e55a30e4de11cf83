"""``StoqJobSensor``: what it takes as job, how it waits, and what the common parameters of sensors mean."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    TaskDeferred,
)

from stoq_provider.download import download
from stoq_provider.exceptions import JobFailed, ValidationRejected
from stoq_provider.sensors.jobs import StoqJobSensor
from tests.harness import TaskRun
from tests.unit.hooks.conftest import KEY
from tests.unit.sensors.conftest import HANDLE, HOW, OTHER, PATH, answers, ending, run

# -- what a job may be ----------------------------------------------------------------------------------


# All forms stand in the test of systems' ``read_handles``; these here show that sensors go by it.
ONE = {
    "handle": HANDLE,
    "rendered python": repr([HANDLE]),
    "status url": f"{PATH}exp_1",
    "status urls": [f"{PATH}exp_1"],
    "id": "exp_1",
    "ids": ["exp_1"],
}


@pytest.mark.parametrize("form", ONE)
def test_forms_of_one_job(api, form):
    answers(api, "exp_1", "ready")
    manifest = run(ONE[form]).execute()
    assert [job["job_id"] for job in manifest["jobs"]] == ["exp_1"]
    assert api.call_count == 1


def test_a_job_reaches_the_trigger_as_a_handle(api):
    deferred = run(json.dumps([HANDLE, f"{PATH}exp_2"]), deferrable=True).start()
    assert [job["job_id"] for job in deferred.trigger.jobs] == ["exp_1", "exp_2"]


@pytest.mark.parametrize("job", [[HANDLE, OTHER], json.dumps([[HANDLE], [f"{PATH}exp_2"]])])
def test_several_jobs_are_waited_for_together(api, job):
    answers(api, "exp_1", "ready")
    answers(api, "exp_2", "running", "running", "ready")
    manifest = run(job).execute()
    assert [job["job_id"] for job in manifest["jobs"]] == ["exp_1", "exp_2"]
    # A job that has ended is not asked for again.
    assert api.call_count == 4


@pytest.mark.parametrize(
    ("job", "words", "deferrable"),
    [
        ([], "list of jobs is empty", False),
        ("job_1", "neither a status URL nor an id", True),
        (None, "pushed nothing", True),
        ({**HANDLE, "system": "medusa"}, "belongs to 'medusa'", False),
    ],
)
def test_what_is_no_job_is_refused(api, job, words, deferrable):
    with pytest.raises(ValidationRejected, match=words) as caught:
        run(job, deferrable=deferrable).execute()
    assert "clear the task to look again, which submits nothing" in str(caught.value)
    assert "retry" not in str(caught.value)  # Airflow does not
    assert api.call_count == 0


@pytest.mark.parametrize(
    ("jobs", "destination", "words"),
    [
        ([HANDLE, {**HANDLE, "job_id": "exp_2"}], "one.csv", "2 files can't all be stored"),
        ([HANDLE, {**HANDLE, "job_id": "x/exp_1"}], "{job_id}.csv", "2 files can't all be stored"),
        ([HANDLE, {**HANDLE, "job_id": "EXP_1"}], "{job_id}", "2 files can't all be stored"),
        (
            [HANDLE, {**HANDLE, "job_id": "exp_2", "kind": "job"}],
            "{report}-{job_id}",
            "{report}, which this job",
        ),
        ([HANDLE], "file/x.csv", "can't be written to"),
    ],
)
@pytest.mark.parametrize("deferrable", [True, False])
def test_destination_without_a_place_for_each_file_is_refused_before_the_wait(
    api, tmp_path, jobs, destination, words, deferrable
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValidationRejected, match=words):
        run(jobs, destination=f"{tmp_path}/{destination}", deferrable=deferrable).execute()
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


@pytest.mark.parametrize(
    ("of", "defaults", "options", "expected"),
    [
        ("dag", {"poke_interval": 300}, {}, 300.0),
        ("task", {"poke_interval": timedelta(minutes=5)}, {}, 300.0),
        ("task", {"poke_interval": 300}, {"poke_interval": 7}, 7.0),
        ("dag", {"poke_interval": 300}, {"poll_interval": 3}, 3.0),
        ("dag", {"retries": 1}, {}, None),
    ],
)
def test_poke_interval_of_default_args_counts_while_deferred_too(defaults, options, expected, of):
    given = {"task_id": "wait", "job": HANDLE, "deferrable": True, **options}
    start = datetime(2026, 5, 1, tzinfo=timezone.utc)
    with DAG("d", schedule=None, start_date=start, default_args=defaults if of == "dag" else {}):
        sensor = StoqJobSensor(**given, **({"default_args": defaults} if of == "task" else {}))
    assert sensor.poll_interval == expected
    wanted = options.get("poke_interval", 300 if "poke_interval" in defaults else 60)
    assert sensor.poke_interval == wanted


def test_poke_by_itself_gives_the_manifest(api):
    """As a test of a DAG calls it, or a sensor that wraps this one: without ``execute``."""
    answers(api, "exp_1", "running", "ready")
    task_run = run()
    sensor = task_run.make()
    assert sensor.poke(task_run.context()) is False
    done = sensor.poke(task_run.context())
    assert done.is_done
    assert [job["job_id"] for job in done.xcom_value["jobs"]] == ["exp_1"]
    assert done.xcom_value["started_at"] <= done.xcom_value["finished_at"]


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


@pytest.mark.parametrize("how", HOW)
def test_destination_is_tried_out_once_however_often_is_poked(api, monkeypatch, tmp_path, how):
    tried = []
    monkeypatch.setattr(download, "check_access", lambda target: tried.append(target.uri))
    answers(api, "exp_1", "processing", "processing", "failed")
    with pytest.raises(JobFailed):
        ending(run(destination=f"{tmp_path}/", **HOW[how]), "failed")
    assert tried == [f"file://{tmp_path}/not-known-yet.csv"]
