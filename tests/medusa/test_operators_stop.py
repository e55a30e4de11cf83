"""Tasks that are killed on the worker: what they submitted is cancelled, what others did is not."""

from __future__ import annotations

from typing import Any

import pytest

from stoq_provider.exceptions import Detached
from stoq_provider.jobs import cancel
from tests.harness import wait_until
from tests.medusa.bench import Ahead, Bench, Run, desk, job_of, new_handle
from tests.medusa.client import JOBS, Client
from tests.medusa.proxy import Proxy
from tests.medusa.servers import PATIENCE, Server, held

SLOW = 600.0
"""Seconds between polls of a task that is to be killed while it sleeps."""
STOPPED = "cancelled before it did anything; a retry or a clear submits it again"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation is answered at once, and on a busy machine a little later."""
    monkeypatch.setattr(cancel, "STOP_SECONDS", PATIENCE)


def at_work(run: Run, ahead: Ahead) -> tuple[Any, str]:
    """Start a task, return once it sleeps before its first poll: what it will give, and its job."""
    ended = run.in_thread()
    assert ahead.asleep.wait(PATIENCE)
    return ended, run.ti.xcoms["job_id"]


def kill(run: Run, ended: Any) -> str:
    """Kill it as Airflow does; return its last log line."""
    run.task.on_kill()
    with pytest.raises(Detached) as detached:
        ended.result(PATIENCE)
    return str(detached.value)


def test_a_killed_task_cancels_its_new_job_and_a_retry_submits_it_again(
    bench: Bench, server: Server, ahead: Ahead
) -> None:
    run = bench.imports(desk(handle := new_handle()), poll_interval=SLOW)
    with held(server):
        ended, first = at_work(run, ahead)
        assert STOPPED in kill(run, ended)
    run.changes = {"poll_interval": bench.interval}
    again = job_of(run.retry())
    assert (again["outcome"], again["job_id"] != first) == ("succeeded", True)
    assert [job["id"] for job in bench.made(run)] == [again["job_id"], first]
    assert bench.client.job(first)["status"] == "failed", "its next step tripped over the cancellation"
    assert bench.client.job(first)["completed_at"] is None
    assert len(bench.rows([handle])[handle]) == 2


def test_a_killed_task_cancels_its_confirmed_job(
    bench: Bench, server: Server, client: Client, ahead: Ahead
) -> None:
    run = bench.imports(desk(handle := new_handle()), poll_interval=SLOW)
    with held(server):
        ended, job_id = at_work(run, ahead)
        server.look()
        client.until({"id": job_id}, "confirmed")
        assert STOPPED in kill(run, ended)
    failed = client.until({"id": job_id}, "failed")
    assert (failed["confirmed_at"] is not None, failed["completed_at"]) == (True, None)
    assert bench.rows([handle])[handle] == []


def test_a_killed_task_has_nothing_to_cancel_once_its_job_is_completed(
    bench: Bench, client: Client, ahead: Ahead
) -> None:
    run = bench.imports(desk(new_handle()), poll_interval=SLOW)
    ended, job_id = at_work(run, ahead)
    done = client.until({"id": job_id}, "completed")
    assert "there is nothing to cancel; a retry looks how it ended" in kill(run, ended)
    assert client.job(job_id) == done
    run.changes = {"poll_interval": bench.interval}
    assert job_of(run.retry())["job_id"] == job_id
    assert len(bench.made(run)) == 1


def test_a_killed_task_cancels_the_dry_run_that_it_confirmed(
    bench: Bench, server: Server, client: Client, ahead: Ahead
) -> None:
    rows = desk(handle := new_handle())
    run = bench.imports(rows, dry_run=True, confirm=True, poll_interval=SLOW, timeout=10 * SLOW)
    with held(server):
        ended, job_id = at_work(run, ahead)
        server.look()
        client.until({"id": job_id}, "pre_processed")
        ahead.forward(SLOW)
        client.until({"id": job_id}, "confirmed")
        assert ahead.asleep.wait(PATIENCE)
        assert STOPPED in kill(run, ended)
    client.until({"id": job_id}, "failed")
    assert bench.rows([handle])[handle] == []


@pytest.mark.parametrize("kind", ["sensor", "confirm"])
def test_a_killed_task_that_did_not_submit_cancels_nothing(
    bench: Bench, server: Server, client: Client, kind: str
) -> None:
    submitted = bench.imports(desk(new_handle()), dry_run=True, wait_for_completion=False)
    with held(server), Proxy(server.origin) as proxy:
        (handle,) = submitted.execute()
        options = {"medusa_conn_id": bench.connect(proxy.origin)}
        # A sensor of Airflow's sleeps by itself, and notices at its next poke.
        run = bench.sensor(handle, **options) if kind == "sensor" else bench.confirm(handle, **options)
        ended = run.in_thread()
        wait_until(lambda: proxy.count(f"^GET {JOBS}"), PATIENCE)
        kill(run, ended)
    assert client.until({"id": handle["job_id"]}, "pre_processed")["canceled_at"] is None
