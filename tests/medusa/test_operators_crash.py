"""A server that is killed in mid-job: tasks wait over the outage, and our deadline ends the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from stoq_provider.exceptions import JobTimeout
from tests.harness import recorded_logs, wait_until
from tests.integration.conftest import fails
from tests.medusa.bench import MODES, NOTHING, Ahead, Bench, Run, desk, job_of, new_handle
from tests.medusa.servers import PATIENCE, Server

KILLS_SERVERS = True
LOST = "does not exist.csv"
MINUTES = 600.0
"""Less than the server may be away for."""

NOTICED = "no good response (no connection to "


@pytest.fixture(autouse=True)
def renewed(server: Server) -> Iterator[None]:
    """Whatever a test does to the server, the next one finds it alive, and its queue empty."""
    yield
    server.renew()


def start(*runs: Run) -> list[Any]:
    """Start tasks beside each other; return once each has a job."""
    ended = [run.in_thread() for run in runs]
    wait_until(lambda: all(run.ti.xcoms.get("job_ids") for run in runs), PATIENCE)
    return ended


class Outage:
    """Tasks whose jobs wait in the queue of a server that is killed, and back once a task has noticed."""

    def __init__(self, bench: Bench, server: Server) -> None:
        self.handles = {mode: new_handle() for mode in MODES}
        self.runs = {
            **{f"import {mode}": bench.imports(desk(self.handles[mode]), mode) for mode in MODES},
            **{f"export {mode}": bench.export(mode, context=NOTHING) for mode in MODES},
            "dry run": bench.imports(desk(new_handle()), dry_run=True, confirm="max_changes: 3"),
        }
        server.hold()
        with recorded_logs() as logs:
            ended = start(*self.runs.values())
            server.kill()
            wait_until(lambda: NOTICED in logs.text, PATIENCE)
            server.revive()
            self.manifests = [end.result(PATIENCE) for end in ended]


@pytest.fixture(scope="module")
def outage(bench: Bench, server: Server) -> Outage:
    return Outage(bench, server)


def test_jobs_in_the_queue_of_a_killed_server_are_waited_for_over_the_outage(
    outage: Outage, bench: Bench
) -> None:
    for run, manifest in zip(outage.runs.values(), outage.manifests, strict=True):
        assert job_of(manifest)["outcome"] == "succeeded"
        assert [job["id"] for job in bench.made(run)] == [job_of(manifest)["job_id"]]
    assert [len(rows) for rows in bench.rows(list(outage.handles.values())).values()] == [2, 2]


def test_a_dry_run_is_decided_by_a_task_that_waits_over_the_outage(outage: Outage, bench: Bench) -> None:
    assert [job["status"] for job in bench.made(outage.runs["dry run"])] == ["completed"]


def test_a_job_that_a_dead_server_was_doing_ends_by_the_deadline_with_its_fate(
    bench: Bench, server: Server, ahead: Ahead
) -> None:
    # With the file store of the lab, an import of a file that is not there takes the server's process along.
    run = bench.batch("product-import", "deferred", context={"fileKey": LOST}, timeout=MINUTES)
    with recorded_logs() as logs:
        (ended,) = start(run)
        job_id = run.ti.xcoms["job_id"]
        wait_until(lambda: NOTICED in logs.text, PATIENCE)
        server.revive_with_empty_queue()
        ahead.forward(MINUTES)
        says = (job_id, "did not end in time", "goes on", "waits for the same job")
        fails(lambda: ended.result(PATIENCE), JobTimeout, *says)
    began, run.changes = time.monotonic(), {"timeout": 1.0, "deferrable": False}
    fails(run.retry, JobTimeout, *says)
    assert time.monotonic() - began >= 1.0
    assert [(job["id"], job["status"]) for job in bench.made(run)] == [(job_id, "created")]
