"""Operators and sensors of SureCart and PrintStudio as an author of DAGs sees them."""

from __future__ import annotations

import inspect
import json

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.operators.printstudio import (
    PrintStudioAdvanceJobsOperator,
    PrintStudioCancelJobsOperator,
    PrintStudioCreateOrdersOperator,
    PrintStudioImportSkusOperator,
)
from stoq_provider.operators.surecart import SureCartBulkActionOperator
from stoq_provider.sensors.jobs import PrintStudioJobSensor, SureCartJobSensor
from stoq_provider.triggers.jobs import PrintStudioJobTrigger, SureCartJobTrigger
from tests.harness import TaskRun, make_trigger

X = "{{ params.x }}"
TASKS = {
    SureCartBulkActionOperator: {"action_type": X, "record_ids": X, "extra_body": {"a": X}},
    PrintStudioCreateOrdersOperator: {"orders": X, "extra_body": {"a": X}},
    PrintStudioImportSkusOperator: {"skus": X, "mode": X},
    PrintStudioAdvanceJobsOperator: {"job_ids": X, "target_status": X},
    PrintStudioCancelJobsOperator: {"job_ids": X, "reason": X},
    SureCartJobSensor: {"job": X},
    PrintStudioJobSensor: {"orders": X, "print_jobs": X, "target_states": X},
}
PARAMETERS = pytest.mark.parametrize(
    ("cls", "fields"), TASKS.items(), ids=lambda given: getattr(given, "__name__", "")
)


def conn_id(cls):
    return "surecart_conn_id" if cls.__name__.startswith("SureCart") else "printstudio_conn_id"


@pytest.fixture(autouse=True)
def connections(monkeypatch):
    for system in ("surecart", "printstudio"):
        connection = {"conn_type": system, "password": "k", "host": "https://shop.example"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{system.upper()}_DEFAULT", json.dumps(connection))


@PARAMETERS
def test_nothing_is_computed_from_templates_when_a_dag_is_parsed(cls, fields):
    task = cls(task_id="x", **fields, **{conn_id(cls): X})
    assert {name: getattr(task, name) for name in fields} == fields
    assert set(cls.template_fields) >= {*fields, conn_id(cls)}


@PARAMETERS
def test_fields_are_rendered_to_lists_and_mappings(cls, fields):
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        task = cls(task_id="x", **fields)
    task.render_template_fields({"params": {"x": ["a", "b"]}})
    name = next(iter(fields))
    assert getattr(task, name) == ["a", "b"]


@PARAMETERS
def test_tasks_can_be_mapped(cls, fields):
    name, *others = fields
    with DAG("d", schedule=None):
        mapped = cls.partial(task_id="x", **dict.fromkeys(others, X)).expand(**{name: [["a"], ["b"]]})
    assert mapped.task_id == "x"


@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (SureCartBulkActionOperator, {"action_type": "delete_customers", "record_ids": []}),
        (PrintStudioCreateOrdersOperator, {"orders": []}),
        (PrintStudioImportSkusOperator, {"skus": []}),
        (PrintStudioCancelJobsOperator, {"job_ids": [], "reason": "late"}),
    ],
)
def test_no_items_may_skip_the_task(cls, given, api):
    with pytest.raises(AirflowSkipException, match="Nothing was sent"):
        TaskRun(lambda: cls(task_id="x", on_empty="skip", **given)).execute()
    assert api.call_count == 0


@pytest.mark.parametrize("cls", [SureCartJobTrigger, PrintStudioJobTrigger])
def test_triggers_survive_serialisation(cls):
    trigger = cls(conn_id="c", jobs=[{"job_id": "x"}], deadline=1.0, state={"a": 1})
    path, kwargs = trigger.serialize()
    again = make_trigger(path, json.loads(json.dumps(kwargs)))
    assert type(again) is cls
    assert again.serialize() == (path, kwargs)


