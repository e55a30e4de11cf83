"""``timeout`` and ``execution_timeout``: the one that is over first ends the wait, and says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from stoq_provider.exceptions import JobTimeout
from tests.integration.conftest import SUBMIT, fails

HOURS = 6 * 3600

LIMITS = [
    pytest.param(HOURS, 600, "execution_timeout", 600, id="execution_timeout-is-over-first"),
    pytest.param(600, HOURS, "timeout", 630, id="timeout-is-over-first-and-counts-from-the-submission"),
    pytest.param(600, 615, "execution_timeout", 615, id="execution_timeout-counts-from-the-start-of-the-try"),
    pytest.param(600, None, "timeout", 630, id="no-execution_timeout"),
    pytest.param(timedelta(hours=6), 600, "execution_timeout", 600, id="timeout-as-timedelta"),
]
"""``timeout``, ``execution_timeout``, the one that counts, and how long the task takes with it."""

LATE = 70.0
"""Seconds that the last look may be late."""


def bounds(execution_timeout):
    return {"execution_timeout": execution_timeout and timedelta(seconds=execution_timeout)}


@pytest.fixture
def endless(sandbox):
    """Jobs that never end, and a server that takes none for half a minute."""
    sandbox.jobs("export", outcome="forever")
    sandbox.arm("status", status=429, path=SUBMIT, headers={"Retry-After": "30"}, times=1)


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize(("timeout", "execution_timeout", "limit", "ends_at"), LIMITS)
def test_timeout_or_execution_timeout_passes_while_deferred(
    bench, clock, timeout, execution_timeout, limit, ends_at
):
    run = bench.export("deferred", timeout=timeout, poll_interval=5, **bounds(execution_timeout))
    fails(run.execute, JobTimeout, f"did not end in time: {limit} has passed", "The remote job goes on")
    assert ends_at - 1 <= clock.passed <= ends_at + LATE
    bench.sandbox.end_job(bench.job_id)
    assert run.retry()["jobs"][0]["job_id"] == bench.job_id
    assert bench.submissions == 1


def test_execution_timeout_of_a_retry_begins_anew(bench, sandbox, clock):
    sandbox.jobs("export", outcome="forever")
    run = bench.export("deferred", timeout=HOURS, poll_interval=5, **bounds(600))
    fails(run.execute, JobTimeout)
    before = clock.passed
    fails(run.retry, JobTimeout, "execution_timeout has passed")
    assert 599 <= clock.passed - before <= 600 + LATE


def test_execution_timeout_leaves_the_backstop_its_margin(bench, sandbox):
    sandbox.jobs("export", outcome="forever")
    deferred = bench.export("deferred", timeout=HOURS, **bounds(600)).start()
    assert 600 < deferred.timeout.total_seconds() <= 600 + 300


def test_a_state_that_names_no_limit_is_of_an_older_release_and_was_set_by_timeout(bench, sandbox):
    sandbox.jobs("export", outcome="forever")
    run = bench.export("deferred", poll_interval=5)
    deferred = run.start()
    del deferred.trigger.state["limit"]
    fails(lambda: run.resume(deferred), JobTimeout, "timeout has passed")


# -- sensors: Airflow retries them after execution_timeout, and not after timeout -----------------------


@pytest.fixture
def waits(bench, sandbox):
    sandbox.jobs("export", outcome="forever")
    handles = bench.submitted()

    def make(**options):
        return bench.sensor("deferred", handles, poll_interval=5, **options)

    return make


def test_execution_timeout_of_a_deferred_sensor_is_retried(waits, bench, clock):
    run = waits(timeout=HOURS, **bounds(600))
    before = clock.passed
    fails(run.execute, JobTimeout, "execution_timeout has passed", bench.job_id, "submits nothing")
    assert clock.passed - before <= 600 + LATE
    bench.sandbox.end_job(bench.job_id)
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"


def test_timeout_of_a_deferred_sensor_is_not_retried(waits):
    with pytest.raises(AirflowSensorTimeout, match="timeout has passed; they go on") as caught:
        waits(timeout=600, **bounds(HOURS)).execute()
    assert "execution_timeout" not in str(caught.value)


def test_execution_timeout_of_a_deferred_sensor_skips_with_soft_fail(waits):
    with pytest.raises(AirflowSkipException):
        waits(timeout=HOURS, soft_fail=True, **bounds(600)).execute()


@pytest.mark.parametrize(("timeout", "execution_timeout"), [(600, HOURS), (HOURS, 600)])
def test_backstop_of_a_sensor_is_retried_only_after_execution_timeout(waits, timeout, execution_timeout):
    run = waits(timeout=timeout, **bounds(execution_timeout))
    run.start()
    with pytest.raises(Exception, match="Trigger timeout") as caught:
        run.fail_trigger("Trigger timeout")
    retried = not isinstance(caught.value, (AirflowSensorTimeout, AirflowFailException))
    assert retried is (execution_timeout < timeout)
