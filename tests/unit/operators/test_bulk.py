"""The bulk operators as an author of DAGs sees them: nothing happens before the task runs."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import DAG

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.operators.bulk import StoqBulkOrdersOperator, StoqBulkVariantsOperator
from tests.harness import TaskRun

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
    assert getattr(task, ids) == task.given() == "{{ ti.xcom_pull('upstream') }}"


@pytest.mark.parametrize(("operator", "ids"), OPERATORS)
def test_fields_are_rendered_to_lists_and_mappings(operator, ids):
    with DAG("d", schedule=None, render_template_as_native_obj=True):
        task = operator(task_id="x", action="{{ a }}", body={"tags": ["{{ t }}"]}, **{ids: "{{ found }}"})
    task.render_template_fields({"a": "cancel", "t": "late", "found": [1, 2]})
    assert (task.action, task.body, task.given()) == ("cancel", {"tags": ["late"]}, [1, 2])


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
