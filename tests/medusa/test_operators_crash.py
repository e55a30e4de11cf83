"""A server that is killed in mid-job: tasks wait over the outage, and our deadline ends the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from stoq_provider.exceptions import JobTimeout
from tests.harness import recorded_logs, wait_until
from tests.integration.conftest import fails
from tests.medusa.bench import MODES, Bench, Run, desk, job_of, new_handle
from tests.medusa.client import Client
from tests.medusa.servers import PATIENCE, Server

pytestmark = pytest.mark.xdist_group("medusa-crash")
LOST = "does not exist.csv"
NOTICED = "no good answer (no connection came about"


@pytest.fixture(autouse=True)
def alive(server: Server, client: Client) -> Iterator[None]:
    """Whatever a test does to the server, the next one finds it alive."""
    yield
    if not answers(client):
        server.revive()


def answers(client: Client) -> bool:
    try:
        client.listed({"limit": 1})
    except requests.RequestException:
        return False
    return True


def start(*runs: Run) -> list[Any]:
    """Start tasks beside each other; return once each has a job."""
    ended = [run.in_thread() for run in runs]
    wait_until(lambda: all(run.ti.xcoms.get("job_ids") for run in runs), PATIENCE)
    return ended


def await_look_at_queue(client: Client) -> None:
    """Return right after the server looked at its queue, so that nearly a whole step is left."""
    client.until(client.create(dry_run=True), "pre_processed")


def outage(server: Server, noticed: Callable[[], bool]) -> None:
    """Kill the server and bring it back once a task has noticed."""
    server.kill()
    wait_until(noticed, PATIENCE)
    server.revive()


def test_jobs_in_the_queue_of_a_killed_server_are_waited_for_over_the_outage(
    bench: Bench, server: Server, client: Client
) -> None:
    handles = {mode: new_handle() for mode in MODES}
    imports = [bench.imports(desk(handles[mode]), mode) for mode in MODES]
    exports = [bench.export(mode) for mode in MODES]
    runs = [*imports, *exports]
    await_look_at_queue(client)
    with recorded_logs() as logs:
        ended = start(*runs)
        outage(server, lambda: NOTICED in logs.text)
        manifests = [end.result(PATIENCE) for end in ended]
    for run, manifest in zip(runs, manifests, strict=True):
        assert job_of(manifest)["outcome"] == "succeeded"
        assert [job["id"] for job in bench.made(run)] == [job_of(manifest)["job_id"]]
    assert [len(rows) for rows in bench.rows(list(handles.values())).values()] == [2, 2]


def test_a_dry_run_is_decided_by_a_task_that_waits_over_the_outage(
    bench: Bench, server: Server, client: Client
) -> None:
    run = bench.imports(desk(new_handle()), dry_run=True, confirm="max_changes: 3")
    await_look_at_queue(client)
    with recorded_logs() as logs:
        (ended,) = start(run)
        outage(server, lambda: NOTICED in logs.text)
        manifest = ended.result(PATIENCE)
    assert job_of(manifest)["outcome"] == "succeeded"
    assert [job["status"] for job in bench.made(run)] == ["completed"]


def test_a_job_that_a_dead_server_was_doing_ends_by_the_deadline_with_its_fate(
    bench: Bench, server: Server
) -> None:
    # With the file store of the lab, an import of a file that is not there takes the server's process along.
    # One such job only: a second one would wait in the queue, and take the next process along as well.
    timeout = 7 * server.step
    run = bench.batch("product-import", "deferred", context={"fileKey": LOST}, timeout=timeout)
    with recorded_logs() as logs:
        (ended,) = start(run)
        job_id = run.ti.xcoms["job_id"]
        wait_until(lambda: NOTICED in logs.text, PATIENCE)
        server.revive_without(job_id)
        says = (job_id, "did not end in time", "goes on", "waits for the same job")
        fails(lambda: ended.result(PATIENCE), JobTimeout, *says)
    began, run.changes = time.monotonic(), {"timeout": server.step, "deferrable": False}
    fails(run.retry, JobTimeout, *says)
    assert time.monotonic() - began >= server.step
    assert [(job["id"], job["status"]) for job in bench.made(run)] == [(job_id, "created")]
