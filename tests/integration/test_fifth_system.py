"""The system that the README adds in a page is one: with a hook, a trigger and an operator, it runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stoq_provider.core import http, models, polling, records, submission
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.exceptions import SubmissionUncertain
from stoq_provider.hooks.base import JobHook
from stoq_provider.operators.base import JobOperator
from stoq_provider.systems import base, payload
from stoq_provider.triggers.jobs import JobTrigger
from tests.harness import MemoryStateStore, TaskRun
from tests.unit.hooks.conftest import api  # noqa: F401

README = Path(__file__).parents[2] / "README.md"
ORIGIN = "https://api.acme.example"


@pytest.fixture
def acme(monkeypatch):
    """The README's class, executed as it stands there, and the three small classes it speaks of."""
    (source,) = re.findall(r"```python\n(class Acme\(System\):.*?)```", README.read_text(), re.DOTALL)
    names = {"PointsRules": PointsRules}
    for module in (base, models, http, payload, submission, polling, records):
        names |= vars(module)
    exec(source, names)  # what a reader would paste

    class AcmeHook(JobHook):
        system = names["Acme"]()

    class AcmeTrigger(JobTrigger):
        hook_class = AcmeHook

    class AcmeOperator(JobOperator):
        trigger_class = AcmeTrigger

        def __init__(self, *, kind: str, **kwargs):
            super().__init__(**kwargs)
            self.kind = kind

        def make_hook(self):
            return AcmeHook("acme_default")

        def plan(self, context, submitter):
            return [submission.Submission(kind=self.kind, path="/jobs", body={"kind": self.kind})]

    monkeypatch.setenv("AIRFLOW_CONN_ACME_DEFAULT", json.dumps({"conn_type": "acme", "password": "key-1"}))
    return AcmeOperator


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
