"""The Medusa operators as Airflow sees them."""

from __future__ import annotations

import copy
import datetime as dt
import json

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from stoq_provider.exceptions import FinalJobFailed, JobFailed, ProtocolError, ValidationRejected
from stoq_provider.operators.medusa import MedusaBatchJobOperator, MedusaConfirmOperator
from stoq_provider.sensors.jobs import MedusaJobSensor
from stoq_provider.triggers.jobs import MedusaJobTrigger
from tests.harness import TaskRun, make_trigger

ORIGIN = "https://medusa.example"
JOBS = f"{ORIGIN}/admin/batch-jobs"


@pytest.fixture(autouse=True)
def connection(monkeypatch):
    given = {"conn_type": "medusa", "host": ORIGIN, "password": "t0ken-0123456789"}
    monkeypatch.setenv("AIRFLOW_CONN_MEDUSA_DEFAULT", json.dumps(given))


def job(status="created", **fields):
    return {"batch_job": {"id": "batch_1", "type": "product-import", "status": status, **fields}}


def test_everything_that_says_what_is_done_is_templated():
    fields = set(MedusaBatchJobOperator.template_fields)
    assert {"job_type", "context", "confirm", "source", "destination", "medusa_conn_id"} == fields
    assert set(MedusaConfirmOperator.template_fields) == {"job", "confirm", "destination", "medusa_conn_id"}
    assert set(MedusaJobSensor.template_fields) == {"job", "destination", "medusa_conn_id"}


@pytest.mark.parametrize("cls", [MedusaBatchJobOperator, MedusaConfirmOperator, MedusaJobSensor])
def test_rendering_reaches_into_arguments(cls):
    given = {
        MedusaBatchJobOperator: {
            "job_type": "{{ kind }}",
            "context": {"filterable_fields": {"q": "{{ q }}"}},
        },
        MedusaConfirmOperator: {"job": "{{ q }}", "confirm": "max_changes: {{ n }}"},
        MedusaJobSensor: {"job": ["{{ q }}"]},
    }[cls]
    with DAG("d", start_date=dt.datetime(2026, 1, 1), schedule=None):
        task = cls(task_id="x", **given)
    task = copy.deepcopy(task)
    task.render_template_fields({"kind": "product-export", "q": "shirt", "n": 5})
    text = str([getattr(task, name) for name in given])
    assert "{{" not in text
    assert ("shirt" in text or "max_changes: 5" in text) is True


def test_mapping_over_jobs():
    with DAG("d", start_date=dt.datetime(2026, 1, 1), schedule=None):
        mapped = MedusaBatchJobOperator.partial(task_id="x", dry_run=True).expand(
            job_type=["product-export", "order-export"]
        )
    assert mapped.unmap({"job_type": "order-export"}).dry_run is True


def test_what_is_not_a_parameter_is_refused():
    with pytest.raises(Exception, match=r"jobtype|Invalid arguments|unexpected"):
        MedusaBatchJobOperator(task_id="x", job_type="product-export", jobtype="x")


@pytest.mark.parametrize("confirm", [None, "", "perhaps"])
def test_a_decision_must_be_one(confirm):
    run = TaskRun(lambda: MedusaConfirmOperator(task_id="x", job="batch_1", confirm=confirm))
    with pytest.raises(ValidationRejected, match="confirm"):
        run.execute()


@pytest.mark.parametrize("job", [[], "x", {"schema_version": 1, "system": "surecart", "jobs": []}])
def test_a_decision_needs_a_job(job):
    run = TaskRun(lambda: MedusaConfirmOperator(task_id="x", job=job))
    with pytest.raises(ValidationRejected, match="Nothing was sent"):
        run.execute()


def test_the_trigger_holds_no_secret_and_builds_anew(api):
    api.post(JOBS, status_code=201, json=job())
    api.get(f"{JOBS}/batch_1", json=job())
    run = TaskRun(
        lambda: MedusaBatchJobOperator(
            task_id="x", job_type="product-import", context={"fileKey": "k"}, deferrable=True
        )
    )
    run.start()
    path, arguments = run.triggers[0]
    assert isinstance(make_trigger(path, arguments), MedusaJobTrigger)
    assert "t0ken" not in json.dumps(arguments)
    assert arguments["state"]["deadline"] == arguments["deadline"]