def test_a_sensor_of_several_print_jobs_defers_with_their_goal_in_the_handles(api):
    for job_id in ("a", "b"):
        api.get(f"https://shop.example/api/jobs/{job_id}", json={"id": job_id, "status": "QUEUED"})
    given = {"print_jobs": ["a", "b"], "target_states": ["ready"], "fail_on_failed": True, "deferrable": True}
    run = TaskRun(lambda: PrintStudioJobSensor(task_id="x", **given))
    run.start()
    ((path, kwargs),) = run.triggers
    assert path.endswith(".PrintStudioJobTrigger")
    assert [(job["job_id"], job["kind"]) for job in kwargs["jobs"]] == [
        ("a", "print_job:READY:fail"),
        ("b", "print_job:READY:fail"),
    ]


ID = "5f0c1d1e-0000-4000-8000-000000000001"
LEAST = {
    SureCartBulkActionOperator: {"action_type": "delete_customers", "record_ids": [ID]},
    PrintStudioCreateOrdersOperator: {
        "orders": [{"customerId": "c", "lineItems": [{"skuId": "s", "quantity": 1}]}]
    },
    PrintStudioImportSkusOperator: {"skus": [{"id": "a"}]},
    PrintStudioAdvanceJobsOperator: {"job_ids": ["a"], "target_status": "READY"},
    PrintStudioCancelJobsOperator: {"job_ids": ["a"], "reason": "late"},
}


@pytest.mark.parametrize("value", ["", "None", "[1]", "x", ["x"], 7])
@pytest.mark.parametrize(("cls", "given"), LEAST.items(), ids=lambda given: getattr(given, "__name__", ""))
def test_an_extra_body_that_is_no_mapping_is_refused_by_name_and_not_retried(cls, given, value, api):
    with pytest.raises(ValidationRejected, match=r"^extra_body .*Nothing was sent") as caught:
        TaskRun(lambda: cls(task_id="x", extra_body=value, **given)).execute()
    assert isinstance(caught.value, AirflowFailException)
    assert api.call_count == 0


@pytest.mark.parametrize("write", [json.dumps, repr])
@pytest.mark.parametrize(
    ("cls", "field", "url"),
    [
        (SureCartBulkActionOperator, "record_ids", "https://shop.example/v1/bulk_actions"),
        (PrintStudioCreateOrdersOperator, "orders", "https://shop.example/api/orders/bulk"),
        (PrintStudioImportSkusOperator, "skus", "https://shop.example/api/skus/bulk"),
        (PrintStudioCancelJobsOperator, "job_ids", "https://shop.example/api/jobs/bulk/cancel"),
    ],
)
def test_lists_and_mappings_as_text_are_read(cls, field, url, write, api):
    api.post(
        url, json={"id": ID, "status": "succeeded", "created": 1, "orders": [{"id": "o", "status": "paid"}]}
    )
    api.get(f"https://shop.example/v1/bulk_actions/{ID}", json={"id": ID, "status": "succeeded"})
    given = {**LEAST[cls], "extra_body": write({"x": 1})}
    given[field] = write(given[field])
    TaskRun(lambda: cls(task_id="x", **given)).execute()
    sent = next(r for r in api.request_history if r.method == "POST").json()
    sent = sent.get("bulk_action", sent)
    assert sent["x"] == 1
    assert LEAST[cls][field] in sent.values()


@pytest.mark.parametrize("cls", [c for c in LEAST if hasattr(c, "check_parameters")])
def test_the_main_parameters_stand_in_the_signature(cls):
    shown = inspect.signature(cls).parameters
    assert {*LEAST[cls], "verify", "dry_run"} <= set(shown)
    assert (shown["verify"].default, shown["dry_run"].default) == (None, False)
    with DAG("d", schedule=None, default_args={"verify": "fail", "dry_run": True}):
        task = cls(task_id="x", **LEAST[cls])
        own = cls(task_id="y", verify="warn", dry_run=False, **LEAST[cls])
    assert [(t.verify, t.dry_run) for t in (task, own)] == [("fail", True), ("warn", False)]
