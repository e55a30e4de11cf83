"""``StoqRetryPolicy``, by what the task runner of Airflow 3.3 makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from stoq_provider import exceptions, retry_policy
from stoq_provider.exceptions import StoqProviderError, ValidationRejected
from stoq_provider.retry_policy import StoqRetryPolicy
from tests.harness import as_the_server_reads_it

NEW = retry_policy.RetryDecision is not None
since_3_3 = pytest.mark.skipif(not NEW, reason="retry policies came with Airflow 3.3")
TYPES = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, StoqProviderError)
]


def decided(error: BaseException, *, retries_left: bool = True):
    """Return state and delay in seconds, as the worker reports them."""
    from airflow.sdk.execution_time import task_runner

    task = BaseOperator(task_id="x", retry_policy=StoqRetryPolicy())
    ti = SimpleNamespace(
        task=task,
        try_number=1,
        rendered_map_index=None,
        stats_tags={},
        _failure_metrics_emitted=True,
        _ti_context_from_server=SimpleNamespace(max_tries=2, should_retry=retries_left),
    )
    log = SimpleNamespace(info=lambda *_, **__: None)
    message, state = task_runner._handle_current_task_failed(ti, error, log, {})
    return state.value, getattr(message, "retry_delay_seconds", None)


@since_3_3
@pytest.mark.parametrize("cls", TYPES)
def test_what_is_final_fails_and_all_else_is_retried(cls):
    final = issubclass(cls, exceptions.AirflowFailException)
    assert decided(cls("text")) == (("failed" if final else "up_for_retry"), None)


@since_3_3
@pytest.mark.parametrize(("asked", "delay"), [(24.0, 25.0), (0.0, 1.0)])
def test_the_server_says_when(asked, delay):
    assert decided(exceptions.RateLimited("text", retry_after=asked)) == ("up_for_retry", delay)


@since_3_3
def test_retries_that_are_used_up_stay_used_up():
    assert decided(exceptions.RateLimited("text", retry_after=1.0), retries_left=False) == ("failed", None)


@since_3_3
def test_errors_of_others_are_left_to_airflow():
    assert decided(KeyError("x")) == ("up_for_retry", None)
    decision = StoqRetryPolicy().evaluate(KeyError("x"), 1, 2)
    assert decision == retry_policy.RetryDecision.default()


@since_3_3
def test_a_dag_with_it_is_serialised_and_mapped():
    from airflow.sdk import DAG

    from stoq_provider.sensors.jobs import StoqJobSensor

    with DAG("d", schedule=None, default_args={"retry_policy": StoqRetryPolicy()}) as dag:
        StoqJobSensor.partial(task_id="wait").expand(job=["exp_1"])
        StoqJobSensor(task_id="other", job="exp_1")
    assert as_the_server_reads_it(dag).get_task("other").has_retry_policy


@pytest.mark.skipif(NEW, reason="this Airflow has them")
def test_older_airflow_is_told_so():
    with pytest.raises(ValidationRejected, match=r"needs Airflow 3\.3 or later"):
        StoqRetryPolicy()