def test_a_job_that_waits_again_after_it_was_confirmed_makes_no_sense(api):
    api.get(f"{JOBS}/batch_1", json=job("pre_processed", dry_run=True))
    api.post(f"{JOBS}/batch_1/confirm", json=job("confirmed", dry_run=True))
    run = TaskRun(lambda: MedusaConfirmOperator(task_id="x", job="batch_1", poll_interval=0.01))
    with pytest.raises(ProtocolError, match="a decision that it has been given"):
        run.execute()


def test_points_before_and_after_a_decision_are_all_counted(api):
    api.get(
        f"{JOBS}/batch_1",
        [
            {"json": job("pre_processed", dry_run=True)},
            {"json": job("pre_processed", dry_run=True)},
            {"json": job("completed", dry_run=True, result={"operations": {"PRODUCT_CREATE": 2}})},
        ],
    )
    api.post(f"{JOBS}/batch_1/confirm", json=job("confirmed", dry_run=True))
    run = TaskRun(lambda: MedusaConfirmOperator(task_id="x", job="batch_1", poll_interval=0.01))
    manifest = run.execute()
    assert manifest["points_spent"] == api.call_count == 4
    assert manifest["jobs"][0]["details"] == {"operations": {"PRODUCT_CREATE": 2}}


@pytest.mark.parametrize("owner", ["airflow", "", "lake"])
def test_a_task_that_only_decides_does_not_speak_of_submitting(api, owner):
    api.get(f"{JOBS}/batch_1", json=job("failed", dry_run=True, result={"errors": [{"message": "no"}]}))
    run = TaskRun(lambda: MedusaConfirmOperator(task_id="x", job="batch_1", poll_interval=0.01, owner=owner))
    with pytest.raises(JobFailed, match="only the task that submitted the job can") as caught:
        run.execute()
    assert type(caught.value) is JobFailed


@pytest.mark.parametrize("owner", ["airflow", ""])
def test_a_task_that_submitted_the_job_speaks_so_whoever_owns_it(api, owner):
    api.post(JOBS, status_code=201, json=job())
    api.get(f"{JOBS}/batch_1", json=job("failed", result={"errors": [{"message": "no"}]}))
    given = {"job_type": "product-import", "context": {"fileKey": "k"}, "poll_interval": 0.01, "owner": owner}
    with pytest.raises(FinalJobFailed, match="repeating product-import is not safe"):
        TaskRun(lambda: MedusaBatchJobOperator(task_id="x", **given)).execute()


def test_a_task_that_made_no_job_yet_is_killed_quietly(logs):
    task = MedusaBatchJobOperator(task_id="x", job_type="product-export")
    task.on_kill()
    assert "Detached" not in logs.text
    confirm = MedusaConfirmOperator(task_id="y", job="batch_1")
    confirm.hook.settings  # noqa: B018 - opens the hook
    confirm.on_kill()
    assert confirm.hook.stopped


@pytest.mark.parametrize("value", ["", "None", "[1]", "x", ["x"], 7])
def test_a_context_that_is_no_mapping_is_refused_by_name_and_not_retried(api, value):
    run = TaskRun(lambda: MedusaBatchJobOperator(task_id="x", job_type="product-export", context=value))
    with pytest.raises(ValidationRejected, match=r"^context .*Nothing was sent") as caught:
        run.execute()
    assert isinstance(caught.value, AirflowFailException)
    assert api.call_count == 0


@pytest.mark.parametrize("write", [json.dumps, repr])
def test_a_context_as_text_is_read(api, write):
    api.post(JOBS, status_code=201, json=job())
    context = {"filterable_fields": {"q": "shirt"}}
    given = {"job_type": "product-export", "context": write(context), "wait_for_completion": False}
    TaskRun(lambda: MedusaBatchJobOperator(task_id="x", **given)).execute()
    sent = api.last_request.json()["context"]
    assert sent["filterable_fields"] == {"q": "shirt"}


def test_a_job_type_that_is_no_text_is_refused(api):
    run = TaskRun(lambda: MedusaBatchJobOperator(task_id="x", job_type=7, destination="/tmp/x/"))
    with pytest.raises(ValidationRejected, match="job_type must be a text"):
        run.execute()
