"""The bulk operators as an author of DAGs sees them: nothing happens before the task runs."""

from __future__ import annotations

import inspect

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.operators.bulk import StoqBulkOrdersOperator, StoqBulkVariantsOperator
from tests.harness import TaskRun
from tests.unit.hooks.conftest import API

OPERATORS = [(StoqBulkOrdersOperator, "order_ids"), (StoqBulkVariantsOperator, "variant_ids")]


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_structured_arguments_are_template_fields(operator, ids):
    fields = {ids, "action", "body", "destination", "extra_body", "extra_query", "stoq_conn_id"}
    assert set(operator.template_fields) >= fields
    for name in ("body", "extra_body", "extra_query"):
        assert operator.template_fields_renderers[name] == "json"


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_nothing_is_computed_from_templates_when_a_dag_is_parsed(operator, ids):
    task = operator(
        task_id="x",
        action="{{ params.action }}",
        body="{{ params.body }}",
        extra_body="{{ params.extra }}",
        stoq_conn_id="{{ params.shop }}",
        destination="{{ params.folder }}",
        **{ids: "{{ ti.xcom_pull('upstream') }}"},
    )
    assert task.action == "{{ params.action }}"
    assert getattr(task, ids) == "{{ ti.xcom_pull('upstream') }}"


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_fields_are_rendered_to_lists_and_mappings(operator, ids):
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        task = operator(task_id="x", action="{{ a }}", body={"tags": ["{{ t }}"]}, **{ids: "{{ found }}"})
    task.render_template_fields({"a": "cancel", "t": "late", "found": [1, 2]})
    assert (task.action, task.body, getattr(task, ids)) == ("cancel", {"tags": ["late"]}, [1, 2])


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_the_ids_are_required(operator, ids):
    with pytest.raises(Exception, match=ids):
        operator(task_id="x", action="cancel")


@pytest.mark.parametrize(
    ("operator", "ids", "action", "close"),
    [(*OPERATORS[0], "relaese", "release"), (*OPERATORS[1], "sync_metafeilds", "sync_metafields")],
)
def test_an_unknown_action_fails_with_near_misses_and_without_a_call(operator, ids, action, close, api):
    run = TaskRun(lambda: operator(task_id="x", action=action, **{ids: [1]}))
    with pytest.raises(ValidationRejected, match=rf"no bulk action '{action}'.*{close}.*Nothing was sent"):
        run.execute()
    assert api.call_count == 0


def test_waiting_by_default():
    assert StoqBulkOrdersOperator(task_id="x", action="cancel", order_ids=[1]).wait_for_completion is True
    assert StoqBulkOrdersOperator(task_id="x", action="cancel", order_ids=[1]).deferrable is False


# -- text where templates are not native ------------------------------------------------------------------


def refused(operator, api, says, **options):
    with pytest.raises(ValidationRejected, match=says) as caught:
        TaskRun(lambda: operator(task_id="x", **options)).execute()
    assert "Nothing was sent" in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert api.call_count == 0


@pytest.mark.parametrize(
    ("operator", "ids", "field", "value", "dry_run"),
    [
        # Each operator, field and kind of run meets each of the others.
        (*OPERATORS[0], "body", "", True),
        (*OPERATORS[0], "extra_body", ["force"], True),
        (*OPERATORS[0], "extra_query", "[1]", False),
        (*OPERATORS[1], "body", "force", False),
        (*OPERATORS[1], "extra_body", "None", False),
        (*OPERATORS[1], "extra_query", 7, True),
    ],
)
def test_what_is_no_mapping_is_refused_by_name_and_not_retried(operator, ids, field, value, dry_run, api):
    action = "release" if ids == "order_ids" else "sync_metafields"
    refused(operator, api, rf"^{field} ", action=action, dry_run=dry_run, **{ids: [1], field: value})


def test_text_of_ids_that_is_no_list_is_refused_and_not_retried(api):
    refused(StoqBulkOrdersOperator, api, "order_ids given as text", action="release", order_ids="[1, 2")


def test_everything_may_be_text_as_templates_render_it(api):
    api.post(
        f"{API}/preorders/orders/bulk_set_tags",
        status_code=202,
        json={"job_id": "b", "status_url": "/api/v2/external/preorders/orders/jobs/b"},
    )
    given = {
        "order_ids": "[2, 1]",
        "body": '{"tags": ["late"]}',
        "extra_body": "{'notify': False}",
        "extra_query": '{"v": 3}',
    }
    run = TaskRun(
        lambda: StoqBulkOrdersOperator(task_id="x", action="set_tags", wait_for_completion=False, **given)
    )
    assert [handle["job_id"] for handle in run.execute()] == ["b"]
    assert api.last_request.json() == {"order_ids": [2, 1], "tags": ["late"], "notify": False}
    assert api.last_request.qs == {"v": ["3"]}


# -- what users see of the parameters ---------------------------------------------------------------------


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_the_main_parameters_stand_in_the_signature(operator, ids):
    shown = inspect.signature(operator).parameters
    assert {"action", ids, "body", "verify", "dry_run"} <= set(shown)
    assert [shown[name].default for name in ("body", "verify", "dry_run")] == [None, None, False]
    assert shown["action"].default is shown[ids].default is inspect.Parameter.empty


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_default_args_reach_the_main_parameters_and_a_task_overrides_them(operator, ids):
    defaults = {"action": "x", "verify": "fail", "dry_run": True, "body": {"a": 1}, "on_empty": "skip"}
    with DAG("d", schedule=None, default_args=defaults):
        plain = operator(task_id="plain", **{ids: [1]})
        own = operator(task_id="own", action="y", verify="warn", dry_run=False, body=None, **{ids: [1]})
    names = ("action", "verify", "dry_run", "body", "on_empty")
    assert [getattr(plain, name) for name in names] == ["x", "fail", True, {"a": 1}, "skip"]
    assert [getattr(own, name) for name in names] == ["y", "warn", False, None, "skip"]


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_the_action_is_required(operator, ids):
    with pytest.raises(Exception, match="action"):
        operator(task_id="x", **{ids: [1]})


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_the_main_parameters_can_be_mapped(operator, ids):
    with DAG("d", schedule=None):
        mapped = operator.partial(task_id="x", verify="fail", **{ids: [1]}).expand(action=["a", "b"])
    task = mapped.unmap({"action": "b"})
    assert (task.action, task.verify, getattr(task, ids), task.dry_run) == ("b", "fail", [1], False)
