"""Sensors against answers of the API that a test lays down."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.events import WaitState
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.core.models import JobHandle
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.wait import event_of, make_poller
from stoq_provider.sensors.jobs import StoqJobSensor
from tests.harness import TaskRun
from tests.unit.hooks.conftest import API, CONN, KEY, api, logs
from tests.virtual_time import VirtualTime, virtual_time

__all__ = ["api", "logs", "virtual_time"]

PATH = "/api/v2/external/preorders/reports/exports/"
HANDLE = {
    "system": "stoq",
    "kind": "export:revenue",
    "job_id": "exp_1",
    "status_url": f"{PATH}exp_1",
    "item_count": None,
    "submitted_at": "2026-05-28T10:00:00.000+00:00",
}
OTHER = {**HANDLE, "job_id": "exp_2", "status_url": f"{PATH}exp_2"}

HOW = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
}
"""The ways in which a sensor waits."""


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "stoq", "password": KEY}))


@pytest.fixture(autouse=True)
def time_passes_while_sensors_wait(virtual_time: VirtualTime) -> None:
    """No sensor waits in real time, and none is late because the machine is slow."""


def run(job=HANDLE, **options) -> TaskRun:
    given = {"poke_interval": 10, "timeout": 600, **options}
    return TaskRun(lambda: StoqJobSensor(task_id="wait", job=job, **given))


def answers(server, job_id: str, *words: str) -> None:
    server.get(f"{API}/preorders/reports/exports/{job_id}", [{"json": {"status": word}} for word in words])


def end_of(deferred, outcome: str) -> dict:
    """The event of a trigger that saw this outcome."""
    progress = JobProgress(JobHandle.from_dict(HANDLE), 0.0, outcome=Outcome(outcome))
    poller = make_poller((progress,), StoqHook.system, deadline=1.0, now=0.0)
    return event_of(poller, 0, WaitState.from_dict(deferred.trigger.state)).to_dict()


def ending(task_run: TaskRun, word: str):
    """Execute a sensor whose job ends, or, deferred, go on with the event that says so."""
    if not task_run.make().deferrable:
        return task_run.execute()
    deferred = task_run.start()
    return task_run.resume_with(deferred, end_of(deferred, word))
