"""The system that docs/new-system.md adds is one: with a hook, a trigger and an operator, it runs."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from stoq_provider.exceptions import SubmissionUncertain
from tests.documents import NEW_SYSTEM, blocks, execute
from tests.harness import MemoryStateStore, TaskRun
from tests.unit.hooks.conftest import api  # noqa: F401

ORIGIN = "https://api.acme.example"


@pytest.fixture
def acme(monkeypatch):
    """The operator of that page, executed as it stands there."""
    module = ModuleType("acme_provider")
    for source in blocks(NEW_SYSTEM, "python"):
        execute(source, module, monkeypatch, NEW_SYSTEM)
    monkeypatch.setenv("AIRFLOW_CONN_ACME_DEFAULT", json.dumps({"conn_type": "acme", "password": "key-1"}))
    return module.AcmeJobOperator


def test_it_submits_waits_and_returns_a_manifest(acme, api):  # noqa: F811
    api.post(f"{ORIGIN}/v1/jobs", json={"id": "j1"})
    api.get(
        f"{ORIGIN}/v1/jobs/j1", [{"json": {"state": word}} for word in ("queued", "something new", "done")]
    )
    run = TaskRun(lambda: acme(task_id="t", kind="export", poll_interval=0.01))
    manifest = run.execute()
    assert [(job["job_id"], job["outcome"]) for job in manifest["jobs"]] == [("j1", "succeeded")]
    assert (manifest["system"], manifest["kind"], manifest["points_spent"]) == ("acme", "export", 4)
    assert api.request_history[0].headers["Authorization"] == "Bearer key-1"


def test_what_it_must_not_repeat_is_not_repeated(acme, api):  # noqa: F811
    api.post(f"{ORIGIN}/v1/jobs", status_code=500)
    run = TaskRun(lambda: acme(task_id="t", kind="pay"), store=MemoryStateStore())
    for attempt in (run.execute, run.retry):
        with pytest.raises(SubmissionUncertain):
            attempt()
    assert api.call_count == 1


def test_it_defers_with_its_own_trigger(acme, api):  # noqa: F811
    api.post(f"{ORIGIN}/v1/jobs", json={"id": "j1"})
    deferred = TaskRun(lambda: acme(task_id="t", kind="export", deferrable=True)).start()
    assert deferred.trigger.jobs[0]["status_url"] == "/v1/jobs/j1"
    assert deferred.trigger.hook_class.system.name == "acme"
