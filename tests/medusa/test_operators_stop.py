"""Tasks that are killed on the worker: what they submitted is cancelled, what others did is not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from stoq_provider.exceptions import JobCancelled
from stoq_provider.hooks.shop import Detached
from tests.harness import wait_until
from tests.medusa.bench import Bench, Run, desk, job_of, new_handle
from tests.medusa.client import Client
from tests.medusa.servers import PATIENCE

pytestmark = pytest.mark.xdist_group("medusa-stop")
SLOW = 600.0
"""Seconds between polls of a task that is to be killed while it sleeps."""
STOPPED = "cancelled before it did anything; a retry or a clear submits it again"


def at_work(bench: Bench, run: Run) -> tuple[Any, str]:
    """Start a task that sleeps between two polls; return what it will give, and its job."""
    ended = run.in_thread()
    wait_until(lambda: run.ti.xcoms.get("job_ids"), PATIENCE)
    return ended, run.ti.xcoms["job_id"]


def kill(run: Run, ended: Any) -> str:
    """
    Kill it as Airflow does; return what it said last.

    On a slow machine its next poll may see the cancellation before it is told to stop.
    """
    run.task.on_kill()
    with pytest.raises((Detached, JobCancelled)) as detached:
        ended.result(PATIENCE)
    return str(detached.value)


def test_a_killed_task_cancels_its_new_job_and_a_retry_submits_it_again(bench: Bench) -> None:
    run = bench.imports(desk(handle := new_handle()), poll_interval=SLOW)
    ended, first = at_work(bench, run)
    assert STOPPED in kill(run, ended)
    run.changes = {"poll_interval": bench.interval}
    again = job_of(run.retry())
    assert (again["outcome"], again["job_id"] != first) == ("succeeded", True)
    assert [job["id"] for job in bench.made(run)] == [again["job_id"], first]
    assert bench.client.job(first)["status"] == "failed", "its next step tripped over the cancellation"
    assert bench.client.job(first)["completed_at"] is None
    assert len(bench.rows([handle])[handle]) == 2


def test_a_killed_task_cancels_its_confirmed_job(bench: Bench, client: Client) -> None:
    for _ in range(5):
        run = bench.imports(desk(handle := new_handle()), poll_interval=SLOW)
        ended, job_id = at_work(bench, run)
        client.until({"id": job_id}, "confirmed", "completed")
        said = kill(run, ended)
        if STOPPED in said:
            break
    assert STOPPED in said
    failed = client.until({"id": job_id}, "failed")
    assert (failed["confirmed_at"] is not None, failed["completed_at"]) == (True, None)
    assert bench.rows([handle])[handle] == []


def test_a_killed_task_has_nothing_to_cancel_once_its_job_is_completed(bench: Bench, client: Client) -> None:
    run = bench.imports(desk(new_handle()), poll_interval=SLOW)
    ended, job_id = at_work(bench, run)
    done = client.until({"id": job_id}, "completed")
    assert "there is nothing to cancel; a retry looks how it ended" in kill(run, ended)
    assert client.job(job_id) == done
    run.changes = {"poll_interval": bench.interval}
    assert job_of(run.retry())["job_id"] == job_id
    assert len(bench.made(run)) == 1


def test_a_killed_task_cancels_the_dry_run_that_it_confirmed(bench: Bench, client: Client) -> None:
    for _ in range(5):
        # Its first look comes when the dry run waits; the next one would come after the kill.
        run = bench.imports(
            desk(handle := new_handle()), dry_run=True, confirm=True, poll_interval=2.5 * bench.server.step
        )
        ended, job_id = at_work(bench, run)
        client.until({"id": job_id}, "confirmed", "completed")
        said = kill(run, ended)
        if STOPPED in said:
            break
    assert STOPPED in said
    client.until({"id": job_id}, "failed")
    assert bench.rows([handle])[handle] == []


@pytest.mark.parametrize("kind", ["sensor", "confirm"])
def test_a_killed_task_that_did_not_submit_cancels_nothing(bench: Bench, client: Client, kind: str) -> None:
    submitted = bench.imports(desk(new_handle()), dry_run=True, wait_for_completion=False)
    (handle,) = submitted.execute()
    # A sensor of Airflow's sleeps by itself, and notices at its next poke.
    run = bench.sensor(handle) if kind == "sensor" else bench.confirm(handle, poll_interval=SLOW)
    ended = run.in_thread()
    wait_until(lambda: run.task is not None and "hook" in run.task.__dict__, PATIENCE)
    time.sleep(bench.server.step / 6)
    kill(run, ended)
    assert client.until({"id": handle["job_id"]}, "pre_processed")["canceled_at"] is None
